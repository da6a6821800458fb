"""``scales``: sizes of one experiment, each an overlay of the spec that has a name; ``scale`` chooses one.

An overlay is laid over the spec as a child is over its parent (`graphws.spec.overlay`).  What is resolved has neither
key: the name of the scale stays as ``scaled``.  ``--set`` is laid over the scale.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from graphws.errors import nearest
from graphws.spec.overlay import lay
from graphws.spec.problems import Location, Problem
from graphws.spec.section import NAME, NAME_IN_WORDS
from graphws.spec.tree import Entry, Mapping, Scalar, Sequence, Tree, dotted, without

MOST = 16
"""Scales of a spec: each is checked whenever the spec is read."""
OUTSIDE = ("graphws", "extends", "scales", "scale", "scaled")
"""Keys that an overlay has no use for."""


def overlays(tree: Mapping, problems: list[Problem]) -> dict[str, Mapping]:
    """The overlays of a spec by their names; what is wrong with them as such is added to `problems`."""
    entry = tree.entries.get("scales")
    if entry is None or (isinstance(entry.value, Scalar) and entry.value.value is None):
        return {}
    if not isinstance(entry.value, Mapping):
        problems.append(Problem("scales must be a mapping of names to what differs in each", entry.value.location))
        return {}
    found = {}
    for name, overlay in entry.value.entries.items():
        if not re.fullmatch(NAME, name):
            what = f"the name of a scale is {NAME_IN_WORDS}, got {name!r}"
            problems.append(Problem(what, overlay.key))
        elif not isinstance(overlay.value, Mapping):
            what = f"{dotted(('scales', name))} must be a mapping with the keys of a spec"
            problems.append(Problem(what, overlay.value.location))
        else:
            problems += [
                Problem(f"{key} has no place in a scale", overlay.value.entries[key].key)
                for key in OUTSIDE
                if key in overlay.value.entries
            ]
            kept = without(overlay.value, [(key,) for key in OUTSIDE])
            assert isinstance(kept, Mapping)
            found[name] = kept
    if len(found) > MOST:
        problems.append(Problem(f"a spec has at most {MOST} scales, got {len(found)}", entry.key))
        return {}
    return found


def chosen(tree: Mapping, known: dict[str, Mapping], problems: list[Problem]) -> str | None:
    """The name of the scale that a spec chooses; None where it chooses none, or, with a problem, one that is not."""
    entry = tree.entries.get("scale")
    name = None if entry is None or not isinstance(entry.value, Scalar) else entry.value.value
    if entry is None or (isinstance(entry.value, Scalar) and name is None):
        return None
    if isinstance(name, str) and name in known:
        return name
    there = f"there are {', '.join(known)}" if known else "the spec has no `scales`"
    hint = nearest(name, known) if isinstance(name, str) else ""
    got = repr(name) if isinstance(entry.value, Scalar) else "a list or a mapping"
    problems.append(Problem(f"no scale {got}; {there}{hint}", entry.value.location))
    return None


def unscaled(tree: Mapping) -> Mapping:
    """The tree without the keys that choose a scale."""
    found = without(tree, [("scales",), ("scale",)])
    assert isinstance(found, Mapping)
    return found


def scaled(tree: Mapping, name: str, overlay: Mapping, problems: list[Problem]) -> Mapping:
    """The tree with an overlay laid over it, and its name."""
    found = lay(unscaled(tree), overlay, problems)
    label = Entry(overlay.location, Scalar(name, overlay.location))
    return replace(found, entries={**found.entries, "scaled": label})


def locations(tree: Tree) -> Iterator[Location]:
    """Where everything in a tree stands, keys and values."""
    yield tree.location
    if isinstance(tree, Mapping):
        for entry in tree.entries.values():
            yield entry.key
            yield from locations(entry.value)
    elif isinstance(tree, Sequence):
        for item in tree.items:
            yield from locations(item)
