"""Grades: how a tensor answers to the action of each space that indexes it.

A space's action is more than a permutation: signs where the activation is odd, positive scales where it is homogeneous,
matrices where there is none.  A weight joins two spaces and answers to both; the *grade* of an axis says how.

* ``0``, trivial: permuted only.  Such numbers may be shifted, pooled, and put through any function.
* ``1`` of a signed space, odd: multiplied by the neuron's sign.  Even powers are trivial.
* ``1`` and ``-1`` of a linear space: a vector (multiplied by the matrix A) and a covector (by its inverse transpose).

Positive scales have no grade of their own: a neuron's scale can be measured (`graphws.layers.acting.sizes`), so it is
divided out before the layers and put back after them.  What is left of a monomial space is its sign.

The grades are those of the graph's own axes: of power p on a signed space p mod 2, on a linear space p.  Under
``symmetry="permutation"`` all are trivial, and what follows is message passing that knows permutations only.

>>> from graphws.operations import mlp_graph
>>> for place in grading(mlp_graph([2, 4, 3, 1], activation="sine"), "rich").places("W2"):
...     print(place)
Place(space='hidden2', letters='a', grade=1, power=1)
Place(space='hidden1', letters='b', grade=1, power=-1)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal, get_args

from graphws.errors import UsageError, nearest
from graphws.graph import NetworkGraph, Parameter
from graphws.graph.space import Action

Symmetry = Literal["permutation", "rich"]
ODD = (Action.SIGNED, Action.MONOMIAL)
"""Actions whose sign is a grade."""
MOST_INDICES = 12
"""Moving indices of a parameter, at most: sums over them are written with letters."""
SCALED = (Action.SCALING, Action.MONOMIAL)
"""Actions whose scales are measured."""


@dataclass(frozen=True)
class Place:
    """Where the indices of one space stand in a folded parameter.

    Args:
        space: The space; where it does not move itself, the parent that it moves with.
        letters: Its index axes and those of the parents, root first; one letter for each index axis of the parameter.
        grade: See `graphws.layers.acting.grades`.
        power: That of the axis; 0 where the space does not move itself.
    """

    space: str
    letters: str
    grade: int
    power: int


@dataclass(frozen=True)
class Grading:
    """The grades of a graph's parameters.

    Args:
        graph: The graph.
        symmetry: ``permutation`` or ``rich``.
    """

    graph: NetworkGraph
    symmetry: Symmetry

    def action(self, space: str) -> Action:
        """The action that counts on a space."""
        found = self.graph.space(space)
        return found.action if self.symmetry == "rich" and found.moves else Action.PERMUTATION

    def linear(self, space: str) -> bool:
        """Whether a space has no invariants of single neurons."""
        return self.action(space) is Action.LINEAR

    def grade(self, space: str, power: int) -> int:
        """The grade of an axis of some power.

        Raises:
            UsageError: On a power other than 1 and -1 of a linear space.
        """
        action = self.action(space)
        if action is Action.LINEAR:
            if power not in (1, -1):
                raise UsageError(f"an axis of power {power} of the linear space {space!r} has no grade; only 1 and -1")
            return power
        return power % 2 if action in ODD else 0

    def dual(self, place: Place) -> int:
        """The grade of features that a sum over the place contracts."""
        return -place.grade if self.linear(place.space) else place.grade

    def word(self, space: str, grade: int) -> str:
        """A space with the grade of features on it, in words."""
        if not grade:
            return space
        return f"{space} ({('vector' if grade > 0 else 'covector') if self.linear(space) else 'odd'})"

    def sizes(self, space: str) -> tuple[int, ...]:
        """Length of each index of a feature on a space: of the parents that move, and of the space."""
        return tuple(level.size for level in self.graph.lineage(space) if level.moves)

    def site(self, space: str) -> str | None:
        """Where invariants of a space live: the space, or what is above it where it is linear; None: the network."""
        parent: str | None = space
        while parent is not None and self.linear(parent):
            parent = self.graph.space(parent).parent
        return parent

    def letters(self, parameter: str) -> str:
        """A letter for each index axis of the folded parameter."""
        return "".join(_letter(k) for k in range(len(self.graph.layout(parameter).index)))

    def axes(self, parameter: str) -> tuple[Place, ...]:
        """The spaces that index a parameter, in the order of its axes."""
        return self._axes[parameter]

    def places(self, parameter: str) -> tuple[Place, ...]:
        """The same without those that others of them are nested in."""
        return self._places[parameter]

    @cached_property
    def _axes(self) -> dict[str, tuple[Place, ...]]:
        return {parameter.name: tuple(self._of(parameter)) for parameter in self.graph.parameters}

    @cached_property
    def _places(self) -> dict[str, tuple[Place, ...]]:
        return {
            name: tuple(place for place in axes if not any(set(place.letters) < set(other.letters) for other in axes))
            for name, axes in self._axes.items()
        }

    def _of(self, parameter: Parameter) -> Iterator[Place]:
        index = self.graph.layout(parameter.name).index
        start = 0
        for axis in parameter.axes:
            lineage = self.graph.lineage(axis.space)
            moving = [space for space in (lineage[-1:] if axis.inner else lineage) if space.moves]
            if not moving:
                continue
            positions = list(range(start, start + len(moving)))
            while (parent := index[positions[0]].parent) is not None:
                positions.insert(0, parent)
            start += len(moving)
            own = moving[-1].name
            power = axis.power if own == axis.space else 0
            yield Place(own, "".join(_letter(k) for k in positions), self.grade(own, power), power)


def _letter(position: int) -> str:
    if position >= MOST_INDICES:
        raise UsageError(f"weights act on at most {MOST_INDICES} moving indices; this parameter has more")
    return chr(ord("a") + position)


@lru_cache(maxsize=256)
def grading(graph: NetworkGraph, symmetry: Symmetry) -> Grading:
    """The grades of a graph, made once.

    Raises:
        UsageError: On an unknown symmetry.
    """
    if symmetry not in get_args(Symmetry):
        raise UsageError(
            f"symmetry must be {' or '.join(get_args(Symmetry))}; got {symmetry!r}"
            + nearest(symmetry, get_args(Symmetry))
        )
    return Grading(graph, symmetry)
