"""Graphs: the picture that ``graphws inspect --figure`` draws, or plain tables of one that is too large for it."""

from __future__ import annotations

from pathlib import Path

from graphws.graph import NetworkGraph
from graphws.notebook.html import drawing, folded, line, table
from graphws.notebook.views import view
from graphws.report.graph.formats import graph_picture

MOST_DRAWN, MOST_BYTES = 1_000, 300_000
"""Parameters of a graph that is drawn, and bytes of the drawing."""


@view(NetworkGraph)
def graph_html(graph: NetworkGraph) -> str:
    """The heading, the picture, and spaces and parameters under a fold; open where there is no picture."""
    title = str(graph).split("\n", 1)[0]
    spaces = [[s.name, s.kind, f"{graph.extent(s.name):,}", str(s.action) if s.moves else ""] for s in graph.spaces]
    parameters = [
        [p.name, ", ".join(map(str, p.axes)), "x".join(map(str, graph.shape(p.name))) or "1", p.kind]
        for p in graph.parameters
    ]
    tables = (
        table(("space", "kind", "size", "action"), spaces),
        table(("parameter", "axes", "shape", "kind"), parameters),
    )
    if len(graph.parameters) <= MOST_DRAWN:
        picture = graph_picture(graph, Path("graph.svg"))
        if len(picture) <= MOST_BYTES:
            return line(title, strong=True) + drawing(title, picture) + folded("spaces and parameters", *tables)
    return line(title, strong=True) + "".join(tables)
