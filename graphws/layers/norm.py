"""Normalisation that commutes with the group: statistics per orbit.

A statistic may mix the entries that the group mixes and no others.  Entries of one folded channel are such an orbit
(but for diagonals, which it may mix in without harm), so statistics run over the batch and all index axes, one for each
folded channel.  Statistics per entry, as in public code, break equivariance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from graphws.errors import UsageError
from graphws.graph import NetworkGraph
from graphws.layers.activations import ACTIVATIONS as ACTIVATIONS
from graphws.layers.derivatives import transformed
from graphws.layers.features import Features, Moments, Prologue
from graphws.layers.keys import state_key
from graphws.layers.plan import role
from graphws.layers.processes import several, sum_of_processes
from graphws.layers.union.features import UnionFeatures
from graphws.layers.union.union import Stack

State = TypeVar("State", Features, UnionFeatures, Features | UnionFeatures)

NORMS = ("batch", "layer", "none")


class OrbitNorm(nn.Module):
    """Normalises each folded channel of each parameter, then scales and shifts it.

    ``batch`` takes statistics over the batch (over all processes, and over all graphs of a mixed batch that share a
    role) and keeps running ones for evaluation; ``layer`` over each network alone.

    Args:
        graphs: The graphs that may come.
        channels: Channels per entry.
        kind: ``batch`` or ``layer``.
        share: ``none``: one set of statistics a parameter; ``role``: one a role.
        momentum: Weight of the newest batch in the running statistics.
        eps: Added to variances.
        together: ``batch`` only: one set of statistics, scale and shift for each channel, over free entries, too.

    Raises:
        UsageError: On another kind, and on ``layer`` with free entries together; in training, on batch statistics over
            several processes of networks of several architectures.
    """

    def __init__(
        self,
        graphs: Sequence[NetworkGraph],
        channels: int,
        kind: str = "batch",
        share: str = "none",
        momentum: float = 0.1,
        eps: float = 1e-5,
        together: bool = False,
    ) -> None:
        super().__init__()
        if kind not in ("batch", "layer"):
            raise UsageError(f"norm must be one of {', '.join(NORMS)}; got {kind!r}")
        if together and kind != "batch":
            raise UsageError(f"free entries are normalised together by norm 'batch' only; got {kind!r}")
        self.together = together
        self.kind, self.share, self.momentum, self.eps = kind, share, momentum, eps
        self._mixed = len({graph.structure for graph in graphs}) > 1
        self.scale, self.shift = nn.ParameterDict(), nn.ParameterDict()
        for graph in graphs:
            for parameter in graph.parameters:
                name = self.name(graph, parameter.name)
                if name in self.scale:
                    continue
                size = channels if together else graph.layout(parameter.name).free * channels
                self.scale[name], self.shift[name] = nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size))
                if kind == "batch":
                    self.register_buffer(f"mean_{name}", torch.zeros(size))
                    self.register_buffer(f"variance_{name}", torch.ones(size))

    def name(self, graph: NetworkGraph, parameter: str) -> str:
        """What the statistics of a parameter go by."""
        return state_key(parameter if self.share == "none" else role(graph, parameter))

    def forward(self, states: Sequence[Features]) -> list[Features]:
        """Normalises a mixed batch, one `Features` for each graph in it."""
        return [state.settled for state in self.prepare(states)]

    def prepare(self, states: Sequence[State], activation: str = "identity") -> list[State]:
        """The same with an activation after it, done when the features are read wherever that can wait.

        States may be features of one graph and of unions of graphs, with one set of statistics over all.
        """
        if self.kind == "layer":
            return [self._each_alone(state).awaiting(Prologue(activation)) for state in states]
        members: dict[str, list[tuple[Tensor, Moments | None]]] = {}
        for state in states:
            for name, _, tensor, _, known in self._named(state):
                members.setdefault(name, []).append((tensor, known))
        affine = self._affine(members, all(isinstance(state, UnionFeatures) for state in states))
        prepared = []
        for state in states:
            scale, shift = {}, {}
            for name, key, _, folded, _ in self._named(state):
                scale[key], shift[key] = (_repeated(each, folded) for each in affine[name])
            prepared.append(state.awaiting(Prologue(activation, scale, shift)))
        return prepared

    def _named(self, state: Features | UnionFeatures) -> Iterator[tuple[str, str, Tensor, int, Moments | None]]:
        """Each tensor: what its statistics go by, what its prologue goes by, itself as statistics see it, how many
        channels of it have one statistic, and its moments if known."""
        if isinstance(state, UnionFeatures):
            for stack, tensor in state.tensors.items():
                yield state_key(stack.role), stack.role, *self._seen(tensor, state.channels), None
        else:
            for parameter, tensor in state.tensors.items():
                seen, folded = self._seen(tensor, state.channels)
                known = state.moments.get(parameter) if folded == 1 else None
                yield self.name(state.graph, parameter), parameter, seen, folded, known

    def _seen(self, tensor: Tensor, channels: int) -> tuple[Tensor, int]:
        """A tensor as statistics see it, and how many of its folded channels have one statistic."""
        free = tensor.shape[-1] // channels
        return (tensor.unflatten(-1, (free, channels)), free) if self.together and free > 1 else (tensor, 1)

    def _each_alone(self, state: State) -> State:
        """Statistics of each network's tensor alone."""
        if isinstance(state, UnionFeatures):
            stacks = state.union.stacks
            return state.replace({name: self._alone_in_blocks(stacks[name], x) for name, x in state.tensors.items()})
        return state.replace({p: self._alone(x, self.name(state.graph, p)) for p, x in state.tensors.items()})

    def _alone_in_blocks(self, stack: Stack, x: Tensor) -> Tensor:
        """Statistics of each network's tensor alone."""
        name, whole = state_key(stack.name.role), tuple(range(stack.name.axes))
        if whole:
            blocks = stack.segments(whole, whole, ())
            mean = blocks.spread(blocks.mean(x))
            variance = blocks.spread(blocks.mean((x - mean).square()))
        else:
            mean = x.mean(-1, keepdim=True)
            variance = (x - mean).square().mean(-1, keepdim=True)
        return torch.addcmul(self.shift[name], (x - mean) * torch.rsqrt(variance + self.eps), self.scale[name])

    def _alone(self, x: Tensor, name: str) -> Tensor:
        """Statistics of each network alone."""
        axes = tuple(range(1, x.ndim - 1))
        mean = x.mean(axes, keepdim=True) if axes else x.mean(-1, keepdim=True)
        variance = (x - mean).square().mean(axes or -1, keepdim=True)
        normal = (x - mean) * torch.rsqrt(variance + self.eps)
        return torch.addcmul(self.shift[name], normal, self.scale[name])

    def _affine(
        self, members: Mapping[str, Sequence[tuple[Tensor, Moments | None]]], union: bool
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """For batch statistics: the factors and offsets of each name, all computed in one vector.

        Args:
            members: For each name its tensors, with their moments where they are known.
            union: All are stacks of unions.
        """
        if self.training and self._mixed and several():
            raise UsageError(
                "batch norm over several processes needs networks of one architecture: a process may meet a role that "
                "another does not; train with `norm: layer` or `norm: none`, or in one process"
            )
        running_means = [self.get_buffer(f"mean_{name}") for name in members]
        running_variances = [self.get_buffer(f"variance_{name}") for name in members]
        if self.training:
            found = [moments(tensors, rows=union) for tensors in members.values()]
            means, variances = [m.mean for m in found], [m.variance for m in found]
            with torch.no_grad():
                unbiased = torch._foreach_mul(variances, [m.count / max(m.count - 1, 1) for m in found])
                torch._foreach_lerp_(running_means, [m.to(running_means[0].dtype) for m in means], self.momentum)
                torch._foreach_lerp_(running_variances, [v.to(running_means[0].dtype) for v in unbiased], self.momentum)
        else:
            means, variances = running_means, running_variances
        scale = torch.cat([self.scale[name] for name in members]) * torch.rsqrt(torch.cat(variances) + self.eps)
        shift = torch.cat([self.shift[name] for name in members]) - torch.cat(means) * scale
        sizes = [mean.shape[0] for mean in means]
        pairs = zip(scale.split_with_sizes(sizes), shift.split_with_sizes(sizes), strict=True)
        return dict(zip(members, pairs, strict=True))


def _repeated(x: Tensor, times: int) -> Tensor:
    return x if times == 1 else x.repeat(times)


def moments(tensors: Sequence[tuple[Tensor, Moments | None]], rows: bool = False) -> Moments:
    """The moments of several tensors (..., channels) together, over all processes.

    Args:
        tensors: Each with its own moments, where they are known already.
        rows: All are large matrices (rows, channels) whose moments are not known.
    """
    if len(tensors) == 1 and tensors[0][1] is not None and not several():
        return tensors[0][1]
    counts = [x.shape[:-1].numel() for x, _ in tensors]
    count = _all(sum(counts), tensors[0][0])
    if rows and not several() and not transformed():
        mean, variance = _Moments.apply(*(x for x, _ in tensors))  # type: ignore[no-untyped-call]
        return Moments(mean, variance, sum(len(x) for x, _ in tensors))
    mean = _total([x.flatten(0, -2).sum(0) if m is None else m.mean * m.count for x, m in tensors]) / count
    squares = [
        (x - mean).square().flatten(0, -2).sum(0) if m is None else (m.variance + (m.mean - mean).square()) * m.count
        for x, m in tensors
    ]
    return Moments(mean, _total(squares) / count, int(count))


class _Moments(torch.autograd.Function):
    """Mean and variance of each column of some matrices together, with one pass over each for the gradient."""

    @staticmethod
    def forward(context: Any, *matrices: Tensor) -> tuple[Tensor, Tensor]:
        count = sum(map(len, matrices))
        mean = torch.stack([x.sum(0) for x in matrices]).sum(0) / count
        variance = torch.stack([(x - mean).square_().sum(0) for x in matrices]).sum(0) / count
        context.save_for_backward(mean, *matrices)
        return mean, variance

    @staticmethod
    def backward(context: Any, g_mean: Tensor, g_variance: Tensor) -> tuple[Tensor, ...]:
        mean, *matrices = context.saved_tensors
        count = sum(map(len, matrices))
        slope = g_variance * (2 / count)
        start = g_mean / count - mean * slope
        return tuple(torch.addcmul(start, x, slope) for x in matrices)


def _total(parts: list[Tensor]) -> Tensor:
    total = parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)
    return sum_of_processes(total)


def _all(count: int, like: Tensor) -> float:
    if not several():
        return float(count)
    return float(sum_of_processes(torch.tensor(float(count), device=like.device)))
