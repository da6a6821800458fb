"""The fast path on CPUs for one pattern of keys: an edge-level tensor with its summaries.

Such a tensor z (batch, n, m, channels) has two index axes.  A layer reads it as a = activation(scale * z + shift): it
pools a over either axis (over both at once where the pooling does not nest), and later writes

    out[b, i, j] = left[b, i] + right[b, j] + a[b, i, j] @ matrix,

where left and right are what the two neuron-level keys send.  Whatever graph the tensor comes from, these are the only
two places where work is proportional to its size, so they are all that has kernels:

* `read`: z to a *handle* and the summaries, by the forward of their `graphws.pooling.FixedPooling`;
* `write`: the handle to out, with the moments of out for the batch norm that follows.

Both go over the batch in chunks that stay in the cache (`graphws.layers.fused.chunks`), and neither stores a: the
handle is z's own memory and only stands for a, and backward computes a again.  A gradient given to the handle is
therefore one with respect to a; `read` takes it on to z together with those of the summaries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from graphws.layers.activations import ACTIVATIONS
from graphws.layers.derivatives import alias, replayed, transformed
from graphws.layers.features import Moments
from graphws.layers.fused.chunks import Activated, chunk_length, parts
from graphws.layers.fused.lanes import grouping, repeated, row_sum, summed, total, widened
from graphws.pooling import FixedPooling, fixed_pooling


@dataclass(frozen=True, eq=False)
class Handle:
    """Stands for the activated tensor, without storing it.

    Args:
        raw: Memory of the tensor before scale, shift and activation.
        scale: A factor for each channel, or None.
        shift: An offset for each channel, or None.
        activation: One of `graphws.layers.ACTIVATIONS`.
    """

    raw: Tensor
    scale: Tensor | None
    shift: Tensor | None
    activation: str


def supported(*tensors: Tensor) -> bool:
    """Whether the kernels take these: on the CPU, in one of single and double precision, in eager mode, not empty.

    Where functions are transformed (`graphws.layers.derivatives`) they take none.
    """
    dtype = tensors[0].dtype
    return (
        dtype in (torch.float32, torch.float64)
        and all(x.is_cpu and x.dtype == dtype and x.numel() > 0 for x in tensors)
        and not torch.compiler.is_compiling()
        and not torch.is_autocast_enabled("cpu")
        and not transformed()
    )


def read(
    z: Tensor,
    scale: Tensor | None,
    shift: Tensor | None,
    activation: str,
    pool: str | None,
    keeps: tuple[bool, bool, bool],
) -> tuple[Handle, Tensor | None, Tensor | None, Tensor | None]:
    """A handle for activation(scale * z + shift), and its summaries.

    Args:
        z: (batch, n, m, channels).
        scale: (channels), or None.
        shift: (channels), or None.
        activation: One of `graphws.layers.ACTIVATIONS`.
        pool: The word of a fixed pooling; None where no summary is wanted.
        keeps: Whether the summaries that keep the first index axis, the second, and neither are wanted.

    Returns:
        tuple[Handle, Tensor | None, Tensor | None, Tensor | None]: The handle, (batch, n, channels), (batch, m,
        channels) and (batch, channels).
    """
    raw, first, second, neither = _Read.apply(z.contiguous(), scale, shift, activation, fixed_pooling(pool), keeps)
    if scale is not None and shift is not None:
        scale, shift = scale.detach(), shift.detach()
    return Handle(raw, scale, shift, activation), first, second, neither


def write(
    handle: Handle, matrix: Tensor, left: Tensor | None, right: Tensor | None, moments: bool = False
) -> tuple[Tensor, Moments | None]:
    """left[:, i] + right[:, j] + a[:, i, j] @ matrix, and its moments if they are wanted.

    Args:
        handle: Of a (batch, n, m, channels).
        matrix: (channels, new channels).
        left: (batch or 1, n, new channels), or None.
        right: (batch or 1, m, new channels), or None.
        moments: Whether to take the moments.
    """
    out, mean, variance = _Write.apply(
        handle.raw, handle.scale, handle.shift, handle.activation, matrix, left, right, moments
    )
    batch, n, m, _ = out.shape
    return out, Moments(mean, variance, batch * n * m) if moments else None


def _bytes(z: Tensor, channels: int) -> int:
    return z[0, ..., 0].numel() * channels * z.element_size() if z.shape[0] else 1


_AXES = (2, 1, 2)
"""The axis that goes where the first index axis is kept, the second, or neither: there both are taken as one."""


def _seen(x: Tensor, kept: int) -> Tensor:
    """(batch, n, m, channels) as it is summarised: both index axes as one where neither is kept."""
    return x if kept < 2 else x.view(x.shape[0], 1, -1, x.shape[-1])


def _summary_shape(z: Tensor, kept: int) -> tuple[int, ...]:
    batch, n, m, channels = z.shape
    return ((batch, n, channels), (batch, m, channels), (batch, channels))[kept]


def _activated(z: Tensor, scale: Tensor | None, shift: Tensor | None, activation: str) -> Tensor:
    """a, by plain operations."""
    return ACTIVATIONS[activation](z if scale is None or shift is None else torch.addcmul(shift, z, scale))


def _replay_read(ctx: Any) -> tuple[list[Tensor | None], list[Tensor | None]]:
    """What `_Read` stands for: a and its summaries."""
    saved = ctx.saved_tensors
    z, scale, shift = (None if x is None else alias(x) for x in saved[:3])
    a = _activated(z, scale, shift, ctx.activation)  # type: ignore[arg-type]
    axes = ((2,), (1,), (1, 2))
    summaries = [None if x is None else ctx.pooling.pool(a, axes[kept]) for kept, x in enumerate(saved[3:])]
    return [z, scale, shift, None, None, None], [a, *summaries]


def _replay_write(ctx: Any) -> tuple[list[Tensor | None], list[Tensor | None]]:
    """What `_Write` stands for; its first input is the handle, whose gradient is that of a."""
    raw, scale, shift, *saved = ctx.saved_tensors
    with torch.no_grad():
        value = _activated(raw, scale, shift, ctx.activation)
    a = alias(raw, value)
    matrix = alias(saved[0])
    left, right = (None if x is None else alias(x) for x in saved[1:3])
    out = a @ matrix
    if left is not None:
        out = out + left.unsqueeze(2)
    if right is not None:
        out = out + right.unsqueeze(1)
    mean = variance = None
    if ctx.moments:
        mean = out.mean((0, 1, 2))
        variance = (out - mean).square().mean((0, 1, 2))
    return [a, None, None, None, matrix, left, right, None], [out, mean, variance]


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        z: Tensor,
        scale: Tensor | None,
        shift: Tensor | None,
        activation: str,
        pooling: FixedPooling | None,
        keeps: tuple[bool, bool, bool],
    ) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
        length = chunk_length(z.shape[0], _bytes(z, z.shape[-1]))
        found: list[list[Tensor]] = [[], [], []]
        if pooling is not None and any(keeps):
            activated = Activated(z, scale, shift, activation, length)
            for k in range(len(activated.chunks)):
                chunk = activated.chunk(k)
                for kept in range(3):
                    if keeps[kept]:
                        found[kept].append(pooling.summarise(_seen(chunk, kept), _AXES[kept]))
        summaries = [torch.cat(x).view(_summary_shape(z, kept)) if x else None for kept, x in enumerate(found)]
        ctx.activation, ctx.pooling, ctx.length = activation, pooling, length
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(z, scale, shift, *summaries)
        return z, summaries[0], summaries[1], summaries[2]

    @staticmethod
    @replayed(_replay_read)
    def backward(ctx: Any, g_handle: Tensor | None, *g_summaries: Tensor | None) -> tuple[Tensor | None, ...]:
        z, scale, shift, *summaries = ctx.saved_tensors
        channels, length = z.shape[-1], ctx.length
        # Only `write` reads a handle, and it makes the gradient's memory for this purpose; so does `alias`.
        whole = torch.zeros_like(z) if g_handle is None else g_handle.contiguous()
        activated = Activated(z, scale, shift, ctx.activation, length)
        spare = torch.empty_like(activated.chunks[0])
        read = [
            (kept, summary.split(length), g_summary.split(length))
            for kept, (summary, g_summary) in enumerate(zip(summaries, g_summaries, strict=True))
            if summary is not None and g_summary is not None
        ]
        scales, shifts = [], []
        for k, gradient in enumerate(whole.split(length)):
            chunk, room = activated.chunk(k), spare[: gradient.shape[0]]
            for kept, summary, g_summary in read:
                seen = [_seen(x, kept) for x in (gradient, chunk, room)]
                given = [x[k] if kept < 2 else x[k].unsqueeze(1) for x in (summary, g_summary)]
                ctx.pooling.add_gradient(seen[0], seen[1], _AXES[kept], *given, seen[2])
            activated.back(k, gradient)
            if activated.scale is not None:
                shifts.append(row_sum(gradient))
                scales.append(row_sum(torch.mul(gradient, activated.chunks[k], out=room)))
                gradient.view(activated.rows[k].shape).mul_(activated.scale)
        if scale is None:
            return whole, None, None, None, None, None
        return whole, summed(scales, channels), summed(shifts, channels), None, None, None


class _Write(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        z: Tensor,
        scale: Tensor | None,
        shift: Tensor | None,
        activation: str,
        matrix: Tensor,
        left: Tensor | None,
        right: Tensor | None,
        moments: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        batch, n, m, channels = z.shape
        width = matrix.shape[1]
        out = z.new_empty(batch, n, m, width)
        length = chunk_length(batch, _bytes(z, max(channels, width)))
        activated = Activated(z, scale, shift, activation, length)
        product = _Product(matrix, n, m)
        near, sums, squares = z.new_empty(0), [], []
        operands = zip(out.split(length), parts(left, length), parts(right, length), strict=False)
        for k, (chunk, first, second) in enumerate(operands):
            assert chunk is not None
            product(chunk, activated.chunk(k), first, second)
            if moments:
                # Centred at the first chunk's mean, so that the variance keeps its digits far from zero.
                if k == 0:
                    near = widened(row_sum(chunk).view(m, width).sum(0) / (chunk.shape[0] * n * m), m)
                    spare = torch.empty_like(chunk)
                room = spare[: chunk.shape[0]]
                torch.sub(chunk.view(-1, m * width), near, out=room.view(-1, m * width))
                sums.append(row_sum(room))
                squares.append(row_sum(room.square_()))
        mean = variance = near
        if moments:
            count = batch * n * m
            offset = summed(sums, width) / count
            mean, variance = near[:width] + offset, summed(squares, width) / count - offset.square()
        ctx.activation, ctx.length, ctx.moments = activation, length, moments
        ctx.save_for_backward(z, scale, shift, matrix, left, right, *([out, mean] if moments else []))
        return out, mean, variance

    @staticmethod
    @replayed(_replay_write)
    def backward(ctx: Any, g_out: Tensor, g_mean: Tensor, g_variance: Tensor) -> tuple[Tensor | None, ...]:
        z, scale, shift, matrix, left, right, *saved = ctx.saved_tensors
        batch, n, m, channels = z.shape
        width, length = matrix.shape[1], ctx.length
        whole = torch.empty_like(z) if ctx.needs_input_grad[0] else None
        activated = Activated(z, scale, shift, ctx.activation, length)
        if ctx.moments:
            out, mean = saved
            slope = g_variance * (2 / (batch * n * m))
            offset, slope = widened(g_mean / (batch * n * m) - slope * mean, m), widened(slope, m)
            outs = out.view(batch, n, m * width).split(length)
            spare = z.new_empty(length, n, m * width)
        g_matrix, transposed = torch.zeros_like(matrix), matrix.t()
        lefts, rights = [], []
        operands = zip(g_out.contiguous().split(length), parts(whole, length), strict=False)
        for k, (gradient, g_chunk) in enumerate(operands):
            assert gradient is not None
            if ctx.moments:
                rows = spare[: gradient.shape[0]]
                torch.addcmul(offset, outs[k], slope, out=rows)
                gradient = rows.add_(gradient.view(rows.shape)).view(gradient.shape)
            if left is not None:
                lefts.append(total(gradient, 2))
            if right is not None:
                rights.append(total(gradient, 1))
            flat = gradient.view(-1, width)
            g_matrix.addmm_(activated.chunk(k).view(-1, channels).t(), flat)
            if g_chunk is not None:
                torch.mm(flat, transposed, out=g_chunk.view(-1, channels))
        return whole, None, None, None, g_matrix, _joined(lefts, left), _joined(rights, right), None


def _joined(gradients: list[Tensor], value: Tensor | None) -> Tensor | None:
    """The gradient of a contribution, which may be the same for all networks."""
    if value is None:
        return None
    gradient = torch.cat(gradients)
    return gradient.sum(0, keepdim=True) if value.shape[0] == 1 else gradient


class _Product:
    """Writes left + right + chunk @ matrix."""

    def __init__(self, matrix: Tensor, n: int, m: int) -> None:
        width = matrix.shape[1]
        self.matrix, self.group = matrix, grouping(m, width)
        self.rows = (n, m // self.group, self.group * width)
        # Accumulating into few columns is slow; several entries at once make more.
        together = grouping(m, width, 16)
        self.joint = torch.block_diag(*[matrix] * together) if together > 1 else matrix

    def __call__(self, out: Tensor, chunk: Tensor, left: Tensor | None, right: Tensor | None) -> None:
        if left is None and right is None:
            torch.mm(chunk.view(-1, self.matrix.shape[0]), self.matrix, out=out.view(-1, self.matrix.shape[1]))
            return
        wide = out.view(-1, *self.rows)
        if left is not None and right is not None:
            torch.add(repeated(left, self.group), right.reshape(-1, 1, *self.rows[1:]), out=wide)
        elif left is not None:
            wide.copy_(repeated(left, self.group))
        elif right is not None:
            wide.copy_(right.reshape(-1, 1, *self.rows[1:]))
        out.view(-1, self.joint.shape[1]).addmm_(chunk.view(-1, self.joint.shape[0]), self.joint)
