"""A spec as it was written: mappings, sequences and scalars that know their locations.

The tree stands between YAML and the models.  Inheritance and ``--set`` merge trees, so a merged tree holds values of
several documents and each still points into its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from graphws.spec.problems import Location
from graphws.spec.scalars import Value

Step = str | int
Path = tuple[Step, ...]


@dataclass(frozen=True)
class Scalar:
    """A string, number, boolean or null."""

    value: Value
    location: Location


@dataclass(frozen=True)
class Sequence:
    """A list."""

    items: tuple[Tree, ...]
    location: Location


@dataclass(frozen=True)
class Entry:
    """The value of a key and the location of the key itself."""

    key: Location
    value: Tree


@dataclass(frozen=True)
class Mapping:
    """Keys and their values, in the order of writing."""

    entries: dict[str, Entry]
    location: Location

    def scalar(self, key: str) -> Value:
        """The value of `key` where it is a scalar; None otherwise."""
        entry = self.entries.get(key)
        return entry.value.value if entry is not None and isinstance(entry.value, Scalar) else None


Tree = Scalar | Sequence | Mapping


def plain(tree: Tree) -> Any:
    """The tree as dicts, lists and scalars."""
    if isinstance(tree, Mapping):
        return {key: plain(entry.value) for key, entry in tree.entries.items()}
    if isinstance(tree, Sequence):
        return [plain(item) for item in tree.items]
    return tree.value


def child(tree: Tree, step: Step) -> Tree | None:
    """What stands under a key or index, or None."""
    if isinstance(tree, Mapping) and isinstance(step, str) and step in tree.entries:
        return tree.entries[step].value
    if isinstance(tree, Sequence) and isinstance(step, int) and 0 <= step < len(tree.items):
        return tree.items[step]
    return None


def find(tree: Tree, path: Path) -> Tree | None:
    """What stands at the end of `path`, or None."""
    found: Tree | None = tree
    for step in path:
        found = child(found, step) if found is not None else None
    return found


def location_of(tree: Tree, path: Path, key: bool = False) -> Location:
    """Where to point for `path`: its value, with `key` its key; where it is not written, the nearest key above."""
    location, complete = tree.location, True
    for step in path:
        below = child(tree, step)
        if below is None:
            complete = False
            break
        location = tree.entries[step].key if isinstance(tree, Mapping) and isinstance(step, str) else below.location
        tree = below
    return location if key or not complete or not path else tree.location


def merge(below: Tree, above: Tree) -> Tree:
    """`above` laid over `below`: mappings merge key by key, everything else is replaced.

    A mapping whose `kind` differs from the one below replaces it: the options of another kind are not inherited.
    """
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return above
    kinds = below.scalar("kind"), above.scalar("kind")
    if None not in kinds and kinds[0] != kinds[1]:
        return above
    entries = dict(below.entries)
    for key, entry in above.entries.items():
        old = entries.get(key)
        entries[key] = entry if old is None else Entry(entry.key, merge(old.value, entry.value))
    return Mapping(entries, above.location)


def dotted(path: Iterable[Step]) -> str:
    """A path as messages write it: ``compare[0].model.width``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += ("." if text else "") + (step if step.isidentifier() else repr(step))
    return text


def without(tree: Tree, paths: Iterable[Path]) -> Tree:
    """The tree without the keys at the ends of `paths`; paths that do not lead to a key are passed over."""
    for path in paths:
        tree = _without(tree, path)
    return tree


def _without(tree: Tree, path: Path) -> Tree:
    head, *rest = path
    below = child(tree, head)
    if below is None:
        return tree
    if isinstance(tree, Mapping):
        entries = {key: entry for key, entry in tree.entries.items() if rest or key != head}
        if rest:
            entries[str(head)] = Entry(tree.entries[str(head)].key, _without(below, tuple(rest)))
        return replace(tree, entries=entries)
    if isinstance(tree, Sequence) and rest:
        items = tuple(_without(below, tuple(rest)) if i == head else item for i, item in enumerate(tree.items))
        return replace(tree, items=items)
    return tree
