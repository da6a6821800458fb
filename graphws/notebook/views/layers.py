"""Explanations of layers: the block matrix."""

from __future__ import annotations

from graphws.layers.explain import Explanation
from graphws.notebook.html import figure, folded, line, table
from graphws.notebook.views import view
from graphws.report.block_matrix import draw_block_matrix

MOST_TENSORS = 40
"""Tensors of a layer whose block matrix is drawn."""
CAPTION = "Rows receive, columns send; a block says how many numbers it learns, its colour by which way."


@view(Explanation)
def explanation_html(layer: Explanation) -> str:
    """What the layer learns, its block matrix, and its blocks in words under a fold."""
    head = layer.lines()
    said = line(next(head), strong=True) + line(next(head))
    drawn = figure(CAPTION, draw_block_matrix(layer)) if len(layer.tensors) <= MOST_TENSORS else ""
    rows = [[block.source, block.target, f"{block.parameters:,}", block.rule] for block in layer.blocks if block.maps]
    rows += [[act.source, act.target, f"{act.parameters:,}", act.words] for act in layer.acts]
    return said + drawn + folded("blocks in words", table(("from", "to", "parameters", "what it does"), rows))
