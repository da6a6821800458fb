"""Trainings on symmetric data: the verdict and the table of layers."""

from __future__ import annotations

from graphws.notebook.html import line, table
from graphws.notebook.views import view
from graphws.trainings import SymmetryResults


@view(SymmetryResults)
def symmetry_html(found: SymmetryResults) -> str:
    """The verdict in words, and the layers."""
    return line(found.sentence(), strong=True) + table(*found.table())
