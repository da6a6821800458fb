"""How a move of the inputs' positions moves the positions of every value: measured, not stated for kinds of steps.

A group on data may permute tokens, or move pictures.  Where a network treats positions alike, the move goes through:
its free spaces of taps, pixels and positional encodings are moved along with the input, and then, whatever the weights,
every value inside comes out moved.  A random network of the graph is run both ways, and for each value the move of its
positions that explains the difference is looked for: none, that of a grid, that of a row of tokens or of pixels.

Where nothing explains a value, the move does not get through: a convolution whose stride leaves a row over, an average
over windows that do not divide.  What follows says nothing about the group, and is not used.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.actions.computation.features import Features, features_of, is_reached, run_network
from graphws.actions.groups.grid_moves import GridMove
from graphws.errors import UsageError
from graphws.graph import GroupElement, NetworkGraph
from graphws.graph.element import SpaceElement
from graphws.operations.sampling import random_weights

MOST_TRIALS = 256
"""How many moves are tried for one value."""
MOST_EXTRA = 2
"""How many tokens may stand before those of a picture, as class tokens do."""
POINTS = 3
"""How many random inputs are run."""


@dataclass(frozen=True, eq=False)
class AxisMove:
    """A permutation of positions along one axis of values, which may run over points too.

    Attributes:
        axis: The axis.
        perm: The permutation.
        slow: Whether positions change more slowly than the points that share their axis.
    """

    axis: int
    perm: Tensor
    slow: bool = True

    def __call__(self, value: Tensor) -> Tensor:
        """The value with its positions moved."""
        perm = self.perm.to(value.device)
        length = value.shape[self.axis]
        if length == len(perm):
            return value.index_select(self.axis, perm)
        sizes = (len(perm), length // len(perm)) if self.slow else (length // len(perm), len(perm))
        apart = value.unflatten(self.axis, sizes)
        moved: Tensor = apart.index_select(self.axis + (not self.slow), perm).flatten(self.axis, self.axis + 1)
        return moved


@dataclass(frozen=True, eq=False)
class PositionMove:
    """A move of positions of values (1, …, features), in which points have an axis, alone or together with positions.

    Attributes:
        perms: The permutations along axes of the value.
        grid: The move of the two axes from `first` on, or None.
        first: See `grid`.
    """

    perms: tuple[AxisMove, ...] = ()
    grid: GridMove | None = None
    first: int = 2

    def __call__(self, value: Tensor) -> Tensor:
        """The value with its positions moved."""
        if self.grid is not None:
            ends = (self.first, self.first + 1)
            value = self.grid.on_table(value.movedim(ends, (-2, -1))).movedim((-2, -1), ends)
        for perm in self.perms:
            value = perm(value)
        return value


STAY = PositionMove()
Moves = Mapping[str, PositionMove | None]
"""For each value that has features, or is an end, how its positions move; None where the move does not get through."""


def measure_moves(
    graph: NetworkGraph,
    maps: Mapping[str, SpaceElement],
    move_inputs: Callable[[Tensor], Tensor],
    shape: Sequence[int],
    *,
    tokens: Tensor | None = None,
    grid: GridMove | None = None,
) -> Moves:
    """How one element of a group moves the positions of every value.

    Args:
        graph: A graph that runs.
        maps: The element on the free spaces of the graph.
        move_inputs: The element on inputs (points, *shape).
        shape: Shape of one input.
        tokens: The permutation of tokens, where inputs are tokens.
        grid: The move of pictures, where inputs are pictures.
    """
    rng = torch.Generator().manual_seed(0)
    weights = random_weights(graph, 1, rng)
    x = torch.randn(POINTS, *shape, generator=rng, dtype=torch.float64)
    with torch.no_grad():
        before = run_network(graph, weights, x)
        if any(value.is_floating_point() and not value.isfinite().all() for value in before.values()):
            x = x.abs()  # a logarithm or a root of inputs
            before = run_network(graph, weights, x)
        after = run_network(graph, GroupElement(graph, dict(maps)).act(weights), move_inputs(x))
    features, found = features_of(graph), dict[str, PositionMove | None]()
    before = {name: value for name, value in before.items() if is_reached(graph, name)}
    sizes = feature_maps(before, features, line=grid is not None and grid.grid[0] == 1)
    for name, value in before.items():
        if name in graph.outputs or (name in features and graph.readers(name)):
            found[name] = _explained(value, after[name], features.get(name), maps, tokens, grid, sizes)
    return found


def broken_at(graph: NetworkGraph, moves: Sequence[Moves]) -> str:
    """The first step through which some element's move does not get, as text; empty where all get through."""
    for operation in graph.operations:
        for name in operation.outputs:
            if any(name in each and each[name] is None for each in moves):
                return str(operation)
    return ""


