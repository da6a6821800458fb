"""Features of networks of several graphs, and the way there and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.graph.named_tensors import NamedTensors
from graphws.layers.features import Features, Prologue
from graphws.layers.free_axes import FreeAxes
from graphws.layers.reduction import free_sizes
from graphws.layers.union.union import Member, StackName, Union
from graphws.shown import Shown


@dataclass(frozen=True, eq=False, repr=False)
class UnionFeatures(Shown, NamedTensors[StackName]):
    """Folded channels on every stack of a union.

    Args:
        union: The networks.
        tensors: For each stack (entries, free * channels).
        channels: Channels per entry.
        prologue: What is still to be done to the tensors, or None; its factors go by the stack's role.
    """

    union: Union
    tensors: Mapping[StackName, Tensor]
    channels: int
    prologue: Prologue | None = None

    def __getitem__(self, stack: StackName) -> Tensor:
        """The tensor of one stack, with the prologue done."""
        x = self.tensors[stack]
        return x if self.prologue is None else self.prologue.apply(stack.role, x)

    @property
    def settled(self) -> UnionFeatures:
        """The same features with the prologue done."""
        return self if self.prologue is None else self.replace({name: self[name] for name in self.tensors})

    def replace(self, tensors: Mapping[StackName, Tensor], channels: int | None = None) -> UnionFeatures:
        """The same networks with other tensors, and no prologue."""
        return UnionFeatures(self.union, tensors, self.channels if channels is None else channels)

    def awaiting(self, prologue: Prologue) -> UnionFeatures:
        """The same tensors, with a prologue still to be done."""
        here = self if self.prologue is None else self.settled
        return UnionFeatures(here.union, here.tensors, here.channels, prologue)

    def map(self, function: Callable[[Tensor], Tensor]) -> UnionFeatures:
        """The same networks with a function of every tensor, the prologue done."""
        return self.replace({name: function(self[name]) for name in self.tensors})

    @staticmethod
    def join(states: Sequence[Features], reduce: FreeAxes | None = None) -> UnionFeatures:
        """The features of several graphs as one.

        Args:
            states: One for each graph.
            reduce: Maps their free axes on the way; None leaves them.
        """
        device = next(iter(states[0].tensors.values())).device
        inner = [state.graph.structure if reduce is None else reduce.reduction.inner(state.graph) for state in states]
        union = Union(inner, [state.batch for state in states], device)
        tensors = {}
        for name, stack in union.stacks.items():
            runs: list[tuple[tuple[int, ...], list[Tensor], Member]] = []
            for member in stack.members:
                part = states[member.graph][member.parameter]
                sizes = free_sizes(states[member.graph].graph, member.parameter)
                if not runs or runs[-1][0] != sizes:
                    runs.append((sizes, [], member))
                runs[-1][1].append(part.reshape(-1, part.shape[-1]))
            mapped = []
            for _, parts, member in runs:
                rows = parts[0] if len(parts) == 1 else torch.cat(parts)
                matrix = None if reduce is None else reduce.matrix(states[member.graph].graph, member.parameter)
                mapped.append(rows if matrix is None else rows @ matrix.to(rows.dtype))
            tensors[name] = mapped[0] if len(mapped) == 1 else torch.cat(mapped)
        return UnionFeatures(union, tensors, states[0].channels if reduce is None else reduce.reduction.channels)

    def split(self) -> list[Features]:
        """The inverse of `join`."""
        found: list[dict[str, Tensor]] = [{} for _ in self.union.graphs]
        for name, stack in self.union.stacks.items():
            tensor = self[name]
            counts = [int(stack.blocks.counts[m.first]) * m.networks for m in stack.members]
            for member, part in zip(stack.members, tensor.split(counts), strict=True):
                sizes = self.union.graphs[member.graph].layout(member.parameter).sizes
                found[member.graph][member.parameter] = part.reshape(member.networks, *sizes, part.shape[-1])
        return [
            Features(graph, {p.name: tensors[p.name] for p in graph.parameters}, self.channels)
            for graph, tensors in zip(self.union.graphs, found, strict=True)
        ]
