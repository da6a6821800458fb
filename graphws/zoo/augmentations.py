"""Augmentations of networks: new training networks from old ones (paper D, appendix J).

Noise and dropout blur the weights; a random group element gives another set of weights of the same function; and for
networks that represent a signal, f: coordinates → values, the *signal* is rotated, moved or scaled exactly, by changing
nothing but the first layer.  If x′ = Ax + t, the transformed signal is f(A⁻¹(x - t)), so

    W₁ ← W₁A⁻¹,    b₁ ← b₁ - W₁A⁻¹t.

Noise, dropout and group elements are for networks of every graph.  Noise and dropout leave alone what was not trained:
counters and masks, and the other buffers (a running variance with noise could be negative).  Signals are those of
networks that read coordinates by one linear layer, as implicit neural representations do; other networks are refused.

Every network of a batch gets draws of its own from the generator.  Nothing is changed in place.  Coordinates of a
picture are (y, x) with y downwards (`graphws.zoo.sources.picture_grid`): a positive angle turns the picture
counterclockwise to the eye.

A gauge or a normalisation comes after the augmentations of the signal, which suppose raw weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from graphws.errors import ZooError
from graphws.graph import NetworkGraph, Operation, Weights, orbits
from graphws.zoo.statistics import Statistics


class Augmentation(Protocol):
    """A random map of a batch of networks."""

    def __call__(self, weights: Weights, generator: torch.Generator) -> Weights:
        """New networks; `weights` stays as it is."""


@runtime_checkable
class Spread(Protocol):
    """What noise is measured by, as `Statistics` is."""

    def spread(self, graph: NetworkGraph, name: str, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each entry of a parameter, of the graph's shape, in the type of `like`."""


@dataclass(frozen=True, eq=False)
class GaussianNoise:
    """Adds independent normal noise to every weight; buffers stay.

    Args:
        std: Deviation of the noise, relative to the deviation of each orbit.
        statistics: Where that deviation comes from, by orbit or by role; the batch itself where None.
    """

    std: float
    statistics: Spread | None = None

    def __post_init__(self) -> None:
        _check("noise", self.std, math.inf)

    def __call__(self, weights: Weights, generator: torch.Generator) -> Weights:
        """Noisy networks."""
        moved = {}
        for name, tensor in weights.items():
            if not _trained(weights, name):
                moved[name] = tensor
                continue
            known = self.statistics
            spread = known.spread(weights.graph, name, tensor)[1] if known else _spread(weights, name)
            moved[name] = tensor + self.std * spread * _normal(tensor, generator)
        return Weights(weights.graph, moved)


@dataclass(frozen=True)
class DropoutNoise:
    """Sets each weight to 0 with probability `rate`; what stays is not scaled up, and buffers stay."""

    rate: float

    def __post_init__(self) -> None:
        _check("dropout", self.rate, 1)

    def __call__(self, weights: Weights, generator: torch.Generator) -> Weights:
        """Networks with holes."""
        moved = {
            name: tensor * (_uniform(tensor, generator) >= self.rate) if _trained(weights, name) else tensor
            for name, tensor in weights.items()
        }
        return Weights(weights.graph, moved)


@dataclass(frozen=True)
class RandomElement:
    """Moves each network by a random element of its group: other weights, the same function."""

    actions: Literal["permutation", "rich"] = "permutation"

    def __call__(self, weights: Weights, generator: torch.Generator) -> Weights:
        """Moved networks."""
        return weights.graph.group().random(generator, weights.batch, self.actions, weights.floating).act(weights)


