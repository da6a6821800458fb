"""Batches whose networks may have different graphs.

A batch of networks of one graph is a `Weights`.  A *mixed* batch is a list of them, one for each graph that is met; its
rows are those of the list, one after the other.
"""

from __future__ import annotations

from collections.abc import Callable

from graphws.graph.weights import Weights

Mixed = Weights | list[Weights]
"""Networks of one graph, or for each of several graphs its networks."""


def parts_of(weights: Mixed) -> list[Weights]:
    """The networks graph by graph.

    >>> parts_of([])
    []
    """
    return [weights] if isinstance(weights, Weights) else weights


def change_each(weights: Mixed, change: Callable[[Weights], Weights]) -> Mixed:
    """A change of networks, done to those of each graph."""
    return change(weights) if isinstance(weights, Weights) else [change(part) for part in weights]
