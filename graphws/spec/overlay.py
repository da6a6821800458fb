"""One tree laid over another: a child over its parent, a scale over its spec, ``--set`` over all.

Mappings merge, all else is replaced, and a mapping of another `kind` replaces its parent's.  On top ``compare`` may be
a mapping of baselines' names to what differs in each, null for a baseline that is left out.
"""

from __future__ import annotations

from dataclasses import replace

from graphws.errors import nearest
from graphws.spec.problems import Problem
from graphws.spec.tree import Entry, Mapping, Scalar, Sequence, Tree, dotted, merge


def lay(tree: Mapping, overlay: Mapping, problems: list[Problem]) -> Mapping:
    """An overlay over a tree, which may be empty; baselines that it names are changed one by one."""
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
