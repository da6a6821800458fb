from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from jaxtyping import TypeCheckError

from graphws.errors import DataError
from graphws.graph import Weights
from graphws.tasks import Classification, Denoising, KendallTau, Metric, Regression, class_targets
from tests.runtime import standin


def test_classification_counts_hits_and_averages_cross_entropy() -> None:
    task, metrics = Classification(3), Classification(3).metrics()
    outputs, targets = torch.tensor([[3.0, 0, 0], [0, 3, 0], [0, 0, 3], [3, 0, 0]]), torch.tensor([0, 1, 2, 1])
    task.update(metrics, outputs, targets)
    assert metrics.compute()["accuracy"] == 0.75
    by_hand = torch.logsumexp(outputs, 1) - outputs[torch.arange(4), targets]
    torch.testing.assert_close(task.losses(outputs, targets), by_hand)


def test_regression_learns_standardised_and_reports_its_own_units() -> None:
    targets = torch.tensor([[10.0], [20.0], [30.0], [40.0]])
    task = Regression.of(targets, ("height",))
    standardised = (targets - 25.0) / targets.std(unbiased=False)
    torch.testing.assert_close(task.losses(standardised, targets), torch.zeros(4))
    torch.testing.assert_close(task.predictions(standardised), targets)
    metrics = task.metrics()
    task.update(metrics, torch.zeros(4, 1), targets)
    values = metrics.compute()
    assert values["mse"] == pytest.approx(125.0)
    assert values["mae"] == pytest.approx(10.0)
    assert values["r2"] == pytest.approx(0.0)


def test_a_constant_target_is_refused() -> None:
    with pytest.raises(DataError) as caught:
        Regression.of(torch.tensor([[1.0, 2.0], [2.0, 2.0]]), ("a", "b"))
    assert str(caught.value) == "the target 'b' is the same for every training network: nothing to learn"


def test_denoising_scores_the_noise_of_a_model_that_does_nothing() -> None:
    weights = standin.data().collection.weights(torch.arange(standin.NETWORKS))
    deviation = weights.flatten().std(dim=0)
    task = Denoising(deviation, noise=0.3)
    noisy, clean = task.prepare(weights, torch.zeros(0), torch.Generator().manual_seed(0))
    torch.testing.assert_close(clean, weights.flatten())

    def nothing(batch: Weights) -> Weights:
        return batch.map(torch.zeros_like)

    def perfect(batch: Weights) -> Weights:
        return Weights.unflatten(batch.graph, (clean - batch.flatten()) / deviation)

    losses = task.losses(task.apply(nothing, noisy), clean)
    assert losses.mean().item() == pytest.approx(0.09, rel=0.1)
    torch.testing.assert_close(task.losses(task.apply(perfect, noisy), clean), torch.zeros(weights.batch))
    metrics = task.metrics()
    task.update(metrics, task.apply(nothing, noisy), clean)
    assert metrics.compute()["mse"] == pytest.approx(losses.mean().item())


def test_nan_beats_nothing_and_anything_beats_nan() -> None:
    high, low = Metric("accuracy", True), Metric("mse", False)
    nan = float("nan")
    assert not high.better(nan, 0.0)
    assert not low.better(nan, None)
    assert high.better(0.0, nan)
    assert high.better(0.6, 0.5)
    assert not high.better(0.5, 0.5)
    assert low.better(0.4, 0.5)
    assert low.better(0.4, None)


def test_labels_must_fit_the_head() -> None:
    assert class_targets(torch.tensor([0, 2]), 3, "label").tolist() == [0, 2]
    with pytest.raises(DataError) as caught:
        class_targets(torch.tensor([0, 9]), 3, "label")
    assert str(caught.value) == (
        "the labels 'label' run from 0 to 9, but head.outputs is 3: it must be at least 10 and labels must start at 0"
    )


def test_shapes_in_annotations_are_checked_while_tests_run() -> None:
    with pytest.raises(TypeCheckError, match="targets"):
        Classification(3).losses(torch.zeros(4, 3), torch.zeros(5, dtype=torch.int64))


def test_kendall_counts_pairs_in_the_right_order() -> None:
    metric = KendallTau()
    metric.update(torch.tensor([[1.0, 4.0], [2.0, 3.0]]), torch.tensor([[10.0, 1.0], [20.0, 2.0]]))
    metric.update(torch.tensor([[3.0, 2.0], [5.0, 1.0]]), torch.tensor([[40.0, 3.0], [30.0, 4.0]]))
    assert float(metric.compute()) == pytest.approx(((5 - 1) / 6 - 1) / 2)  # of two targets, the average
    tied, targets = torch.tensor([[1.0], [1.0], [2.0]]), torch.tensor([[1.0], [2.0], [3.0]])
    metric.reset()
    metric.update(tied, targets)
    assert float(metric.compute()) == pytest.approx(2 / (2 * 3) ** 0.5)  # τ-b: one pair is tied
    for constant in (torch.ones(3, 1), torch.full((3, 1), float("nan"))):
        metric.reset()
        metric.update(constant, targets)
        value = float(metric.compute())
        assert value == 0.0 if constant[0] == 1 else value != value


@pytest.mark.parametrize(("metric", "higher"), [("mse", False), ("mae", False), ("r2", True), ("kendall", True)])
def test_a_regression_is_chosen_by_the_metric_that_is_asked_for(metric: str, higher: bool) -> None:
    task = Regression.of(torch.tensor([[1.0], [2.0]]), ("a",), metric)
    assert task.chosen_by == Metric(metric, higher)
    assert metric in task.metrics()


def test_most_tasks_draw_no_network_to_finish_a_model() -> None:
    def networks() -> Iterator[tuple[Weights, torch.Tensor]]:
        pytest.fail("drawn")
        yield

    Classification(2).settle(torch.nn.Identity(), networks())


def test_answers_become_columns() -> None:
    outputs = torch.tensor([[0.0, 2.0], [3.0, 0.0]])
    task = Classification(2)
    assert task.columns(outputs, None, False) == {"class": [1, 0]}
    named = task.columns(outputs, ("cat", "dog"), True)
    assert (named["class"], named["name"]) == ([1, 0], ["dog", "cat"])
    assert named["probability of cat"] == pytest.approx([1 / (1 + math.e**2), 1 / (1 + math.e**-3)])
    heights = Regression.of(torch.tensor([[1.0, 0.0], [3.0, 4.0]]), ("height", "age"))
    assert heights.columns(outputs, None, False) == {"height": [2.0, 5.0], "age": [6.0, 2.0]}
