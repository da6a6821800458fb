"""Zoos: the first rows of the table."""

from __future__ import annotations

from graphws.notebook.html import line, table
from graphws.notebook.views import view
from graphws.zoo import Zoo

ROWS = 10
"""Networks whose rows are shown."""


@view(Zoo)
def zoo_html(zoo: Zoo) -> str:
    """How many networks of what, and what the table says of the first."""
    rows = zoo.rows(slice(0, ROWS))
    cells = [[str(column[k]) for column in rows.values()] for k in range(min(ROWS, len(zoo)))]
    return line(str(zoo), strong=True) + table(list(rows), cells)
