"""The paper's figures in tables, sweeps as they are saved, requests, and the views that are learnt from."""

from __future__ import annotations

import doctest
import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from graphws.errors import UsageError, ZooError
from graphws.report import Table, png, predicted_against_true, sweep_curve
from graphws.report.results_page import Entry, results_html, results_markdown
from graphws.reporter import Reporter
from graphws.runtime.data import load_data
from graphws.runtime.environment import Processes
from graphws.runtime.preparation import Preparations
from graphws.runtime.published import Published, published_of
from graphws.runtime.request import Request, placeless
from graphws.runtime.results import Results, Score
from graphws.runtime.sweep import Point, SweepResults
from graphws.runtime.zoo_fit import TIME, fit_seconds, fit_section
from graphws.spec import parse_spec
from graphws.tasks import Classification, Metric
from graphws.zoo import Zoo

MSE = Metric("mse", higher_is_better=False)


def _score(name: str, *values: float) -> Score:
    found = tuple({"loss": 0.0, "mae": 1.0, "mse": value} for value in values)
    return Score(name, 3, 0.1, tuple(range(len(values))), found, found, 1.0, 0)


def _results(*values: float, published: Published | None = None) -> Results:
    return Results(MSE, (_score("a", *values),), {"train": 5, "test": 2}, published)


def test_the_papers_column_stands_behind_its_metric_in_its_unit() -> None:
    paper = Published("table 1", "mse", 0.01, {"a": (0.0139, 0.0002), "b": (0.05, None)})
    columns, rows = _results(0.02, 0.04, published=paper).table()
    assert columns == [
        "model", "access", "parameters", "test mae", "test 100 × mse", "paper", "seeds", "lr", "seconds",
    ]  # fmt: skip
    assert rows[0] == ["a", "weights", "3", "1 ± 0", "3 ± 1.4", "1.39 ± 0.02", "2", "0.1", "1"]
    assert rows[1] == ["b", "", "", "", "", "5", "", "", ""]
    found = _results(0.02, published=paper)
    assert Results.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert found.sentence() == "Test 100 × mse on 2 unseen networks: a reaches 2."


def test_without_a_paper_the_table_is_as_it_was() -> None:
    columns, rows = _results(0.02).table()
    assert columns == ["model", "access", "parameters", "test mae", "test mse", "lr", "seconds"]
    assert rows == [["a", "weights", "3", "1", "0.02", "0.1", "1"]]
    old = _results(0.02).to_json()
    del old["published"]
    assert Results.from_json(old) == _results(0.02)


def test_a_metric_that_the_task_has_not() -> None:
    spec = parse_spec("graphws: 1\npublished: {source: x, metric: acuracy, rows: {a: 1}}\n")
    with pytest.raises(UsageError) as caught:
        published_of(spec, Classification(3))
    assert str(caught.value) == "published.metric: the task has no metric 'acuracy'; did you mean 'accuracy'?"
    spec = parse_spec("graphws: 1\npublished: {source: x, unit: 0.01, rows: {a: 50}}\n")
    found = published_of(spec, Classification(3))
    assert found == Published("x", "accuracy", 0.01, {"a": (0.5, None)})
    assert found.cell("a") == "50 %"
    assert found.cell("b") == "–"


def test_a_sweep_is_saved_and_read_again_and_damage_is_noticed() -> None:
    points = (Point(10, "10", _results(0.1)), Point((2, 3), "2-3", _results(0.2)))
    found = SweepResults("k", "label", points, {"b": {"10": (0.3, None), "9": (1.0, 0.5)}})
    saved = json.loads(json.dumps(found.to_json()))
    assert SweepResults.from_json(saved) == found
    columns, rows = found.table()
    assert columns == ["label", "a, test mse", "b, paper"]
    assert rows == [["10", "0.1", "0.3"], ["2, 3", "0.2", "–"], ["9", "–", "1 ± 0.5"]]
    assert png(found.curve()) == png(found.curve())
    saved["sweep"]["points"][0]["results"]["metric"]["name"] = "mae"
    with pytest.raises(ValueError, match="the points of a sweep have one metric"):
        SweepResults.from_json(saved)
    for damaged in ({}, {"sweep": {"key": "k", "label": "l", "points": []}}, [], {"sweep": 3}):
        with pytest.raises(ValueError):  # noqa: PT011 - any says that it is damaged
            SweepResults.from_json(damaged)


@pytest.mark.parametrize(
    ("values", "means", "scales"),
    [
        (["1", "10"], [1.0, 2.0], ("log", "linear")),
        (["1", "9"], [1.0, 10.0], ("linear", "log")),
        (["0", "100"], [-1.0, 10.0], ("linear", "linear")),
        (["relu", "100"], [1.0, 1.5], ("linear", "linear")),
    ],
)
def test_axes_are_logarithmic_where_values_span_decades(
    values: list[str], means: list[float], scales: tuple[str, str]
) -> None:
    curve = {"a": {text: (mean, None) for text, mean in zip(values, means, strict=True)}}
    axes = sweep_curve(values, curve, {}, "x", "y").axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == scales
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert sorted(labels) == sorted(values)


