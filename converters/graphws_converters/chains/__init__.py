"""Chains: MLPs as linear layers and activations in a row, from a module or from a bare state dict."""
