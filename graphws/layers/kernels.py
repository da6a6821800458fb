"""The fast path on CPUs for one pattern of keys: an edge-level tensor with its two neuron-level summaries.

Such a tensor z (batch, n, m, channels) has two index axes.  A layer reads it as a = activation(scale * z + shift): it
pools a over either axis, and later writes

    out[b, i, j] = left[b, i] + right[b, j] + a[b, i, j] @ matrix,

where left and right are what the two neuron-level keys send.  Whatever graph the tensor comes from, these are the only
two places where work is proportional to its size, so they are all that has kernels:

* `read`: z to a *handle* and the two summaries;
* `write`: the handle to out, with the moments of out for the batch norm that follows.

Both go over the batch in blocks that stay in the cache (`graphws.layers.blocks`), and neither stores a: the handle is
z's own memory and only stands for a, and backward computes a again.  A gradient given to the handle is therefore one
with respect to a; `read` takes it on to z together with those of the summaries.

The maximum is taken by `amax`; its gradient goes to the entries that equal the maximum, in equal parts, as that of
`amax` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from graphws.layers.blocks import (
    Activated,
    block_length,
    grouped,
    grouping,
    largest,
    parts,
    reduced,
    repeated,
    row_sum,
    total,
    widened,
)
from graphws.layers.features import Moments
from graphws.messages import Pool


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
    """Whether the kernels take these: on the CPU, in one of single and double precision, in eager mode, not empty."""
    dtype = tensors[0].dtype
    return (
        dtype in (torch.float32, torch.float64)
        and all(x.is_cpu and x.dtype == dtype and x.numel() > 0 for x in tensors)
        and not torch.compiler.is_compiling()
        and not torch.is_autocast_enabled("cpu")
    )


def read(
    z: Tensor, scale: Tensor | None, shift: Tensor | None, activation: str, pool: Pool, axes: tuple[bool, bool]
) -> tuple[Handle, Tensor | None, Tensor | None]:
    """A handle for activation(scale * z + shift), and its summaries.

    Args:
        z: (batch, n, m, channels).
        scale: (channels), or None.
        shift: (channels), or None.
        activation: One of `graphws.layers.ACTIVATIONS`.
        pool: ``mean``, ``max`` or ``sum``.
        axes: Whether the summaries that keep the first and the second index axis are wanted.

    Returns:
        tuple[Handle, Tensor | None, Tensor | None]: The handle, (batch, n, channels) and (batch, m, channels).
    """
    raw, left, right = _Read.apply(z.contiguous(), scale, shift, activation, pool, axes)
    if scale is not None and shift is not None:
        scale, shift = scale.detach(), shift.detach()
    return Handle(raw, scale, shift, activation), left, right


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


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        z: Tensor,
        scale: Tensor | None,
        shift: Tensor | None,
        activation: str,
        pool: Pool,
        axes: tuple[bool, bool],
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        batch, n, m, channels = z.shape
        summary = largest if pool == "max" else total
        length = block_length(batch, _bytes(z, channels))
        lefts, rights = [], []
        if any(axes):
            activated = Activated(z, scale, shift, activation, length)
            for k in range(len(activated.blocks)):
                block = activated.block(k)
                if axes[0]:
                    lefts.append(summary(block, 2))
                if axes[1]:
                    rights.append(summary(block, 1))
        left, right = torch.cat(lefts) if lefts else None, torch.cat(rights) if rights else None
        if pool == "mean":
            left = None if left is None else left.div_(m)
            right = None if right is None else right.div_(n)
        ctx.activation, ctx.pool, ctx.length = activation, pool, length
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(z, scale, shift, left, right)
        return z, left, right

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, g_handle: Tensor | None, g_left: Tensor | None, g_right: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        z, scale, shift, left, right = ctx.saved_tensors
        channels, length = z.shape[-1], ctx.length
        if ctx.pool == "mean":
            g_left = None if g_left is None else g_left / z.shape[2]
            g_right = None if g_right is None else g_right / z.shape[1]
        # Only `write` reads a handle, and it makes the gradient's memory for this purpose.
        whole = torch.zeros_like(z) if g_handle is None else g_handle
        activated = Activated(z, scale, shift, ctx.activation, length)
        spare = torch.empty_like(activated.blocks[0])
        operands = zip(
            whole.split(length),
            parts(left if g_left is not None else None, length),
            parts(right if g_right is not None else None, length),
            parts(g_left, length),
            parts(g_right, length),
            strict=False,
        )
        scales, shifts = [], []
        for k, (gradient, first, second, g_first, g_second) in enumerate(operands):
            assert gradient is not None
            block, room = activated.block(k), spare[: gradient.shape[0]]
            if g_first is not None and first is not None:
                _back_from_left(gradient, block, first, g_first, room if ctx.pool == "max" else None)
            if g_second is not None and second is not None:
                _back_from_right(gradient, block, second, g_second, room if ctx.pool == "max" else None)
            activated.back(k, gradient)
            if activated.scale is not None:
                shifts.append(row_sum(gradient))
                scales.append(row_sum(torch.mul(gradient, activated.blocks[k], out=room)))
                gradient.view(activated.rows[k].shape).mul_(activated.scale)
        if scale is None:
            return whole, None, None, None, None, None
        return whole, reduced(scales, channels), reduced(shifts, channels), None, None, None


def _back_from_left(gradient: Tensor, block: Tensor, summary: Tensor, g_summary: Tensor, ties: Tensor | None) -> None:
    """Adds the gradient of a summary over axis 2; that of a maximum (with room for ties) where it is reached."""
    group = grouping(block.shape[2], block.shape[3])
    wide = grouped(gradient, group)
    if ties is None:
        wide.add_(repeated(g_summary, group))
        return
    torch.eq(grouped(block, group), repeated(summary, group), out=grouped(ties, group))
    share = g_summary / ties.sum(2).clamp_(min=1)
    wide.addcmul_(grouped(ties, group), repeated(share, group))


def _back_from_right(gradient: Tensor, block: Tensor, summary: Tensor, g_summary: Tensor, ties: Tensor | None) -> None:
    """The same over axis 1."""
    batch, n, m, channels = block.shape
    rows = gradient.view(batch, n, m * channels)
    g_summary = g_summary.reshape(batch, m * channels)
    if ties is None:
        rows.add_(g_summary.unsqueeze(1))
        return
    ties = ties.view(rows.shape)
    torch.eq(block.view(rows.shape), summary.view(batch, 1, m * channels), out=ties)
    rows.addcmul_(ties, (g_summary / ties.sum(1).clamp_(min=1)).unsqueeze(1))


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
        length = block_length(batch, _bytes(z, max(channels, width)))
        activated = Activated(z, scale, shift, activation, length)
        product = _Product(matrix, n, m)
        near, sums, squares = z.new_empty(0), [], []
        operands = zip(out.split(length), parts(left, length), parts(right, length), strict=False)
        for k, (block, first, second) in enumerate(operands):
            assert block is not None
            product(block, activated.block(k), first, second)
            if moments:
                # Centred at the first block's mean, so that the variance keeps its digits far from zero.
                if k == 0:
                    near = widened(row_sum(block).view(m, width).sum(0) / (block.shape[0] * n * m), m)
                    spare = torch.empty_like(block)
                room = spare[: block.shape[0]]
                torch.sub(block.view(-1, m * width), near, out=room.view(-1, m * width))
                sums.append(row_sum(room))
                squares.append(row_sum(room.square_()))
        mean = variance = near
        if moments:
            count = batch * n * m
            offset = reduced(sums, width) / count
            mean, variance = near[:width] + offset, reduced(squares, width) / count - offset.square()
        ctx.activation, ctx.length, ctx.moments = activation, length, moments
        ctx.save_for_backward(z, scale, shift, matrix, left, right, *([out, mean] if moments else []))
        return out, mean, variance

    @staticmethod
    @once_differentiable
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
        for k, (gradient, g_block) in enumerate(operands):
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
            g_matrix.addmm_(activated.block(k).view(-1, channels).t(), flat)
            if g_block is not None:
                torch.mm(flat, transposed, out=g_block.view(-1, channels))
        return whole, None, None, None, g_matrix, _joined(lefts, left), _joined(rights, right), None


def _joined(gradients: list[Tensor], value: Tensor | None) -> Tensor | None:
    """The gradient of a contribution, which may be the same for all networks."""
    if value is None:
        return None
    gradient = torch.cat(gradients)
    return gradient.sum(0, keepdim=True) if value.shape[0] == 1 else gradient


class _Product:
    """Writes left + right + block @ matrix."""

    def __init__(self, matrix: Tensor, n: int, m: int) -> None:
        width = matrix.shape[1]
        self.matrix, self.group = matrix, grouping(m, width)
        self.rows = (n, m // self.group, self.group * width)
        # Accumulating into few columns is slow; several entries at once make more.
        together = grouping(m, width, 16)
        self.joint = torch.block_diag(*[matrix] * together) if together > 1 else matrix

    def __call__(self, out: Tensor, block: Tensor, left: Tensor | None, right: Tensor | None) -> None:
        if left is None and right is None:
            torch.mm(block.view(-1, self.matrix.shape[0]), self.matrix, out=out.view(-1, self.matrix.shape[1]))
            return
        wide = out.view(-1, *self.rows)
        if left is not None and right is not None:
            torch.add(repeated(left, self.group), right.reshape(-1, 1, *self.rows[1:]), out=wide)
        elif left is not None:
            wide.copy_(repeated(left, self.group))
        elif right is not None:
            wide.copy_(right.reshape(-1, 1, *self.rows[1:]))
        out.view(-1, self.joint.shape[1]).addmm_(block.view(-1, self.joint.shape[0]), self.joint)