def test_the_line_through_predictions_is_that_of_least_squares() -> None:
    generator = np.random.default_rng(0)
    truth = generator.normal(size=(50, 1))
    found = 0.5 * truth + 0.2 + 0.1 * generator.normal(size=(50, 1))
    axes = predicted_against_true(truth, {"a": found, "constant": 0 * found}, ["y"]).axes
    line = axes[0].get_lines()[-1]
    x, y = np.asarray(line.get_xdata(), dtype=float), np.asarray(line.get_ydata(), dtype=float)
    slope, offset = np.polyfit(truth[:, 0], found[:, 0], 1)
    assert y == pytest.approx(slope * x + offset)
    r2 = 1 - ((truth - found) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()
    assert line.get_label().startswith(f"R² {r2:.3f}, τ 0.")
    assert axes[1].get_lines()[-1].get_label().endswith("τ 0.000")
    assert len(predicted_against_true(truth[:1], {"a": found[:1]}, ["y"]).axes[0].get_lines()) == 2


def test_paths_of_a_machine_do_not_stay() -> None:
    for text, cut in {
        "zoo.path=/a/b c/d": "zoo.path=b c/d",
        "path: '/data'": "path: 'data'",
        "~/zoos/x/": "x",
        "C:\\zoos\\x": "x",
        "and/or 3/4": "and/or 3/4",
        "zoos/x": "zoos/x",
    }.items():
        assert placeless(text) == cut
    request = Request.of("/home/me/specs/a.yaml", None, ("input.path=/home/me/z",))
    assert request.placeless().command() == "graphws run a.yaml --set input.path=z"
    assert Request.from_json(json.loads(json.dumps(request.to_json()))) == request
    assert Request.from_json({"spec": 3}) is None
    assert Request.from_json(None) is None


def test_a_page_takes_names_for_text() -> None:
    table = Table(["model", "test mse"], [["<b>|x|*", "1"]])
    entry = Entry("A_title\n# not a heading", "scale s", "", "", table, command="graphws run a")
    page = results_markdown([entry])
    assert "\n## A\\_title \\# not a heading (scale s)\n\n    graphws run a\n\n| model | test mse |\n" in page
    assert "\n| \\<b\\>\\|x\\|\\* | 1 |\n" in page
    assert "&lt;b&gt;|x|*" in results_html([entry])


SPEC = """
graphws: 1
zoo:
  source: {kind: digits, limit: 30}
  network: {hidden: [4]}
  fit: {steps: 5, views: 3, psnr: null}
  path: PATH
input: {kind: zoo}
preprocess: {gauge: none}
model: {kind: mlp}
head: {kind: invariant, outputs: 10}
task: {kind: classification}
"""


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    path = tmp_path_factory.mktemp("zoos") / "digits"
    section = parse_spec(SPEC.replace("PATH", str(path))).zoo
    assert section is not None
    return fit_section(section, Processes(), Reporter())


def test_the_time_of_a_fit_is_kept_beside_the_zoo(zoo: Zoo, tmp_path: Path) -> None:
    seconds = fit_seconds(zoo.path)
    assert seconds is not None
    assert seconds > 0
    assert fit_seconds(tmp_path) is None
    for damaged in ("3", '{"seconds": "x"}', '{"seconds": -1}', "{", '{"seconds": NaN}'):
        (tmp_path / TIME).write_text(damaged)
        assert fit_seconds(tmp_path) is None


def test_views_are_of_the_training_part_only_and_come_before_the_limit(zoo: Zoo) -> None:
    view, split = np.asarray(zoo.table["view"]), np.asarray(zoo.table["split"])
    data = load_data(zoo, ("label",), True)
    for overrides, wanted in (
        (["input.views=2"], np.flatnonzero((split == "train") & (view < 2))),
        (["input.views=1", "input.training=5"], np.flatnonzero((split == "train") & (view < 1))[:5]),
        ([], np.flatnonzero(split == "train")),
    ):
        spec = parse_spec(SPEC.replace("PATH", str(zoo.path)), overrides=overrides)
        prepared = Preparations(data, zoo).of(spec)
        assert sorted(prepared.data.members["train"].tolist()) == sorted(wanted.tolist())
        for part in ("validation", "test"):
            assert torch.equal(prepared.data.members[part], data.members[part])
    spec = parse_spec(SPEC.replace("PATH", str(zoo.path)), overrides=[f"input.path={zoo.path}", "input.views=4"])
    with pytest.raises(ZooError, match=r"input\.views is 4, but the zoo .* has 3 of a sample"):
        Preparations(data, zoo).of(spec)


@pytest.mark.parametrize("name", ["request", "results", "what_ran"])
def test_the_examples_in_docstrings_are_right(name: str) -> None:
    found = doctest.testmod(importlib.import_module(f"graphws.runtime.{name}"))
    assert found.attempted
    assert not found.failed
