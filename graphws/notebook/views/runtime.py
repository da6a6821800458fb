"""Runs and what they say: scores, pictures, answers; models explained."""

from __future__ import annotations

from pathlib import Path

from graphws.notebook.html import folded, line, png_file, table
from graphws.notebook.views import view
from graphws.notebook.views.layers import explanation_html
from graphws.runtime.model_explanation import ModelExplanation
from graphws.runtime.prediction import Predictions, Run
from graphws.runtime.results import Results
from graphws.runtime.sweep import SweepResults

FIRST_LAYERS, PICTURES = 3, 3
"""Layers of a model, and pictures of a run, that are shown."""
LARGEST = 300_000
"""Bytes of a picture that is shown."""


@view(Results)
@view(SweepResults)
def results_html(found: Results | SweepResults) -> str:
    """The outcome in a sentence, and the table of scores."""
    return line(found.sentence(), strong=True) + table(*found.table())


@view(Run)
def run_html(run: Run) -> str:
    """Where it is and what it reads, its scores, and its pictures under a fold."""
    scores = line("not complete: there are no scores yet") if run.results is None else results_html(run.results)
    pictures = [png_file(path.stem, path.read_bytes()) for path in _pictures(run.folder.path / "figures")]
    fold = [folded("pictures", *pictures)] if pictures else []
    return "".join([line(str(run), strong=True), scores, *fold])


def _pictures(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.glob("*.png") if path.is_file() and not path.is_symlink())
    return [path for path in found if path.stat().st_size <= LARGEST][:PICTURES]


@view(Predictions)
def predictions_html(found: Predictions) -> str:
    """A row a network."""
    rows = [[name, *(_cell(column[k]) for column in found.columns.values())] for k, name in enumerate(found.names)]
    skipped = (
        [folded(f"skipped: {len(found.skipped):,}", table(("file", "why"), found.skipped))] if found.skipped else []
    )
    return "".join([line(str(found), strong=True), table(("network", *found.columns), rows), *skipped])


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@view(ModelExplanation)
def model_html(found: ModelExplanation) -> str:
    """What the model consists of, and its first layers under folds."""
    parts = table(("part", "parameters"), [[part.name, f"{part.parameters:,}"] for part in found.parts])
    layers = [
        folded(f"layer {number}: {next(layer.lines())}", explanation_html(layer))
        for number, layer in enumerate(found.layers[:FIRST_LAYERS], start=1)
    ]
    more = len(found.layers) - FIRST_LAYERS
    said = [line(text) for text in (*found.reductions, *found.features)]
    said += [line(f"and {more} more layers")] if more > 0 else []
    return "".join([line(str(found).split("\n", 1)[0], strong=True), parts if found.parts else "", *layers, *said])
