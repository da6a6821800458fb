"""The report of a finished run, with its figures."""

from __future__ import annotations

from collections.abc import Mapping

from graphws.report import Page, Picture, Table, curves, html, png, scores
from graphws.runtime.files import read_rows, write_bytes, write_text
from graphws.runtime.folder import RunFolder
from graphws.runtime.results import Results
from graphws.spec import Spec, dump_spec
from graphws.tasks import Answers, Figures, Task
from graphws.zoo import Zoo


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
        title=spec.name,
        lead=results.sentence(),
        results=Table(columns, rows),
        pictures=pictures,
        facts=_facts(zoo, folder, results),
        spec=dump_spec(spec),
    )
    write_text(folder.report, html(page))


def _figures(task: Task, zoo: Zoo, folder: RunFolder, results: Results, answers: Mapping[str, Answers]) -> Figures:
    metric = results.metric.name
    values = {score.name: score.values(metric) for score in results.scores}
    histories = {
        score.name: [
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
    graph = zoo.graph
    facts = {
        "networks": ", ".join(f"{count:,} {name}" for name, count in results.networks.items()),
        "architecture": " → ".join(f"{space.name} ({space.size})" for space in graph.spaces),
        "weights of a network": f"{graph.numel:,}",
        "relabellings of a network": f"10^{graph.log10_order():.0f}",
    }
    for name, value in zoo.provenance.get("summary", {}).items():
        facts[f"zoo, {name.replace('_', ' ')}"] = f"{value:.4g}"
    return facts | folder.versions()
