"""Models that are no better than an answer that looks at no network are named."""

from __future__ import annotations

import json

import pytest
import torch

from graphws.runtime.results import Results, Score
from graphws.runtime.sweep import Point, SweepResults
from graphws.tasks import Classification, Metric, Regression, Trivial


def _score(name: str, metric: str, *values: float) -> Score:
    found = tuple({"loss": 1.0, metric: value} for value in values)
    return Score(name, 10, 0.1, tuple(range(len(values))), (), found, 1.0, 0)


def _results(metric: Metric, trivial: Trivial | None, networks: int, **scores: tuple[float, ...]) -> Results:
    found = tuple(_score(name, metric.name, *values) for name, values in scores.items())
    return Results(metric, found, {"test": networks}, None, trivial)


ACCURACY, MSE = Metric("accuracy", True), Metric("mse", False)
COMMONEST = Trivial("always naming the commonest class", 0.1)


def test_an_accuracy_counts_from_two_standard_errors_on() -> None:
    """Of 100 networks a tenth is guessed, give or take .03; of 10,000 give or take .003."""
    scores = {"good": (0.2, 0.3), "near": (0.12, 0.14), "worse": (0.05,)}
    few, many = (_results(ACCURACY, COMMONEST, count, **scores) for count in (100, 10_000))
    assert few.remark() == "No better than always naming the commonest class (10.0 %): near, worse."
    assert many.remark() == "No better than always naming the commonest class (10.0 %): worse."
    assert few.sentence().endswith(f"worse reaches 5.0 %. {few.remark()}")


def test_errors_count_as_they_are_and_nan_is_never_better() -> None:
    found = _results(MSE, Trivial("always answering the mean", 1.0), 10, a=(0.9, 1.0), b=(1.0,), c=(float("nan"),))
    assert found.remark() == "No better than always answering the mean (1): b, c."
    assert _results(MSE, Trivial("always answering the mean", 1.0), 10, a=(0.9,)).remark() == ""


def test_without_a_trivial_answer_nothing_is_said() -> None:
    assert _results(MSE, None, 10, a=(9.0,)).remark() == ""


def test_results_keep_it_and_older_ones_are_read_without() -> None:
    found = _results(ACCURACY, COMMONEST, 100, a=(0.1,))
    content = json.loads(json.dumps(found.to_json()))
    assert Results.from_json(content) == found
    del content["trivial"]
    assert Results.from_json(content).trivial is None


def test_a_sweep_says_at_which_values() -> None:
    bad, good = (_results(ACCURACY, COMMONEST, 100, a=(value,)) for value in (0.1, 0.9))
    said = "no better than always naming the commonest class (10.0 %): a."
    mixed = SweepResults("k", "size", (Point(1, "1", bad), Point(2, "2", good), Point(4, "4", bad)))
    assert mixed.remarks() == [f"At size 1, 4 {said}"]
    assert mixed.sentence().endswith(mixed.remarks()[0])
    assert SweepResults("k", "size", (Point(1, "1", bad), Point(2, "2", bad))).remarks() == [f"At every value {said}"]
    assert SweepResults("k", "size", (Point(1, "1", good),)).remarks() == []


def test_the_commonest_class_is_that_of_the_training_networks() -> None:
    training, test = torch.tensor([2, 2, 1, 0]), torch.tensor([2, 1, 1, 1])
    assert Classification(3).trivial(training, test).value == 0.25


@pytest.mark.parametrize(("metric", "value"), [("mse", 4.0), ("mae", 2.0), ("r2", None), ("kendall", 0.0)])
def test_the_mean_is_that_of_the_training_networks(metric: str, value: float | None) -> None:
    training, test = torch.tensor([[0.0], [2.0]]), torch.tensor([[3.0], [3.0], [-1.0], [-1.0]])
    found = Regression.of(training, ("x",), metric).trivial(training, test)
    assert found.answer == "always answering the mean"
    assert found.value == pytest.approx(0.0 if value is None else value)
