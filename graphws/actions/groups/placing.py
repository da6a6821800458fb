"""Where a group on data acts on a network's graph: maps of its free spaces.

A flattened input of an MLP is the graph's input space itself.  Where a network reads tokens, the group must move whole
tokens and their features alike, ρ(g) = τ(g) ⊗ φ(g): τ permutes the tokens, in every layer and in a positional encoding,
and φ acts on the input space.  Token permutations commute with everything that acts token by token, which is the
generalised adjunction of paper I, remark 4.3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from graphws.actions.computation.features import features_of, is_reached, run_network, why_not_followed
from graphws.actions.computation.position_moves import (
    AxisMove,
    Moves,
    PositionMove,
    broken_at,
    feature_maps,
    measure_moves,
    position_spaces,
)
from graphws.actions.groups.ends import end_space, patch_side, why_no_end
from graphws.actions.groups.factors import factor, reordered
from graphws.actions.groups.grid_moves import GridMove, grid_move
from graphws.actions.groups.outputs import OutputPart, output_parts
from graphws.actions.groups.picture_layout import outputs_by_channel, picture_layout, picture_map
from graphws.actions.groups.symmetry import DataSymmetry, is_identity
from graphws.actions.pictures.joined_axes import TAPS, convolves, grids
from graphws.errors import UsageError
from graphws.graph import Monomial, NetworkGraph, Space
from graphws.graph.element import SpaceElement
from graphws.operations.sampling import random_weights


@dataclass(frozen=True, eq=False)
class Placed:
    """A group on data as maps of a graph's free spaces, and as moves of the positions of its values.

    Attributes:
        symmetry: The group.
        maps: For each element, the map of every free space that it moves.
        tokens: For each element the permutation of tokens, or None where inputs are no tokens.
        shape: Shape of one input as the network reads it.
        grids: For each element the move of pictures, where inputs are pictures.
        moves: For each element how the positions of every value move; empty where the graph does not run.
        stopped: The first step through which the group's move of positions does not get; empty where there is none.
    """

    symmetry: DataSymmetry
    maps: tuple[dict[str, SpaceElement], ...]
    tokens: tuple[Tensor, ...] | None
    shape: tuple[int, ...]
    grids: tuple[GridMove, ...] = ()
    moves: tuple[Moves, ...] = ()
    stopped: str = ""

    def move_positions(self, element: int, name: str, value: Tensor) -> Tensor:
        """A value (1, points, *positions, features) with its positions moved."""
        move = self.moves[element].get(name) if self.moves else None
        return value if move is None else move(value)

    @property
    def lost(self) -> frozenset[str]:
        """The values that some element's move of positions does not reach."""
        return frozenset(name for each in self.moves for name, move in each.items() if move is None)


def place(graph: NetworkGraph, symmetry: DataSymmetry, shape: tuple[int, ...]) -> Placed:
    """The group as maps of the graph's input, output and position spaces.

    Args:
        graph: The graph of a network.
        symmetry: The group; its sizes must be those of the network's inputs and outputs.
        shape: Shape of one input as the user gives it.

    Raises:
        UsageError: Where no space fits, or tokens are not moved as wholes.
    """
    positions = position_axes(graph)
    if convolves(graph):
        return _with_moves(graph, _place_pictures(graph, symmetry, shape))
    if positions == 0:
        return _with_moves(graph, _place_vectors(graph, symmetry))
    return _with_moves(graph, _place_tokens(graph, symmetry, shape))


def position_axes(graph: NetworkGraph) -> int:
    """How many axes of positions one input of the graph has: 0 for features alone, 1 for tokens, 2 for pictures.

    Of a graph that does not say which shape its input has, of one that does not run, and where every axis but that of
    the features has one element: 0.
    """
    value = graph.value(graph.inputs[0]) if len(graph.inputs) == 1 else None
    return 0 if value is None or _one_row(graph) is not None else max(0, len(value.shape) - 2)


def _one_row(graph: NetworkGraph) -> tuple[int, ...] | None:
    """The shape of one input that is a row of features with axes of one element around it; None where it is not."""
    name = graph.inputs[0]
    value = graph.value(name)
    if value is None or len(value.shape) < 3 or why_not_followed(graph) is not None:
        return None
    features, sizes = features_of(graph).get(name), tuple(n for n in value.shape[1:] if isinstance(n, int))
    if features is None or len(sizes) + 1 != len(value.shape):
        return None
    return sizes if all(n == 1 for k, n in enumerate(sizes, 1) if k != features.axis) else None


