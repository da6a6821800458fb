"""Groups on data by name: what YAML and the command line may write.

=================================================================  ==================================================
``mirror``, ``flip``, ``transpose``                                one move of pictures (…, height, width)
``rotations:4``, ``{kind: rotations, order: 4}``                   turns of square pictures; order 2 for any
``dihedral``                                                       turns and mirrors of square pictures, D4
``translations``                                                   cyclic, by one pixel
``{kind: channels, permutation: [2, 1, 0]}``                       colours, shape (channels, height, width)
``{kind: tokens, grid: [7, 7], move: mirror}``                     patches of a grid, shape (tokens, features)
``{kind: tokens, generators: {a: [1, 0, 2, …]}}``                  any permutations of tokens
``{kind: generated, generators: {a: …}, relations: [a^2]}``        any maps of the flattened input
=================================================================  ==================================================

A map is written as a list of places (``[1, 0, 2]``: x'[i] = x[map[i]]), as ``{places: […], signs: [1, -1, …]}`` or as a
matrix.  The output is ``same``, ``invariant``, ``{shape: [1, 7, 7]}`` (the same moves on pictures of another shape) or
``{a: …}`` (a map for each generator).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from graphws.actions.moves import PICTURES, Moves, channel_permutation, token_permutation
from graphws.actions.symmetry import DataSymmetry, close
from graphws.errors import UsageError, nearest
from graphws.graph import LinearMap, Monomial
from graphws.graph.element import SpaceElement

KINDS = ("mirror", "flip", "transpose", "rotations", "dihedral", "translations", "channels", "tokens", "generated")
_KEYS = {
    "rotations": {"order"},
    "channels": {"permutation"},
    "tokens": {"grid", "move", "generators", "relations"},
    "generated": {"generators", "relations"},
}
LARGEST_FILE = 16 << 20
"""Bytes of a YAML file that is read."""


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
    moves, relations = _moves(kind, mapping), tuple(mapping.get("relations", ()))
    if moves is not None:
        generators: dict[str, SpaceElement] = dict(moves.on(shape))
        relations = moves.relations_on(shape)
    elif kind == "channels":
        generators = {"c": channel_permutation(_integers(kind, mapping.get("permutation")), shape)}
    elif kind == "tokens":
        generators, relations = _tokens(mapping, shape)
    else:
        generators = {key: element_from(value) for key, value in _generators(kind, mapping).items()}
    size = math.prod(shape)
    for key, element in generators.items():
        if element.size != size:
            raise UsageError(f"generator {key!r} acts on {element.size} numbers, an input {shape} has {size}")
    return close(kind, generators, _output(output, moves), outputs=outputs, relations=relations)


def read_symmetry(text: str) -> str | Mapping[str, Any]:
    """What ``--group`` says: a name, or the mapping in a YAML file.

    Raises:
        UsageError: On a file that cannot be read or holds no mapping.
    """
    if not text.endswith((".yaml", ".yml")):
        return text
    path = Path(text)
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise UsageError(f"{text}: larger than {LARGEST_FILE} bytes")
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{text}: cannot be read as YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(content, Mapping):
        raise UsageError(f"{text}: holds no mapping, write for example 'kind: mirror'")
    return content


def _mapping(spec: str | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(spec, str):
        head, _, order = spec.partition(":")
        spec = {"kind": head, "order": int(order)} if order.isdecimal() else {"kind": spec}
    mapping = dict(spec)
    kind: Any = mapping.get("kind")
    if kind not in KINDS:
        hint = nearest(kind, KINDS) if isinstance(kind, str) else ""
        raise UsageError(f"unknown group {kind!r}; there are {', '.join(KINDS)}{hint}")
    allowed = {"kind", *_KEYS.get(kind, ())}
    for key in mapping:
        if key not in allowed:
            raise UsageError(f"group {kind!r} has no key {key!r}" + nearest(str(key), allowed))
    return mapping


def _moves(kind: str, mapping: Mapping[str, Any]) -> Moves | None:
    if kind != "rotations":
        return PICTURES.get(kind)
    order = mapping.get("order", 4)
    if order not in (2, 4):
        raise UsageError(
            f"rotations of order {order}: only turns of order 2 and 4 map pixels to pixels; for others see "
            "graphws.actions.lie"
        )
    return PICTURES[f"rotations-{order}"]


def _tokens(mapping: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[dict[str, SpaceElement], tuple[str, ...]]:
    if len(shape) != 2:
        raise UsageError(f"group 'tokens' needs inputs of shape (tokens, features), got {shape}")
    relations = tuple(mapping.get("relations", ()))
    if "generators" in mapping:
        orders = {key: _integers("tokens", value) for key, value in _generators("tokens", mapping).items()}
    else:
        grid, name = _integers("tokens", mapping.get("grid")), mapping.get("move", "mirror")
        if len(grid) != 2 or math.prod(grid) != shape[0]:
            raise UsageError(f"group 'tokens': a grid {grid} does not have the {shape[0]} tokens of shape {shape}")
        if name not in PICTURES:
            raise UsageError(f"group 'tokens': unknown move {name!r}" + nearest(str(name), PICTURES))
        moved = PICTURES[name].on((grid[0], grid[1]))
        orders = {key: element.perm.tolist() for key, element in moved.items()}
        relations = PICTURES[name].relations_on((grid[0], grid[1]))
    for key, order in orders.items():
        if sorted(order) != list(range(shape[0])):
            raise UsageError(f"group 'tokens': generator {key!r} is no permutation of {shape[0]} tokens")
    return {key: token_permutation(torch.tensor(order), *shape) for key, order in orders.items()}, relations


def _generators(kind: str, mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    generators = mapping.get("generators")
    if not isinstance(generators, Mapping) or not generators:
        raise UsageError(f"group {kind!r} needs generators: a map for each name")
    return generators


def _integers(kind: str, value: Any) -> list[int]:
    if not isinstance(value, Sequence) or not all(isinstance(n, int) and not isinstance(n, bool) for n in value):
        raise UsageError(f"group {kind!r}: expected a list of whole numbers, got {value!r}")
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
    except (TypeError, ValueError, RuntimeError):
        pass
    raise UsageError("a map is a list of places, {places: [...], signs: [1, -1, ...]} or a square matrix")


def _output(output: str | Mapping[str, Any], moves: Moves | None) -> str | dict[str, SpaceElement]:
    if isinstance(output, str):
        return output
    if set(output) == {"shape"}:
        if moves is None:
            raise UsageError("an output of another shape needs a group that moves pictures")
        return dict(moves.on(tuple(_integers(moves.name, output["shape"]))))
    return {key: element_from(value) for key, value in output.items()}
