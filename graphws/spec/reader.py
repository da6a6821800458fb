"""Read YAML into a tree of values that know their locations, and refuse what a spec has no use for.

A spec is plain data: mappings with string keys, lists and scalars.  Refused, each with its location: duplicate keys
(YAML keeps the last one silently), anchors, aliases and merge keys (a page expands to gigabytes), tags (PyYAML's may
call any function), several documents, nesting deeper than `DEEPEST`, more than `MOST` values, and files larger than
`LARGEST`.  Scalars are those of YAML 1.2: see `graphws.spec.scalars`.

The reader goes on after a mistake wherever it can, so that one look shows all of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from graphws.spec.problems import Document, InvalidSpec, Location, Problem
from graphws.spec.scalars import Value, scalar
from graphws.spec.tree import Entry, Mapping, Scalar, Sequence, Tree

LARGEST = 1 << 20
"""Bytes of the largest file that is read."""

DEEPEST = 32
"""Mappings and lists that may stand in one another."""

MOST = 10_000
"""Mappings, lists, keys and values that a spec may have together."""


def read_file(path: Path, name: str) -> tuple[Mapping, list[Problem]]:
    """Read a file; `name` is what messages call it.

    Returns:
        The tree, and the mistakes in spite of which there is one.

    Raises:
        InvalidSpec: On a file that cannot be read as a YAML mapping at all.
    """
    return read_text(Document(name, _text(path, name)))


def read_text(document: Document) -> tuple[Mapping, list[Problem]]:
    """Read a whole spec from a text; as `read_file`."""
    tree, problems = read_value(document)
    if not isinstance(tree, Mapping):
        what = "nothing" if tree is None else "a list" if isinstance(tree, Sequence) else "a single value"
        where = Location(document) if tree is None else tree.location
        problems.append(Problem(f"a spec is a mapping of keys to values, got {what}", where))
        raise InvalidSpec(problems)
    return tree, problems


def read_value(document: Document, text: str | None = None) -> tuple[Tree | None, list[Problem]]:
    """Read any YAML value, None from an empty text.

    Args:
        document: What messages show.
        text: What is read, where that is only a part of the document; its columns are those of the document.

    Raises:
        InvalidSpec: On a text that is not YAML.
    """
    problems: list[Problem] = []
    loader: _Loader | None = None
    try:
        loader = _Loader(document, document.text if text is None else text, problems)
        node = loader.compose_only()
    except yaml.reader.ReaderError as error:
        character = f"U+{error.character:04X}" if isinstance(error.character, int) else repr(error.character)
        where = document.location(error.position)
        raise InvalidSpec([Problem(f"the character {character} is not allowed in YAML", where)]) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.context, error.problem) if part)
        problems.append(Problem(f"not valid YAML: {what}", _location(document, mark) if mark else None))
        raise InvalidSpec(problems) from None
    except (ValueError, OverflowError):  # PyYAML converts numbers of escapes and directives without looking
        assert loader is not None
        where = Location(document, loader.line + 1, loader.column + 1)
        raise InvalidSpec([*problems, Problem("not valid YAML: a number in an escape is too large", where)]) from None
    return (None if node is None else _tree(document, node, problems)), problems


def _text(path: Path, name: str) -> str:
    """The file's text, or the reason why it has none."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except IsADirectoryError:
        raise InvalidSpec([Problem(f"{name}: this is a folder; name a spec file")]) from None
    except OSError as error:
        raise InvalidSpec([Problem(f"{name}: cannot be read: {error.strerror}")]) from None
    if len(data) > LARGEST:
        raise InvalidSpec([Problem(f"{name}: larger than {LARGEST >> 20} MiB, which no spec needs")])
    if b"\0" in data:
        raise InvalidSpec([Problem(f"{name}: holds a NUL byte; a spec is a UTF-8 text")])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidSpec([Problem(f"{name}: not UTF-8 at byte {error.start}, line {line}")]) from None
    if not text.strip():
        raise InvalidSpec([Problem(f"{name}: empty; a spec begins with `graphws: 1`")])
    return text