@dataclass(frozen=True)
class SignalTransform:
    """Rotates, scales and then moves the represented signal.

    Args:
        rotation: Angles are uniform within ± so many degrees; for signals on a plane only.
        translation: Shifts are uniform within ± this in each coordinate; a picture's side is 2.
        scaling: Factors are log-uniform between 1/(1 + scaling) and 1 + scaling.
    """

    rotation: float = 0.0
    translation: float = 0.0
    scaling: float = 0.0

    def __post_init__(self) -> None:
        _check("rotation", self.rotation, 360)
        _check("translation", self.translation, math.inf)
        _check("scaling", self.scaling, math.inf)

    def __call__(self, weights: Weights, generator: torch.Generator) -> Weights:
        """Networks of transformed signals."""
        return transform_signal(weights, *self.draw(weights, generator))

    def draw(self, weights: Weights, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Matrix A (batch, d, d) and shift t (batch, d) for each network."""
        weight, _ = first_layer(weights.graph)
        like = weights[weight]
        batch, d = like.shape[0], like.shape[-1]
        if self.rotation and d != 2:
            raise ZooError(f"rotation needs signals on a plane; these networks have {d} inputs")
        unit = _uniform(like.new_empty(batch, 2 + d), generator) * 2 - 1
        matrix = torch.eye(d, dtype=like.dtype, device=like.device).repeat(batch, 1, 1)
        if self.rotation:
            matrix = rotation_matrix(unit[:, 0] * math.radians(self.rotation))
        factor = torch.exp(unit[:, 1] * math.log1p(self.scaling))
        return matrix * factor[:, None, None], unit[:, 2:] * self.translation


@dataclass(frozen=True)
class Compose:
    """One augmentation after another."""

    augmentations: tuple[Augmentation, ...]

    def __call__(self, weights: Weights, generator: torch.Generator) -> Weights:
        """All of them, in order."""
        for augmentation in self.augmentations:
            weights = augmentation(weights, generator)
        return weights


def augmentation(
    *,
    noise: float = 0.0,
    dropout: float = 0.0,
    group: bool = False,
    rotation: float = 0.0,
    translation: float = 0.0,
    scaling: float = 0.0,
    statistics: Statistics | None = None,
) -> Compose:
    """The augmentations whose amount is not 0: signal first, then group element, dropout, noise.

    Raises:
        ZooError: On an amount out of its range.
    """
    signal = SignalTransform(rotation, translation, scaling)
    chosen: list[Augmentation] = [signal] if rotation or translation or scaling else []
    chosen += [RandomElement()] if group else []
    chosen += [DropoutNoise(dropout)] if dropout else []
    chosen += [GaussianNoise(noise, statistics)] if noise else []
    return Compose(tuple(chosen))


def transform_signal(weights: Weights, matrix: Tensor, shift: Tensor) -> Weights:
    """Networks of the signals f(A⁻¹(x - t)), exactly.

    Args:
        weights: A batch of networks of signals f.
        matrix: A, (batch, d, d), invertible.
        shift: t, (batch, d).

    Raises:
        ZooError: Where no linear layer alone reads the input (see `first_layer`), or a shift meets one without bias.
    """
    weight, bias = first_layer(weights.graph)
    moved = weights[weight] @ torch.linalg.inv(matrix)
    tensors = {**weights.tensors, weight: moved}
    if bias is not None:
        tensors[bias] = weights[bias] - (moved @ shift.unsqueeze(-1)).squeeze(-1)
    elif bool((shift != 0).any()):
        raise ZooError("a signal cannot be moved by networks whose first layer has no bias")
    return Weights(weights.graph, tensors)


def rotation_matrix(angle: Tensor) -> Tensor:
    """Rotations by `angle` (radians, (batch,)) of points (y, x), (batch, 2, 2); counterclockwise with y downwards."""
    cosine, sine = angle.cos(), angle.sin()
    return torch.stack([cosine, -sine, sine, cosine], dim=-1).reshape(-1, 2, 2)


def first_layer(graph: NetworkGraph) -> tuple[str, str | None]:
    """Weight and bias of the one linear layer that reads the input.

    Raises:
        ZooError: Where the input is read otherwise, or the layer's weight is no parameter of its own: put together of
            several, computed from others, or read elsewhere too.
    """
    readers = [op for op in graph.operations if set(op.inputs) & set(graph.inputs)]
    if len(graph.inputs) != 1 or len(readers) != 1 or readers[0].kind != "linear":
        raise ZooError(
            "only networks whose input is read by one linear layer can have their signal transformed"
            + (f"; here it is read by {_named(readers)}" if readers else "")
        )
    _, weight, *bias = readers[0].inputs
    own = {
        parameter.name for parameter in graph.parameters if len(parameter.axes) == (1 if parameter.name in bias else 2)
    }
    for name in (weight, *bias):
        if name not in own:
            raise ZooError(
                "only networks whose first layer has a weight of its own can have their signal transformed; "
                f"{name!r} is made of other parameters"
            )
        if (places := len(graph.readers(name))) > 1:
            raise ZooError(f"the signal cannot be transformed: {name!r} is read in {places} places")
    return weight, bias[0] if bias else None


def _named(operations: list[Operation]) -> str:
    kinds = list(dict.fromkeys(operation.kind for operation in operations))
    return ", ".join(kinds[:4]) + (", ..." if len(kinds) > 4 else "")


def _check(name: str, value: float, limit: float) -> None:
    if not (math.isfinite(value) and 0 <= value <= limit):
        bound = "" if math.isinf(limit) else f" and at most {limit:g}"
        raise ZooError(f"augmentation: {name} must be at least 0{bound}, got {value!r}")


def _trained(weights: Weights, name: str) -> bool:
    """Whether a parameter is one that training moves: of floats, and no buffer."""
    return weights[name].is_floating_point() and weights.graph.parameter(name).kind != "buffer"


def _spread(weights: Weights, name: str) -> Tensor:
    """Deviation of each entry's orbit over the batch."""
    tensor, labels = weights[name], orbits(weights.graph, name).to(weights.device)
    flat, flat_labels = tensor.detach().reshape(len(tensor), -1), labels.flatten()
    count = torch.bincount(flat_labels).to(flat) * len(flat)
    mean = flat.new_zeros(len(count)).index_add_(0, flat_labels, flat.sum(0)) / count
    squares = (flat - mean[flat_labels]).square().sum(0)
    return (flat.new_zeros(len(count)).index_add_(0, flat_labels, squares) / count).sqrt()[labels]


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=like.dtype, device=like.device)


def _uniform(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(like.shape, generator=generator, dtype=like.dtype, device=like.device)
