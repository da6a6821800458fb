"""Features of neurons: what layers in which weights act pass on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from graphws.layers.acting.grades import Grading
from graphws.layers.graded.operands import Operands

Spot = tuple[str | None, int]
"""Where features stand and how they answer: a space (None: the network) and a grade."""


@dataclass(frozen=True, eq=False)
class State:
    """Features of a batch of networks.

    Args:
        weights: What acts on them.
        tensors: For each spot (batch, *indices of the space, channels); spots without features are missing.
    """

    weights: Operands
    tensors: Mapping[Spot, Tensor]

    @property
    def grades(self) -> Grading:
        """Of the networks' graph."""
        return self.weights.grades

    def get(self, space: str | None, grade: int = 0) -> Tensor | None:
        """The features at a spot, None where there are none."""
        return self.tensors.get((space, grade))

    @property
    def invariants(self) -> Iterator[tuple[str | None, Tensor]]:
        """The features of trivial grade, by space."""
        return ((space, x) for (space, grade), x in self.tensors.items() if not grade)

    @property
    def graded(self) -> Iterator[tuple[str, int, Tensor]]:
        """All other features: space, grade, tensor."""
        return ((space, grade, x) for (space, grade), x in self.tensors.items() if grade and space is not None)

    def with_(self, tensors: Mapping[Spot, Tensor]) -> State:
        """The same with some features replaced or added."""
        return replace(self, tensors={**self.tensors, **tensors})


class Sum:
    """Adds what arrives at each spot."""

    def __init__(self) -> None:
        self.tensors: dict[Spot, Tensor] = {}

    def add(self, space: str | None, grade: int, x: Tensor) -> None:
        """Adds features at a spot."""
        spot = (space, grade)
        self.tensors[spot] = self.tensors[spot] + x if spot in self.tensors else x


def down(grades: Grading, x: Tensor, source: str | None, space: str) -> Tensor:
    """Features of an ancestor (None: of the network), with axes of length 1 for the indices below it."""
    missing = len(grades.sizes(space)) - (0 if source is None else len(grades.sizes(source)))
    return x.reshape(*x.shape[:-1], *[1] * missing, x.shape[-1])


def up(grades: Grading, x: Tensor, space: str, target: str | None) -> Tensor:
    """Features of a space averaged over the indices below an ancestor (None: over all)."""
    kept = 0 if target is None else len(grades.sizes(target))
    axes = tuple(range(1 + kept, x.ndim - 1))
    return x.mean(axes) if axes else x


def signed_log(x: Tensor) -> Tensor:
    """sign(x) · log(1 + |x|): for invariants that may span many orders."""
    return torch.sign(x) * torch.log1p(x.abs())


@dataclass(frozen=True, eq=False)
class Answers:
    """What networks say at some points.

    Args:
        neurons: For each spot (batch, *indices of the space, points).
        outputs: (batch, numbers).
    """

    neurons: Mapping[Spot, Tensor]
    outputs: Tensor
