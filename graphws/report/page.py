"""The report: one HTML page with its pictures inside, which opens without a network."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Literal

from graphws.report.markup import markup
from graphws.report.theme import page_colours
from graphws.shown import Shown

INCH = 96
"""CSS pixels of an inch, at which the texts of a figure have the size that they were drawn with."""


@dataclass(frozen=True, repr=False)
class Picture(Shown):
    """A picture with a caption.

    Attributes:
        caption: Under it, and what is read out in its place.
        content: The file.
        form: Its media type.  An SVG follows the theme (`graphws.report.svg`); a PNG cannot, and gets a light ground.
        width: CSS pixels at which its texts have their size; 0: its own.
    """

    caption: str
    content: bytes
    form: Literal["image/png", "image/svg+xml"] = "image/png"
    width: int = 0


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
        title: What the run asks.
        lead: One sentence with the outcome.
        results: The final table.
        pictures: In order.
        facts: What the data are.
        spec: The resolved spec; under the fold of `ran`.
        leading: Whether the first row of the results is what the page is about, and the others stand beside it.
        notes: What a reader should know, in words.
        links: To pages of parts.
        remarks: What is to be said of single rows, under the table.
        ran: What ran, and on what: the command, seeds, versions, the device; under a fold.
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
    remarks: Sequence[str] = ()
    ran: Mapping[str, str] = field(default_factory=dict)


def html(page: Page) -> str:
    """The page as one self-contained document: no script, no style sheet and no picture outside it."""
    parts = [
        f"<h1>{markup(page.title)}</h1>",
        f'<p class="lead">{markup(page.lead)}</p>' if page.lead else "",
        table_html(page.results, "results leading" if page.leading else "results") if page.results.rows else "",
        list_html([markup(remark) for remark in page.remarks]),
        f"<p>{markup(page.notes)}</p>" if page.notes else "",
        *(picture_html(picture) for picture in page.pictures),
        list_html([f'<a href="{markup(link.target)}">{markup(link.text)}</a>' for link in page.links]),
        f"<h2>Facts</h2>{facts_html(page.facts)}" if page.facts else "",
        fold_html(page.ran, page.spec),
    ]
    return document(page.title, [part for part in parts if part])


def document(title: str, parts: Sequence[str]) -> str:
    """A whole document of parts that are HTML already; the title is text."""
    style = page_colours() + files("graphws.report").joinpath("page.css").read_text(encoding="utf-8")
    head = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{markup(title)}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<style>{style}</style></head><body>",
    ]
    return "\n".join([*head, *parts, "</body></html>", ""])


def picture_html(picture: Picture) -> str:
    """A picture, inside the page, with its caption; a wide one scrolls in itself rather than becoming unreadable."""
    data = base64.b64encode(picture.content).decode()
    caption = markup(picture.caption)
    width = f' style="--width: {picture.width}px"' if picture.width else ""
    card = ' class="card"' if picture.form == "image/png" else ""
    image = f'<img{card}{width} alt="{caption}" src="data:{picture.form};base64,{data}">'
    return f"<figure>{_scrolling(image, caption)}<figcaption>{caption}</figcaption></figure>"


def facts_html(facts: Mapping[str, str]) -> str:
    """Names and what is known of each."""
    return table_html(Table(("", ""), list(facts.items())))


def fold_html(ran: Mapping[str, str], text: str = "") -> str:
    """What ran, and on what, for those who want to know, with a spec or a command; nothing where nothing is known."""
    if not ran and not text:
        return ""
    parts = [facts_html(ran) if ran else "", f"<pre>{markup(text)}</pre>" if text else ""]
    return f"<details><summary>What ran, and on what</summary>{''.join(parts)}</details>"


def list_html(entries: Sequence[str]) -> str:
    """Entries that are HTML already as a list; nothing without any."""
    return f"<ul>{''.join(f'<li>{entry}</li>' for entry in entries)}</ul>" if entries else ""


def _scrolling(content: str, label: str) -> str:
    """What may be wider than the page, in a box that scrolls in its place, by keys too; the label is HTML already."""
    return f'<div class="scroll" tabindex="0" role="group" aria-label="{label}">\n{content}</div>'


def table_html(table: Table, kind: str = "facts") -> str:
    """A table; `kind` is its class in the style sheet."""
    head = "".join(f"<th>{markup(column)}</th>" for column in table.columns)
    rows = ["".join(f"<td>{markup(cell)}</td>" for cell in row) for row in table.rows]
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    header = f"<thead><tr>{head}</tr></thead>" if any(table.columns) else ""
    made = f'<table class="{kind}">{header}<tbody>{body}</tbody></table>'
    return made if kind == "facts" else _scrolling(made, "table of results")
