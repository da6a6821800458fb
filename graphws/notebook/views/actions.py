"""How a group acts inside a network: the verdict, and each layer beside its decoys."""

from __future__ import annotations

from graphws.actions import Actions
from graphws.actions.reduction.result import Reduction
from graphws.notebook.html import figure, folded, line, table
from graphws.notebook.views import view
from graphws.report.actions_figures import draw_errors
from graphws.report.actions_page import COLUMNS, actions_table, taken_out

MOST_LAYERS = 60
"""Layers of a network whose errors are drawn."""
CAPTION = (
    "Layer errors beside those of decoy groups: a dot far below every grey line is evidence. A diamond far below its "
    "dot: the layer carries an action by matrices."
)


@view(Actions)
def actions_html(found: Actions) -> str:
    """The verdict, the errors of all layers as a picture and, under a fold, as a table."""
    said = [f"{own}." for own in found.hidden_by_streams] + [taken_out(found), found.note]
    few = 0 < len(found.layers) <= MOST_LAYERS
    drawn = figure(CAPTION, draw_errors(found.layers, found.verdict.breaks_at)) if few else ""
    return "".join(
        [
            line(found.verdict.text, strong=True),
            *(line(text) for text in said if text),
            drawn,
            folded("layers in figures", table(COLUMNS, actions_table(found))),
        ]
    )


@view(Reduction)
def reduction_html(found: Reduction) -> str:
    """What was taken out of which space."""
    rows = [[name, f"{before:,}", f"{after:,}"] for name, (before, after) in found.sizes().items()]
    *said, figures = str(found).split("\n")
    return "".join(
        [
            line(figures, strong=True),
            table(("space", "before", "after"), rows) if rows else line("nothing was taken out"),
            folded("space by space", *map(line, said[:MOST_LAYERS])) if said else "",
        ]
    )
