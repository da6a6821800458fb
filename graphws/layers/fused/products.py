"""The fast path on CPUs for what meets at a key: rows side by side, one product, and what coarser keys send.

* `stack`: settles the tensors and summaries of a key straight into one matrix of rows, and pools that matrix, so that
  the next coarser key finds its summaries in one;
* `send`: rows @ matrix + what the network level sends, with the moments for the batch norm that follows.

The stacked rows are stored, as the product's gradient needs them; what a prologue leads from to them is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from graphws.layers.activations import POINTWISE
from graphws.layers.derivatives import alias, replayed
from graphws.layers.features import Moments
from graphws.pooling import FixedPooling, fixed_pooling


@dataclass(frozen=True, eq=False)
class Rows:
    """A group of rows.

    Args:
        tensor: (batch, *key, channels).
        awaiting: Whether scale, shift and activation are still to be done.
        scale: A factor for each channel, or None.
        shift: An offset for each channel, or None.
    """

    tensor: Tensor
    awaiting: bool = False
    scale: Tensor | None = None
    shift: Tensor | None = None


def stack(groups: Sequence[Rows], activation: str, pool: str | None = None) -> tuple[Tensor, Tensor | None]:
    """The groups side by side, and their summary over the key if one is wanted.

    Args:
        groups: The groups of rows, of one key.
        activation: What is still to be done to those that await it.
        pool: The word of a fixed pooling over the key, which then has one axis; None for no summary.

    Returns:
        tuple[Tensor, Tensor | None]: (batch, *key, channels of all) and (batch, channels of all).
    """
    operands = [x for group in groups for x in (group.tensor, group.scale, group.shift)]
    rows, summary = _Stack.apply(activation, fixed_pooling(pool), [group.awaiting for group in groups], *operands)
    return rows, summary


def send(
    rows: Tensor, matrix: Tensor, coarse: Tensor | None = None, moments: bool = False
) -> tuple[Tensor, Moments | None]:
    """rows @ matrix + coarse.

    Args:
        rows: (batch, *key, channels); no other function may read it.
        matrix: (channels, new channels).
        coarse: (batch or 1, new channels), or None.
        moments: Whether to take the moments of the result.
    """
    out, mean, variance = _Send.apply(rows, matrix, coarse, moments)
    return out, Moments(mean, variance, out.shape[:-1].numel()) if moments else None


def _replay_stack(ctx: Any) -> tuple[list[Tensor | None], list[Tensor | None]]:
    """What `_Stack` stands for.  Groups that await nothing are parts of the rows, and are read from there."""
    rows, _, *saved = ctx.saved_tensors
    count, function = len(ctx.widths), POINTWISE[ctx.activation].function
    inputs: list[Tensor | None] = [None, None, None]
    groups = []
    for k, part in enumerate(alias(rows).split_with_sizes(ctx.widths, -1)):
        if not ctx.awaiting[k]:
            inputs += [part, None, None]
            groups.append(part)
            continue
        x, scale, shift = (None if y is None else alias(y) for y in saved[k::count])
        assert x is not None
        inputs += [x, scale, shift]
        groups.append(function(x if scale is None or shift is None else torch.addcmul(shift, x, scale)))
    whole = torch.cat(groups, -1)
    return inputs, [whole, None if ctx.pooling is None else ctx.pooling.pool(whole, (1,))]


def _replay_send(ctx: Any) -> tuple[list[Tensor | None], list[Tensor | None]]:
    """What `_Send` stands for."""
    rows, matrix = (alias(x) for x in ctx.saved_tensors[:2])
    coarse = ctx.saved_tensors[2]
    out = rows @ matrix
    if coarse is not None:
        coarse = alias(coarse)
        out = out + coarse.view(-1, *[1] * (rows.ndim - 2), coarse.shape[-1])
    mean = variance = None
    if ctx.moments:
        flat = out.flatten(0, -2)
        mean = flat.mean(0)
        variance = (flat - mean).square().mean(0)
    return [rows, matrix, coarse, None], [out, mean, variance]


class _Stack(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, activation: str, pooling: FixedPooling | None, awaiting: list[bool], *operands: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        tensors, scales, shifts = operands[::3], operands[1::3], operands[2::3]
        widths = [x.shape[-1] for x in tensors if x is not None]
        first, kernel = tensors[0], POINTWISE[activation]
        assert first is not None
        rows = first.new_empty(*first.shape[:-1], sum(widths))
        parts = rows.split_with_sizes(widths, -1)
        for part, x, scale, shift, waits in zip(parts, tensors, scales, shifts, awaiting, strict=True):
            if waits and scale is not None:
                torch.addcmul(shift, x, scale, out=part)  # type: ignore[arg-type]
                kernel.write(part, part)
            elif waits:
                kernel.write(x, part)  # type: ignore[arg-type]
            else:
                part.copy_(x)  # type: ignore[arg-type]
        summary = None if pooling is None else pooling.summarise(rows.unsqueeze(2), 1).squeeze(1)
        ctx.activation, ctx.pooling, ctx.awaiting, ctx.widths = activation, pooling, awaiting, widths
        # Tensors that await nothing are not needed again.
        kept = [x if waits else None for x, waits in zip(tensors, awaiting, strict=True)]
        ctx.save_for_backward(rows, summary, *kept, *scales, *shifts)
        return rows, summary

    @staticmethod
    @replayed(_replay_stack)
    def backward(ctx: Any, g_rows: Tensor, g_summary: Tensor | None) -> tuple[Any, ...]:
        rows, summary, *saved = ctx.saved_tensors
        count, kernel = len(ctx.widths), POINTWISE[ctx.activation]
        tensors, scales, shifts = saved[:count], saved[count : 2 * count], saved[2 * count :]
        # `send` alone reads the rows, and makes the gradient's memory for this purpose; so does `alias`.
        if summary is not None and g_summary is not None:
            g_rows = g_rows.contiguous()
            seen, room = g_rows.unsqueeze(2), torch.empty_like(rows).unsqueeze(2)
            ctx.pooling.add_gradient(seen, rows.unsqueeze(2), 1, summary.unsqueeze(1), g_summary.unsqueeze(1), room)
        gradients: list[Tensor | None] = []
        groups = zip(g_rows.split_with_sizes(ctx.widths, -1), rows.split_with_sizes(ctx.widths, -1), strict=True)
        for k, (gradient, settled) in enumerate(groups):
            x, scale, shift = tensors[k], scales[k], shifts[k]
            g_scale = g_shift = None
            if ctx.awaiting[k]:
                if kernel.from_input:
                    settled = x if scale is None else torch.addcmul(shift, x, scale)
                kernel.slope(gradient, settled)
            if ctx.awaiting[k] and scale is not None:
                axes = tuple(range(gradient.ndim - 1))
                g_shift, g_scale = gradient.sum(axes), (gradient * x).sum(axes)
                gradient.mul_(scale)
            gradients += [gradient, g_scale, g_shift]
        return None, None, None, *gradients


class _Send(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, matrix: Tensor, coarse: Tensor | None, moments: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        flat = rows.view(-1, rows.shape[-1])
        if coarse is None:
            out = torch.mm(flat, matrix)
        elif coarse.shape[0] == 1:
            out = torch.addmm(coarse, flat, matrix)
        else:
            out = rows.new_empty(coarse.shape[0], flat.shape[0] // max(coarse.shape[0], 1), matrix.shape[1])
            out.copy_(coarse.unsqueeze(1))
            out = out.view(flat.shape[0], -1).addmm_(flat, matrix)
        mean = variance = rows.new_empty(0)
        if moments:
            mean = out.mean(0)
            variance = (out - mean).square_().mean(0)
        ctx.moments = moments
        ctx.save_for_backward(rows, matrix, coarse, *([out, mean] if moments else []))
        # A view made inside would tie the result to its own gradient's bookkeeping.
        return out.view(*rows.shape[:-1], -1), mean, variance

    @staticmethod
    @replayed(_replay_send)
    def backward(ctx: Any, g_out: Tensor, g_mean: Tensor, g_variance: Tensor) -> tuple[Tensor | None, ...]:
        rows, matrix, coarse, *saved = ctx.saved_tensors
        flat = rows.view(-1, rows.shape[-1])
        gradient = g_out.reshape(flat.shape[0], -1)
        if ctx.moments:
            out, mean = saved
            slope = g_variance * (2 / flat.shape[0])
            gradient = torch.addcmul(g_mean / flat.shape[0] - slope * mean, out, slope).add_(gradient)
        g_coarse = None
        if coarse is not None and coarse.shape[0] == 1:
            g_coarse = gradient.sum(0, keepdim=True)
        elif coarse is not None:
            g_coarse = gradient.view(coarse.shape[0], -1, gradient.shape[1]).sum(1)
        return (gradient @ matrix.t()).view(rows.shape), flat.t() @ gradient, g_coarse, None
