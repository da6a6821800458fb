"""The figures of each part: kept in docs/trust.json, shown as a table in docs/trust.md."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIGURES, PAGE = ROOT / "docs" / "trust.json", ROOT / "docs" / "trust.md"


@dataclass(frozen=True)
class Figures:
    """What a run of one part saw.

    Attributes:
        command: The command that printed them.
        columns: Heads of the table.
        rows: Its lines, as long as the heads.
    """

    command: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | int]]

    def table(self) -> str:
        """The table in Markdown, with the command above it."""
        lines = [f"`{self.command}`", "", self._line(self.columns), self._line(["---"] * len(self.columns))]
        return "\n".join([*lines, *(self._line(row) for row in self.rows)])

    @staticmethod
    def _line(cells: Sequence[str | int]) -> str:
        return "| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else cell for cell in cells) + " |"


@dataclass(frozen=True)
class Part:
    """One thing that is tried.

    Attributes:
        number: How many are tried where the user does not say.
        run: Tries so many on so many processes, with a progress bar on standard error; heads and rows of its table.
    """

    number: int
    run: Callable[[int, int], tuple[Sequence[str], Sequence[Sequence[str | int]]]]


def kept() -> dict[str, Figures]:
    """The figures of the last run of each part."""
    return {name: Figures(**entry) for name, entry in json.loads(FIGURES.read_text("utf-8")).items()}


def keep(name: str, figures: Figures) -> None:
    """Puts one part's figures in place of its last ones, in both files."""
    every = {**(kept() if FIGURES.exists() else {}), name: figures}
    FIGURES.write_text(json.dumps({key: asdict(entry) for key, entry in every.items()}, indent=1) + "\n", "utf-8")
    PAGE.write_text(written(PAGE.read_text("utf-8"), every), "utf-8")


def written(page: str, figures: Mapping[str, Figures]) -> str:
    """A page with its tables, each between ``<!-- PART -->`` and ``<!-- end of PART -->``."""
    for name, entry in figures.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        page = re.sub(f"{begin}.*?{end}", lambda _, e=entry, b=begin, z=end: f"{b}\n{e.table()}\n{z}", page, flags=re.S)
    return page
