"""The forward pass of many classifiers at once, differentiable by autograd.

Layers are matrices (networks, inputs, outputs) with biases (networks, 1, outputs), so a linear layer is one batched
product.  A convolution is the same on patches: pictures lie (networks, batch, rows, columns, channels), and a patch is
the row (kernel row, kernel column, channel) of numbers that an output reads.

Every operation treats each network on its own, so a network's numbers have the same bits in any group.  For that the
batch is filled up to a multiple of `BORDER` pictures, which do not count: vector loops then end where networks end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from graphws.zoo.classifiers.architecture import ClassifierArchitecture

BORDER = 32
"""Pictures: any width times this is a whole number of vectors."""


def filled(count: int) -> int:
    """`count` up to the border.

    >>> filled(33)
    64
    """
    return -(-count // BORDER) * BORDER


class _Patches(torch.autograd.Function):
    """(networks, batch, rows, columns, channels) to (networks, batch, places, places, kernel² · channels)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: int, stride: int) -> Tensor:
        ctx.size, ctx.kernel, ctx.stride = x.shape, kernel, stride
        windows = x.unfold(2, kernel, stride).unfold(3, kernel, stride)
        return windows.permute(0, 1, 2, 3, 5, 6, 4).flatten(4)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        kernel, stride = ctx.kernel, ctx.stride
        patches = gradients[0].unflatten(4, (kernel, kernel, -1))
        rows, columns = (stride * (places - 1) + 1 for places in patches.shape[2:4])
        found = patches.new_zeros(ctx.size)
        for i in range(kernel):
            for j in range(kernel):
                found[:, :, i : i + rows : stride, j : j + columns : stride] += patches[..., i, j, :]
        return found, None, None


class BatchedClassifiers:
    """The passes of networks of one architecture.

    Args:
        architecture: Its layers.
    """

    def __init__(self, architecture: ClassifierArchitecture) -> None:
        self._architecture, self._layers, self._step = architecture, architecture.layers(), architecture.step()
        self.shapes = [shape for layer in self._layers for shape in ((layer.inputs, layer.outputs), (1, layer.outputs))]

    def arranged(self, pixels: Tensor) -> Tensor:
        """Pictures (points, channels, rows, columns) as `logits` reads them: the last axes of its input."""
        if self._architecture.convolutions is None:
            return pixels.flatten(1).contiguous()
        return pixels.permute(0, 2, 3, 1).contiguous()

    def logits(self, matrices: Sequence[Tensor], pictures: Tensor) -> Tensor:
        """The outputs.

        Args:
            matrices: Weights and biases of each layer in turn, in `shapes` behind an axis of networks.
            pictures: Of each network, (networks, batch, *arranged), or of all, (1, batch, *arranged).

        Returns:
            Tensor: (networks, batch, classes).
        """
        convolutions, x = self._architecture.convolutions, pictures
        for depth, layer in enumerate(self._layers):
            weight, bias = matrices[2 * depth], matrices[2 * depth + 1]
            if layer.kernel is not None:
                assert convolutions is not None
                x = _Patches.apply(x, layer.kernel, convolutions.stride)
            elif x.ndim == 5:
                x = x.mean(dim=(2, 3))
            rows = x.flatten(1, -2).expand(len(weight), -1, -1)
            z = torch.baddbmm(bias, rows, weight)
            if depth + 1 < len(self._layers):
                z = self._step(z)
            x = z.unflatten(1, x.shape[1:-1])
        return x
