"""Rewriting a graph with its weights: parameters exchanged for others, steps for others, spaces dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from graphws.graph.network import NetworkGraph
from graphws.graph.operation import Operation
from graphws.graph.parameter import Parameter
from graphws.graph.weights import Weights
from graphws.operations.plan import why_not


@dataclass
class Rewrite:
    """A graph in the making.

    Args:
        weights: The networks to begin with.

    Attributes:
        gone: Spaces that go, and with them every parameter that they label.
        steps: The steps as they are now.
        runs: Whether graphws can run the graph, so that its steps must stay right; else they are dropped.
    """

    weights: Weights
    gone: set[str] = field(default_factory=set)
    steps: list[Operation] = field(init=False)
    runs: bool = field(init=False)
    _added: dict[str, list[tuple[Parameter, Tensor]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.steps = list(self.weights.graph.operations)
        self.runs = not why_not(self.weights.graph)

    def add(self, parameter: Parameter, tensor: Tensor, after: str) -> str:
        """Adds a parameter behind an old one, or in its place where it has the same name; gives its name."""
        self._added.setdefault(after, []).append((parameter, tensor))
        return parameter.name

    def reader(self, name: str) -> Operation | None:
        """The step that reads a value or parameter, where it is the only one."""
        readers = self.readers(name)
        return readers[0] if len(readers) == 1 and readers[0].inputs.count(name) == 1 else None

    def readers(self, name: str) -> list[Operation]:
        """The steps that read a value or parameter."""
        return [step for step in self.steps if name in step.inputs]

    def writer(self, value: str) -> Operation | None:
        """The step that writes a value."""
        return next((step for step in self.steps if value in step.outputs), None)

    def is_output(self, *values: str) -> bool:
        """Whether one of the values is given to the caller."""
        return bool(set(values) & set(self.weights.graph.outputs))

    def exchange(self, old: Sequence[Operation], new: Sequence[Operation]) -> None:
        """Puts new steps in the place of the last of the old ones."""
        place = max(self.steps.index(step) for step in old)
        self.steps[place + 1 : place + 1] = new
        self.steps = [step for step in self.steps if step not in old]

    def drop_readers(self, name: str) -> None:
        """Drops the steps that read a parameter."""
        self.steps = [step for step in self.steps if name not in step.inputs]

    def finish(self) -> Weights:
        """The rewritten networks; parameters that shared a stored tensor with one that went get a key of their own."""
        graph = self.weights.graph
        parameters: list[Parameter] = []
        tensors: dict[str, Tensor] = {}
        for old in graph.parameters:
            added = self._added.get(old.name, [])
            replaced = any(parameter.name == old.name for parameter, _ in added)
            kept = [] if replaced or self.gone & set(old.spaces) else [(old, self.weights[old.name])]
            for parameter, tensor in [*kept, *added]:
                parameters.append(parameter)
                tensors[parameter.name] = tensor
        stay = {parameter.name for parameter in parameters}
        broken = {p.storage.key for p in graph.parameters if p.storage and p.name not in stay}
        merged = NetworkGraph(
            tuple(space for space in graph.spaces if space.name not in self.gone),
            tuple(replace(p, storage=None) if p.storage and p.storage.key in broken else p for p in parameters),
        )
        if self.runs:
            merged = merged.with_computation_of(graph, self.steps)
        return Weights(merged, tensors)
