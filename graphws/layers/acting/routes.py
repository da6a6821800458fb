"""Routes: every way in which a weight carries features from the neurons of one space to those of another.

A weight W joins two spaces, A and B.  Under any change of neurons it becomes g_B W g_A⁻¹, so W h changes as features on
B do, whenever h changes as features on A do; and Wᵀ k goes back.  That holds for permutations, signs, scales and
matrices alike.  The rule of grades is: *a route reads features whose grade cancels that of the axis that it sums over,
and writes features of the grade of the axis that it keeps.*

A parameter of more than two spaces has a route for each ordered pair of them, where the others may be summed over; a
residual d × d weight has one each way on the same space.  Free axes (taps, inputs) become channels of the features.
Where neither of the two may read invariants, the entries' squares still can: they are trivial for signs.

>>> from graphws.layers.acting.grades import grading
>>> from graphws.operations import mlp_graph
>>> graph = mlp_graph([2, 4, 3, 1], activation="sine")
>>> for route in routes(grading(graph, "rich")):
...     print(route)
W2: hidden1 (odd) -> hidden2 (odd)
W2 squared: hidden1 -> hidden2
W2: hidden2 (odd) -> hidden1 (odd)
W2 squared: hidden2 -> hidden1
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations

import torch
from torch import Tensor

from graphws.layers.acting.grades import Grading, Place


@dataclass(frozen=True)
class Route:
    """One way along a weight.

    Args:
        parameter: The weight.
        letters: Its index axes.
        source: What is summed over.
        target: What is kept.
        reads: Grade of the features that it reads.
        writes: Grade of the features that it writes.
        squared: Whether the entries' squares are used.
        sizes: Length of each index axis.
        free: Free numbers of an entry.
        way: Tells the routes of one parameter apart, in names of learned tensors.
        text: The route in words.
    """

    parameter: str
    letters: str
    source: Place
    target: Place
    reads: int
    writes: int
    squared: bool
    sizes: tuple[int, ...]
    free: int
    way: str
    text: str

    @property
    def factor(self) -> float:
        """Keeps what is carried as large as what is sent, where entries are of size 1 and independent."""
        terms = math.prod(n for x, n in zip(self.letters, self.sizes, strict=True) if x not in self.target.letters)
        return 1 / terms if self.squared else 1 / math.sqrt(terms)

    def __str__(self) -> str:
        return self.text


def routes(grades: Grading) -> tuple[Route, ...]:
    """Every route of a graph."""
    return tuple(route for parameter in grades.graph.parameters for route in _of(grades, parameter.name))


def _of(grades: Grading, parameter: str) -> Iterator[Route]:
    places, letters = grades.places(parameter), grades.letters(parameter)
    layout = grades.graph.layout(parameter)
    graded = any(place.grade for place in places)
    linear = any(grades.linear(place.space) for place in places)
    for (t, target), (s, source) in permutations(enumerate(places), 2):
        ways: list[tuple[int, int, bool]] = []
        if not any(place.grade for k, place in enumerate(places) if k not in (s, t)):
            ways.append((grades.dual(source), target.grade, False))
        if graded and not linear:
            ways.append((0, 0, True))
        for reads, writes, squared in ways:
            words = grades.word(source.space, reads), grades.word(target.space, writes)
            yield Route(
                parameter,
                letters,
                source,
                target,
                reads,
                writes,
                squared,
                layout.sizes,
                layout.free,
                way=f"{s}>{t}" + ("^2" if squared else ""),
                text=f"{parameter}{' squared' if squared else ''}: {words[0]} -> {words[1]}",
            )


def carry(route: Route, weight: Tensor, features: Tensor) -> Tensor:
    """Features carried along a route.

    Args:
        route: The route.
        weight: The folded parameter, (batch, *index axes, free); its squares where the route says so.
        features: (batch, *indices of the source, free, channels), with channels mixed for each free number.

    Returns:
        Tensor: (batch, *indices of the target, channels).
    """
    equation = f"z{route.letters}y,z{route.source.letters}yx->z{route.target.letters}x"
    return torch.einsum(equation, weight, features) * route.factor
