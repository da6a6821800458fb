"""Modules: from `nn.Module` to a graph and its weights, models of Hugging Face among them."""
