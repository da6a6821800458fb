"""A sweep: one spec at several values of a key, each a run of its own, and their scores as one table and one curve.

====================  ===============================================================
``points/VALUE/``     an ordinary run folder for each value
``results.json``      the scores of all points
``figures/``          the curve
``report.html``       table, curve, and links to the points' reports
====================  ===============================================================

Points are done in order; a sweep that was stopped goes on in the point that was stopped.  Zoos have the names of what
they are made of, so points whose section ``zoo`` is the same share theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from matplotlib.figure import Figure
from pydantic import TypeAdapter

from graphws.errors import RunError
from graphws.report import Link, Page, Table, drawn, html, png, sweep_curve
from graphws.report.sweep_figure import Spread
from graphws.reporter import Reporter
from graphws.runtime import job
from graphws.runtime.environment import Processes, machine, versions
from graphws.runtime.files import brief, read_json, write_bytes, write_json, write_text
from graphws.runtime.folder import RunFolder
from graphws.runtime.published import COLUMN, NONE, Published
from graphws.runtime.readiness import require_points
from graphws.runtime.request import Request
from graphws.runtime.results import Results, in_words, mean_and_deviation
from graphws.runtime.what_ran import what_ran
from graphws.shown import Shown
from graphws.spec import Spec, dump_spec, points
from graphws.spec.sweep import Value
from graphws.spec.sweep import in_words as value_in_words

POINTS = "points"
FIGURE = "sweep"


@dataclass(frozen=True, repr=False)
class Point(Shown):
    """A value and what its run found.

    Attributes:
        value: Of the key.
        folder: The name of the run's folder.
        results: Of the run.
    """

    value: Value
    folder: str
    results: Results


@dataclass(frozen=True, repr=False)
class SweepResults(Shown):
    """The scores of all points.

    Attributes:
        key: That differs.
        label: What it is called.
        points: In the order of the spec.
        published: A paper's figures by model and by value in words, in the unit of the metric.
    """

    key: str
    label: str
    points: tuple[Point, ...]
    published: dict[str, dict[str, Spread]] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.sentence()

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` is the inverse."""
        return {"sweep": asdict(self)}

    @classmethod
    def from_json(cls, content: object) -> SweepResults:
        """Results as they were saved; `ValueError` where they are not whole."""
        if not isinstance(content, dict) or "sweep" not in content:
            raise ValueError("results of a sweep have its points")
        found = TypeAdapter(cls).validate_python(content["sweep"])
        if not found.points:
            raise ValueError("results of a sweep have points")
        wanted = content["sweep"]["points"]
        whole = [Results.from_json(point["results"]) for point in wanted]
        if {each.metric for each in whole} != {whole[0].metric}:
            raise ValueError("the points of a sweep have one metric")
        return found

    @property
    def first(self) -> Results:
        """The results of the first point."""
        return self.points[0].results

    @property
    def names(self) -> list[str]:
        """Every model that has a score somewhere, in order."""
        return list(dict.fromkeys(score.name for point in self.points for score in point.results.scores))

    @property
    def texts(self) -> list[str]:
        """Every value in words, those of the points first, then those that only the paper has."""
        own = [value_in_words(point.value) for point in self.points]
        return list(dict.fromkeys([*own, *(text for row in self.published.values() for text in row)]))

    @property
    def metric(self) -> str:
        """What the table and the curve show: the published metric, else the one by which models are compared."""
        papers = [point.results.published for point in self.points if point.results.published is not None]
        known = self.first.scores[0].test[0]
        return papers[0].metric if papers and papers[0].metric in known else self.first.metric.name

    def title(self) -> str:
        """How the metric is called."""
        return next((t for p in self.points if (t := p.results.title(self.metric)) != self.metric), self.metric)

    def unit(self) -> float:
        """In what the metric is shown."""
        return next((u for p in self.points if (u := p.results.unit(self.metric)) != 1.0), 1.0)

    def values(self, name: str) -> dict[str, list[float]]:
        """The metric of every seed of a model, by value in words; without the points that lack the model."""
        return {
            value_in_words(point.value): score.values(self.metric)
            for point in self.points
            for score in point.results.scores
            if score.name == name
        }

    def table(self) -> tuple[list[str], list[list[str]]]:
        """A row a value, a column a model, the paper's beside ours; values that only the paper has come last."""
        columns, rows = [self.label], [[text] for text in self.texts]
        paper = Published("", self.metric, self.unit())
        for name in [*self.names, *(name for name in self.published if name not in self.names)]:
            if name in self.names:
                columns.append(f"{name}, test {self.title()}")
                found = self.values(name)
                for row in rows:
                    row.append(in_words(self.metric, found[row[0]], self.unit()) if row[0] in found else NONE)
            if name in self.published:
                columns.append(f"{name}, {COLUMN}")
                for row in rows:
                    row.append(paper.words(self.published[name].get(row[0])))
        return columns, rows

    def sentence(self) -> str:
        """The ends of every curve."""
        ends = [value_in_words(self.points[k].value) for k in (0, -1)]
        parts = []
        for name in self.names:
            found = self.values(name)
            words = [in_words(self.metric, found[end], self.unit()) for end in ends if end in found]
            parts.append(f"{name} {' to '.join(dict.fromkeys(words))}")
        said = f"Test {self.title()} for {self.label} from {ends[0]} to {ends[1]}: " + ", ".join(parts) + "."
        return " ".join([said, *self.remarks()])

    def remarks(self) -> list[str]:
        """At which values which models are no better than the trivial answer; a sentence for each that is told."""
        told: dict[str, list[str]] = {}
        for point in self.points:
            if remark := point.results.remark():
                told.setdefault(remark[0].lower() + remark[1:], []).append(value_in_words(point.value))
        where = {remark: f"{self.label} {', '.join(values)}" for remark, values in told.items()}
        where |= {remark: "every value" for remark, values in told.items() if len(values) == len(self.points)}
        return [f"At {place} {remark}" for remark, place in where.items()]

    def curve(self) -> Figure:
        """The curve."""
        scale = 0.01 if self.metric == "accuracy" else self.unit()
        ours = {
            name: {text: mean_and_deviation(values) for text, values in self.values(name).items()}
            for name in self.names
        }
        label = "accuracy in %" if self.metric == "accuracy" else self.title()
        return sweep_curve(self.texts, _in(ours, scale), _in(self.published, scale), self.label, f"test {label}")


