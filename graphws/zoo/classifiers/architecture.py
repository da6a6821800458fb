"""The small networks that name the class of a picture: MLPs, and convolutions with a mean over places before them.

An MLP reads the pixels of a picture (channels, rows, columns) one after another in that order.  With convolutions, all
of one kernel and stride and without padding, each followed by the activation, the mean over places is taken before the
linear layers (Unterthiner et al. 2020, section 3).

Networks start as PyTorch starts linear layers and convolutions: weights and biases from U(-1/√d, 1/√d), d numbers being
read by an output.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from graphws.converting import convert
from graphws.errors import ZooError
from graphws.graph import NetworkGraph, Operation, Weights
from graphws.operations import activation, mlp_graph


@dataclass(frozen=True)
class Convolutions:
    """Convolutions without padding, one after another.

    Args:
        channels: That each gives.
        kernel: Rows and columns of the kernels.
        stride: Step of the kernels.
    """

    channels: tuple[int, ...]
    kernel: int = 3
    stride: int = 2

    def side(self, pixels: int, count: int | None = None) -> int:
        """Places along a side of `pixels` after the first `count` convolutions (None: all); below 1 where none is left.

        >>> Convolutions((8, 8)).side(28), Convolutions((8, 8)).side(28, 1)
        (6, 13)
        """
        for _ in self.channels[:count]:
            pixels = (pixels - self.kernel) // self.stride + 1
        return pixels


@dataclass(frozen=True)
class Layer:
    """A layer as a matrix.

    Args:
        key: Prefix of its tensors in a state dict.
        inputs: Numbers that an output reads.
        outputs: Its outputs, channels of a convolution.
        kernel: Side of the kernel of a convolution; None for a linear layer.
    """

    key: str
    inputs: int
    outputs: int
    kernel: int | None = None

    def stored(self, matrices: Tensor) -> Tensor:
        """Matrices (networks, inputs, outputs) as PyTorch stores the weights: outputs first, then channels, places."""
        if self.kernel is None:
            return matrices.transpose(1, 2).contiguous()
        kernels = matrices.reshape(len(matrices), self.kernel, self.kernel, -1, self.outputs)
        return kernels.permute(0, 4, 3, 1, 2).contiguous()


@dataclass(frozen=True)
class ClassifierArchitecture:
    """The networks of a zoo of classifiers.

    Args:
        picture: Channels, rows and columns.
        classes: Outputs.
        hidden: Neurons of each hidden linear layer.
        activation: One of `graphws.operations.ACTIVATIONS`, after every layer but the last.
        convolutions: Before the linear layers; None for an MLP.

    Raises:
        ZooError: Where nothing is hidden, or convolutions leave no place of the picture.
        GraphError: On widths or an activation that no graph can have.
    """

    picture: tuple[int, int, int]
    classes: int
    hidden: tuple[int, ...] = (128, 128, 128)
    activation: str = "relu"
    convolutions: Convolutions | None = None

    def __post_init__(self) -> None:
        _, rows, columns = self.picture
        if not self.hidden and self.convolutions is None:
            raise ZooError("a classifier needs hidden layers or convolutions: without, it has no neurons to permute")
        if self.convolutions is not None and self.convolutions.side(min(rows, columns)) < 1:
            raise ZooError(
                f"{len(self.convolutions.channels)} convolutions of kernel {self.convolutions.kernel} and stride "
                f"{self.convolutions.stride} leave no place of pictures of {rows}x{columns} pixels"
            )
        activation(self.activation)

    @property
    def name(self) -> str:
        """Its widths, those of convolutions after their kernel: ``784-128-10``, ``conv3x3-16-16-10``."""
        widths = [*self.hidden, self.classes]
        if self.convolutions is None:
            return "-".join(map(str, [math.prod(self.picture), *widths]))
        kernel = self.convolutions.kernel
        return "-".join(map(str, [f"conv{kernel}x{kernel}", *self.convolutions.channels, *widths]))

    def settings(self) -> dict[str, Any]:
        """What the result depends on, for provenance."""
        return {**asdict(self), "picture": list(self.picture), "hidden": list(self.hidden)}

    def layers(self) -> tuple[Layer, ...]:
        """All layers, convolutions first; keys are those of an `nn.Sequential`."""
        found: list[Layer] = []
        width = self.picture[0]
        if self.convolutions is None:
            width = math.prod(self.picture)
        else:
            kernel = self.convolutions.kernel
            for channels in self.convolutions.channels:
                found.append(Layer(str(2 * len(found)), kernel**2 * width, channels, kernel))
                width = channels
        skipped = 0 if self.convolutions is None else 2  # the mean and the flattening stand between
        for outputs in (*self.hidden, self.classes):
            found.append(Layer(str(2 * len(found) + skipped), width, outputs))
            width = outputs
        return tuple(found)

    def step(self) -> Operation:
        """The activation."""
        return activation(self.activation).step()

    def graph(self) -> NetworkGraph:
        """The graph of these networks, which runs: (n, pixels) of an MLP, else (n, channels, rows, columns)."""
        if self.convolutions is None:
            return mlp_graph((math.prod(self.picture), *self.hidden, self.classes), activation=self.activation)
        return _converted(self)

    def weights(self, matrices: Sequence[Tensor]) -> Weights:
        """Networks from their layers.

        Args:
            matrices: For each layer (networks, inputs, outputs) and (networks, 1, outputs), the biases.
        """
        states: dict[str, Tensor] = {}
        for layer, weight, bias in zip(self.layers(), matrices[::2], matrices[1::2], strict=True):
            states |= {f"{layer.key}.weight": layer.stored(weight), f"{layer.key}.bias": bias[:, 0].contiguous()}
        return Weights.from_stacked(self.graph(), states, copy=False)

    def module(self) -> nn.Sequential:
        """One such network in PyTorch, as one would write it; it loads what `Weights.to_state_dict` gives."""
        layers: list[nn.Module] = []
        for number, layer in enumerate(self.layers()):
            if layer.kernel is not None:
                assert self.convolutions is not None
                inputs = layer.inputs // layer.kernel**2
                layers.append(nn.Conv2d(inputs, layer.outputs, layer.kernel, stride=self.convolutions.stride))
            else:
                if self.convolutions is not None and number == len(self.convolutions.channels):
                    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
                layers.append(nn.Linear(layer.inputs, layer.outputs))
            if number + 1 < len(self.layers()):
                layers.append(_Activation(self.step()))
        return nn.Sequential(*layers)


class _Activation(nn.Module):
    """An activation of graphs as a module."""

    def __init__(self, step: Operation) -> None:
        super().__init__()
        self._step = step

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self._step(x)
        return found


@lru_cache(maxsize=8)
def _converted(architecture: ClassifierArchitecture) -> NetworkGraph:
    """The graph of a CNN as the converter sees it, so that it is that of the same network from a file."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = architecture.module().double().eval()
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(2, *architecture.picture, generator=generator, dtype=torch.float64)
    found = convert(module, inputs, generator=generator)
    if not found.verified:
        raise ZooError(f"the graph of the classifiers {architecture.name} is not verified: {found.reason}")
    return found.graph
