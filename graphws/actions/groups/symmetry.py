"""Finite groups that act on data, given by generators and relations, and checked before use.

A `DataSymmetry` is a group G together with what each element does to one input (flattened to n_in numbers) and to one
output (n_out numbers).  It is built from generators: `close` multiplies them out until nothing new appears, writes the
multiplication table, and makes sure that the relations that the caller states (``m^2``, ``r^4``, ``m r m r``) hold on
inputs *and* on outputs.  A generator that does not close, or an output representation that is none, is refused.

>>> import torch
>>> from graphws.graph import Monomial
>>> swap = Monomial(torch.tensor([1, 0, 3, 2]))
>>> print(close("swap", {"m": swap}, "invariant", outputs=1, relations=["m^2"]))
swap: 2 elements on 4 inputs and 1 outputs
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.errors import UsageError, nearest
from graphws.graph import LinearMap, Monomial
from graphws.graph.element import SpaceElement, compose
from graphws.shown import Shown

MOST = 192
"""Largest group that is multiplied out."""

_NAME = re.compile(r"[A-Za-z_]\w*")
_FACTOR = re.compile(r"(?P<name>[A-Za-z_]\w*)(?:\^(?P<power>-?[0-9]{1,3}))?")
_SAME = 1e-6


@dataclass(frozen=True, eq=False, repr=False)
class DataSymmetry(Shown):
    """A finite group acting on inputs and outputs; element 0 is the identity.

    Law: the map of g h is the map of g after that of h, on inputs and on outputs; checked when it is built, on a random
    point, with numbers equal to 1e-6.

    Attributes:
        name: What it is called.
        words: Each element as a product of generators, ``1`` for the identity.
        table: (m, m); table[g, h] is the element g h, which does h first.
        generators: Index of each generator.
        input: What each element does to one flattened input.
        output: What each element does to one flattened output.

    Raises:
        UsageError: Where the maps do not multiply as the table says.
    """

    name: str
    words: tuple[str, ...]
    table: Tensor
    generators: Mapping[str, int]
    input: tuple[SpaceElement, ...]
    output: tuple[SpaceElement, ...]

    def __post_init__(self) -> None:
        m = len(self.words)
        if {len(self.input), len(self.output), *self.table.shape} != {m}:
            raise UsageError(f"group {self.name!r}: it needs a table and two maps for each of its {m} elements")
        prints = _Fingerprints(self.input[0].size, self.output[0].size)
        marks = torch.stack([prints(pair) for pair in zip(self.input, self.output, strict=True)])
        whole = torch.cat(prints.points)
        if not _near(marks[0], whole):
            raise UsageError(f"group {self.name!r}: its first element must be the identity")
        for g, pair in enumerate(zip(self.input, self.output, strict=True)):
            if not _near(_on_marks(pair, marks), marks[self.table[g]]):
                raise UsageError(f"group {self.name!r}: {self.words[g]!r} does not act as the group's table says")

    @property
    def order(self) -> int:
        """Number of elements."""
        return len(self.words)

    def inverse(self, element: int) -> int:
        """The index of the inverse."""
        return int((self.table[element] == 0).nonzero()[0, 0])

    def on_inputs(self, element: int, x: Tensor) -> Tensor:
        """g·x for (points, …) inputs, each of them flattened."""
        return _on_points(self.input[element], x, "inputs")

    def on_outputs(self, element: int, y: Tensor) -> Tensor:
        """g·y for (points, …) outputs."""
        return _on_points(self.output[element], y, "outputs")

    def __str__(self) -> str:
        return f"{self.name}: {self.order} elements on {self.input[0].size} inputs and {self.output[0].size} outputs"


def _on_points(element: SpaceElement, x: Tensor, what: str) -> Tensor:
    flat = x.flatten(1)
    if flat.shape[1] != element.size:
        raise UsageError(f"the group acts on {element.size} {what} of a point, got {flat.shape[1]}")
    return element.apply(flat, 1, 1).reshape(x.shape)


def close(
    name: str,
    input: Mapping[str, SpaceElement],
    output: Mapping[str, SpaceElement] | str = "same",
    *,
    outputs: int | None = None,
    relations: Sequence[str] = (),
) -> DataSymmetry:
    """The group that generators generate.

    Args:
        name: What to call it.
        input: What each generator does to one flattened input.
        output: The same for outputs; ``same`` for the inputs' representation, ``invariant`` for none.
        outputs: Number of outputs, for ``invariant``.
        relations: Words that must be the identity: names of generators with optional powers, separated by blanks.

    Raises:
        UsageError: Where there are no generators, sizes differ, the group has more than `MOST` elements, a relation
            does not hold, or a map has no inverse.
    """
    if not input:
        raise UsageError(f"group {name!r}: give at least one generator")
    if not isinstance(output, str):
        for key in output:
            if key not in input:
                raise UsageError(
                    f"group {name!r}: an output map for {key!r}, which is no generator" + nearest(key, input)
                )
    pairs = {key: (element, _output(name, key, element, output, outputs)) for key, element in input.items()}
    sizes = {(a.size, b.size) for a, b in pairs.values()}
    if len(sizes) > 1:
        raise UsageError(f"group {name!r}: its generators act on spaces of different sizes, {sorted(sizes)}")
    for key, pair in pairs.items():
        if not isinstance(key, str) or not _NAME.fullmatch(key):
            raise UsageError(f"group {name!r}: a generator's name is a word like 'm' or 'turn', got {key!r}")
        for element, where in zip(pair, ("inputs", "outputs"), strict=True):
            _check_invertible(name, key, element, where)
    prints = _Fingerprints(*next(iter(sizes)))
    first, second = next(iter(pairs.values()))
    one = (_identity(first), _identity(second))
    for relation in relations:
        _check_relation(name, relation, pairs, one, prints)
    elements, words = [one], ["1"]
    seen = [prints(one)]
    place = 0
    while place < len(elements):
        for key, generator in pairs.items():
            product = (compose(generator[0], elements[place][0]), compose(generator[1], elements[place][1]))
            mark = prints(product)
            if _find(seen, mark) is None:
                if len(elements) == MOST:
                    raise UsageError(
                        f"group {name!r}: its generators give more than {MOST} elements, the most it may have"
                    )
                elements.append(product)
                words.append(key if place == 0 else f"{key} {words[place]}")
                seen.append(mark)
        place += 1
    table = torch.zeros(len(elements), len(elements), dtype=torch.long)
    marks = torch.stack(seen)
    for g, pair in enumerate(elements):
        table[g] = torch.cdist(_on_marks(pair, marks), marks).argmin(1)
    indices = {key: int(_find(seen, prints(pair)) or 0) for key, pair in pairs.items()}
    return DataSymmetry(
        name, tuple(words), table, indices, tuple(a for a, _ in elements), tuple(b for _, b in elements)
    )


def _output(
    name: str, key: str, element: SpaceElement, output: Mapping[str, SpaceElement] | str, outputs: int | None
) -> SpaceElement:
    if isinstance(output, str):
        if output not in ("same", "invariant"):
            raise UsageError(
                f"group {name!r}: output must be 'same', 'invariant' or a map for each generator, got {output!r}"
                + nearest(output, ("same", "invariant"))
            )
        if output == "invariant":
            if outputs is None:
                raise UsageError(f"group {name!r}: an invariant output needs the number of outputs")
            return Monomial(torch.arange(outputs))
        return element
    if key not in output:
        raise UsageError(f"group {name!r}: no output map for generator {key!r}" + nearest(key, output))
    return output[key]


def _check_invertible(name: str, key: str, element: SpaceElement, where: str) -> None:
    if isinstance(element, LinearMap):
        good = (
            bool(torch.isfinite(element.weight).all()) and int(torch.linalg.matrix_rank(element.weight)) == element.size
        )
    else:
        good = torch.equal(element.perm.sort().values, torch.arange(element.size))
        good = good and (element.scale is None or bool((torch.isfinite(element.scale) & (element.scale != 0)).all()))
    if not good:
        raise UsageError(f"group {name!r}: generator {key!r} is not invertible on the {where}")


def _check_relation(
    name: str,
    relation: str,
    pairs: Mapping[str, tuple[SpaceElement, SpaceElement]],
    one: tuple[SpaceElement, SpaceElement],
    prints: _Fingerprints,
) -> None:
    product = one
    for factor in relation.split():
        match = _FACTOR.fullmatch(factor)
        if match is None:
            raise UsageError(f"group {name!r}: relation {relation!r} is not a product like 'm^2' or 'm r m r'")
        if match["name"] not in pairs:
            raise UsageError(
                f"group {name!r}: relation {relation!r} names no generator {match['name']!r}"
                + nearest(match["name"], pairs)
            )
        power, pair = int(match["power"] or 1), pairs[match["name"]]
        base = pair if power >= 0 else (pair[0].inverse(), pair[1].inverse())
        for _ in range(abs(power)):
            product = (compose(product[0], base[0]), compose(product[1], base[1]))
    size = one[0].size
    got, wanted = prints(product), prints(one)
    for part, where in ((slice(0, size), "inputs"), (slice(size, None), "outputs")):
        if not _near(got[part], wanted[part]):
            raise UsageError(f"group {name!r}: relation {relation!r} does not hold on the {where}")


class _Fingerprints:
    """Where a fixed random point goes: tells elements apart without comparing matrices."""

    def __init__(self, inputs: int, outputs: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.points = [torch.randn(n, generator=generator, dtype=torch.float64) for n in (inputs, outputs)]

    def __call__(self, pair: tuple[SpaceElement, SpaceElement]) -> Tensor:
        return torch.cat([_times(element, point) for element, point in zip(pair, self.points, strict=True)])


def _on_marks(pair: tuple[SpaceElement, SpaceElement], marks: Tensor) -> Tensor:
    """An element on (points, inputs and outputs side by side)."""
    a, b = pair
    return torch.cat([a.apply(marks[:, : a.size], 1, 1), b.apply(marks[:, a.size :], 1, 1)], dim=1)


def _near(first: Tensor, second: Tensor) -> bool:
    return torch.allclose(first, second, atol=_SAME, rtol=_SAME)


def _times(element: SpaceElement, point: Tensor) -> Tensor:
    return element.apply(point.unsqueeze(0), 1, 1).squeeze(0)


def _find(seen: Sequence[Tensor], mark: Tensor) -> int | None:
    return next((k for k, other in enumerate(seen) if _near(other, mark)), None)


def _identity(element: SpaceElement) -> SpaceElement:
    return Monomial(torch.arange(element.size))


def is_identity(element: SpaceElement) -> bool:
    """Whether a map leaves everything in its place."""
    if isinstance(element, Monomial) and element.perm.ndim == 1:  # pictures are too large for a matrix
        unscaled = element.scale is None or bool(((element.scale - 1).abs() <= 1e-9).all())
        return unscaled and bool((element.perm.cpu() == torch.arange(element.size)).all())
    return bool(
        torch.allclose(element.matrix().double().cpu(), torch.eye(element.size, dtype=torch.float64), atol=1e-9)
    )
