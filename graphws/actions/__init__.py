"""Latent group actions: how a symmetry of the data acts inside a trained network (paper I)."""
