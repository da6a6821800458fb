"""Builders: graphs of multilayer perceptrons and of attention networks, from their widths and heads."""
