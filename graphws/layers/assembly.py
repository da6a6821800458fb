"""Assembly: what all keys send to one tensor, broadcast and added with as few passes over large tensors as possible.

Coarse contributions are first added to a finer one that contains their key, so a network-level term costs a pass over a
neuron-level tensor and never one over an edge-level tensor.  What is left, at most one contribution for each largest
key, is broadcast and added once; an entrywise product is accumulated into that sum in place.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from graphws.graph import Layout
from graphws.layers.derivatives import transformed
from graphws.layers.features import Moments
from graphws.layers.fused import edges
from graphws.layers.pattern import Slot


@dataclass
class Assembly:
    """Collects contributions to one tensor.

    Args:
        layout: The tensor's layout.
        channels: Its folded channels.
    """

    layout: Layout
    channels: int
    parts: dict[tuple[int, ...], dict[frozenset[int], Tensor]] = field(default_factory=dict)
    entrywise: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    kernel: tuple[edges.Handle, Tensor] | None = None
    moments: Moments | None = None

    def take(self, slot: Slot) -> Tensor | None:
        """The contribution (batch, channels) of the network level, if there is one: the caller hosts it at `slot`."""
        return self.parts.get(slot.pattern, {}).pop(frozenset(), None)

    def add(self, slot: Slot, value: Tensor, moments: Moments | None = None) -> None:
        """A contribution (batch, *key, channels) at a target slot, with its moments if they are known."""
        place = sorted(slot.kept)
        order = [slot.kept.index(block) + 1 for block in place]
        value = value if order == sorted(order) else value.permute(0, *order, value.ndim - 1)
        parts = self.parts.setdefault(slot.pattern, {})
        kept = frozenset(slot.kept)
        self.moments = None if slot.pooled or slot.merges or kept in parts else moments
        parts[kept] = parts[kept] + value if kept in parts else value

    def add_entrywise(self, slot: Slot, features: Tensor, matrix: Tensor) -> None:
        """A contribution features @ matrix at a slot with nothing pooled, not yet computed."""
        order = [slot.kept.index(block) + 1 for block in sorted(slot.kept)]
        self.entrywise.append((features.permute(0, *order, features.ndim - 1), matrix))

    def write_by_kernel(self, handle: edges.Handle, matrix: Tensor) -> None:
        """A contribution that a kernel writes, with what neuron-level keys send."""
        self.kernel = (handle, matrix)

    def result(self, like: Tensor, moments: bool = False) -> Tensor:
        """The sum of all contributions; zeros (of the kind of `like`) where there are none.

        Where a kernel writes all of it, it takes the moments, too, if they are wanted; moments of a contribution that
        is all there is stay.
        """
        batch, sizes = like.shape[0], self.layout.sizes
        whole: Tensor | None = None
        unmerged = tuple(range(len(sizes)))
        alone = self.kernel is None and not self.entrywise and len(self.parts) == 1 and self.parts.get(unmerged, {})
        if alone and len(alone) == 1 and frozenset(unmerged) in alone:
            return alone[frozenset(unmerged)].expand(batch, *sizes, self.channels)
        self.moments = None
        if self.kernel is not None:
            parts = _hosted(self.parts.pop(unmerged, {}))
            left, right = parts.pop(frozenset({0}), None), parts.pop(frozenset({1}), None)
            if left is None and right is None and frozenset() in parts:
                left = parts.pop(frozenset()).unsqueeze(1).expand(-1, sizes[0], -1)
            last = not (parts or self.parts or self.entrywise)
            whole, self.moments = edges.write(*self.kernel, left, right, moments and last)
            if parts:
                whole = whole + _spread(parts, unmerged)
        elif unmerged in self.parts:
            whole = _spread(self.parts[unmerged], unmerged)
        for features, matrix in self.entrywise:
            whole = _accumulate(whole, features, matrix, (batch, *sizes, self.channels))
        if whole is None:
            whole = like.new_zeros(())
        whole = whole.expand(batch, *sizes, self.channels)
        for blocks, parts in self.parts.items():
            if blocks != unmerged:
                whole = _write_diagonal(whole, blocks, _spread(parts, tuple(sorted(set(blocks)))))
        return whole


def _hosted(parts: dict[frozenset[int], Tensor]) -> dict[frozenset[int], Tensor]:
    """The contributions, coarse ones added to a finer one wherever one contains their key."""
    hosted = dict(sorted(parts.items(), key=lambda item: len(item[0])))
    for kept in list(hosted):
        hosts = [other for other in hosted if kept < other]
        if hosts:
            host = min(hosts, key=lambda other: hosted[other].numel())
            hosted[host] = hosted[host] + _view(hosted.pop(kept), kept, tuple(sorted(host)))
    return hosted


def _spread(parts: dict[frozenset[int], Tensor], blocks: tuple[int, ...]) -> Tensor:
    """The sum of contributions, broadcast to all blocks (with axes of length 1 where none reaches)."""
    total: Tensor | None = None
    for kept, value in _hosted(parts).items():
        value = _view(value, kept, blocks)
        total = value if total is None else total + value
    assert total is not None
    return total


def _view(value: Tensor, kept: frozenset[int], blocks: tuple[int, ...]) -> Tensor:
    """(batch, *kept, channels) with an axis of length 1 for every other block."""
    for position, block in enumerate(blocks):
        if block not in kept:
            value = value.unsqueeze(1 + position)
    return value


def _accumulate(whole: Tensor | None, features: Tensor, matrix: Tensor, shape: tuple[int, ...]) -> Tensor:
    """whole + features @ matrix, in place where `whole` is a fresh tensor of full shape."""
    rows = features.reshape(-1, features.shape[-1])
    if whole is None:
        return (rows @ matrix).reshape(shape)
    if (
        not transformed()
        and whole.shape == shape
        and whole.is_contiguous()
        and whole._base is None
        and not whole.is_leaf
    ):
        whole.view(-1, shape[-1]).addmm_(rows, matrix)
        return whole
    return whole + (rows @ matrix).reshape(shape)


def _write_diagonal(whole: Tensor, blocks: tuple[int, ...], value: Tensor) -> Tensor:
    """whole with `value` (batch, *blocks, channels) added where the index axes of each block are equal."""
    if transformed():
        return whole + _diagonal(value, blocks, whole.shape)
    out = whole.clone(memory_format=torch.contiguous_format)
    sizes, strides = [out.shape[0]], [out.stride(0)]
    for block in sorted(set(blocks)):
        positions = [k for k, b in enumerate(blocks) if b == block]
        sizes.append(out.shape[1 + positions[0]])
        strides.append(sum(out.stride(1 + k) for k in positions))
    diagonal = out.as_strided([*sizes, out.shape[-1]], [*strides, out.stride(-1)])
    diagonal.add_(value)
    return out


def _diagonal(value: Tensor, blocks: tuple[int, ...], shape: torch.Size) -> Tensor:
    """`value` (batch, *blocks, channels) where the index axes of each block are equal, zeros elsewhere."""
    known = sorted(set(blocks))
    found = value.permute(0, *(1 + known.index(block) for block in dict.fromkeys(blocks)), value.ndim - 1)
    first = [blocks.index(block) for block in blocks]
    found = _view(found, frozenset(first), tuple(range(len(blocks))))
    for position, earlier in enumerate(first):
        if position != earlier:
            sizes = [1] * len(blocks)
            sizes[position] = sizes[earlier] = shape[1 + position]
            found = found * torch.eye(shape[1 + position], dtype=value.dtype, device=value.device).view(*sizes, 1)
    return found
