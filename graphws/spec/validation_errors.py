"""Turn pydantic's errors into problems that point into the spec and say what would be right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from pydantic_core import ErrorDetails

from graphws.errors import nearest
from graphws.spec.descriptions import Schema, choices, describe, either, keys_at, kinds_at, schema_at, show
from graphws.spec.problems import Problem
from graphws.spec.schema import json_schema
from graphws.spec.tree import Mapping, Path, Tree, child, dotted, find, location_of, plain

_YAML11 = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


@dataclass(frozen=True)
class Mistake:
    """A problem and the path at which it is.

    Attributes:
        unknown: The key at the end of the path is not known at all.
        missing: The section at the path lacks a key.
    """

    path: Path
    problem: Problem
    unknown: bool = False
    missing: bool = False


def mistakes(errors: Sequence[ErrorDetails], tree: Tree) -> list[Mistake]:
    """What pydantic found, in the spec's terms; a value that is inherited in several places is reported once."""
    schema = _schema()
    found: dict[object, Mistake] = {}
    for error in errors:
        if error["type"] == "too_short" and any(_below(error["loc"], other["loc"]) for other in errors):
            continue  # pydantic counts a list's valid items; the invalid ones are reported already
        mistake = _mistake(error, tree, schema)
        found.setdefault((mistake.problem.location, mistake.path[-1:], error["loc"][-1:]), mistake)
    return list(found.values())


@cache
def _schema() -> Schema:
    return json_schema()


def _mistake(error: ErrorDetails, tree: Tree, schema: Schema) -> Mistake:
    kind, location = error["type"], error["loc"]
    if kind == "extra_forbidden":
        path, key = _path(location[:-1], tree), str(location[-1])
        at = location_of(tree, (*path, key), key=True)
        return Mistake((*path, key), Problem(_unknown(path, key, tree, schema), at), unknown=True)
    path = _path(location[:-1] if kind == "missing" else location, tree)
    if kind == "missing" and isinstance(location[-1], str):  # an index is missing from a list that is too short
        said = schema_at(schema, tree, (*path, location[-1])).get("description", "").rstrip(".")
        message = f"{dotted(path) or 'the spec'} needs {location[-1]!r}" + (f": {said}" if said else "")
        return Mistake(path, Problem(message, location_of(tree, path, key=True)), missing=True)
    if kind == "union_tag_not_found":
        message = f"{dotted(path)} needs 'kind': {_kinds(path, tree, schema)}"
        return Mistake(path, Problem(message, location_of(tree, path, key=True)), missing=True)
    if kind == "union_tag_invalid":
        got = plain(find(tree, (*path, "kind")) or tree)
        hint = nearest(got, kinds_at(schema, tree, path)) if isinstance(got, str) else ""
        message = f"{dotted(path)}.kind must be {_kinds(path, tree, schema)}, got {show(got)}{hint}"
        return Mistake(path, Problem(message, location_of(tree, (*path, "kind"))))
    if kind in ("value_error", "assertion_error"):
        message = f"{dotted(path)}: {error['msg'].partition(', ')[2]}"
    else:
        message = _wrong(path, tree, schema_at(schema, tree, path), schema)
    return Mistake(path, Problem(message, location_of(tree, path)))


def _unknown(path: Path, key: str, tree: Tree, schema: Schema) -> str:
    """An unknown key, with the nearest one or all that there are."""
    known = keys_at(schema, tree, path)
    here = find(tree, path)
    free = [name for name in known if not (isinstance(here, Mapping) and name in here.entries)]
    hint = nearest(key, free) or nearest(key, known) or f"; known: {', '.join(known)}"
    return f"unknown key {key!r}{f' in {dotted(path)}' if path else ''}{hint}"


def _kinds(path: Path, tree: Tree, schema: Schema) -> str:
    return either([show(kind) for kind in kinds_at(schema, tree, path)])


def _wrong(path: Path, tree: Tree, allowed: Schema, schema: Schema) -> str:
    """A value of a wrong type or out of its range."""
    here = find(tree, path)
    got = plain(here) if here is not None else None
    allowed_words = describe(allowed, schema)
    message = f"{dotted(path) or 'the spec'} must be {allowed_words}, got {show(got)}"
    if isinstance(got, list):
        message += f" of {len(got)}" if got else ""
    if isinstance(got, str):
        if allowed_words == "true or false" and got.lower() in _YAML11:
            return f"{message}; in YAML 1.2 this is a string, write {_YAML11[got.lower()]}"
        return message + nearest(got, choices(allowed, schema))
    return message


def _path(location: Iterable[str | int], tree: Tree) -> Path:
    """The path in the tree of pydantic's location, which also names the branches of its choices."""
    path: list[str | int] = []
    here: Tree | None = tree
    tag_passed = False
    for step in location:
        if isinstance(here, Mapping) and not tag_passed and here.scalar("kind") == step:
            tag_passed = True  # the kind that was chosen, not a key
        elif here is not None and (below := child(here, step)) is not None:
            path.append(step)
            here, tag_passed = below, False
    return tuple(path)


def _below(location: tuple[str | int, ...], other: tuple[str | int, ...]) -> bool:
    return len(other) > len(location) and other[: len(location)] == location
