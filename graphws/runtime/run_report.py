"""The report of a finished run, with its figures."""

from __future__ import annotations

import csv
from collections.abc import Mapping

import numpy as np
import torch
from matplotlib.figure import Figure

from graphws.report import (
    Page,
    Picture,
    Table,
    answered_pictures,
    confusion_matrix,
    curves,
    html,
    png,
    predicted_against_true,
    scores,
)
from graphws.runtime.evaluation import Answers
from graphws.runtime.files import read_json, write_bytes, write_text
from graphws.runtime.folder import RunFolder
from graphws.runtime.results import Results
from graphws.spec import Classification, InvariantHead, Regression, Spec, dump_spec
from graphws.zoo import Zoo
from graphws.zoo.reconstruction import reconstruct

SHOWN = 36
"""How many test networks are shown as the pictures that they draw."""


def write_report(spec: Spec, zoo: Zoo, folder: RunFolder, results: Results, answers: Mapping[str, Answers]) -> None:
    """Draw the figures of a run and write its report.

    Raises:
        RunError: When a file cannot be written.
    """
    pictures = []
    for name, (caption, figure) in _figures(spec, zoo, folder, results, answers).items():
        content = png(figure)
        write_bytes(folder.figure(name), content)
        pictures.append(Picture(caption, content))
    columns, rows = results.table()
    page = Page(
        title=spec.name,
        lead=results.sentence(),
        results=Table(columns, rows),
        pictures=pictures,
        facts=_facts(zoo, folder, results),
        spec=dump_spec(spec),
    )
    write_text(folder.report, html(page))


def _figures(
    spec: Spec, zoo: Zoo, folder: RunFolder, results: Results, answers: Mapping[str, Answers]
) -> dict[str, tuple[str, Figure]]:
    metric = results.metric.name
    values = {score.name: score.values(metric) for score in results.scores}
    histories = {
        score.name: [_history(folder, f"{score.name}-lr{score.lr:g}-seed{seed}") for seed in score.seeds]
        for score in results.scores
    }
    figures = {
        "scores": (f"{metric} on the test split; dots are seeds.", scores(values, metric)),
        "curves": ("Training, one line a seed.", curves(histories, metric)),
    }
    if isinstance(spec.task, Classification) and isinstance(spec.head, InvariantHead):
        own = results.scores[0].name
        answer = answers[own]
        figure = confusion_matrix(
            answer.targets.numpy(), answer.predictions.numpy(), spec.head.outputs, f"{own}, test split"
        )
        figures["confusion"] = (f"What {own} takes each class for.", figure)
        signal = zoo.provenance.get("signal", {})
        if len(signal.get("shape", ())) == 2:
            caption = f"What {own} read: test networks as the pictures that they draw, under its answer for each."
            figures["networks"] = (caption, _networks(zoo, answer))
    if isinstance(spec.task, Regression):
        predictions = {name: answer.predictions.numpy().astype(np.float64) for name, answer in answers.items()}
        truth = answers[results.scores[0].name].targets.numpy().astype(np.float64)
        figure = predicted_against_true(truth, predictions, spec.task.targets)
        figures["predictions"] = ("Test split: the closer to the diagonal, the better.", figure)
    return figures


def _networks(zoo: Zoo, answer: Answers) -> Figure:
    """Some test networks, evenly spread, as the pictures that they draw."""
    signal = zoo.provenance["signal"]
    chosen = torch.linspace(0, len(answer.index) - 1, min(SHOWN, len(answer.index))).long()
    pictures = reconstruct(zoo.weights(answer.index[chosen]), signal["shape"]) / signal["peak"]
    targets, predictions = answer.targets[chosen].numpy(), answer.predictions[chosen].numpy()
    return answered_pictures(pictures.double().numpy(), targets, predictions, signal["classes"])


def _history(folder: RunFolder, trial: str) -> list[dict[str, float]]:
    with open(folder.trial(trial) / "metrics.csv", newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def _facts(zoo: Zoo, folder: RunFolder, results: Results) -> dict[str, str]:
    graph = zoo.graph
    facts = {
        "networks": ", ".join(f"{count:,} {name}" for name, count in results.networks.items()),
        "architecture": " → ".join(f"{space.name} ({space.size})" for space in graph.spaces),
        "weights of a network": f"{graph.numel:,}",
        "relabellings of a network": f"10^{graph.log10_order():.0f}",
    }
    for name, value in zoo.provenance.get("summary", {}).items():
        facts[f"zoo, {name.replace('_', ' ')}"] = f"{value:.4g}"
    versions = read_json(folder.path / "versions.json", "a run")
    return facts | {str(name): str(value) for name, value in versions.items()}
