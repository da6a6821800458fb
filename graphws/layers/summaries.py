"""Summaries of features: tensors pooled over the indices that do not stand at a key."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from graphws.layers.features import Features, Prologue
from graphws.layers.fused import edges
from graphws.layers.fused.products import Rows
from graphws.layers.pattern import Slot
from graphws.layers.plan import PooledSlot
from graphws.layers.schedule import KEPT, EdgeReading, SummaryName
from graphws.pooling import FixedPooling


def module_for(learned: nn.ModuleDict, name: str | None) -> nn.Module | None:
    """The module of that name, None for no name: the slot is not pooled, or by a fixed pooling."""
    return None if name is None else learned[name]


_NO_PROLOGUE = Prologue()


def _letters(slot: Slot) -> str:
    return "".join(chr(ord("a") + block) for block in slot.pattern)


class Summaries:
    """Every summary of one set of features, each computed once, coarse ones from finer ones where they can be.

    Args:
        features: The features.
        readings: The tensors to read by a kernel; all others are read by plain operations.
    """

    def __init__(self, features: Features, readings: Mapping[str, EdgeReading] | None = None) -> None:
        self.features = features
        self._readings = readings or {}
        self._handles: dict[str, edges.Handle] = {}
        self._settled: dict[str, Tensor] = {}
        self._known: dict[SummaryName, Tensor] = {}

    def get(self, source: PooledSlot, learned: nn.Module | None = None) -> Tensor:
        """The summary at the slot's key: (batch, *key, channels); by a module where the slot's pooling is learned."""
        slot = source.slot
        if learned is not None:
            whole = self._restricted(slot)
            axes = tuple(1 + sorted(set(slot.pattern)).index(block) for block in slot.pooled)
            summary: Tensor = learned(whole, axes)
        else:
            if slot.parameter in self._readings:
                self.handle(slot.parameter)
            summary = self._pooled(source, frozenset(slot.kept))
        place = sorted(slot.kept)
        order = [place.index(block) + 1 for block in slot.kept]
        return summary if order == sorted(order) else summary.permute(0, *order, summary.ndim - 1)

    def rows(self, source: PooledSlot) -> Rows | None:
        """The source as rows that still await the features' prologue, where nothing has to be pooled before it."""
        slot = source.slot
        if slot.pooled or slot.merges:
            return None
        raw, prologue = self.features.tensors[slot.parameter], self.features.prologue
        order = [slot.pattern.index(block) + 1 for block in slot.kept]
        raw = raw if order == sorted(order) else raw.permute(0, *order, raw.ndim - 1)
        if prologue is None:
            return Rows(raw)
        return Rows(raw, True, prologue.scale.get(slot.parameter), prologue.shift.get(slot.parameter))

    def provide(self, name: SummaryName, summary: Tensor) -> None:
        """Takes a summary that was computed elsewhere."""
        self._known[name] = summary

    def handle(self, parameter: str) -> edges.Handle | None:
        """What stands for a tensor that a kernel reads; None for all others."""
        reading = self._readings.get(parameter)
        if reading is not None and parameter not in self._handles:
            prologue = self.features.prologue or _NO_PROLOGUE
            scale, shift = prologue.scale.get(parameter), prologue.shift.get(parameter)
            raw = self.features.tensors[parameter]
            handle, *read = edges.read(raw, scale, shift, prologue.activation, reading.pool, reading.keeps)
            self._handles[parameter] = handle
            for kept, summary in zip(KEPT, read, strict=True):
                if summary is not None:
                    self._known[SummaryName(parameter, (0, 1), kept, reading.pool)] = summary
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

    def _pooled(self, source: PooledSlot, kept: frozenset[int]) -> Tensor:
        """One axis for each kept block, in ascending order."""
        slot, pooling = source.slot, source.pooling
        blocks = sorted(set(slot.pattern))
        if len(kept) == len(blocks):
            return self._restricted(slot)
        name = SummaryName(slot.parameter, slot.pattern, kept, source.pool)
        if name not in self._known:
            assert isinstance(pooling, FixedPooling), "a learned one has a module, and a slot that is pooled has one"
            gone = [block for block in blocks if block not in kept]
            # A pooling that nests goes axis by axis, the last first: `graphws.layers.schedule` counts on it.
            now = gone[:1] if pooling.nests else gone
            before = sorted(kept.union(now))
            finer = self._pooled(source, frozenset(before))
            self._known[name] = pooling.pool(finer, tuple(1 + before.index(block) for block in now))
        return self._known[name]
