"""What acts: the folded weights of a batch of networks, with every measurable scale divided out.

A neuron of a homogeneous activation (ReLU) may be scaled by any s > 0: what writes into it is multiplied by s, what
reads from it by 1/s.  So its *size* is measured, the root mean square of all that writes into it, which is multiplied
by s as well; and an axis of power p is divided by size^p.  What is left does not feel scales, whatever their range.
A neuron into which nothing is written has size 0; its numbers are set to 0, which is as equivariant as a number can be.

A size must itself be blind to everything else.  Squares are blind to signs.  Where an incoming weight stands on another
scaled space, that one's size is divided out first (spaces in the order of the graph).  Where it stands on a linear
space r, the weight is multiplied with what writes into r: (W A)(W A)ᵀ = W (A Aᵀ) Wᵀ, of which only the small r × r
matrix in the middle is made.  A space into which nothing of the kind is written is measured by what reads from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.errors import UsageError
from graphws.graph import Weights
from graphws.graph.named_tensors import NamedTensors
from graphws.layers.acting.grades import SCALED, Grading, Place
from graphws.shown import Shown


@dataclass(frozen=True, eq=False, repr=False)
class Operands(Shown, NamedTensors[str]):
    """Weights that are ready to act.

    Args:
        grades: Of their graph.
        tensors: For each floating parameter (batch, *index axes, free).
        sizes: For each scaled space (batch, *indices).
    """

    grades: Grading
    tensors: Mapping[str, Tensor]
    sizes: Mapping[str, Tensor]

    @property
    def batch(self) -> int:
        """How many networks."""
        return next(iter(self.tensors.values())).shape[0]

    def cast(self, dtype: torch.dtype) -> Operands:
        """The same in another type."""
        return Operands(
            self.grades,
            {name: x.to(dtype) for name, x in self.tensors.items()},
            {space: x.to(dtype) for space, x in self.sizes.items()},
        )


def operands(weights: Weights, grades: Grading) -> Operands:
    """The weights of a batch, ready to act.

    Args:
        weights: The networks.
        grades: Of their graph.

    Raises:
        UsageError: On a scaled space that nothing measures.
    """
    graph = weights.graph
    tensors = {name: graph.layout(name).fold(x) for name, x in weights.items() if x.is_floating_point()}
    sizes: dict[str, Tensor] = {}
    for space in graph.spaces:
        if space.moves and grades.action(space.name) in SCALED:
            found = _size(grades, tensors, space.name, frozenset(sizes))
            sizes[space.name] = found
            for name in tensors:
                tensors[name] = rescaled(grades, tensors[name], name, {space.name: found}, -1)
    return Operands(grades, tensors, sizes)


def rescaled(grades: Grading, x: Tensor, parameter: str, sizes: Mapping[str, Tensor], sign: int) -> Tensor:
    """A folded parameter times size^(sign * power) on every axis of a scaled space."""
    letters = grades.letters(parameter)
    for place in grades.axes(parameter):
        if place.power and place.space in sizes:
            x = x * onto(_power(sizes[place.space], sign * place.power), place.letters, letters).unsqueeze(-1)
    return x


def rescaled_feature(weights: Operands, x: Tensor, space: str, power: int) -> Tensor:
    """Features (batch, *indices of a space, channels) times the size of each neuron to some power."""
    return x * _power(weights.sizes[space], power).unsqueeze(-1) if space in weights.sizes else x


def onto(feature: Tensor, letters: str, whole: str) -> Tensor:
    """A (batch, *letters, ...) tensor with an axis of length 1 for every other letter of `whole`."""
    order = sorted(range(len(letters)), key=lambda k: whole.index(letters[k]))
    tail = range(len(letters) + 1, feature.ndim)
    feature = feature.permute(0, *(k + 1 for k in order), *tail)
    for k, letter in enumerate(whole):
        if letter not in letters:
            feature = feature.unsqueeze(k + 1)
    return feature


def _power(size: Tensor, power: int) -> Tensor:
    """size^power, and 0 where the size is 0."""
    alive = size > 0
    return torch.where(alive, torch.where(alive, size, 1) ** power, 0)


def _size(grades: Grading, tensors: Mapping[str, Tensor], space: str, known: frozenset[str]) -> Tensor:
    """The root mean square of what writes into each element; 1 over that of what reads, where nothing writes."""
    for wanted in (1, -1):
        found = list(_mean_squares(grades, tensors, space, wanted, known))
        if found:
            root = torch.stack(found).sum(0).sqrt()
            return root if wanted == 1 else _power(root, -1)
    raise UsageError(f"no parameter measures the scale of the neurons of {space!r}; take `symmetry: permutation`")


def _mean_squares(
    grades: Grading, tensors: Mapping[str, Tensor], space: str, wanted: int, known: frozenset[str]
) -> Iterator[Tensor]:
    """For each parameter of power `wanted` on the space that is blind to all else: its mean square at each element."""
    for name, x in tensors.items():
        axes = grades.axes(name)
        own = [place for place in axes if place.space == space]
        others = [place for place in axes if place.space != space]
        linear = [place for place in others if grades.linear(place.space)]
        if len(own) != 1 or own[0].power != wanted or len(linear) > 1 or not _blind(grades, others, known):
            continue
        squares = _through(grades, tensors, name, linear[0], known) if linear else x.square()
        if squares is not None:
            letters = grades.letters(name)
            terms = x[0].numel() / math.prod(grades.sizes(space))
            yield torch.einsum(f"Z{letters}Y->Z{own[0].letters}", squares) / terms


def _blind(grades: Grading, places: Iterable[Place], known: frozenset[str]) -> bool:
    """Whether squares at these places do not feel scales."""
    return all(place.space in known or not place.power or grades.action(place.space) not in SCALED for place in places)


def _through(
    grades: Grading, tensors: Mapping[str, Tensor], name: str, place: Place, known: frozenset[str]
) -> Tensor | None:
    """W (A Aᵀ) Wᵀ, entry by entry, the linear place summed over; None where nothing meets it there."""
    gram: Tensor | None = None
    inside, other_side = place.letters, place.letters[:-1] + place.letters[-1].upper()
    for other, a in tensors.items():
        places = grades.places(other)
        met = [found for found in places if found.space == place.space]
        rest = [found for found in places if found.space != place.space]
        if other == name or len(met) != 1 or met[0].grade != -place.grade:
            continue
        if any(grades.linear(found.space) for found in rest) or not _blind(grades, rest, known):
            continue
        letters = grades.letters(other)
        spare = {letter: chr(ord("n") + k) for k, letter in enumerate(letters)}
        first, second = (
            "".join(dict(zip(met[0].letters, side, strict=True)).get(x, spare[x]) for x in letters)
            for side in (inside, other_side)
        )
        found = torch.einsum(f"Z{first}Y,Z{second}Y->Z{inside}{other_side[-1]}", a, a)
        gram = found if gram is None else gram + found
    if gram is None:
        return None
    letters, x, last = grades.letters(name), tensors[name], place.letters[-1]
    beside = letters.replace(last, last.upper())
    product = torch.einsum(f"Z{letters}Y,Z{inside}{other_side[-1]}->Z{beside}Y", x, gram)
    return (x * product).sum(letters.index(last) + 1, keepdim=True)
