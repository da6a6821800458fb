"""The command; see the package."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from scripts.trust import __doc__ as words
from scripts.trust.figures import Figures, Part, keep

PARTS = {name: f"scripts.trust.{name}" for name in ("networks", "conversions", "fuzz", "kills", "exits")}
"""The module of each part; it has a `Part` named ``PART``."""


def main() -> None:
    """Runs one part."""
    parser = argparse.ArgumentParser("scripts.trust", description=words, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("part", choices=PARTS, help="what is tried")
    parser.add_argument("--number", type=int, help="how many are tried")
    parser.add_argument("--jobs", type=int, default=1, help="processes (1)")
    parser.add_argument("--dry", action="store_true", help="prints the table and writes nothing")
    chosen = parser.parse_args()
    part: Part = importlib.import_module(PARTS[chosen.part]).PART
    number = part.number if chosen.number is None else chosen.number
    columns, rows = part.run(number, chosen.jobs)
    figures = Figures(f"python -m scripts.trust {chosen.part} --number {number}", columns, rows)
    print(figures.table())
    if not chosen.dry:
        keep(chosen.part, figures)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    main()
