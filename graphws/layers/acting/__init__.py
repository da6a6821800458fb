"""The third rule: weights act on features of neurons, and every feature keeps its grade."""
