"""Inlets: how weights become the first features of neurons.

* A parameter that one space indexes (a bias, a first or last layer, the scale of a norm) is a feature of its neurons as
  it stands, of the grade of its axis; its free numbers are channels.
* A parameter of several spaces is pooled down to each of them: to its mean, where the other grades are trivial, and to
  the logarithm of its root mean square, where no space is linear (squares are blind to signs).
* What two axes of one parameter have in common, the diagonal of a residual d × d weight, is a feature where the space
  is not linear; there it is the trace, an invariant.
* A parameter that no space indexes is a feature of the network.

>>> from graphws.layers.acting.grades import grading
>>> from graphws.operations import mlp_graph
>>> for inlet in inlets(grading(mlp_graph([2, 4, 3, 1], activation="sine"), "rich")):
...     print(inlet)
W1 -> hidden1 (odd)
b1 -> hidden1 (odd)
size of W2 -> hidden2
size of W2 -> hidden1
b2 -> hidden2 (odd)
W3 -> hidden2 (odd)
b3 -> network
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Literal

import torch
from torch import Tensor

from graphws.layers.acting.grades import Grading, Place

Way = Literal["entries", "mean", "size", "diagonal"]
_SMALLEST = 1e-6  # of a mean square: that of an orbit is 1


@dataclass(frozen=True)
class Inlet:
    """One way from a parameter to first features.

    Args:
        parameter: The parameter.
        way: ``entries`` as they stand, their ``mean``, the logarithm of their ``size``, or a ``diagonal``.
        equation: What is kept of the folded parameter, as for `torch.einsum`.
        space: Whose features they become; None: the network's.
        grade: How they answer.
        free: Free numbers of an entry.
        terms: How many entries are summarised in one.
        name: Tells the inlets of one parameter apart.
        text: In words.
    """

    parameter: str
    way: Way
    equation: str
    space: str | None
    grade: int
    free: int
    terms: int
    name: str
    text: str

    def read(self, x: Tensor) -> Tensor:
        """(batch, *index axes, free) to (batch, *indices of the space, free)."""
        if self.way == "size":
            return 0.5 * torch.log(torch.einsum(self.equation, x.square()) / self.terms + _SMALLEST)
        return torch.einsum(self.equation, x) / self.terms

    def __str__(self) -> str:
        return self.text


@lru_cache(maxsize=256)
def inlets(grades: Grading) -> tuple[Inlet, ...]:
    """Every inlet of a graph, found once."""
    return tuple(inlet for parameter in grades.graph.parameters for inlet in _of(grades, parameter.name))


def _of(grades: Grading, parameter: str) -> Iterator[Inlet]:
    places, letters = grades.places(parameter), grades.letters(parameter)
    layout = grades.graph.layout(parameter)
    lengths = dict(zip(letters, layout.sizes, strict=True))

    def inlet(way: Way, kept: str, space: str | None, grade: int, name: str, source: str = letters) -> Inlet:
        terms = 1
        for letter in set(source) - set(kept):
            terms *= lengths[letter]
        what = {"entries": "", "mean": "mean of ", "size": "size of ", "diagonal": "diagonal of "}[way]
        target = "network" if space is None else grades.word(space, grade)
        text = f"{what}{parameter} -> {target}"
        return Inlet(parameter, way, f"z{source}y->z{kept}y", space, grade, layout.free, terms, name, text)

    if not places:
        yield inlet("entries", "", None, 0, "entries")
    elif len(places) == 1:
        yield inlet("entries", places[0].letters, places[0].space, places[0].grade, "entries")
    else:
        for k, place in enumerate(places):
            others = [other for other in places if other is not place]
            if not any(other.grade for other in others):
                yield inlet("mean", place.letters, place.space, place.grade, f"mean{k}")
            if not any(grades.linear(other.space) for other in places):
                yield inlet("size", place.letters, place.space, 0, f"size{k}")
    for (k, one), (m, other) in combinations(enumerate(places), 2):
        if one.space != other.space or any(rest.grade for rest in places if rest not in (one, other)):
            continue
        joined = letters.translate(str.maketrans(other.letters, one.letters))
        grade = _joint(grades, one, other)
        if grade is not None:
            yield inlet("diagonal", one.letters, one.space, grade, f"diagonal{k}{m}", joined)
        elif one.grade == -other.grade:
            above = grades.site(one.space)
            kept = one.letters[: len(grades.sizes(above))] if above else ""
            yield inlet("diagonal", kept, above, 0, f"diagonal{k}{m}", joined)


def _joint(grades: Grading, one: Place, other: Place) -> int | None:
    """The grade of a diagonal; None where it has none."""
    return None if grades.linear(one.space) else (one.grade + other.grade) % 2