def feature_maps(
    values: Mapping[str, Tensor], features: Mapping[str, Features], *, line: bool = False
) -> list[tuple[int, int]]:
    """Rows and columns of every feature map; a sequence is a picture of one row where `line` says so."""
    found = dict.fromkeys(
        (int(value.shape[2]), int(value.shape[3])) if value.ndim == 5 else (1, int(value.shape[2]))
        for name, value in values.items()
        if name in features and (value.ndim == 5 or (line and value.ndim == 4))
    )
    return list(found)


def _explained(
    value: Tensor,
    wanted: Tensor,
    features: Features | None,
    maps: Mapping[str, SpaceElement],
    tokens: Tensor | None,
    grid: GridMove | None,
    sizes: Sequence[tuple[int, int]],
) -> PositionMove | None:
    if value.shape != wanted.shape:
        return None
    if not value.is_floating_point():
        if not bool((value != value.flatten()[0]).any()):  # numbers that are all one tell no move from another
            return None
        value, wanted = value.double(), wanted.double()
    if features is not None and features.space in maps:
        value = maps[features.space].apply(value, value.ndim - 1, features.power)
    if features is not None:
        for axis, label in features.others:
            place = features.place(axis + 1)
            if label.space in maps and maps[label.space].size != value.shape[place]:
                return None  # labelled at another length of the inputs
            if label.space in maps:
                value = maps[label.space].apply(value, place, label.power)
    tolerance = 1e-7 * float(value.norm())
    last = value.ndim - (features is not None)
    for move in itertools.islice(_candidates(value, last, tokens, grid, sizes), MOST_TRIALS):
        try:
            moved = move(value)
        except UsageError:
            continue
        if moved.shape == wanted.shape and float((moved - wanted).norm()) <= tolerance:
            return move
    return None


def _candidates(
    value: Tensor, last: int, tokens: Tensor | None, grid: GridMove | None, sizes: Sequence[tuple[int, int]]
) -> Iterator[PositionMove]:
    yield STAY
    places = range(1, last)
    if grid is not None:
        for first in range(2, last - 1):
            yield PositionMove(grid=grid, first=first)
    options = [[None, *_axis_moves(k, int(value.shape[k]), tokens, grid, sizes)] for k in places]
    for chosen in itertools.product(*options):
        perms = tuple(move for move in chosen if move is not None)
        if perms:
            yield PositionMove(perms)


def _axis_moves(
    axis: int, length: int, tokens: Tensor | None, grid: GridMove | None, sizes: Sequence[tuple[int, int]]
) -> Iterator[AxisMove]:
    """The permutations that may move one axis, of positions or of points and positions."""
    for perm in _perms(length, tokens, grid, sizes):
        yield AxisMove(axis, perm)
    if length % POINTS == 0:
        for perm in _perms(length // POINTS, tokens, grid, sizes):
            yield AxisMove(axis, perm)
            yield AxisMove(axis, perm, slow=False)


def _perms(
    length: int, tokens: Tensor | None, grid: GridMove | None, sizes: Sequence[tuple[int, int]]
) -> Iterator[Tensor]:
    """The permutations that may move so many positions."""
    if tokens is not None and len(tokens) <= length <= len(tokens) + MOST_EXTRA:
        yield _after(length - len(tokens), tokens)
    for height, width in sizes if grid is not None else ():
        extra = length - height * width
        if grid is not None and 0 <= extra <= MOST_EXTRA:
            try:
                yield _after(extra, grid.on_pixels(height, width).perm)
            except UsageError:
                continue


def _after(extra: int, perm: Tensor) -> Tensor:
    """A permutation with some that stay before it."""
    return torch.cat([torch.arange(extra), perm + extra])


def position_spaces(
    graph: NetworkGraph, maps: Mapping[str, SpaceElement], lengths: Mapping[int, SpaceElement]
) -> dict[str, SpaceElement]:
    """Free spaces that may count positions (of positional encodings, of weights that mix tokens), with their moves."""
    return {
        space.name: lengths[space.size]
        for space in graph.spaces
        if not space.moves and space.parent is None and space.name not in maps and space.size in lengths
    }
