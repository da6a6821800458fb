"""Graphs on which weights act, each with the places of its weights told by hand."""

from __future__ import annotations

from dataclasses import dataclass

from graphws.graph import NetworkGraph, Space
from graphws.messages import Message
from graphws.operations import mlp_graph
from tests.layers.cases import convolution, graph, heads, residual

Places = tuple[tuple[str, tuple[int, ...]], ...]
"""For each place of a weight its space, and the positions of its index axes."""

CARRY = Message(("neuron",), "weight", ("neuron",))
WRITE = Message(("neuron",), "weight", ("weight",))
BOTH = Message(("neuron",), "weight", ("neuron", "weight"))

NEURONS = (
    Message(("weight", "bias", "neuron"), "neuron", ("neuron",), "mean"),
    Message(("any",), "network", ("neuron",), "mean"),
    CARRY,
)
"""Features on neurons alone."""
EVERYWHERE = (
    Message(("any",), "edge", ("any",), "mean"),
    Message(("any",), "neuron", ("any",), "mean"),
    Message(("any",), "network", ("any",), "mean"),
    BOTH,
)
"""Features on everything."""


@dataclass(frozen=True)
class Case:
    """A graph and the places of its weights."""

    graph: NetworkGraph
    places: dict[str, Places]


def experts() -> NetworkGraph:
    """Experts whose neurons stand on an axis inside theirs."""
    spaces = [Space("e", 3), Space("d", 2), Space("h", 2, "nested", "e")]
    return graph(spaces, W="e d* ~h", V="d h*", b="h", bd="d")


CASES = {
    "mlp": Case(
        mlp_graph([2, 4, 3, 2]),
        {
            "W1": (("hidden1", (0,)),),
            "W2": (("hidden2", (0,)), ("hidden1", (1,))),
            "W3": (("hidden2", (0,)),),
        },
    ),
    "kernels": Case(convolution(), {"K1": (("c1", (0,)),), "K2": (("c2", (0,)), ("c1", (1,))), "W3": (("c2", (0,)),)}),
    "residual": Case(residual(3), {"W": (("d", (0,)),), "A": (("d", (0,)), ("d", (1,)))}),
    "heads": Case(heads(3, 2), {"Q": (("k", (0, 1)), ("d", (2,))), "E": (("h", (0,)), ("d", (1,)))}),
    "experts": Case(experts(), {"W": (("d", (1,)), ("h", (0, 2))), "V": (("d", (0,)), ("h", (1, 2)))}),
}