def _with_moves(graph: NetworkGraph, placed: Placed) -> Placed:
    """The moves of values, with every free space moved that counts positions."""
    if why_not_followed(graph) is not None:
        return placed
    found, stopped = _measured(graph, placed), ""
    if any(move is None for each in found for move in each.values()):
        wider = replace(placed, maps=tuple(_with_positions(graph, placed, g) for g in range(placed.symmetry.order)))
        again = _measured(graph, wider)
        if _broken(again) < _broken(found):
            placed, found = wider, again
        stopped = broken_at(graph, found)
    parts = output_parts(graph, placed.symmetry, placed.shape)
    found = tuple(
        {**each, **{p.value: _stated_move(graph, placed, g, p) for p in parts if each.get(p.value) is None}}
        for g, each in enumerate(found)
    )
    return replace(placed, moves=found, stopped=stopped)


def _stated_move(graph: NetworkGraph, placed: Placed, g: int, part: OutputPart) -> PositionMove:
    """How the group says that the positions of an output move, where no move gets through to it."""
    if not part.space or part.elements[g].size == graph.extent(part.space):
        return PositionMove()
    if placed.grids and placed.grids[g].grid[0] > 1:
        return PositionMove(grid=placed.grids[g])
    if placed.grids:
        return PositionMove((AxisMove(2, placed.grids[g].on_pixels(*placed.grids[g].grid).perm),))
    return PositionMove() if placed.tokens is None else PositionMove((AxisMove(2, placed.tokens[g]),))


def _broken(moves: tuple[Moves, ...]) -> int:
    return sum(move is None for each in moves for move in each.values())


def _measured(graph: NetworkGraph, placed: Placed) -> tuple[Moves, ...]:
    symmetry = placed.symmetry
    return tuple(
        measure_moves(
            graph,
            placed.maps[g],
            lambda x, g=g: symmetry.on_inputs(g, x),  # type: ignore[misc]
            placed.shape,
            tokens=None if placed.tokens is None else placed.tokens[g],
            grid=placed.grids[g] if placed.grids else None,
        )
        for g in range(symmetry.order)
    )


def _with_positions(graph: NetworkGraph, placed: Placed, g: int) -> dict[str, SpaceElement]:
    """The maps of an element with those of the free spaces that have as many elements as there are positions."""
    lengths: dict[int, SpaceElement] = {}
    if placed.tokens is not None:
        lengths[len(placed.tokens[g])] = Monomial(placed.tokens[g])
    for height, width in _feature_maps(graph, placed) if placed.grids else ():
        try:
            perm = placed.grids[g].on_pixels(height, width).perm
        except UsageError:
            continue
        for extra in range(2):
            lengths.setdefault(len(perm) + extra, Monomial(torch.cat([torch.arange(extra), perm + extra])))
    return {**placed.maps[g], **position_spaces(graph, placed.maps[g], lengths)}


def _feature_maps(graph: NetworkGraph, placed: Placed) -> set[tuple[int, int]]:
    """Rows and columns of the feature maps of the graph."""
    x = torch.zeros(1, *placed.shape, dtype=torch.float64)
    weights = random_weights(graph, 1, torch.Generator().manual_seed(0))
    values = {name: value for name, value in run_network(graph, weights, x).items() if is_reached(graph, name)}
    return set(feature_maps(values, features_of(graph), line=placed.grids[0].grid[0] == 1))


def _place_vectors(graph: NetworkGraph, symmetry: DataSymmetry) -> Placed:
    size = symmetry.input[0].size
    read = end_space(graph, size, reads=True)
    parts = output_parts(graph, symmetry, _one_row(graph) or (size,))
    maps: list[dict[str, SpaceElement]] = [{read.name: element} for element in symmetry.input]
    for part in parts:
        if len(parts) == 1 and part.space:
            written = end_space(graph, symmetry.output[0].size, reads=False).name
        elif part.space and part.elements[0].size == graph.extent(part.space):
            written = part.space
        elif part.space:
            has = graph.extent(part.space)
            raise UsageError(f"the group acts on {part.elements[0].size} numbers of an output of {has}")
        else:
            continue
        for g, element in enumerate(part.elements):
            _set(maps[g], written, element)
    return Placed(symmetry, tuple(maps), None, _one_row(graph) or (size,))


def _set(maps: dict[str, SpaceElement], space: str, element: SpaceElement) -> None:
    """Adds a map of an output's space; the outputs and inputs that share one must be moved alike."""
    if space in maps and not torch.equal(maps[space].matrix(), element.matrix()):
        raise UsageError(f"the group moves the features of {space!r} in two ways, at two ends of the network")
    maps[space] = element


