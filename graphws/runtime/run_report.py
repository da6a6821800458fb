"""The report of a finished run, with its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from graphws.report import Page, Table, changed_pictures, curves, drawn, html, png, scores
from graphws.runtime.files import read_rows, write_bytes, write_text
from graphws.runtime.folder import RunFolder
from graphws.runtime.preparation import Preparation
from graphws.runtime.published import COLUMN
from graphws.runtime.results import Results
from graphws.runtime.what_ran import what_ran
from graphws.spec import Spec, dump_spec
from graphws.tasks import Answers, Figures, Task
from graphws.zoo import Zoo
from graphws.zoo.reconstruction import drawn as drawn_by
from graphws.zoo.reconstruction import draws_pictures

NAMED = 8
"""How many architectures a report names."""
DRAWN = 12
"""Networks that are drawn before and after augmentation."""


def write_report(
    spec: Spec,
    task: Task,
    zoo: Zoo,
    folder: RunFolder,
    results: Results,
    answers: Mapping[str, Answers],
    preparations: Mapping[str, Preparation],
) -> None:
    """Draw the figures of a run and write its report.

    Raises:
        RunError: When a file cannot be written.
    """
    pictures = []
    figures = _figures(task, zoo, folder, results, answers) | _augmentation(zoo, preparations)
    for name, (caption, figure) in figures.items():
        pictures.append(drawn(caption, figure))
        write_bytes(folder.figure(name), png(figure))
    columns, rows = results.table()
    page = Page(
        title=spec.question(),
        lead=results.sentence(),
        results=Table(columns, rows),
        pictures=pictures,
        facts=_facts(zoo, results, preparations) | _of_spec(spec),
        ran=what_ran(spec, folder),
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
    trivial = results.trivial
    beside = None if trivial is None else (trivial.answer, trivial.value)
    figures = {
        "scores": (f"{metric} on the test split; dots are seeds.", scores(values, metric, beside)),
        "curves": ("Training, one line a seed.", curves(histories, metric)),
    }
    return figures | task.figures(answers, zoo)


def _augmentation(zoo: Zoo, preparations: Mapping[str, Preparation]) -> Figures:
    """What training networks draw before and after the random changes of `augment`, the first that a model has."""
    changing = [(name, each, change) for name, each in preparations.items() if (change := each.changes()) is not None]
    if not changing or not draws_pictures(zoo):
        return {}
    name, preparation, change = changing[0]
    members = preparation.data.members["train"]
    index = members[torch.linspace(0, len(members) - 1, min(DRAWN, len(members))).long()]
    stored = zoo.weights(index)
    seen = preparation.data.collection.weights(index).to("cpu")
    pictures = drawn_by(zoo, stored), drawn_by(zoo, change(seen, torch.Generator().manual_seed(0)))
    caption = f"What training networks draw, and what they draw after the random changes of augment ({name})."
    return {"augmentation": (caption, changed_pictures(*pictures))}


def _facts(zoo: Zoo, results: Results, preparations: Mapping[str, Preparation]) -> dict[str, str]:
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
    aligned = {name: each.alignment for name, each in preparations.items() if each.alignment is not None}
    for name, alignment in aligned.items():
        facts[f"alignment, {name}"] = alignment.facts()
    return facts


def _of_spec(spec: Spec) -> dict[str, str]:
    """Where the paper's figures stand, and which scale this is."""
    found = {} if spec.published is None else {COLUMN: spec.published.source}
    return found if spec.scaled is None else {**found, "scale": spec.scaled}


def _range(values: Sequence[float], form: str) -> str:
    """The least and the largest, or the only one."""
    low, high = form.format(min(values)), form.format(max(values))
    return low if low == high else f"{low} to {high}"
