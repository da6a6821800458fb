"""``scales``: sizes of one experiment, each an overlay of the spec that has a name; ``scale`` chooses one.

An overlay is laid over the spec as a child is over its parent.  In it ``compare`` may also be a mapping of baselines'
names to what differs in each, null for a baseline that is left out.  What is resolved has neither key: the name of the
scale stays as ``scaled``.  ``--set`` is laid over the scale.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from graphws.errors import nearest
from graphws.spec.problems import Location, Problem
from graphws.spec.tree import Entry, Mapping, Scalar, Sequence, Tree, dotted, merge, without

MOST = 16
"""Scales of a spec: each is checked whenever the spec is read."""
OUTSIDE = ("graphws", "extends", "scales", "scale", "scaled")
"""Keys that an overlay has no use for."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


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
        if not NAME.fullmatch(name):
            what = f"the name of a scale is of at most 100 letters, digits, dots, dashes and underscores, got {name!r}"
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


def lay(tree: Mapping, overlay: Mapping, problems: list[Problem]) -> Mapping:
    """An overlay over a tree; baselines that it names are changed one by one."""
    compare = overlay.entries.get("compare")
    if compare is not None and isinstance(compare.value, Mapping):
        rest = {key: entry for key, entry in overlay.entries.items() if key != "compare"}
        below = tree.entries.get("compare")
        listed = below.value.items if below is not None and isinstance(below.value, Sequence) else ()
        items = _baselines(listed, compare.value, problems)
        entry = Entry(compare.key, Sequence(items, compare.value.location))
        tree, overlay = replace(tree, entries={**tree.entries, "compare": entry}), replace(overlay, entries=rest)
    found = merge(tree, overlay)
    assert isinstance(found, Mapping)
    return replace(found, location=tree.location)


def _baselines(items: tuple[Tree, ...], changes: Mapping, problems: list[Problem]) -> tuple[Tree, ...]:
    known = [name for item in items if (name := _name(item)) is not None]
    for name, entry in changes.entries.items():
        if name not in known:
            there = f"; compare has {', '.join(known)}" if known else "; compare has no baselines"
            problems.append(Problem(f"no baseline {name!r} to change{nearest(name, known) or there}", entry.key))
        elif not isinstance(entry.value, Mapping) and not _is_null(entry.value):
            what = f"{dotted(('compare', name))} must be a mapping of what differs, or null to leave it out"
            problems.append(Problem(what, entry.value.location))
    found: list[Tree] = []
    for item in items:
        name = _name(item)
        change = None if name is None else changes.entries.get(name)
        if change is None or not isinstance(change.value, Mapping | Scalar):
            found.append(item)
        elif isinstance(change.value, Mapping):
            found.append(replace(_merged(item, change.value), location=item.location))
    return tuple(found)


def _merged(item: Tree, change: Mapping) -> Mapping:
    found = merge(item, change)
    assert isinstance(found, Mapping)
    return found


def _name(item: Tree) -> str | None:
    name = item.scalar("name") if isinstance(item, Mapping) else None
    return name if isinstance(name, str) else None


def _is_null(tree: Tree) -> bool:
    return isinstance(tree, Scalar) and tree.value is None


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
