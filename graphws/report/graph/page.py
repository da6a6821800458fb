"""The typed graph of a network as one interactive page that opens without a network.

Spaces are discs, rails or, inside folded blocks, cards; parameters are the lines between them.  The page holds its
data, script and style; its content security policy lets nothing else in, so that not even a name from a hostile file
can run or fetch anything.  Names reach the document as text only.

The state can be given in the address: ``#unfold=all``, ``#fold=all``, ``#open=PATH,PATH``, ``#search=TEXT``,
``#select=SPACE`` (with ``&tip=1`` its tooltip), ``#view=whole``, ``#theme=dark``.  Without one, blocks are folded, the
last first, until the whole graph is read at once in the window.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files

from graphws.checkpoints.conversion import Conversion
from graphws.graph import NetworkGraph
from graphws.printable import printable
from graphws.report.graph.page_data import page_data
from graphws.report.markup import markup
from graphws.report.theme import page_colours

SCRIPTS = ("page_layout.js", "page_svg.js", "page.js")
LONGEST_NAME = 400
"""Longer texts from a file are cut for the page."""
MOST_NOTES = 40

_LEGEND = (
    ('<span class="swatch set"></span>', "<b>set</b>: the group permutes it"),
    ('<span class="swatch nested"></span>', "<b>nested</b>: a set inside each element of its parent (heads × size)"),
    ('<span class="swatch free"></span>', "<b>free</b>: stays in place; a tooltip says why"),
    ("<b>±</b>", "signs come on top of permutations"),
    ("<b>+</b>", "positive scales"),
    ("<b>∗</b>", "scales of either sign"),
    ("<b>GL</b>", "every invertible matrix"),
    ("<b>→</b>", "a weight, from the space that it reads to the one that it writes"),
    ("<b>▪</b>", "a norm or a bias on one space; on a line: a tensor with more than two axes"),
    ("<b>▬</b>", "a rail: a space, such as a residual stream, that many blocks share"),
    ("<b>▸</b>", "a folded block; a pile of cards stands for equal blocks"),
)


def graph_page(source: Conversion | NetworkGraph, title: str = "") -> str:
    """The page; the same source gives the same text.

    Args:
        source: A converted network, or a graph alone.
        title: What the network is called, for the page's head.

    Returns:
        str: HTML without any reference outside itself.
    """
    found = source if isinstance(source, Conversion) else Conversion(source, reason="a graph without weights")
    graph = found.graph
    data = _cut(page_data(graph))
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    for character in "<>&":  # inside JSON they only stand in strings
        text = text.replace(character, f"\\u{ord(character):04x}")
    script = "\n".join(_read(name) for name in SCRIPTS)
    style = page_colours() + _read("page.css")
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; base-uri 'none'; form-action 'none'"
    )
    name = _shorten(title or "A typed graph")
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{markup(name)}</title>",
            f"<style>{style}</style></head>",
            "<body>",
            _head(name, found),
            _MAIN,
            f"<aside>{_panel(found)}</aside>",
            '<div id="tip" role="tooltip" hidden></div>',
            f'<script type="application/json" id="graph-data">{text}</script>',
            f"<script>{script}</script>",
            "</body></html>",
            "",
        ]
    )


_MAIN = (
    '<main><svg id="picture" tabindex="0" role="group" aria-label="typed graph: arrows pan, plus and minus zoom, '
    'slash searches"><defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    'markerUnits="userSpaceOnUse" orient="auto"><path class="arrow" d="M0 0.5L8 4L0 7.5z"></path></marker></defs>'
    '<g id="layer"></g></svg></main>'
)


def _head(name: str, found: Conversion) -> str:
    kind = "verified" if found.verified else "unverified"
    buttons = (
        ("fold", "fold all", ""),
        ("unfold", "unfold all", ""),
        ("fit", "fit", "show all (0)"),
        ("out", "−", "zoom out (-)"),
        ("in", "+", "zoom in (+)"),
        ("theme", "◐", "light or dark"),
        ("panel", "☰", "side panel"),
    )
    made = "".join(
        f'<button type="button" data-do="{do}"'
        + (f' title="{title}" aria-label="{title}"' if title else "")
        + f">{text}</button>"
        for do, text, title in buttons
    )
    return (
        f'<header><h1 title="{markup(name)}">{markup(name)}</h1>'
        f'<span class="badge-text {kind}" title="{markup(_shorten(found.verdict))}">{_badge(found)}</span>'
        '<input id="search" type="search" placeholder="search spaces and parameters" aria-label="search">'
        f"{made}</header>"
    )


def _badge(found: Conversion) -> str:
    """The verdict in a word or two."""
    if found.verified:
        return "VERIFIED"
    return "UNVERIFIED" if found.verification is None else "BY ITS WRITER"


def _panel(found: Conversion) -> str:
    graph = found.graph
    moving = sum(space.moves for space in graph.spaces)
    facts = [
        ("spaces", f"{len(graph.spaces)}, of which {moving} move"),
        ("parameters", f"{len(graph.parameters)}"),
        ("numbers", f"{graph.numel:,}"),
        ("relabellings", f"10^{graph.log10_order():.1f}"),
        ("coverage", f"{found.coverage:.1%} of the numbers"),
    ]
    check = found.verification
    if check is not None:
        proof = [
            ("error", f"{check.error:.1e}"),
            ("control", f"{check.control:.1e}"),
            ("draws", str(check.draws)),
            ("actions", check.actions),
        ]
    else:
        proof = [("why not", _shorten(found.reason) or "nobody says")]
    told = [text for text in (found.story, *found.notes) if text]
    notes = "".join(f"<li>{markup(_shorten(text))}</li>" for text in told[:MOST_NOTES])
    more = len(told) - MOST_NOTES
    notes += f"<li>and {more} more</li>" if more > 0 else ""
    legend = "".join(f"{sign}<span>{text}</span>" for sign, text in _LEGEND)
    verdict = "verified" if found.verified else "unverified"
    return (
        '<div id="hits" hidden></div><div id="details" hidden></div>'
        f'<h3>Network</h3>{_list(facts)}<h3><span class="{verdict}">{_badge(found)}</span></h3>{_list(proof)}'
        + (f'<h3>Notes</h3><ul class="notes">{notes}</ul>' if notes else "")
        + f'<h3>Legend</h3><div class="legend">{legend}</div><h3>Spaces</h3><div id="spaces"></div>'
    )


def _list(rows: list[tuple[str, str]]) -> str:
    return "<dl>" + "".join(f"<dt>{markup(name)}</dt><dd>{markup(value)}</dd>" for name, value in rows) + "</dl>"


def _read(name: str) -> str:
    return files("graphws.report.graph").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _shorten(text: str) -> str:
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1] + "…"


def _cut(value: object) -> object:
    """The same data with every text at most so long."""
    if isinstance(value, str):
        return _shorten(printable(value))
    if isinstance(value, list):
        return [_cut(entry) for entry in value]
    if isinstance(value, dict):
        return {key: _cut(entry) for key, entry in value.items()}
    return value
