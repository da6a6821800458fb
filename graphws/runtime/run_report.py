"""The report of a finished run, with its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from graphws.report import Page, Picture, Table, curves, html, png, scores
from graphws.runtime.files import read_rows, write_bytes, write_text
from graphws.runtime.folder import RunFolder
from graphws.runtime.published import COLUMN
from graphws.runtime.results import Results
from graphws.spec import Spec, dump_spec
from graphws.tasks import Answers, Figures, Task
from graphws.zoo import Zoo

NAMED = 8
"""How many architectures a report names."""


def write_report(
    spec: Spec, task: Task, zoo: Zoo, folder: RunFolder, results: Results, answers: Mapping[str, Answers]
) -> None:
    """Draw the figures of a run and write its report.

    Raises:
        RunError: When a file cannot be written.
    """
    pictures = []
    for name, (caption, figure) in _figures(task, zoo, folder, results, answers).items():
        content = png(figure)
        write_bytes(folder.figure(name), content)
        pictures.append(Picture(caption, content))
    columns, rows = results.table()
    page = Page(
        title=spec.title or spec.name,
        lead=results.sentence(),
        results=Table(columns, rows),
        pictures=pictures,
        facts=_facts(zoo, folder, results) | _of_spec(spec),
        spec=dump_spec(spec),
        notes=spec.notes or "",
    )
    write_text(folder.report, html(page))


def _figures(task: Task, zoo: Zoo, folder: RunFolder, results: Results, answers: Mapping[str, Answers]) -> Figures:
    metric = results.metric.name
    values = {results.label(score): score.values(metric) for score in results.scores}
    histories = {
        results.label(score): [
            read_rows(folder.trial(f"{score.name}-lr{score.lr:g}-seed{seed}") / "metrics.csv") for seed in score.seeds
        ]
        for score in results.scores
    }
    figures = {
        "scores": (f"{metric} on the test split; dots are seeds.", scores(values, metric)),
        "curves": ("Training, one line a seed.", curves(histories, metric)),
    }
    return figures | task.figures(answers, zoo)


def _facts(zoo: Zoo, folder: RunFolder, results: Results) -> dict[str, str]:
    counts = np.bincount(zoo.architecture, minlength=len(zoo.graphs)).tolist()
    facts = {"networks": ", ".join(f"{count:,} {name}" for name, count in results.networks.items())}
    if len(zoo.graphs) == 1:
        facts["architecture"] = " → ".join(f"{space.name} ({space.size})" for space in zoo.graph.spaces)
    else:
        known = [f"{name} ({count:,})" for name, count in zip(zoo.names, counts, strict=True)]
        more = f", and {len(known) - NAMED:,} more" if len(known) > NAMED else ""
        facts["architectures"] = f"{len(known):,}: " + ", ".join(known[:NAMED]) + more
    facts["weights of a network"] = _range([graph.numel for graph in zoo.graphs], "{:,}")
    facts["relabellings of a network"] = _range([graph.log10_order() for graph in zoo.graphs], "10^{:.0f}")
    for name, value in zoo.provenance.get("summary", {}).items():
        facts[f"zoo, {name.replace('_', ' ')}"] = f"{value:.4g}" if isinstance(value, int | float) else str(value)
    return facts | folder.versions()


def _of_spec(spec: Spec) -> dict[str, str]:
    """Where the paper's figures stand, and which scale this is."""
    found = {} if spec.published is None else {COLUMN: spec.published.source}
    return found if spec.scaled is None else {**found, "scale": spec.scaled}


def _range(values: Sequence[float], form: str) -> str:
    """The least and the largest, or the only one."""
    low, high = form.format(min(values)), form.format(max(values))
    return low if low == high else f"{low} to {high}"
