"""Alignments: the loss between networks before and after, and the agreement of their parameters."""

from __future__ import annotations

from graphws.align import Alignment, Comparison, ManyAlignment, Merging
from graphws.notebook.html import figure, folded, line, table
from graphws.notebook.views import view
from graphws.report.align_page import draw_barriers, draw_record

LINE_CAPTION = "Loss on the straight line between the networks; the barrier is the largest excess over the dotted line."
RECORD_CAPTION = "Mean closeness of two networks, round by round; it never falls."


@view(Alignment)
def alignment_html(found: Alignment) -> str:
    """What was kept, and the agreement of each parameter."""
    rows = [[name, f"{found.before[name]:.3f}", f"{after:.3f}"] for name, after in found.after.items()]
    return line(str(found), strong=True) + table(("parameter", "agreement before", "after"), rows)


@view(Comparison)
def comparison_html(found: Comparison) -> str:
    """The barriers as a picture, and the alignment under a fold."""
    head, *said = str(found).split("\n")
    drawn = ""
    if found.before is not None and found.after is not None:
        drawn = figure(LINE_CAPTION, draw_barriers(found.before, found.after, found.loss))
    fold = folded("parameters", alignment_html(found.alignment))
    return "".join([line(head, strong=True), *map(line, said), drawn, fold])


@view(ManyAlignment)
def many_html(found: ManyAlignment) -> str:
    """How close the networks came, round by round."""
    return line(str(found), strong=True) + figure(RECORD_CAPTION, draw_record(found.record))


@view(Merging)
def merging_html(found: Merging) -> str:
    """What the mean loses, and how close the networks came."""
    head, *said = str(found).split("\n")
    drawn = figure(RECORD_CAPTION, draw_record(found.alignment.record))
    return "".join([line(head, strong=True), *map(line, said), drawn])
