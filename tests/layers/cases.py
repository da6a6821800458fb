"""Graphs on which the layers are tried: each is small enough for brute force and has something that can go wrong."""

from __future__ import annotations

from graphws.graph import NetworkGraph, Parameter, Space
from graphws.operations import mlp_graph

WEIGHT, BIAS = "weight", "bias"


def graph(spaces: list[Space], **parameters: str) -> NetworkGraph:
    """A graph from spaces and the axes of parameters, ``W="a b*"``; names that start with b are biases."""
    return NetworkGraph(
        tuple(spaces),
        tuple(Parameter(n, axes, BIAS if n.startswith("b") else WEIGHT) for n, axes in parameters.items()),  # type: ignore[arg-type]
    )


def convolution() -> NetworkGraph:
    """Two convolutions and a linear head: kernels are (c_out, c_in, taps) with free taps."""
    spaces = [Space("image", 2, "free"), Space("c1", 3), Space("c2", 2), Space("taps", 2, "free")]
    spaces.append(Space("classes", 2, "free"))
    return graph(spaces, K1="c1 image* taps", b1="c1", K2="c2 c1* taps", b2="c2", W3="classes c2*", b3="classes")


def residual(width: int = 4) -> NetworkGraph:
    """A d × d weight between neurons of one space: diagonals and transposes appear."""
    return graph([Space("in", 2, "free"), Space("d", width)], W="d in*", A="d d*", b="d")


def cube(width: int = 3) -> NetworkGraph:
    """One space on three axes: set partitions of up to six indices."""
    return graph([Space("d", width)], T="d d d*", b="d")


def heads(count: int = 3, size: int = 2) -> NetworkGraph:
    """Attention: dimensions k nested in heads h, beside a set d of model dimensions."""
    spaces = [Space("d", 2), Space("h", count), Space("k", size, "nested", "h")]
    return graph(spaces, Q="k d*", E="h d", b="k", bh="h")


def head_pairs() -> NetworkGraph:
    """Tensors that the dimensions of heads label twice, and that heads and dimensions label together."""
    spaces = [Space("h", 2), Space("k", 2, "nested", "h")]
    return graph(spaces, P="k k*", T="h k*", b="k", bh="h")


def pinned_heads() -> NetworkGraph:
    """Dimensions that only move with their head (a rotary embedding pins them): a free space with a parent."""
    spaces = [Space("in", 2, "free"), Space("h", 3), Space("k", 2, "free", "h")]
    return graph(spaces, Q="k in*", b="k", bh="h")


def nest() -> NetworkGraph:
    """Nesting two deep."""
    spaces = [Space("g", 2), Space("h", 2, "nested", "g"), Space("k", 2, "nested", "h")]
    return graph(spaces, U="k", V="h", b="g")


MLPS = {
    f"mlp {'-'.join(map(str, widths))}": mlp_graph(widths)
    for widths in (
        [2, 3],
        [2, 3, 3],
        [3, 2, 2],
        [2, 3, 2, 3],
        [1, 3, 2, 1],
        [2, 2, 3, 2, 2],
        [2, 2, 3, 2, 2, 1],
    )
}
SMALL = {f"mlp {'-'.join(map(str, widths))}": mlp_graph(widths) for widths in ([2, 1, 3, 2], [2, 1, 1, 2], [1, 2, 1])}
UNBIASED = {"mlp without biases": mlp_graph([2, 3, 2, 2], bias=False)}
OTHERS = {
    "convolution": convolution(),
    "residual 4": residual(4),
    "residual 3": residual(3),
    "residual 2": residual(2),
    "residual 1": residual(1),
    "cube 2": cube(2),
    "cube 3": cube(3),
    "heads 3x2": heads(3, 2),
    "heads 2x3": heads(2, 3),
    "heads 1x2": heads(1, 2),
    "heads 2x1": heads(2, 1),
    "head pairs": head_pairs(),
    "pinned heads": pinned_heads(),
    "nest": nest(),
}
GRAPHS = MLPS | SMALL | UNBIASED | OTHERS
