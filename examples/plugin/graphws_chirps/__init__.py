"""Kinds of graphws sections from another package: chirps, a reader of moments, a bounded head, the median."""
