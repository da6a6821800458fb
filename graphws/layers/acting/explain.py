"""What weights carry in a layer, in words and numbers: rule 3's part of `graphws.layers.explain`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphws.graph import NetworkGraph
from graphws.layers.acting.acting import matrices
from graphws.layers.acting.terms import terms
from graphws.messages import Message
from graphws.shown import Shown


@dataclass(frozen=True, repr=False)
class ActingMap(Shown):
    """One learned matrix of rule 3, and what it is for.

    Attributes:
        source: The parameter of the neurons' features that it reads.
        target: The parameter that receives.
        words: The term that it is part of; a pair is told twice, once for each of its two matrices.
        parameters: How many it has.
    """

    source: str
    target: str
    words: str
    parameters: int


def acting_maps(
    network: NetworkGraph, graph: NetworkGraph, messages: Sequence[Message], channels: tuple[int, int]
) -> tuple[ActingMap, ...]:
    """Every matrix of rule 3 on one graph; see `graphws.layers.acting.terms.terms` for the arguments."""
    return tuple(
        ActingMap(reading.source, term.target, term.words, rows * columns)
        for term in terms(network, graph, messages)
        for reading, (rows, columns) in zip(term.readings, term.shapes(channels), strict=True)
    )


def acting_parameters(
    networks: Sequence[NetworkGraph],
    graphs: Sequence[NetworkGraph],
    messages: Sequence[Message],
    channels: tuple[int, int],
    share: str,
) -> int:
    """Parameters of `graphws.layers.acting.acting.Acting` with the same arguments."""
    found: dict[str, tuple[int, int]] = {}
    for network, graph in zip(networks, graphs, strict=True):
        for term in terms(network, graph, messages):
            found.update(matrices(term, network, channels, share))
    return sum(rows * columns for rows, columns in found.values())
