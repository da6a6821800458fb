"""Networks that convolve: a view in which a move of pictures is one map of taps or pixels, and how to run it."""
