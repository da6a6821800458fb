"""Collecting: folders of checkpoints, as people have them and as zoos are published, read network by network."""
