"""Groups on data by name: what YAML and the command line may write.

=================================================================  ==================================================
``mirror``, ``flip``, ``transpose``                                one move of pictures (…, height, width)
``rotations:4``, ``{kind: rotations, order: 4}``                   turns of square pictures; order 2 for any
``dihedral``                                                       turns and mirrors of square pictures, D4
``translations``, ``translations:2``                               cyclic shifts by one pixel, or by two
``{kind: translations, step: [0, 2]}``                             by so many rows and columns, 0 for none that way
``{kind: channels, permutation: [2, 1, 0]}``                       colours, shape (channels, height, width)
``{kind: tokens, grid: [7, 7], move: mirror}``                     patches of a grid, shape (tokens, features)
``{kind: tokens, generators: {a: [1, 0, 2, …]}}``                  any permutations of tokens
``{kind: generated, generators: {a: …}, relations: [a^2]}``        any maps of the flattened input
=================================================================  ==================================================

A map is written as a list of places (``[1, 0, 2]``: x'[i] = x[map[i]]), as ``{places: […], signs: [1, -1, …]}`` or as a
matrix.  The output is ``same``, ``invariant``, ``{shape: [1, 7, 7]}`` (the same moves on outputs of another shape) or
``{a: …}`` (a map for each generator).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from graphws.actions.groups.moves import PICTURES, Moves, channel_permutation, token_permutation, translations
from graphws.actions.groups.symmetry import MOST, DataSymmetry, close
from graphws.errors import UsageError, nearest
from graphws.graph import LinearMap, Monomial
from graphws.graph.element import SpaceElement

KINDS = ("mirror", "flip", "transpose", "rotations", "dihedral", "translations", "channels", "tokens", "generated")
_MOVES = KINDS[:6]
"""Those that move pictures."""
_KEYS = {
    "rotations": {"order"},
    "translations": {"step"},
    "channels": {"permutation"},
    "tokens": {"grid", "move", "generators", "relations"},
    "generated": {"generators", "relations"},
}
_SHORT = {"rotations": "order", "translations": "step"}
"""The key of the number after a colon, as in ``rotations:4``."""

LARGEST = 1 << 24
"""Places of an output, and numbers that say how something moves, are below."""

On = Callable[[tuple[int, ...]], dict[str, SpaceElement]]
"""The map of each generator on data of a shape."""


def named_symmetry(
    spec: str | Mapping[str, Any],
    input_shape: Sequence[int],
    output: str | Mapping[str, Any] = "same",
    *,
    outputs: int | None = None,
) -> DataSymmetry:
    """A group on data from its name or mapping; see the module's table.

    Args:
        spec: A name, or a mapping with ``kind``.
        input_shape: Shape of one input: (channels, height, width), (height, width) or (tokens, features).
        output: How it acts on outputs.
        outputs: Number of outputs, for ``invariant``.

    Raises:
        UsageError: On an unknown name or key, or something that is no group action.
    """
    shape = tuple(int(n) for n in input_shape)
    if not shape or any(n < 1 for n in shape):
        raise UsageError(f"an input shape is like 3,14,14: positive numbers, got {list(input_shape)}")
    mapping = _mapping(spec)
    kind = mapping["kind"]
    on, relations = (None, _relations(mapping)) if kind == "generated" else _acting(kind, mapping, shape)
    generators = (
        {key: element_from(value) for key, value in _generators(kind, mapping).items()} if on is None else on(shape)
    )
    size = math.prod(shape)
    for key, element in generators.items():
        if element.size != size:
            raise UsageError(f"generator {key!r} acts on {element.size} numbers, an input {shape} has {size}")
    return close(kind, generators, _output(output, on), outputs=outputs, relations=relations)


def _acting(kind: str, mapping: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[On, tuple[str, ...]]:
    """What the generators do to data of any shape, and their relations."""
    if kind == "channels":
        permutation = _integers(f"group {kind!r}", mapping.get("permutation"))
        return lambda s: {"c": channel_permutation(permutation, s)}, ()
    if kind == "tokens":
        orders, relations = _tokens(mapping, shape)
        return lambda s: {key: _on_tokens(key, order, s) for key, order in orders.items()}, relations
    moves = _moves(kind, mapping)
    relations = moves.relations_on(shape)
    if kind == "translations":
        _check_shifts(moves, shape)
    return lambda s: dict(moves.on(s)), relations


def _check_shifts(moves: Moves, shape: tuple[int, ...]) -> None:
    """Says in good time, and in terms of steps, that there are too many shifts."""
    count = math.prod(n // math.gcd(n, by) for n, by in zip(shape[-2:], moves.step, strict=True))
    if count > MOST:
        raise UsageError(
            f"pictures of {shape[-2]} x {shape[-1]} have {count} shifts by steps of {list(moves.step)}, more than "
            f"{MOST}: take larger steps, as translations:2, or one axis, {{kind: translations, step: [0, 1]}}"
        )


def _mapping(spec: str | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(spec, str):
        head, _, number = spec.partition(":")
        short = number.isdecimal() and head in _SHORT
        spec = {"kind": head, _SHORT[head]: int(number)} if short else {"kind": spec}
    mapping = dict(spec)
    if "kind" not in mapping:
        raise UsageError(
            f"a group needs a kind, one of {', '.join(KINDS)}; got the keys {', '.join(map(str, mapping))}"
        )
    kind: Any = mapping["kind"]
    if kind not in KINDS:
        hint = nearest(kind, KINDS) if isinstance(kind, str) else ""
        raise UsageError(f"unknown group {kind!r}; there are {', '.join(KINDS)}{hint}")
    allowed = {"kind", *_KEYS.get(kind, ())}
    for key in mapping:
        if key not in allowed:
            raise UsageError(f"group {kind!r} has no key {key!r}" + nearest(str(key), allowed))
    return mapping


def _moves(kind: str, mapping: Mapping[str, Any]) -> Moves:
    if kind == "rotations":
        order = mapping.get("order", 4)
        if type(order) is not int or order not in (2, 4):
            raise UsageError(
                f"rotations of order {order!r}: only turns of order 2 and 4 map pixels to pixels; for others see "
                "graphws.actions.lie"
            )
        return PICTURES[f"rotations-{order}"]
    if kind == "translations":
        step = mapping.get("step", 1)
        steps = _integers(f"group {kind!r}", [step, step] if type(step) is int else step)
        if len(steps) != 2:
            raise UsageError(f"group 'translations': a step is like 1 or [0, 2] (rows, columns), got {steps}")
        return translations(*steps)
    return PICTURES[kind]


def _tokens(mapping: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[dict[str, list[int]], tuple[str, ...]]:
    """Where each generator takes tokens, and the relations."""
    if len(shape) != 2:
        raise UsageError(f"group 'tokens' needs inputs of shape (tokens, features), got {shape}")
    if "generators" in mapping:
        if "grid" in mapping or "move" in mapping:
            raise UsageError("group 'tokens' has either generators, or a grid with a move")
        orders = {key: _integers("group 'tokens'", value) for key, value in _generators("tokens", mapping).items()}
        return orders, _relations(mapping)
    if "relations" in mapping:
        raise UsageError("group 'tokens': a move has relations of its own; give generators to state others")
    grid, move = _integers("group 'tokens'", mapping.get("grid")), mapping.get("move", "mirror")
    if len(grid) != 2 or min(grid) < 1 or math.prod(grid) != shape[0]:
        raise UsageError(f"group 'tokens': a grid {grid} does not have the {shape[0]} tokens of shape {shape}")
    inner = _mapping(move) if isinstance(move, str | Mapping) and _kind(move) in _MOVES else None
    if inner is None:
        raise UsageError(f"group 'tokens': unknown move {move!r}" + nearest(str(move), _MOVES))
    moves, places = _moves(inner["kind"], inner), (grid[0], grid[1])
    return {key: element.perm.tolist() for key, element in moves.on(places).items()}, moves.relations_on(places)


def _kind(spec: str | Mapping[str, Any]) -> Any:
    return spec.partition(":")[0] if isinstance(spec, str) else spec.get("kind")


def _on_tokens(key: str, order: list[int], shape: tuple[int, ...]) -> SpaceElement:
    if len(shape) != 2 or sorted(order) != list(range(shape[0])):
        raise UsageError(f"group 'tokens': generator {key!r} is no permutation of {shape[0]} tokens")
    return token_permutation(torch.tensor(order), *shape)


def _relations(mapping: Mapping[str, Any]) -> tuple[str, ...]:
    relations = mapping.get("relations", ())
    if isinstance(relations, str) or not isinstance(relations, Sequence):
        raise UsageError(f"relations are a list of words like [m^2, m r m r], got {relations!r}")
    for relation in relations:
        if not isinstance(relation, str):
            raise UsageError(f"relations are a list of words like [m^2, m r m r], got {list(relations)!r}")
    return tuple(relations)


def _generators(kind: str, mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    generators = mapping.get("generators")
    if not isinstance(generators, Mapping) or not generators:
        raise UsageError(f"group {kind!r} needs generators: a map for each name")
    return generators


def _integers(what: str, value: Any) -> list[int]:
    if not isinstance(value, Sequence) or not all(isinstance(n, int) and not isinstance(n, bool) for n in value):
        raise UsageError(f"{what}: expected a list of whole numbers, got {value!r}")
    if any(abs(n) >= LARGEST for n in value):
        raise UsageError(f"{what}: whole numbers beyond 2^24 are not read")
    return list(value)


def element_from(value: Any) -> SpaceElement:
    """A map from what YAML writes: places, places with signs, or a matrix.

    Raises:
        UsageError: On anything else.
    """
    if isinstance(value, Monomial | LinearMap):
        return value
    try:
        if isinstance(value, Mapping) and set(value) == {"places", "signs"}:
            places, signs = torch.tensor(value["places"]), torch.tensor(value["signs"], dtype=torch.float64)
            if places.dtype == torch.long and places.shape == signs.shape and bool((signs.abs() == 1).all()):
                return Monomial(places, signs)
        elif isinstance(value, Sequence):
            table = torch.tensor(value)
            if table.ndim == 1 and table.dtype == torch.long:
                return Monomial(table)
            if table.ndim == 2 and table.shape[0] == table.shape[1]:
                return LinearMap(torch.tensor(value, dtype=torch.float64))
    except (TypeError, ValueError, RuntimeError, OverflowError):
        pass
    raise UsageError("a map is a list of places, {places: [...], signs: [1, -1, ...]} or a square matrix")


def _output(output: str | Mapping[str, Any], on: On | None) -> str | dict[str, SpaceElement]:
    if isinstance(output, str):
        return output
    if set(output) == {"shape"}:
        if on is None:
            raise UsageError("an output of another shape needs a group by name: generators say nothing about it")
        shape = tuple(_integers("the shape of an output", output["shape"]))
        if any(size < 1 for size in shape) or math.prod(shape) >= LARGEST:
            raise UsageError(f"the shape of an output has positive numbers and at most 2^24 places, got {list(shape)}")
        return on(shape)
    return {key: element_from(value) for key, value in output.items()}
