"""Values with their features last: which axis of a value carries the elements of a space, and which are positions.

A value inside a network has the points (its batch) on its first axis.  One axis may be labelled by a space: its
*features*.  What is left are *positions*: tokens, rows and columns of a picture.  Here every value is turned so that
it reads (1, points, *positions, features), whatever layout the network was written in.

>>> from graphws.operations import mlp_graph
>>> features_of(mlp_graph([2, 8, 3], "tanh"))["x1"]
Features(space='hidden1', axis=1, power=1, others=())
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from torch import Tensor

from graphws.graph import Axis, NetworkGraph, Weights
from graphws.operations import continue_from, run_values, why_not
from graphws.operations.labels import labels
from graphws.operations.runner import Inputs, named_inputs


@dataclass(frozen=True)
class Features:
    """Where a value keeps its features.

    Attributes:
        space: The space that labels them.
        axis: Their axis, points being axis 0.
        power: How the value follows the space's action: 1, -1 for the keys of a head, 2 for squares, 0 for what is
            permuted and not scaled.
        others: Further axes that spaces label, by number, where a value belongs to several spaces.
    """

    space: str
    axis: int
    power: int = 1
    others: tuple[tuple[int, Axis], ...] = ()

    def last(self, value: Tensor) -> Tensor:
        """A value (1, points, …) with its features last."""
        return value.movedim(self.axis + 1, -1)

    def back(self, value: Tensor) -> Tensor:
        """The inverse of `last`."""
        return value.movedim(-1, self.axis + 1)

    def place(self, axis: int) -> int:
        """Where an axis is when the features are last, the axis of networks counted."""
        return axis + 1 if axis < self.axis else axis


@lru_cache(maxsize=64)
def features_of(graph: NetworkGraph) -> Mapping[str, Features]:
    """The features of every value that has some.

    A value that belongs to several spaces keeps its features on the axis of the space that none of the values it is
    made of has; of several such on the last one.
    """
    parents = {space.parent for space in graph.spaces}
    found: dict[str, Features] = {}
    known = labels(graph)
    for name, axes in known.items():
        marked = [(k, axis) for k, axis in enumerate(axes) if k and axis is not None and axis.space not in parents]
        marked = [(k, a) for k, a in marked if graph.space(a.space).role != "token"]
        if not marked:
            marked = _only_element(graph, name, len(axes))
        if not marked:
            continue
        writer = graph.writers.get(name)
        before = {found[x].space for x in writer.reads if x in found} if writer is not None else set[str]()
        fresh = [entry for entry in marked if entry[1].space not in before] or marked
        k, axis = fresh[-1]
        others = tuple(entry for entry in marked if entry[0] != k)
        found[name] = Features(axis.space, k, axis.power, others)
    return found


def _only_element(graph: NetworkGraph, name: str, rank: int) -> list[tuple[int, Axis]]:
    """The axis of a space of one element, which no permutation can show: of inputs the first, of outputs the last."""
    wanted = "input" if name in graph.inputs else "output" if name in graph.outputs else ""
    spaces = [s for s in graph.spaces if s.size == 1 and not s.moves and wanted in (s.role, s.name) and wanted]
    value = graph.value(name)
    if not spaces or (value is None and wanted == "input") or rank < 2:
        return []
    if wanted == "output":
        return [(rank - 1, Axis(spaces[0].name))]
    assert value is not None
    axis = next((k for k, size in enumerate(value.shape) if k and size == 1), None)
    return [] if axis is None else [(axis, Axis(spaces[0].name))]


def is_reached(graph: NetworkGraph, name: str) -> bool:
    """Whether a value depends on the network's inputs, and is not put together from weights alone."""
    return name in graph.inputs or bool(graph.sources(name) & set(graph.inputs))


def why_not_analysed(graph: NetworkGraph) -> str | None:
    """Why a graph cannot be run for an analysis, or None where it can."""
    reason = why_not(graph)
    if reason:
        return reason
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        return f"it has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs: an analysis follows one of each"
    return None


def why_not_followed(graph: NetworkGraph) -> str | None:
    """Why a graph cannot be run for a search of actions, which follows any number of outputs; None where it can."""
    reason = why_not(graph)
    if reason:
        return reason
    if len(graph.inputs) != 1 or not graph.outputs:
        return f"it has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs: an analysis follows one input"
    return None


def turned(graph: NetworkGraph, name: str, value: Tensor) -> Tensor:
    """A value (1, points, …) with its features last, if it has some."""
    features = features_of(graph).get(name)
    return value if features is None else features.last(value)


def turned_back(graph: NetworkGraph, name: str, value: Tensor) -> Tensor:
    """The inverse of `turned`."""
    features = features_of(graph).get(name)
    return value if features is None else features.back(value)


def run_network(
    graph: NetworkGraph, weights: Weights, inputs: Inputs, names: Sequence[str] | None = None
) -> dict[str, Tensor]:
    """Values of one network by name, (1, points, *positions, features); all where `names` is None."""
    given = named_inputs(graph, inputs)
    values = run_values(graph, weights, given, names)
    return {name: turned(graph, name, value) for name, value in values.items()}


def continued(graph: NetworkGraph, weights: Weights, given: Mapping[str, Tensor], wanted: str, points: int) -> Tensor:
    """The value `wanted`, from other values, all with their features last."""
    native = {name: turned_back(graph, name, value) for name, value in given.items()}
    found = continue_from(graph, weights, native, [wanted], points)
    return turned(graph, wanted, found[wanted])
