"""The report: one HTML page with its pictures inside, which opens without a network."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from graphws.report.markup import markup
from graphws.shown import Shown

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1f24; max-width: 62rem; margin: 2.5rem auto; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.lead { color: #57606a; margin-top: 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .35rem .9rem; border-bottom: 1px solid #d8dee4; }
th { font-weight: 600; } td:first-child, th:first-child { text-align: left; }
table.leading tbody tr:first-child td { font-weight: 600; }
table.facts td { text-align: left; vertical-align: top; }
img { max-width: 100%; height: auto; }
figure { margin: 1rem 0 1.6rem; } figcaption { color: #57606a; font-size: .9rem; }
pre { background: #f6f8fa; padding: .9rem 1.1rem; overflow-x: auto; font-size: .85rem; border-radius: 6px; }
"""


@dataclass(frozen=True, repr=False)
class Picture(Shown):
    """A PNG with a caption."""

    caption: str
    content: bytes


@dataclass(frozen=True, repr=False)
class Table(Shown):
    """Column titles and rows of ready text; the first column names the row."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, repr=False)
class Link(Shown):
    """A text and the page that it leads to, relative to this one."""

    text: str
    target: str


@dataclass(frozen=True, repr=False)
class Page(Shown):
    """What a report says.

    Attributes:
        title: Of the run.
        lead: One sentence with the outcome.
        results: The final table.
        pictures: In order.
        facts: What the data are and what it ran with.
        spec: The resolved spec.
        leading: Whether the first row of the results is what the page is about, and the others stand beside it.
        notes: What a reader should know, in words.
        links: To pages of parts.
    """

    title: str
    lead: str
    results: Table
    pictures: Sequence[Picture] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    spec: str = ""
    leading: bool = True
    notes: str = ""
    links: Sequence[Link] = ()


def html(page: Page) -> str:
    """The page as one self-contained document: no script, no style sheet and no picture outside it."""
    parts = [
        f"<h1>{markup(page.title)}</h1>",
        f'<p class="lead">{markup(page.lead)}</p>',
        table_html(page.results, "results leading" if page.leading else "results"),
    ]
    if page.notes:
        parts.append(f"<p>{markup(page.notes)}</p>")
    parts += [picture_html(picture) for picture in page.pictures]
    if page.links:
        links = [f'<li><a href="{markup(link.target)}">{markup(link.text)}</a></li>' for link in page.links]
        parts += ["<ul>", *links, "</ul>"]
    if page.facts:
        parts += ["<h2>Facts</h2>", table_html(Table(("", ""), list(page.facts.items())))]
    if page.spec:
        parts += ["<h2>Spec</h2>", f"<pre>{markup(page.spec)}</pre>"]
    return document(page.title, parts)


def document(title: str, parts: Sequence[str]) -> str:
    """A whole document of parts that are HTML already; the title is text."""
    head = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{markup(title)}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{_STYLE}</style></head><body>",
    ]
    return "\n".join([*head, *parts, "</body></html>", ""])


def picture_html(picture: Picture) -> str:
    """A picture, inside the page, with its caption."""
    data = base64.b64encode(picture.content).decode()
    caption = markup(picture.caption)
    image = f'<img alt="{caption}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def table_html(table: Table, kind: str = "facts") -> str:
    """A table; `kind` is its class in the style sheet."""
    head = "".join(f"<th>{markup(column)}</th>" for column in table.columns)
    rows = ["".join(f"<td>{markup(cell)}</td>" for cell in row) for row in table.rows]
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    header = f"<thead><tr>{head}</tr></thead>" if any(table.columns) else ""
    return f'<table class="{kind}">{header}<tbody>{body}</tbody></table>'
