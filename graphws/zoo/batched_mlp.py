"""Forward and backward pass of many MLPs at once, written by hand.

N networks of one architecture, each on the same points.  Activations lie features first, (N, width, points), and carry
a last row of ones, so that a layer is one batched product with (N, width + 1, out): weight transposed, bias as last
row.  For a SIREN each hidden layer is stored times its ω, so that it is sin(A·h), one multiplication fewer than
sin(ω(Wx + b)).  `Adam` in `graphws.zoo.adam` scales its steps to match, so trajectories are those of the ordinary
parametrisation.  An offset of the outputs is left to the targets, from which `fit_group` takes it.

Gradients of a layer with input h, pre-activation z and cotangent δ of z: dA = h δᵀ, and below (A without its last row)
δ, times the derivative of the activation.  All buffers are made once; a group of 16 to 64 networks keeps them in cache,
which is why groups beat one large batch (benchmarks/zoo_fit.py).

Every operation treats each network on its own, element by element or matrix by matrix: a network's trajectory has the
same bits in any group, which the tests hold it to.  Rounding may also depend on where in memory a matrix begins (some
processors multiply a row that begins off a vector's border in another order), so the points are filled up to a border
with points of weight 0, and every network's matrices begin on one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from graphws.graph import Operation
from graphws.operations import activation
from graphws.zoo.architecture import Architecture

_PAD = 64  # numbers: a vector loop of any width ends on such a border, so no element ever falls into a scalar tail
_BORDER = 16  # points: a cache line of float32


class FlatParameters:
    """Layers of N networks inside one flat vector, so that the optimiser is a handful of calls.

    Each layer's segment is padded to a multiple of 64 numbers; `ends` are where they end.  `layers` are views,
    (N, rows, columns) each.
    """

    def __init__(self, shapes: Sequence[tuple[int, int]], count: int, like: Tensor) -> None:
        self.shapes = tuple(shapes)
        sizes = [count * rows * columns for rows, columns in shapes]
        padded = [-(-size // _PAD) * _PAD for size in sizes]
        self.flat = torch.zeros(sum(padded), dtype=like.dtype, device=like.device)
        self.ends = tuple(accumulate(padded))
        parts = self.flat.split(padded)
        self.layers = [
            part[:size].view(count, *shape) for part, size, shape in zip(parts, sizes, self.shapes, strict=True)
        ]

    def keep(self, index: Tensor) -> FlatParameters:
        """The networks at `index`, in a new flat vector."""
        kept = FlatParameters(self.shapes, len(index), self.flat)
        for new, old in zip(kept.layers, self.layers, strict=True):
            torch.index_select(old, 0, index, out=new)
        return kept


Derivative = Callable[[Tensor, Tensor], Tensor]
"""A function of (z, h) that overwrites z with dh/dz, or not, and returns that; h = activation(z) without its ones."""

_DERIVATIVES: dict[str, Derivative] = {
    "sine": lambda z, h: z.cos_(),
    "tanh": lambda z, h: torch.mul(h, h, out=z).neg_().add_(1),
    "sigmoid": lambda z, h: torch.mul(h, h, out=z).neg_().add_(h),
    "relu": lambda z, h: torch.gt(z, 0, out=z),
}
"""Derivatives by hand; of every other pointwise activation `_by_autograd` gives the same, more slowly."""


def _by_autograd(operation: Operation) -> Derivative:
    """The derivative of any pointwise activation: autograd through it alone, the products stay by hand."""

    def derivative(z: Tensor, h: Tensor) -> Tensor:
        with torch.enable_grad():
            inputs = z.detach().requires_grad_()
            gradient: Tensor = torch.autograd.grad(operation(inputs).sum(), inputs)[0]
        return gradient

    return derivative


class BatchedMLP:
    """The passes of up to `count` networks on fixed points.

    Args:
        architecture: Widths and activation.
        coordinates: (points, d_0); type and device of everything.
        count: How many networks there are buffers for; passes may run on fewer.

    Attributes:
        scales: What each layer is stored times: the ω of a sine layer, else 1.
    """

    def __init__(self, architecture: Architecture, coordinates: Tensor, count: int) -> None:
        widths, self.points = architecture.widths, coordinates.shape[0]
        points = -(-self.points // _BORDER) * _BORDER
        self.shapes = [(i + 1, o) for i, o in pairwise(widths)]
        sines = architecture.activation == "sine"
        self.scales = (*(architecture.omegas if sines else [1.0] * (len(widths) - 2)), 1.0)
        ones = coordinates.new_ones(points, 1)
        first = torch.cat([coordinates, coordinates.new_zeros(points - self.points, widths[0])])
        first = torch.cat([first, ones], dim=1).T.contiguous()
        self._inputs = [first.expand(count, -1, -1)]
        self._inputs += [coordinates.new_ones(count, width + 1, points) for width in widths[1:-1]]
        self._linear = [coordinates.new_empty(count, width, points) for width in widths[1:]]
        self._delta = [coordinates.new_empty(count, width, points) for width in widths[1:-1]]
        self._cotangent = coordinates.new_zeros(count, widths[-1], points)
        operation = activation(architecture.activation).step()
        kind = operation.kind
        if kind == "sine":  # ω is folded into the layer below
            self._activate: Callable[[Tensor], Tensor] = torch.sin
        else:
            self._activate = lambda z: operation(z)
        self._derive = _DERIVATIVES.get(kind) or _by_autograd(operation)

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        """Outputs (networks, d_M, points): a buffer, overwritten by the next call."""
        n = layers[0].shape[0]
        for depth, layer in enumerate(layers):
            z = self._linear[depth][:n]
            torch.bmm(layer.transpose(1, 2), self._inputs[depth][:n], out=z)
            if depth + 1 < len(layers):
                above = self._inputs[depth + 1][:n, :-1]
                if self._activate is torch.sin:
                    torch.sin(z, out=above)
                else:
                    above.copy_(self._activate(z))
        return self._linear[-1][:n, :, : self.points]

    def backward(self, layers: Sequence[Tensor], cotangent: Tensor, gradients: Sequence[Tensor]) -> None:
        """Writes the gradients of `layers` for the cotangent (networks, d_M, points) of the last `forward`."""
        n = layers[0].shape[0]
        delta = self._cotangent[:n]
        delta[:, :, : self.points] = cotangent  # the points that fill up stay 0
        for depth in range(len(layers) - 1, -1, -1):
            inputs = self._inputs[depth][:n]
            if delta.shape[1] == 1:  # a row times a matrix is faster than a matrix times a column
                row = gradients[depth].view(n, 1, -1)
                torch.bmm(delta, inputs.transpose(1, 2), out=row)
            else:
                torch.bmm(inputs, delta.transpose(1, 2), out=gradients[depth])
            if depth:
                below = self._delta[depth - 1][:n]
                if delta.shape[1] == 1:
                    torch.mul(layers[depth][:, :-1], delta, out=below)
                else:
                    torch.bmm(layers[depth][:, :-1], delta, out=below)
                below.mul_(self._derive(self._linear[depth - 1][:n], inputs[:, :-1]))
                delta = below
