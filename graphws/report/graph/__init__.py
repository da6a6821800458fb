"""The typed graph of a network to look at: a figure, a figure in blocks, and an interactive page."""
