"""``sweep``: the same spec with one key at several values, each run as a point of one curve."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from graphws.spec.section import Section, Text
from graphws.spec.tree import Entry, Mapping, Path, Tree, child, dotted
from graphws.spec.tree import Sequence as Listed
from graphws.spec.violations import Violation, duplicates

if TYPE_CHECKING:
    from graphws.spec.problems import Location
    from graphws.spec.schema import Spec

MOST = 64
"""Points of a sweep: each is checked whenever the spec is read."""
FIXED = ("graphws", "extends", "name", "title", "notes", "scales", "scale", "scaled", "published", "sweep")
"""Keys that are the same at every point, as is the whole of an experiment."""

Value = bool | int | float | str | tuple[bool | int | float | str | None, ...] | None
"""What a key may be at a point."""


def _value(value: Any) -> Any:
    items = value if isinstance(value, list | tuple) else (value,)
    if not all(item is None or isinstance(item, bool | int | float | str) for item in items):
        raise ValueError("a value of a sweep is a number, a word, true, false, null, or a list of them")
    return tuple(value) if isinstance(value, list) else value


_PLAIN: list[dict[str, Any]] = [{"type": kind} for kind in ("number", "string", "boolean", "null")]


class SweepSection(Section):
    """One key at several values: the spec is run once for each, and the scores make a table and a curve."""

    key: Annotated[
        Text, Field(description="The key that differs, with dots as in --set: input.training or train.epochs.")
    ]
    values: Annotated[
        tuple[
            Annotated[
                Any,
                BeforeValidator(_value),
                WithJsonSchema({"anyOf": [*_PLAIN, {"type": "array", "items": {"anyOf": _PLAIN}}]}),
            ],
            ...,
        ],
        Field(min_length=1, max_length=MOST, description="Its values, each a run of its own."),
    ]
    label: Annotated[
        Text | None, Field(description="What the key is called in tables and on the axis; null: the key.")
    ] = None

    @property
    def path(self) -> tuple[str, ...]:
        """The steps to the key."""
        return tuple(self.key.split("."))

    @property
    def title(self) -> str:
        """What the key is called."""
        return self.label or self.key

    def violations(self, at: Path) -> Iterator[Violation]:
        """The key can be one, and every value is there once."""
        here = (*at, "key")
        if not all(step and step == step.strip() for step in self.path):
            yield Violation(here, f"{dotted(here)} is key.key as in --set, got {self.key!r}")
        elif self.path[-1] == "kind":
            yield Violation(here, f"{dotted(here)}: another kind has other keys; name the models under `compare`")
        elif self.path[0] == "compare" and len(self.path) < 3:
            yield Violation(here, f"{dotted(here)}: a key of a baseline is compare.NAME.key, got {self.key!r}")
        elif self.path[0] in FIXED:
            yield Violation(here, f"{dotted(here)}: {self.path[0]} is the same at every point; sweep another key")
        for position, text in duplicates(in_words(value) for value in self.values):
            yield Violation((*at, "values", position), f"{dotted((*at, 'values'))} has {text} twice")

    def names(self) -> tuple[str, ...]:
        """A folder for every value: what it says where that can be a name, else with its position before it.

        >>> SweepSection(key="zoo.network.hidden", values=((32, 32), (64,))).names()
        ('32-32', '64')
        >>> SweepSection(key="input.path", values=("zoos/a", "zoos-a")).names()
        ('1-zoos-a', '2-zoos-a')
        """
        found = [re.sub(r"[^A-Za-z0-9._-]+", "-", in_words(value, "-")).strip("-.")[:60] for value in self.values]
        if len(set(found)) == len(found) and all(found):
            return tuple(found)
        return tuple(f"{place}-{name}".rstrip("-") for place, name in enumerate(found, 1))


def in_words(value: Any, between: str = ", ") -> str:
    """A value as tables and keys of `published` write it.

    >>> in_words(0.001), in_words(True), in_words(None), in_words((32, 32))
    ('0.001', 'true', 'null', '32, 32')
    """
    if isinstance(value, list | tuple):
        return between.join(map(in_words, value))
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def point_tree(tree: Mapping, spec: Spec, position: int) -> Mapping:
    """The resolved tree of a spec at a point of its sweep, without `sweep` and `published`.

    The key is also set where a baseline has a section of the same name (its own `train`) with the same value there, so
    that what it shares with the spec stays shared.  ``compare.NAME.key`` is a key of one baseline.

    Args:
        tree: What `spec` was validated from.
        spec: With a sweep whose key can be one.
        position: Of the value.
    """
    sweep = spec.sweep
    assert sweep is not None
    entry = tree.entries["sweep"].value
    key, values = child(entry, "key"), child(entry, "values")
    value = None if values is None else child(values, position)
    assert key is not None
    assert value is not None
    at: dict[str, Entry] = {name: found for name, found in tree.entries.items() if name not in ("sweep", "published")}
    rest = Mapping(at, tree.location)
    followers = [place for place in range(len(spec.compare)) if _follows(spec, place, sweep.path)]
    rest = _set(rest, sweep.path, value, key.location)
    compare = rest.entries.get("compare")
    if compare is None or not isinstance(compare.value, Listed):
        return rest
    items = [
        _set(item, sweep.path, value, key.location) if place in followers and isinstance(item, Mapping) else item
        for place, item in enumerate(compare.value.items)
    ]
    listed = Entry(compare.key, Listed(tuple(items), compare.value.location))
    return Mapping({**rest.entries, "compare": listed}, rest.location)


def _follows(spec: Spec, place: int, path: Sequence[str]) -> bool:
    """Whether a baseline has a section of its own that the key is in, with the spec's value there."""
    own, theirs = (each.model_dump(mode="json", by_alias=True) for each in (spec, spec.compare[place]))
    if path[0] in ("name", "model", "match_parameters") or not isinstance(theirs.get(path[0]), dict):
        return False
    for step in path:
        if not (isinstance(own, dict) and isinstance(theirs, dict) and step in own and step in theirs):
            return False
        own, theirs = own[step], theirs[step]
    return bool(own == theirs)


def _set(tree: Mapping, path: Sequence[str], value: Tree, key: Location) -> Mapping:
    """The tree with a value at a path; a step into `compare` is the name of a baseline."""
    head, *rest = path
    old = tree.entries.get(head)
    if not rest:
        return Mapping({**tree.entries, head: Entry(key, value)}, tree.location)
    if head == "compare" and old is not None and isinstance(old.value, Listed):
        name, *inside = rest
        items = tuple(
            _set(item, inside, value, key)
            if inside and isinstance(item, Mapping) and item.scalar("name") == name
            else item
            for item in old.value.items
        )
        return Mapping({**tree.entries, head: Entry(key, Listed(items, old.value.location))}, tree.location)
    below = old.value if old is not None and isinstance(old.value, Mapping) else Mapping({}, key)
    return Mapping({**tree.entries, head: Entry(key, _set(below, rest, value, key))}, tree.location)