def _in(curves: Mapping[str, Mapping[str, Spread]], unit: float) -> dict[str, dict[str, Spread]]:
    return {
        name: {text: (mean / unit, None if spread is None else spread / unit) for text, (mean, spread) in row.items()}
        for name, row in curves.items()
    }


def run(
    spec: Spec, folder: RunFolder, group: Processes, reporter: Reporter, request: Request | None = None
) -> SweepResults:
    """Run every point of a sweep, or what of it is missing.

    Raises:
        GraphwsError: When something is wrong or fails; the run is marked ``failed`` and can go on.
        KeyboardInterrupt: On Ctrl-C; the run is marked ``interrupted`` and can go on.
    """
    found = _finished(spec, folder, reporter) if folder.complete() else None
    group.barrier()  # before the first process makes it another state
    if found is not None:
        return found
    known = {name: job.known_networks(point, group) for name, point in point_folders(spec, folder).items()}
    require_points(spec, group, None if folder.path.exists() else folder.path, known)
    if not group.first:
        return _work(spec, folder, group, reporter)
    facts = {"machine": machine(), **({} if request is None else {"request": request.to_json()})}
    with folder.work(dump_spec(spec), versions(), reporter.note, facts):
        results = _work(spec, folder, group, reporter)
        _record(folder, results)
        _write(spec, folder, results)
        folder.finish(results.sentence())
    return results


def point_folders(spec: Spec, folder: RunFolder) -> dict[str, RunFolder]:
    """The run folder of every point, by the name of its value."""
    return {name: RunFolder(folder.path / POINTS / name) for name, _ in points(spec)}


def _finished(spec: Spec, folder: RunFolder, reporter: Reporter) -> SweepResults | None:
    """The results of a complete sweep, where they and the points are whole; None, with a word, where not."""
    try:
        for each in (folder, *point_folders(spec, folder).values()):
            for text in each.altered().values():
                raise RunError(text)
        return SweepResults.from_json(read_json(folder.path / "results.json", "a finished run"))
    except (RunError, ValueError) as error:
        reporter.note(f"{folder.path} is complete, but damaged, and is gone on with: {brief(error)}")
        return None


def _work(spec: Spec, folder: RunFolder, group: Processes, reporter: Reporter) -> SweepResults:
    group.barrier()
    assert spec.sweep is not None
    found = []
    for (name, point), value in zip(points(spec), spec.sweep.values, strict=True):
        reporter.note(f"{spec.sweep.key} = {value_in_words(value)}")
        place = job.choose_folder(point, folder.path / POINTS / name, group)
        group.barrier()
        found.append(Point(value, name, job.run(point, place, group, reporter)))
    paper = {} if spec.published is None else _by_value(spec.published.curves(), found)
    return SweepResults(spec.sweep.key, spec.sweep.title, tuple(found), paper)


def _by_value(curves: Mapping[str, dict[str, Spread]], points: Sequence[Point]) -> dict[str, dict[str, Spread]]:
    """The paper's curves; a figure that is the same at every value is one at each point."""
    found = {}
    for name, row in curves.items():
        papers = [(value_in_words(point.value), point.results.published) for point in points]
        own = {text: paper.rows[name] for text, paper in papers if paper is not None and name in paper.rows}
        found[name] = {**own, **row}
    return found


def _record(folder: RunFolder, results: SweepResults) -> None:
    """The time of all points; a zoo that several share is counted once."""
    states = [RunFolder(folder.path / POINTS / point.folder).state() for point in results.points]
    zoos = {state["zoo"]: state["seconds"]["zoo"] for state in states if "zoo" in state.get("seconds", {})}
    seconds = {"training": sum(state.get("seconds", {}).get("training", 0.0) for state in states)}
    seconds |= {"zoo": sum(zoos.values())} if zoos else {}
    folder.mark("running", seconds={name: round(value, 2) for name, value in seconds.items()})


def _write(spec: Spec, folder: RunFolder, results: SweepResults) -> None:
    write_json(folder.path / "results.json", results.to_json())
    curve = results.curve()
    caption = "Means over seeds, bars their deviation" + ("; dashed: the paper's." if spec.published else ".")
    picture = drawn(caption, curve)
    write_bytes(folder.figure(FIGURE), png(curve))
    columns, rows = results.table()
    paper = spec.published
    page = Page(
        title=spec.question(),
        lead=results.sentence(),
        results=Table(columns, rows),
        pictures=[picture],
        links=[
            Link(f"{results.label} = {value_in_words(point.value)}", f"{POINTS}/{point.folder}/report.html")
            for point in results.points
        ],
        facts={} if paper is None else {COLUMN: paper.source},
        ran=what_ran(spec, folder),
        spec=dump_spec(spec),
        leading=False,
        notes=spec.notes or "",
    )
    write_text(folder.report, html(page))
