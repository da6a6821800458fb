"""Whether networks of equal spaces and parameters compute the same: two graphs tried on the same numbers.

>>> from graphws.operations import mlp_graph
>>> other_computation(mlp_graph([2, 8, 1], activation="sine", omega=30), mlp_graph([2, 8, 1], activation="relu"))
'x1 = relu(z1) where the others have x1 = sine(z1, omega=30.0)'
>>> other_computation(mlp_graph([2, 8, 1], activation="relu"), mlp_graph([2, 8, 1], activation="relu", keys=["a", "b"]))
''
"""

from __future__ import annotations

from functools import lru_cache

import torch

from graphws.errors import GraphwsError
from graphws.graph.network import NetworkGraph
from graphws.graph.weights import Weights
from graphws.operations.plan import why_not
from graphws.operations.query_points import fixed_points
from graphws.operations.runner import outputs_of
from graphws.operations.sampling import random_weights

POINTS = 16
LARGEST = 10_000_000
"""Numbers of the networks that are tried."""
TOLERANCE = 1e-6
"""Relative difference of outputs in float64 that is rounding."""


@lru_cache(maxsize=256)
def other_computation(known: NetworkGraph, other: NetworkGraph) -> str:
    """How networks of a graph compute otherwise than those of the known one, in words; empty where they do not.

    Law: networks that give equal outputs from equal weights compute the same, however their steps are written.  Empty,
    too, where it cannot be tried: one of the graphs does not run, or is too large.

    Args:
        known: A graph.
        other: Another one, whose parameters have the same names, or the same places in a state dict.
    """
    if known == other or other.numel > LARGEST or why_not(known) or why_not(other):
        return ""
    try:
        with torch.no_grad(), torch.device("cpu"):
            weights = random_weights(other, 1, torch.Generator().manual_seed(0), torch.float64)
            points = [x.double() if x.is_floating_point() else x for x in fixed_points(other, POINTS)]
            wanted = outputs_of(known, _on(known, weights), points).double()
            found = outputs_of(other, weights, points).double()
    except (GraphwsError, RuntimeError, ValueError):  # inputs of other shapes, or steps that no point fits
        return ""
    alike = found.shape == wanted.shape and bool((found - wanted).norm() <= TOLERANCE * wanted.norm())
    if alike or not bool(wanted.isfinite().all() & found.isfinite().all()):
        return ""
    pairs = list(zip(other.operations, known.operations, strict=False))
    for mine, theirs in pairs:
        if (mine.kind, mine.attributes) != (theirs.kind, theirs.attributes):
            return f"{mine} where the others have {theirs}"
    return next(
        (f"{mine} where the others have {theirs}" for mine, theirs in pairs if mine != theirs),
        f"{len(other.operations)} steps where the others have {len(known.operations)}",
    )


def _on(graph: NetworkGraph, weights: Weights) -> Weights:
    """The same numbers on another graph, by the names of parameters or by the keys of the state dict."""
    if {p.name for p in graph.parameters} == set(weights.tensors):
        return Weights(graph, weights.tensors)
    return Weights.from_state_dict(graph, weights.to_state_dict())
