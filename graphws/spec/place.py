"""Where something stands in a spec, and what is wrong with it.

Every value that is read keeps its `Place`, so that a mistake found much later (by a check across two sections, in a
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

from graphws.errors import SpecError

WIDEST_LINE = 110
"""Longer source lines are shown in part, around the caret."""

_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")


@dataclass(frozen=True)
class Source:
    """A text and the name that messages give it: a file, or ``--set 1``."""

    name: str
    text: str

    def line(self, number: int) -> str:
        """The line `number`, counted from 1; empty past the end.  Lines break where YAML breaks them."""
        return self._lines[number - 1] if 1 <= number <= len(self._lines) else ""

    def place(self, index: int) -> Place:
        """The place of the character `index`, counted from 0."""
        lines = _BREAK.split(self.text[:index])
        return Place(self, len(lines), len(lines[-1]) + 1)

    @cached_property
    def _lines(self) -> list[str]:
        return _BREAK.split(self.text)


@dataclass(frozen=True)
class Place:
    """A line and a column of a source, both counted from 1."""

    source: Source
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line}:{self.column}"

    def excerpt(self) -> str:
        """The source line with a caret under the place, or nothing where the line is empty."""
        line, column = self.source.line(self.line), self.column - 1
        if not line.strip():
            return ""
        start = 0
        if len(line) > WIDEST_LINE:
            start = min(max(0, column - WIDEST_LINE // 2), len(line) - WIDEST_LINE)
            line = line[start : start + WIDEST_LINE]
        line = "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in line)
        under = "".join("\t" if c == "\t" else " " for c in line[: column - start])
        return f"  {line.rstrip()}\n  {under}^"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and where.

    A problem without a place concerns the file as a whole (it does not exist, it is not text).
    """

    message: str
    place: Place | None = None

    def __str__(self) -> str:
        if self.place is None:
            return self.message
        excerpt = self.place.excerpt()
        return f"{self.place}: {self.message}" + (f"\n{excerpt}" if excerpt else "")


class InvalidSpec(SpecError):
    """A spec is refused; `problems` holds everything that is wrong with it and ``str`` the whole text."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[type[InvalidSpec], tuple[tuple[Problem, ...]]]:
        return InvalidSpec, (self.problems,)
