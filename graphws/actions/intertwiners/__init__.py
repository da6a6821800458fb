"""Intertwiner groups: what passes through an activation, σ ∘ A = B ∘ σ (paper I, section 5); a table, or measured."""
