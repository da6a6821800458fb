"""A slow layer to compare with: every block on its own, as paper D writes them.

An `EquivariantLinear` computes each summary once and multiplies all that meet at a key in one product.  The reference
has the same parameters and takes the other way: for every ordered pair of tensors and every basis map between them it
pools the source afresh, multiplies by that pair's own small matrix, broadcasts, and adds.  That is the definition
(lemma E.1 of paper D) with nothing shared, so it takes a number of operations that grows with the square of the number
of tensors; values and gradients are those of the layer up to rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphws.graph import Layout
from graphws.layers import EquivariantLinear, Features
from graphws.layers.pattern import Slot
from graphws.layers.plan import PooledSlot
from graphws.layers.schedule import ScheduledProduct
from graphws.layers.summaries import module_for
from graphws.pooling import FixedPooling


class ReferenceLinear(nn.Module):
    """The same map as a layer, block by block.

    Args:
        layer: The layer; its parameters are used, not copied.

    Shapes:
        Those of the layer.
    """

    def __init__(self, layer: EquivariantLinear) -> None:
        super().__init__()
        self.layer = layer
        self.in_channels, self.out_channels = layer.in_channels, layer.out_channels

    def forward(self, features: Features, moments: bool = False) -> Features:
        """Applies the map; `moments` are never taken."""
        features = features.settled
        schedule = self.layer.schedule(features.graph)
        out = {
            name: features[name].new_zeros(features.batch, *layout.sizes, schedule.channels[name])
            for name, layout in schedule.layouts.items()
        }
        for scheduled in schedule.products:
            for row in range(len(scheduled.sources)):
                for column, targets in enumerate(scheduled.product.targets):
                    matrix = self._block(scheduled, row, column)
                    for source, module in scheduled.sources[row]:
                        for target in targets:
                            summary = self._summary(features, source, module) @ matrix / len(scheduled.sources[row])
                            name = target.parameter
                            out[name] = out[name] + spread(summary, target, schedule.layouts[name])
        for name, biases in schedule.biases.items():
            for slot, bias in biases:
                vector = self.layer.biases[bias].expand(features.batch, -1)
                out[name] = out[name] + spread(vector, slot, schedule.layouts[name])
        return features.replace(out, self.out_channels)

    def _block(self, scheduled: ScheduledProduct, row: int, column: int) -> Tensor:
        """The part of the product's matrix that leads from one group of sources to one group of targets."""
        product = scheduled.product
        rows = row if product.rows is None else product.rows[row]
        columns = column if product.columns is None else product.columns[column]
        matrix: Tensor = self.layer.matrices[product.matrix]
        block: Tensor = matrix.split(scheduled.rows, dim=0)[rows].split(scheduled.columns, dim=1)[columns]
        return block

    def _summary(self, features: Features, source: PooledSlot, name: str | None) -> Tensor:
        """(batch, *key, channels): the source on its pattern, with everything pooled that is not at the key."""
        slot = source.slot
        letters = [chr(ord("a") + block) for block in slot.pattern]
        distinct = sorted(set(letters))
        whole = torch.einsum(f"z{''.join(letters)}y->z{''.join(distinct)}y", features[slot.parameter])
        pooled: Tensor
        axes = tuple(1 + sorted(set(slot.pattern)).index(block) for block in slot.pooled)
        module = module_for(self.layer.attentions, name)
        if not axes:
            pooled = whole
        elif module is not None:
            pooled = module(whole, axes)
        else:
            assert isinstance(source.pooling, FixedPooling)
            pooled = source.pooling.pool(whole, axes)
        place = sorted(slot.kept)
        return pooled.permute(0, *(1 + place.index(block) for block in slot.kept), pooled.ndim - 1)


def spread(value: Tensor, slot: Slot, layout: Layout) -> Tensor:
    """(batch, *key, channels) broadcast to (batch, *index axes, channels), and zero off the slot's diagonals."""
    names = {block: chr(ord("a") + k) for k, block in enumerate(slot.kept)}
    terms, factors, axes = [f"z{''.join(names.values())}y"], [value], ""
    first: dict[int, str] = {}
    for position, block in enumerate(slot.pattern):
        letter = chr(ord("A") + position)
        axes += letter
        size = layout.sizes[position]
        if block in first:
            terms.append(first[block] + letter)
            factors.append(torch.eye(size, dtype=value.dtype, device=value.device))
            continue
        first[block] = letter
        if block in names:
            terms[0] = terms[0].replace(names[block], letter)
        else:
            terms.append(letter)
            factors.append(value.new_ones(size))
    full: Tensor = torch.einsum(f"{','.join(terms)}->z{axes}y", *factors)
    return full
