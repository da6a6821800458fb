"""Pooling: summaries of tensors over the indices that do not stand at a key.

``mean``, ``max`` and ``sum`` (a mean times the number of entries, so that float32 keeps its digits) need no parameters.
``attention`` weighs entries by a softmax of learned scores, with its own scores for every slot and several heads that
each weigh their share of the channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from graphws.errors import UsageError
from graphws.layers import kernels
from graphws.layers.features import Features, Prologue
from graphws.layers.pattern import Slot
from graphws.layers.plan import Source
from graphws.layers.stacks import Piece
from graphws.layers.steps import EdgeReading, Place
from graphws.messages import Pool


def pool(tensor: Tensor, axes: tuple[int, ...], mode: Pool) -> Tensor:
    """Mean, max or sum over some axes."""
    if mode == "max":
        return tensor.amax(axes)
    mean = tensor.mean(axes)
    return mean * math.prod(tensor.shape[axis] for axis in axes) if mode == "sum" else mean


class AttentionPool(nn.Module):
    """Weighs entries by softmax(x·q), a score a head; heads share the channels out between them.

    Shapes:
        (batch, *index axes, channels) -> the same without the pooled axes.

    Raises:
        UsageError: Where heads do not divide channels.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        if channels % heads:
            raise UsageError(f"attention pooling: {heads} heads do not divide {channels} channels")
        self.heads = heads
        self.score = nn.Linear(channels, heads, bias=False)

    def forward(self, x: Tensor, axes: tuple[int, ...]) -> Tensor:
        """Pools over `axes`, which must come before the channels."""
        score = self.score(x)
        moved = torch.movedim(score, axes, tuple(range(-len(axes) - 1, -1)))
        weight = moved.flatten(-len(axes) - 1, -2).softmax(-2).reshape(moved.shape)
        weight = torch.movedim(weight, tuple(range(-len(axes) - 1, -1)), axes)
        heads = x.unflatten(-1, (self.heads, -1))
        pooled: Tensor = (heads * weight.unsqueeze(-1)).sum(axes).flatten(-2)
        return pooled


def attention_for(attentions: nn.ModuleDict, name: str | None) -> AttentionPool | None:
    """The attention pooling of that name, if there is one."""
    module = attentions[name] if name is not None and name in attentions else None
    assert module is None or isinstance(module, AttentionPool)
    return module


_NO_PROLOGUE = Prologue()


def _letters(slot: Slot) -> str:
    return "".join(chr(ord("a") + block) for block in slot.blocks)


class Summaries:
    """Every summary of one set of features, each computed once, coarse ones from finer ones where they can be.

    Args:
        features: The features.
        readings: The tensors to read by a kernel; all others are read by plain operations.
    """

    def __init__(self, features: Features, readings: Mapping[str, EdgeReading] | None = None) -> None:
        self.features = features
        self._readings = readings or {}
        self._handles: dict[str, kernels.Handle] = {}
        self._settled: dict[str, Tensor] = {}
        self._known: dict[Place, Tensor] = {}

    def get(self, source: Source, attention: AttentionPool | None = None) -> Tensor:
        """The summary at the slot's key: (batch, *key, channels)."""
        slot = source.slot
        if attention is not None and slot.pooled:
            whole = self._restricted(slot)
            axes = tuple(1 + sorted(set(slot.blocks)).index(block) for block in slot.pooled)
            summary: Tensor = attention(whole, axes)
        else:
            if slot.parameter in self._readings:
                self.handle(slot.parameter)
            summary = self._pooled(slot, frozenset(slot.kept), source.pool)
        place = sorted(slot.kept)
        order = [place.index(block) + 1 for block in slot.kept]
        return summary if order == sorted(order) else summary.permute(0, *order, summary.ndim - 1)

    def piece(self, source: Source) -> Piece | None:
        """The source as rows that still await the features' prologue, where nothing has to be pooled before it."""
        slot = source.slot
        if slot.pooled or slot.merges:
            return None
        raw, prologue = self.features.tensors[slot.parameter], self.features.prologue
        order = [slot.blocks.index(block) + 1 for block in slot.kept]
        raw = raw if order == sorted(order) else raw.permute(0, *order, raw.ndim - 1)
        if prologue is None:
            return Piece(raw)
        return Piece(raw, True, prologue.scale.get(slot.parameter), prologue.shift.get(slot.parameter))

    def provide(self, place: Place, summary: Tensor) -> None:
        """Takes a summary that was computed elsewhere."""
        self._known[place] = summary

    def handle(self, parameter: str) -> kernels.Handle | None:
        """What stands for a tensor that a kernel reads; None for all others."""
        reading = self._readings.get(parameter)
        if reading is not None and parameter not in self._handles:
            prologue = self.features.prologue or _NO_PROLOGUE
            scale, shift = prologue.scale.get(parameter), prologue.shift.get(parameter)
            raw = self.features.tensors[parameter]
            handle, *kept = kernels.read(raw, scale, shift, prologue.activation, reading.pool, reading.axes)
            self._handles[parameter] = handle
            for axis, summary in enumerate(kept):
                if summary is not None:
                    self._known[parameter, (0, 1), frozenset({axis}), reading.pool] = summary
        return self._handles.get(parameter)

    def _restricted(self, slot: Slot) -> Tensor:
        """The tensor on its pattern: one axis a block."""
        name = slot.parameter
        if name not in self._settled:
            self._settled[name] = self.features[name]
        tensor = self._settled[name]
        if not slot.merges:
            return tensor
        letters = _letters(slot)
        return torch.einsum(f"z{letters}y->z{''.join(sorted(set(letters)))}y", tensor)

    def _pooled(self, slot: Slot, kept: frozenset[int], mode: Pool) -> Tensor:
        """One axis for each kept block, in ascending order."""
        blocks = sorted(set(slot.blocks))
        if len(kept) == len(blocks):
            return self._restricted(slot)
        name = (slot.parameter, slot.blocks, kept, mode)
        if name not in self._known:
            # The last axes go first: `graphws.layers.steps` counts on it.
            block = next(b for b in blocks if b not in kept)
            finer = self._pooled(slot, kept | {block}, mode)
            self._known[name] = pool(finer, (1 + sorted(kept | {block}).index(block),), mode)
        return self._known[name]
