"""How a computation reads its weights: which layer each parameter belongs to, and what stands before and after it.

A *layer* is an operation that multiplies by weights, or looks rows of them up.  What flows between layers is followed
through all other operations: which layers a value comes from, whether it passed attention, which layers read it.  The
kinds of operations are those of `graphws.kinds`; no name of a tensor is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from graphws.graph import NetworkGraph, Operation
from graphws.kinds.parts import LAYERS


@dataclass(frozen=True)
class Reading:
    """A place where a parameter is read.

    Attributes:
        step: Position of the operation among the graph's.
        operand: The operand that it fills, or that is made of it.
        place: Position in the operand, where that is a list.
        via: The first step that makes another tensor of it before, with the operand there: ``_weight_norm.g``.
    """

    step: int
    operand: str
    place: int = 0
    via: str = ""


@dataclass(frozen=True)
class Trail:
    """What is known of a value that depends on the inputs.

    Attributes:
        layers: The layers whose outputs it is made of, without another layer between.
        behind: Whether any layer lies before it.
        attended: Whether it is what attention gave.
        chosen: Whether it passed a softmax.
        bent: Whether it passed a function of one number.
        root: The value that it is a linear function of.
        mapped: Whether a layer lies between its root and it.
    """

    layers: frozenset[int] = frozenset()
    behind: bool = False
    attended: bool = False
    chosen: bool = False
    bent: bool = False
    root: str = ""
    mapped: bool = False


@dataclass(frozen=True, eq=False)
class Flow:
    """What flows through a graph's computation.

    Attributes:
        readings: For each parameter the places where it is read.
        layers: The steps that are layers.
        first: Those with no layer before them.
        last: Those with no layer after them.
        letters: For each layer what its output is in attention: ``q``, ``k``, ``v``.
        attended: Layers that read what attention gave.
        gates: Layers whose output, behind an activation, multiplies that of another.
        meetings: Pairs of layers whose outputs are added, unless both are one linear map of the same value.
        following: For each value the layers that read it, with no layer or norm between.
        ahead: Values with a layer after them.
    """

    readings: Mapping[str, tuple[Reading, ...]]
    layers: frozenset[int]
    first: frozenset[int] = frozenset()
    last: frozenset[int] = frozenset()
    letters: Mapping[int, frozenset[str]] = field(default_factory=dict)
    attended: frozenset[int] = frozenset()
    gates: frozenset[int] = frozenset()
    meetings: frozenset[tuple[int, int]] = frozenset()
    following: Mapping[str, frozenset[int]] = field(default_factory=dict)
    ahead: frozenset[str] = frozenset()


def flow_of(graph: NetworkGraph) -> Flow:
    """Follows a graph's computation, once from the inputs on and once from the outputs back."""
    readings, data = _readings(graph)
    layers = frozenset(
        reading.step
        for found in readings.values()
        for reading in found
        if graph.operations[reading.step].row.part.name in LAYERS
        and "weight" in graph.operations[reading.step].row.part.word(reading.operand)
    )
    forward = _Forward(graph, layers, data)
    forward.run()
    ahead, following = _backward(graph, layers)
    return Flow(
        readings,
        layers,
        frozenset(forward.first),
        frozenset(k for k in layers if ahead.isdisjoint(graph.operations[k].outputs)),
        {k: frozenset(letters) for k, letters in forward.letters.items()},
        frozenset(forward.attended),
        frozenset(forward.gates),
        frozenset(forward.meetings),
        following,
        ahead,
    )


def _filled(operation: Operation) -> Iterator[tuple[str, int, str]]:
    """Operand, position in it, and name of everything that a step reads."""
    for operand, given in operation.operands.items():
        for place, name in enumerate(given if isinstance(given, list) else [given]):
            if name:
                yield operand, place, name


def _readings(graph: NetworkGraph) -> tuple[dict[str, tuple[Reading, ...]], frozenset[str]]:
    """Where each parameter is read, behind steps that give weights (chosen rows of them, too); and all other values."""
    data = set(graph.inputs)
    carried: dict[str, dict[str, str]] = {parameter.name: {parameter.name: ""} for parameter in graph.parameters}
    found: dict[str, list[Reading]] = {parameter.name: [] for parameter in graph.parameters}
    for step, operation in enumerate(graph.operations):
        row = operation.row
        read = operation.numbers[:1] if row.part.name == "rows" else operation.numbers
        fed = not data.isdisjoint(read) or row.part.name == "embedding"
        made: dict[str, str] = {}
        for operand, place, name in _filled(operation):
            for parameter, via in carried.get(name, {}).items():
                if fed:
                    found[parameter].append(Reading(step, operand, place, via))
                else:
                    plain = row.axes == "moves" or row.part.name == "pass" or len(operation.reads) == 1
                    made.setdefault(parameter, via or ("" if plain else f"{operation.kind}.{operand}"))
        if fed:
            data.update(operation.outputs)
        else:
            carried.update(dict.fromkeys(operation.outputs, made))
    return {name: tuple(dict.fromkeys(places)) for name, places in found.items()}, frozenset(data)


