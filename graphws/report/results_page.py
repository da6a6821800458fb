"""A page of results: every run with its table, the paper's figures beside ours, and the command that made it.

The page is given what runs found and only writes it down, as Markdown or as one HTML document; the same runs give the
same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from graphws.printable import printable
from graphws.report.markup import markup
from graphws.report.page import Picture, Table, document, fold_html, picture_html, table_html

TITLE = "Results"
LEAD = (
    "Made by `graphws results` from run folders: no number here is typed by hand. Figures are means over seeds ± the "
    "standard deviation where there are several. Columns named *paper* are what the paper reports; a dash is where "
    "there is none."
)
_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~])")


@dataclass(frozen=True)
class Entry:
    """What a page says of a run.

    Attributes:
        title: What the run asks.
        changes: In what it is not the experiment as the paper has it, as its scale; empty where in nothing.
        notes: What a reader should know.
        lead: The outcome in a sentence.
        results: The table.
        source: Where the paper's figures stand; empty where there are none.
        command: What to type for the same run; empty where nobody knows.
        facts: By name, in order.
        pictures: Each with its path, as seen from the page; empty where it has none.
    """

    title: str
    changes: str
    notes: str
    lead: str
    results: Table
    source: str = ""
    command: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    pictures: Sequence[tuple[str, Picture]] = ()

    @property
    def heading(self) -> str:
        """The title, and that this is not the paper's experiment, where it is not."""
        return f"{self.title} ({self.changes})" if self.changes else self.title


def results_markdown(entries: Sequence[Entry]) -> str:
    """The page as Markdown; pictures are links to their paths."""
    parts = [f"# {TITLE}", LEAD]
    for entry in entries:
        parts.append(f"## {_text(entry.heading)}")
        parts += [_text(entry.notes)] if entry.notes else []
        parts += [f"    {printable(entry.command)}"] if entry.command else []
        parts.append(_table(entry.results))
        parts += [_text(entry.lead)]
        parts += [f"![{_text(picture.caption)}]({path})" for path, picture in entry.pictures if path]
        facts = {**({"paper": entry.source} if entry.source else {}), **entry.facts}
        parts += ["\n".join(f"- {_text(name)}: {_text(value)}" for name, value in facts.items())] if facts else []
    return "\n\n".join(parts) + "\n"


def results_html(entries: Sequence[Entry]) -> str:
    """The page as one document with its pictures inside."""
    parts = [f"<h1>{TITLE}</h1>", f'<p class="lead">{markup(re.sub("[`*]", "", LEAD))}</p>']
    for entry in entries:
        parts.append(f"<h2>{markup(entry.heading)}</h2>")
        parts += [f"<p>{markup(entry.notes)}</p>"] if entry.notes else []
        parts += [table_html(entry.results, "results"), f"<p>{markup(entry.lead)}</p>"]
        parts += [picture_html(picture) for _, picture in entry.pictures]
        facts = {**({"paper": entry.source} if entry.source else {}), **entry.facts}
        parts.append(fold_html(facts, entry.command))
    return document(TITLE, [part for part in parts if part])


def _table(table: Table) -> str:
    rows = [table.columns, ["---"] * len(table.columns), *table.rows]
    lines = [[cell if number == 1 else _text(cell) for cell in row] for number, row in enumerate(rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _text(text: str) -> str:
    """A text on one line that Markdown takes for nothing else."""
    return _SPECIAL.sub(r"\\\1", " ".join(printable(text, lines=True).split()))
