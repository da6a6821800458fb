"""The small networks that a zoo is fitted from: an MLP's widths, its activation, and how it starts.

Networks start as SIREN's authors start them (Sitzmann et al. 2020, section 3.2): the first layer is drawn from
U(-1/d, 1/d), every other from U(-√(6/d)/ω, √(6/d)/ω), where d is the layer's input width and ω the frequency of its own
sine (for the last layer, which has none, that of the hidden layers).  Other activations than sine start with PyTorch's
default, U(-1/√d, 1/√d).  These bounds suppose coordinates in [-1, 1], which is what sources give.  All weights are
then multiplied by `start`.  Biases start at 0.

The authors of paper D start the first layer of a sine network like the hidden ones and add 0.5 to the outputs (their
repository, issue 7): `first` and `offset` say so.

What a network starts from is noise to whoever reads its weights afterwards, so the less of it, the better they read, as
long as the fit still succeeds.  On digits of 8×8 pixels with ω = 5 the same small DWSNet, trained for the same ten
epochs on two views, told the class of 19 % of the test pictures from networks with random biases, of 28 % with zero
biases (both at 35 to 38 dB), of 49 % with `start` 0.5 as well (42 dB), and of 62 % where those were fitted less tightly
(20 dB).  Single runs.

Each network has a random stream of its own, keyed by (seed, sample, view), so that what a network starts from never
depends on which others are fitted, in which order, on how many processes or on which device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from graphws.errors import ZooError, nearest
from graphws.graph import NetworkGraph
from graphws.operations import mlp_graph
from graphws.shown import Shown

First = Literal["siren", "hidden"]
"""How the first layer of a sine network starts: as SIREN's authors have it, or like the hidden layers."""

_MASK = (1 << 64) - 1


@dataclass(frozen=True, repr=False)
class Architecture(Shown):
    """An MLP of hidden widths `widths[1:-1]` between `widths[0]` coordinates and `widths[-1]` channels.

    Args:
        widths: d_0, …, d_M.
        activation: One of `graphws.operations.ACTIVATIONS`.
        omega: Frequency ω of a sine, sin(ω(Wx + b)), or two: of the first hidden layer and of all others; ignored by
            other activations.  Two that are equal are kept as one.
        start: Factor on the weights that networks start from.
        first: How the first layer of a sine network starts: by a rule of its own, or by that of the hidden layers.
        offset: Added to the outputs; part of the networks' function, so their graph has it.

    Raises:
        ZooError: On an omega or a start that is not positive, an unknown `first` or one that the activation has no use
            for.
        GraphError: On widths or an activation that no graph can have.
    """

    widths: tuple[int, ...]
    activation: str = "sine"
    omega: float | tuple[float, float] = 30.0
    start: float = 1.0
    first: First = "siren"
    offset: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(int(width) for width in self.widths))
        pair = (self.omega, self.omega) if isinstance(self.omega, int | float) else tuple(self.omega)
        if len(pair) != 2:
            raise ZooError(f"omega must be a number or two, of the first and of the hidden layers, got {self.omega!r}")
        for name, numbers in (("omega", pair), ("start", (self.start,))):
            if not all(math.isfinite(number) and number > 0 for number in numbers):
                raise ZooError(f"{name} must be a positive number, got {getattr(self, name)!r}")
        object.__setattr__(self, "omega", pair if pair[0] != pair[1] else pair[0])
        if self.first not in get_args(First):
            raise ZooError(
                f"first must be siren or hidden, got {self.first!r}" + nearest(str(self.first), get_args(First))
            )
        if self.first != "siren" and self.activation != "sine":
            raise ZooError(f"first: {self.first} is for sine networks; all layers of {self.activation} start alike")
        self.graph()

    def settings(self) -> dict[str, Any]:
        """What the result depends on, for provenance; `first` and `offset` only where they say something."""
        omega = list(self.omega) if isinstance(self.omega, tuple) else self.omega
        shown = {"widths": list(self.widths), "activation": self.activation, "omega": omega, "start": self.start}
        if self.first != "siren":
            shown["first"] = self.first
        if self.offset:
            shown["offset"] = self.offset
        return shown

    def graph(self) -> NetworkGraph:
        """The graph of these networks."""
        omegas = self.omegas if self.activation == "sine" else None
        return mlp_graph(self.widths, activation=self.activation, omega=omegas, offset=self.offset)

    @property
    def omegas(self) -> tuple[float, ...]:
        """The frequency of each hidden layer.

        >>> Architecture((2, 8, 8, 8, 1), omega=(30.0, 5.0)).omegas
        (30.0, 5.0, 5.0)
        """
        first, hidden = self.omega if isinstance(self.omega, tuple) else (self.omega, self.omega)
        return (first, *[hidden] * (len(self.widths) - 3))[: len(self.widths) - 2]

    def bound(self, layer: int) -> float:
        """Half width of the uniform distribution that the weights of a layer (counted from 0) start from."""
        fan_in = self.widths[layer]
        if self.activation != "sine":
            return self.start / math.sqrt(fan_in)
        if layer == 0 and self.first == "siren":
            return self.start / fan_in
        first, hidden = self.omega if isinstance(self.omega, tuple) else (self.omega, self.omega)
        return self.start * math.sqrt(6 / fan_in) / (first if layer == 0 else hidden)


def initial(architecture: Architecture, seed: int, samples: np.ndarray, views: np.ndarray) -> list[Tensor]:
    """What the networks of (sample, view) pairs start from.

    Args:
        architecture: Widths and activation.
        seed: The zoo's seed.
        samples: Sample number of each network, (networks,).
        views: View number of each network, (networks,).

    Returns:
        list[Tensor]: For each layer (networks, d_in + 1, d_out) in float64: the weight transposed, the bias as its
        last row.
    """
    shapes = list(pairwise(architecture.widths))
    numbers = sum(i * o for i, o in shapes)
    draws = np.empty((len(samples), numbers))
    for row, (sample, view) in enumerate(zip(samples.tolist(), views.tolist(), strict=True)):
        key = np.array([seed & _MASK, (sample << 24 | view) & _MASK], dtype=np.uint64)
        np.random.Generator(np.random.Philox(key=key)).random(out=draws[row])
    uniform = torch.from_numpy(draws).mul_(2).sub_(1)
    layers = []
    parts = uniform.split([i * o for i, o in shapes], dim=1)
    for layer, (part, shape) in enumerate(zip(parts, shapes, strict=True)):
        weight = part.reshape(-1, *shape) * architecture.bound(layer)
        layers.append(torch.cat([weight, torch.zeros_like(weight[:, :1])], dim=1))
    return layers