@dataclass(eq=False)
class _Forward:
    graph: NetworkGraph
    layers: frozenset[int]
    data: frozenset[str]
    trails: dict[str, Trail] = field(default_factory=dict)
    first: set[int] = field(default_factory=set)
    letters: dict[int, set[str]] = field(default_factory=dict)
    attended: set[int] = field(default_factory=set)
    gates: set[int] = field(default_factory=set)
    meetings: set[tuple[int, int]] = field(default_factory=set)

    def run(self) -> None:
        """From the inputs to the outputs."""
        self.trails = {name: Trail(root=name) for name in self.graph.inputs}
        for step, operation in enumerate(self.graph.operations):
            read = {
                (operand, place): self.trails[name]
                for operand, place, name in _filled(operation)
                if name in self.trails and operand not in operation.row.shape_of
            }
            if self.data.isdisjoint(operation.outputs):
                continue
            trail = self._layer(step, operation, list(read.values())) if step in self.layers else None
            trail = trail or self._attention(operation, read) or self._other(operation, list(read.values()))
            for name in operation.outputs:
                self.trails[name] = trail if trail.root else replace(trail, root=name)

    def _layer(self, step: int, operation: Operation, read: list[Trail]) -> Trail:
        if not any(trail.behind for trail in read):
            self.first.add(step)
        if any(trail.attended for trail in read):
            self.attended.add(step)
        linear = operation.row.part.name in ("linear", "conv", "convtranspose") and len(read) == 1
        return Trail(frozenset({step}), behind=True, root=read[0].root if linear else "", mapped=linear)

    def _attention(self, operation: Operation, read: Mapping[tuple[str, int], Trail]) -> Trail | None:
        """A product of values: attention by its own name, or written out."""
        part = operation.row.part
        if part.name == "attention":
            letters = {place: part.word(*place) for place in read}
        else:
            factors = [place for place in read if part.name == "linear" and part.word(*place) == "weight"]
            if len(factors) != 2:
                return None
            first, second = factors
            letters = {second: "v"} if read[first].chosen else {first: "q", second: "k"}
        for place, letter in letters.items():
            for layer in read[place].layers if letter else ():
                self.letters.setdefault(layer, set()).add(letter)
        return Trail(behind=any(trail.behind for trail in read.values()), attended=True)

    def _other(self, operation: Operation, read: list[Trail]) -> Trail:
        part, row, alone = operation.row.part.name, operation.row, len(read) == 1
        found = Trail(
            frozenset[int]().union(*(trail.layers for trail in read)),
            any(trail.behind for trail in read),
            alone and read[0].attended,
            part == "softmax" or any(trail.chosen for trail in read),
            (row.pointwise and part != "pass") or any(trail.bent for trail in read),
        )
        passes = row.axes == "moves" or part in ("pass", "product")
        if alone and passes:
            return replace(found, root=read[0].root, mapped=read[0].mapped)
        if len(read) != 2:
            return found
        one, other = read
        if part == "sum" and one.root == other.root and one.mapped and other.mapped:
            return replace(found, root=one.root, mapped=True)
        if part == "sum":
            self.meetings |= {(a, b) for a in one.layers for b in other.layers if a != b}
        if part == "product" and not one.layers & other.layers and one.bent != other.bent:
            self.gates |= one.layers if one.bent else other.layers
        return found


def _backward(graph: NetworkGraph, layers: frozenset[int]) -> tuple[frozenset[str], dict[str, frozenset[int]]]:
    """The values behind which a layer lies, and which layers read each value next."""
    ahead: set[str] = set()
    following: dict[str, frozenset[int]] = {}
    for step, operation in reversed(list(enumerate(graph.operations))):
        layer = step in layers
        if layer or not ahead.isdisjoint(operation.outputs):
            ahead.update(operation.reads)
        after = frozenset[int]().union(*(following.get(name, frozenset()) for name in operation.outputs))
        after = frozenset({step}) if layer else frozenset() if operation.row.part.name == "norm" else after
        for name in operation.reads:
            following[name] = following.get(name, frozenset()) | after
    return frozenset(ahead), following
