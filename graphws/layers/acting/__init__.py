"""The third rule: weights act on features of neurons. Along which ways, and what of it fits into any other layer."""