class _Loader(yaml.SafeLoader):
    """PyYAML's scanner and parser, with a composer that refuses references, tags and deep nesting."""

    def __init__(self, document: Document, text: str, problems: list[Problem]) -> None:
        super().__init__(text)
        self.document = document
        self.problems = problems
        self.depth = 0
        self.count = 0

    def compose_only(self) -> yaml.Node | None:
        """The node of the only document, None where there is none."""
        self.get_event()
        if self.check_event(yaml.StreamEndEvent):
            return None
        node = self.compose_document()
        if not self.check_event(yaml.StreamEndEvent):
            self.refuse("a second document begins here; a spec is one document", self.peek_event().start_mark)
        return node

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()
        if self.check_event(yaml.AliasEvent):
            self.refuse(f"alias *{event.anchor}: a spec has no references; write the value out", event.start_mark)
            self.get_event()
            return yaml.ScalarNode("", "", event.start_mark, event.end_mark)
        if event.anchor is not None:
            self.refuse(f"anchor &{event.anchor}: a spec has no references; remove it", event.start_mark)
        if event.tag is not None:
            self.refuse(
                f"tag {_short_tag(event.tag)!r}: a spec has no tags; quote strings and remove it", event.start_mark
            )
        event.anchor = event.tag = None
        if self.depth == DEEPEST and not self.check_event(yaml.ScalarEvent):
            self.refuse(f"nested deeper than {DEEPEST} levels", event.start_mark)
            raise InvalidSpec(self.problems)
        if self.count == MOST:
            self.refuse(f"more than {MOST} keys and values, which no spec needs", event.start_mark)
            raise InvalidSpec(self.problems)
        self.count += 1
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def refuse(self, message: str, mark: Any) -> None:
        self.problems.append(Problem(message, _location(self.document, mark)))


def _tree(document: Document, node: yaml.Node, problems: list[Problem]) -> Tree:
    """The tree of a node; keys that cannot stand in it are reported and left out."""
    location = _location(document, node.start_mark)
    if isinstance(node, yaml.MappingNode):
        entries: dict[str, Entry] = {}
        for key_node, value_node in node.value:
            key, where = _key(document, key_node, problems), _location(document, key_node.start_mark)
            below = _tree(document, value_node, problems)
            if key in entries:
                problems.append(Problem(f"duplicate key {key!r}, first given in line {entries[key].key.line}", where))
            elif key is not None:
                entries[key] = Entry(where, below)
        return Mapping(entries, location)
    if isinstance(node, yaml.SequenceNode):
        return Sequence(tuple(_tree(document, item, problems) for item in node.value), location)
    assert isinstance(node, yaml.ScalarNode)
    value: Value
    try:
        value = node.value if node.style is not None else scalar(node.value)
    except ValueError as error:
        problems.append(Problem(f"{error} is not a number that a spec needs", location))
        value = None
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        problems.append(Problem("half of a surrogate pair (\\ud800 to \\udfff) is not a character", location))
        value = None
    return Scalar(value, location)


def _key(document: Document, node: yaml.Node, problems: list[Problem]) -> str | None:
    """The key, or None with a problem where it is not a string."""
    location = _location(document, node.start_mark)
    tree = _tree(document, node, problems)
    if not isinstance(tree, Scalar) or not isinstance(node, yaml.ScalarNode):
        problems.append(Problem("a key is a string, got a list or a mapping", location))
    elif tree.value == "<<" and node.style is None:
        problems.append(Problem("merge key <<: a spec has no references; use `extends:`", location))
    elif not isinstance(tree.value, str):
        problems.append(Problem(f"a key is a string, got {node.value or 'nothing'}; write it in quotes", location))
    else:
        return tree.value
    return None


def _location(document: Document, mark: Any) -> Location:
    return Location(document, mark.line + 1, mark.column + 1)


def _short_tag(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")
