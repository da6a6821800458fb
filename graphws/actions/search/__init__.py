"""The search for latent actions: scores projected to homomorphisms, refined, and the linear alternative."""
