"""Lay specs and overrides over one another before anything is validated.

``extends:`` names one parent: a file in the folder of the spec or below, or a shipped spec, by its file or the name
that ``graphws run`` takes.  ``--set a.b=c`` lays a
value over the result.  How one is laid over another says `graphws.spec.overlay`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from graphws.errors import nearest
from graphws.spec.overlay import lay
from graphws.spec.problems import Document, InvalidSpec, Location, Problem
from graphws.spec.reader import read_file, read_value
from graphws.spec.shipped import SUFFIX, find_shipped, shipped_folder
from graphws.spec.tree import Entry, Mapping, Scalar, Sequence, Tree, merge

LONGEST = 1024
"""Characters of the name of a parent."""
DEEPEST = 8
"""Specs that may extend one another."""


@dataclass
class Resolution:
    """What went wrong while a spec was laid over its ancestors, and the names of the documents in the order of reading.

    `incomplete` is set where an ancestor could not be read: what it would have given is not missing, only unknown.
    """

    problems: list[Problem] = field(default_factory=list)
    documents: list[str] = field(default_factory=list)
    incomplete: bool = False

    def file(self, path: Path, name: str) -> Mapping:
        """The tree of a file, laid over its ancestors.

        Raises:
            InvalidSpec: If the file itself cannot be read.
        """
        tree = self._read(path, name)
        return self.over_parent(tree, path, [path.resolve()])

    def over_parent(self, tree: Mapping, path: Path, chain: list[Path]) -> Mapping:
        """A tree that was read from `path`, laid over the parent that it names; `chain` are the files passed."""
        nothing = Mapping({}, tree.location)
        entry = tree.entries.get("extends")
        if entry is None or not (isinstance(entry.value, Scalar) and isinstance(entry.value.value, str)):
            return lay(nothing, tree, self.problems)
        own = Mapping({key: value for key, value in tree.entries.items() if key != "extends"}, tree.location)
        location, text = entry.value.location, entry.value.value
        parent = self._parent(text, path, chain)
        if isinstance(parent, str):
            self._refuse(f"extends: {parent}", location)
            return lay(nothing, own, [])  # which baselines there would be is not known
        try:
            below = self._read(parent, _shown(parent, text, location.document.name))
        except InvalidSpec as error:
            self.problems += error.problems
            self.incomplete = True
            return lay(nothing, own, [])
        over = self.over_parent(below, parent, [*chain, parent.resolve()])
        return replace(lay(over, own, self.problems), location=own.location)

    def override(self, number: int, text: str) -> Mapping:
        """What the override `text`, ``a.b=c``, which messages call ``--set NUMBER``, lays over a spec."""
        document = Document(f"--set {number}", text)
        self.documents.append(document.name)
        nothing = Mapping({}, Location(document))
        dotted, equals, value_text = text.partition("=")
        keys = dotted.split(".")
        if not equals or not all(key and key == key.strip() for key in keys):
            self.problems.append(Problem(f"an override is key.key=value, got {text!r}", Location(document)))
            return nothing
        if not value_text.strip():
            where = Location(document, 1, len(dotted) + 1)
            self.problems.append(Problem(f"nothing after '='; write {dotted}=null or {dotted}=''", where))
            return nothing
        if keys[0] == "extends":
            self.problems.append(Problem("extends cannot be set; name the other spec instead", Location(document)))
            return nothing
        value = self._value(document, " " * (len(dotted) + 1) + value_text)
        if value is None:
            return nothing
        for depth in range(len(keys), 0, -1):
            key = Location(document, 1, len(".".join(keys[: depth - 1])) + (1 if depth == 1 else 2))
            value = Mapping({keys[depth - 1]: Entry(key, value)}, key)
        assert isinstance(value, Mapping)
        return value

    def scale(self, name: str) -> Mapping:
        """What ``--scale NAME`` lays over a spec."""
        document = Document("--scale", name)
        self.documents.append(document.name)
        return Mapping({"scale": Entry(Location(document), Scalar(name, Location(document)))}, Location(document))

    def _read(self, path: Path, name: str) -> Mapping:
        self.documents.append(name)
        tree, problems = read_file(path, name)
        self.problems += problems
        return tree

    def _value(self, document: Document, padded: str) -> Tree | None:
        """The value of an override; the text is padded so that its columns are those of the whole override."""
        try:
            value, problems = read_value(document, padded)
        except InvalidSpec as error:
            self.problems += error.problems
            return None
        self.problems += problems
        return value

    def _parent(self, text: str, path: Path, chain: list[Path]) -> Path | str:
        """The parent's file, or why there is none."""
        if len(text) > LONGEST or not text.isprintable():
            return f"{_brief(text)} is no name that a file can have"
        near = path.parent / text
        try:
            found = near if text.endswith(SUFFIX) and near.is_file() else find_shipped(text)
        except OSError as error:  # a part of the name is longer than the file system allows
            return f"{_brief(text)} cannot be read: {error.strerror}"
        if found is None:
            hint = nearest(text, _shipped_files(), ending=SUFFIX)
            if not text.endswith(SUFFIX):
                return f"{text!r} is neither a {SUFFIX} file nor the name of a shipped spec{hint}"
            return f"there is no file {text!r} beside this spec, nor a shipped spec{hint}"
        parent = found.resolve()
        roots = (chain[0].parent, shipped_folder().resolve())
        if not any(parent.is_relative_to(root) for root in roots):
            return f"{text!r} leads out of the folder of the spec; a parent is in it, below it, or a shipped spec"
        if parent in chain:
            return f"{text!r} extends this spec in turn"
        if len(chain) >= DEEPEST:
            return f"more than {DEEPEST} specs extend one another"
        return found

    def _refuse(self, message: str, location: Location) -> None:
        self.problems.append(Problem(message, location))
        self.incomplete = True


def _brief(text: str) -> str:
    return repr(text) if len(text) <= 80 else repr(text[:60] + "…") + f" ({len(text):,} characters)"


INHERITED = ("preprocess", "augment", "train")
"""Sections that an entry of `compare` may lay over the spec's own."""


def inherit_sections(tree: Mapping) -> Mapping:
    """The tree with every section of `INHERITED` in `compare` laid over the spec's own."""
    compare = tree.entries.get("compare")
    if compare is None or not isinstance(compare.value, Sequence):
        return tree
    items = tuple(_inherit(item, tree) for item in compare.value.items)
    entry = Entry(compare.key, Sequence(items, compare.value.location))
    return Mapping({**tree.entries, "compare": entry}, tree.location)


def _inherit(item: Tree, tree: Mapping) -> Tree:
    if not isinstance(item, Mapping):
        return item
    entries = dict(item.entries)
    for name in INHERITED:
        own, below = entries.get(name), tree.entries.get(name)
        if own is not None and below is not None and isinstance(own.value, Mapping):
            entries[name] = Entry(own.key, merge(below.value, own.value))
    return Mapping(entries, item.location)


def _shipped_files() -> list[str]:
    folder = shipped_folder()
    return [path.relative_to(folder).as_posix() for path in folder.rglob(f"*{SUFFIX}")]


def _shown(parent: Path, text: str, child_name: str) -> str:
    """What messages call a parent: its path as seen from where its child's was."""
    if parent.is_relative_to(shipped_folder()):
        return os.path.relpath(parent) if parent.is_relative_to(Path.cwd()) else str(parent)
    return os.path.normpath(os.path.join(os.path.dirname(child_name), text))