def _place_tokens(graph: NetworkGraph, symmetry: DataSymmetry, shape: tuple[int, ...]) -> Placed:
    size = symmetry.input[0].size
    order = torch.arange(size)
    patch = patch_side(graph)
    if patch is not None:
        if len(shape) != 3 or shape[1] % patch or shape[2] % patch:
            raise UsageError(f"this network cuts pictures into {patch} x {patch} patches; inputs {shape} do not divide")
        order = _patch_order(order, shape, patch)
    read = _token_space(graph, shape, patch)
    features = shape[-1] if read is None else graph.extent(read.name)
    if size % features or (patch is None and (len(shape) != 2 or shape[1] != features)):
        raise UsageError(f"this network reads tokens of {features} features; inputs {shape} are no such tokens")
    tokens, maps, moved = size // features, [], []
    for element in symmetry.input:
        inside = reordered(element, order)
        tau, phi = factor(inside, tokens, features)
        moved.append(tau)
        if read is None and not is_identity(phi):
            raise UsageError(
                "the features of the network's inputs belong to no one space: a group can permute tokens, no features"
            )
        maps.append({} if read is None else {read.name: phi})
        for space in graph.spaces:
            if space.role == "token" and not space.moves and graph.extent(space.name) == tokens:
                maps[-1][space.name] = Monomial(tau)
    _place_outputs(graph, symmetry, maps, moved, order, tokens, shape)
    return Placed(symmetry, tuple(maps), tuple(moved), shape)


def _token_space(graph: NetworkGraph, shape: tuple[int, ...], patch: int | None) -> Space | None:
    """The space of the features of tokens; None where they are read as parts of something else, such as pairs."""
    runs = why_not_followed(graph) is None
    if runs and patch is None and graph.inputs[0] not in features_of(graph):
        value = graph.value(graph.inputs[0])
        if value is not None and len(shape) == 2 and shape[-1] == value.shape[-1]:
            return None
    return end_space(graph, None, reads=True)


def _place_pictures(graph: NetworkGraph, symmetry: DataSymmetry, shape: tuple[int, ...]) -> Placed:
    """The group as maps of channels, taps and pixels: each element moves pictures and maps their channels."""
    if len(graph.inputs) != 1 or graph.inputs[0] not in features_of(graph):
        raise UsageError(f"no space labels the features of the network's inputs{why_no_end(graph)}")
    layout = picture_layout(graph, shape, graph.inputs[0])
    parts = output_parts(graph, symmetry, shape)
    read = features_of(graph)[graph.inputs[0]].space
    grid, maps, moves = layout.grid, [], []
    joined = grids(graph)
    for g, element in enumerate(symmetry.input):
        pixels, colours = picture_map(layout.by_channel(element), layout.channels)
        move = grid_move(pixels, grid)
        found: dict[str, SpaceElement] = {read: colours}
        for name, size in joined.items():
            found[name] = move.on_taps(*size) if graph.space(name).role == TAPS else move.on_pixels(*size)
        for part in parts:
            if part.space:
                _set(found, part.space, _on_channels(graph, part, g, move, grid))
        maps.append(found)
        moves.append(move)
    return Placed(symmetry, tuple(maps), None, shape, tuple(moves))


def _on_channels(graph: NetworkGraph, part: OutputPart, g: int, move: GridMove, grid: tuple[int, int]) -> SpaceElement:
    """What an element does to the channels of an output, which may lie on another grid than the inputs."""
    output, channels = part.elements[g], graph.extent(part.space)
    if output.size == channels:
        return output
    there: tuple[int, int] = (1, *part.positions)[-2:] if part.positions else grid  # type: ignore[assignment]
    if output.size != channels * there[0] * there[1]:
        on = f" on a grid {there[0]} x {there[1]}" if part.positions else ""
        raise UsageError(f"the group acts on {output.size} outputs, the network writes {channels} (per pixel){on}")
    outer, psi = picture_map(outputs_by_channel(graph, output, there, part.value or None), channels)
    if not torch.equal(outer, move.on_pixels(*there).perm):
        raise UsageError("the group moves the pixels of outputs in another way than those of inputs")
    return psi


def _place_outputs(
    graph: NetworkGraph,
    symmetry: DataSymmetry,
    maps: list[dict[str, SpaceElement]],
    moved: list[Tensor],
    order: Tensor,
    tokens: int,
    shape: tuple[int, ...],
) -> None:
    """Adds the map of the output space: all of an output, or its features where outputs are tokens."""
    for part in output_parts(graph, symmetry, shape):
        if not part.space:
            continue
        features = graph.extent(part.space)
        for g, element in enumerate(part.elements):
            if element.size == features:
                _set(maps[g], part.space, element)
            elif element.size == tokens * features:
                whole = reordered(element, order) if element.size == len(order) else element
                tau, psi = factor(whole, tokens, features)
                if not torch.equal(tau, moved[g]):
                    raise UsageError("the group permutes output tokens in another way than input tokens")
                _set(maps[g], part.space, psi)
            else:
                raise UsageError(f"the group acts on {element.size} outputs, the network writes {features} (per token)")


def _patch_order(order: Tensor, shape: tuple[int, ...], patch: int) -> Tensor:
    """Pixel numbers in the order (token, feature) in which a network with patches reads them."""
    c, h, w = shape
    grid = order.reshape(c, h // patch, patch, w // patch, patch)
    return grid.permute(1, 3, 0, 2, 4).flatten()
