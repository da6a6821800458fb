"""The fast path on CPUs for what meets at a key: rows side by side, one product, and what coarser keys send.

* `stack`: settles the tensors and summaries of a key straight into one matrix of rows, and pools that matrix, so that
  the next coarser key finds its summaries in one;
* `send`: rows @ matrix + what the network level sends, with the moments for the batch norm that follows.

The stacked rows are stored, as the product's gradient needs them; what a prologue leads from to them is not.  As in
`graphws.layers.kernels`, a maximum's gradient is shared by the entries that reach it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from graphws.layers.activations import KERNELS
from graphws.layers.features import Moments
from graphws.messages import Pool


@dataclass(frozen=True, eq=False)
class Piece:
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


def stack(pieces: Sequence[Piece], activation: str, pool: Pool | None = None) -> tuple[Tensor, Tensor | None]:
    """The pieces side by side, and their summary over the key if one is wanted.

    Args:
        pieces: The groups of rows, of one key.
        activation: What is still to be done to those that await it.
        pool: ``mean``, ``max`` or ``sum`` over the key, which then has one axis; None for no summary.

    Returns:
        tuple[Tensor, Tensor | None]: (batch, *key, channels of all) and (batch, channels of all).
    """
    operands = [x for piece in pieces for x in (piece.tensor, piece.scale, piece.shift)]
    rows, summary = _Stack.apply(activation, pool, [piece.awaiting for piece in pieces], *operands)
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


class _Stack(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, activation: str, pool: Pool | None, awaiting: list[bool], *operands: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        tensors, scales, shifts = operands[::3], operands[1::3], operands[2::3]
        widths = [x.shape[-1] for x in tensors if x is not None]
        first, kernel = tensors[0], KERNELS[activation]
        assert first is not None
        rows = first.new_empty(*first.shape[:-1], sum(widths))
        places = rows.split_with_sizes(widths, -1)
        for place, x, scale, shift, waits in zip(places, tensors, scales, shifts, awaiting, strict=True):
            if waits and scale is not None:
                torch.addcmul(shift, x, scale, out=place)  # type: ignore[arg-type]
                kernel.write(place, place)
            elif waits:
                kernel.write(x, place)  # type: ignore[arg-type]
            else:
                place.copy_(x)  # type: ignore[arg-type]
        summary = None
        if pool is not None:
            summary = rows.amax(1) if pool == "max" else rows.sum(1)
            if pool == "mean":
                summary.div_(rows.shape[1])
        ctx.activation, ctx.pool, ctx.awaiting, ctx.widths = activation, pool, awaiting, widths
        # Tensors that await nothing are not needed again.
        kept = [x if waits and (scales[k] is not None or kernel.from_input) else None
                for k, (x, waits) in enumerate(zip(tensors, awaiting, strict=True))]  # fmt: skip
        ctx.save_for_backward(rows, summary, *kept, *scales, *shifts)
        return rows, summary

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g_rows: Tensor, g_summary: Tensor | None) -> tuple[Any, ...]:
        rows, summary, *saved = ctx.saved_tensors
        count, kernel = len(ctx.widths), KERNELS[ctx.activation]
        tensors, scales, shifts = saved[:count], saved[count : 2 * count], saved[2 * count :]
        # `send` alone reads the rows, and makes the gradient's memory for this purpose.
        if ctx.pool == "max" and g_summary is not None:
            ties = torch.eq(rows, summary.unsqueeze(1), out=torch.empty_like(rows))
            share = g_summary / ties.sum(1).clamp_(min=1)
            g_rows.addcmul_(ties, share.unsqueeze(1))
        elif ctx.pool is not None and g_summary is not None:
            share = g_summary / rows.shape[1] if ctx.pool == "mean" else g_summary
            g_rows.add_(share.unsqueeze(1))
        gradients: list[Tensor | None] = []
        pieces = zip(g_rows.split_with_sizes(ctx.widths, -1), rows.split_with_sizes(ctx.widths, -1), strict=True)
        for k, (gradient, settled) in enumerate(pieces):
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
    @once_differentiable
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
