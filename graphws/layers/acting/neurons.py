"""Features of neurons as parameters that no network has.

A vector on every neuron of a space is folded like a bias of that space.  So a graph is extended by one parameter of the
kind ``neuron`` for each moving space, and rules 1 and 2 (keys, pooling, sharing by role), norms and invariants take
them like any other.  A network comes without them: the first layer only writes them, and the last layer of an
equivariant output only reads them.

>>> from graphws.operations import mlp_graph
>>> print(with_neurons(mlp_graph([2, 4, 3, 1])).parameters[-2:])
(Parameter(@hidden1[hidden1]), Parameter(@hidden2[hidden2]))
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from graphws.errors import GraphError, UsageError
from graphws.graph import Axis, NetworkGraph, Parameter
from graphws.messages import NEURON, Message, lost_outputs, names_neurons, no_start


def neurons_of(graph: NetworkGraph) -> dict[str, str]:
    """For each moving space the parameter that holds the features of its neurons, in a graph and in its extension."""
    own = [text for p in graph.parameters if p.kind != NEURON for text in (p.name, graph.role_of(p.name))]
    mark = "@"
    while any(text.startswith(mark) for text in own):
        mark += "@"
    return {space.name: mark + space.name for space in graph.spaces if space.moves}


@lru_cache(4096)
def with_neurons(graph: NetworkGraph) -> NetworkGraph:
    """The graph's structure with the features of its neurons.

    Raises:
        GraphError: Where the graph has parameters of the kind ``neuron`` already.
    """
    for parameter in graph.parameters:
        if parameter.kind == NEURON:
            raise GraphError(
                f"parameter {parameter.name!r} is of the kind {NEURON!r}, which messages call features of neurons; "
                "give it another kind"
            )
    graph = graph.structure
    names = neurons_of(graph)
    added = []
    for space in graph.spaces:
        if space.moves:
            mark = names[space.name].removesuffix(space.name)
            added.append(Parameter(names[space.name], (Axis(space.name),), NEURON, mark + (space.role or space.name)))
    return NetworkGraph(graph.spaces, (*graph.parameters, *added)).structure


@lru_cache(4096)
def restricted(graph: NetworkGraph, kinds: frozenset[str]) -> NetworkGraph:
    """The graph's structure with the parameters of some kinds only."""
    if all(parameter.kind in kinds for parameter in graph.parameters):
        return graph
    return NetworkGraph(graph.spaces, tuple(p for p in graph.structure.parameters if p.kind in kinds)).structure


@dataclass(frozen=True)
class Stage:
    """What one layer of a model works on.

    Args:
        graphs: For each graph of networks, all parameters that send or receive.
        messages: The messages of rules 1 and 2.
        acting: The messages of rule 3.
        kinds: Kinds of parameters that come out; None: all.
    """

    graphs: tuple[NetworkGraph, ...]
    messages: tuple[Message, ...]
    acting: tuple[Message, ...] = ()
    kinds: frozenset[str] | None = None

    @property
    def received(self) -> tuple[NetworkGraph, ...]:
        """Each graph with what comes out."""
        kinds = self.kinds
        return self.graphs if kinds is None else tuple(restricted(graph, kinds) for graph in self.graphs)


def stages(
    graphs: Sequence[NetworkGraph], messages: Sequence[Message], layers: int, networks: bool
) -> tuple[Stage, ...]:
    """The stages of a model whose layers have the same messages.

    Where no message names neurons, every layer takes and gives all parameters.  Otherwise only what some message
    reaches has features between layers.

    Args:
        graphs: The networks' graphs, as the layers see them.
        messages: Of every layer.
        layers: How many.
        networks: Whether the output is networks.

    Raises:
        UsageError: Where nothing reaches the neurons but what starts from neurons, or where the output is networks and
            some of their parameters receive nothing.
        GraphError: Where nothing receives at all; see also `with_neurons`.
    """
    if not names_neurons(messages):
        return (Stage(tuple(graphs), tuple(messages)),) * layers
    own = tuple(dict.fromkeys(p.kind for graph in graphs for p in graph.parameters))
    kinds = (*own, NEURON)
    for fault in (no_start(messages, own), lost_outputs(messages, own) if networks else None):
        if fault is not None:
            raise UsageError(f"messages: {fault}")
    reached = frozenset(kind for kind in kinds if any(message.reaches(kind) for message in messages))
    whole = tuple(with_neurons(graph) for graph in graphs)
    inside = tuple(restricted(graph, reached) for graph in whole)
    if not all(graph.parameters for graph in inside):
        raise GraphError("no space of these networks moves, so there are no neurons that could receive")
    linear = tuple(message for message in messages if not message.acts)
    acting = tuple(message for message in messages if message.acts)
    found = []
    for number in range(layers):
        first, last = number == 0, networks and number == layers - 1
        sources, targets = own if first else kinds, own if last else kinds
        kept = tuple(each for message in linear if (each := _between(message, sources, targets)) is not None)
        acts = () if first else acting
        if last:
            acts = tuple(replace(message, target=("weight",)) for message in acts if message.reaches("weight"))
        found.append(Stage(whole if first else inside, kept, acts, reached & frozenset(targets)))
    return tuple(found)


def _between(message: Message, sources: Collection[str], targets: Collection[str]) -> Message | None:
    """The message with ``any`` written out and other kinds left out; None where nothing is left."""
    source = tuple(kind for kind in sources if message.sends(kind))
    target = tuple(kind for kind in targets if message.reaches(kind))
    return replace(message, source=source, target=target) if source and target else None
