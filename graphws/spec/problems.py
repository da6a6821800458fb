"""Where something stands in a spec, and what is wrong with it.

Every value that is read keeps its `Location`, so that a mistake found much later (by a check across two sections, in a
file that another one extends) still points at the line that the user has to change:

    digits.yaml:7:3: unknown key 'chanels' in model; did you mean 'channels'?
      chanels: 32
      ^
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from graphws.errors import LONGEST, SpecError
from graphws.printable import printable
from graphws.shown import Shown

WIDEST_LINE = 110
"""Longer document lines are shown in part, around the caret."""
MOST_SHOWN = 100
"""Problems in a message."""

_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")


@dataclass(frozen=True)
class Document:
    """A text and the name that messages give it: a file, or ``--set 1``."""

    name: str
    text: str

    def line(self, number: int) -> str:
        """The line `number`, counted from 1; empty past the end.  Lines break where YAML breaks them."""
        return self._lines[number - 1] if 1 <= number <= len(self._lines) else ""

    def location(self, index: int) -> Location:
        """The location of the character `index`, counted from 0."""
        lines = _BREAK.split(self.text[:index])
        return Location(self, len(lines), len(lines[-1]) + 1)

    @cached_property
    def _lines(self) -> list[str]:
        return _BREAK.split(self.text)


@dataclass(frozen=True, repr=False)
class Location(Shown):
    """A line and a column of a document, both counted from 1."""

    document: Document
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.document.name}:{self.line}:{self.column}"

    def excerpt(self) -> str:
        """The document line with a caret under the location, or nothing where the line is empty."""
        line, column = self.document.line(self.line), self.column - 1
        if not line.strip():
            return ""
        start = 0
        if len(line) > WIDEST_LINE:
            start = min(max(0, column - WIDEST_LINE // 2), len(line) - WIDEST_LINE)
            line = line[start : start + WIDEST_LINE]
        line = "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in line)
        under = "".join("\t" if c == "\t" else " " for c in line[: column - start])
        return f"  {line.rstrip()}\n  {under}^"


@dataclass(frozen=True, repr=False)
class Problem(Shown):
    """One thing that is wrong, and where.

    A problem without a location concerns the file as a whole (it does not exist, it is not text).
    """

    message: str
    location: Location | None = None

    def __str__(self) -> str:
        if self.location is None:
            return printable(self.message, most=LONGEST)
        excerpt = self.location.excerpt()
        return printable(f"{self.location}: {self.message}", most=LONGEST) + (f"\n{excerpt}" if excerpt else "")


class InvalidSpec(SpecError):
    """A spec is refused; `problems` holds everything that is wrong with it and ``str`` the whole text."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        shown = [str(problem) for problem in self.problems[:MOST_SHOWN]]
        left = len(self.problems) - len(shown)
        super().__init__("\n".join([*shown, f"and {left:,} more problems"] if left else shown))

    def __reduce__(self) -> tuple[type[InvalidSpec], tuple[tuple[Problem, ...]]]:
        return InvalidSpec, (self.problems,)
