"""Measures of an action: how far layers are from equivariant, residuals, categories of neurons, figures of layers."""
