"""Trees on weight statistics: equal to scikit-learn's, whole in a state dict, and blind to the order of neurons."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor
from torch import Tensor

from graphws.errors import DataError, UsageError, WeightsError
from graphws.graph import NetworkGraph, Weights
from graphws.models import BoostedTrees, WeightStatistics
from graphws.models.statistics import STATISTICS
from graphws.models.trees import UNSEEN
from graphws.operations import mlp_graph

GRAPH = mlp_graph([2, 5, 3])
OTHER = mlp_graph([2, 4, 4, 3])


def networks(graph: NetworkGraph, batch: int, seed: int = 0) -> Weights:
    flat = torch.randn(batch, graph.numel, generator=torch.Generator().manual_seed(seed))
    return Weights.unflatten(graph, flat)


def fitted(targets: Tensor, outputs: int, **options: float) -> tuple[BoostedTrees, Weights]:
    weights = networks(GRAPH, len(targets))
    model = BoostedTrees(GRAPH, outputs, **{"estimators": 12, "depth": 3, **options})
    torch.manual_seed(0)
    model.fit(weights, targets)
    return model, weights


def grown(kind: type, targets: Tensor, weights: Weights, **options: float) -> object:
    torch.manual_seed(0)
    seed = int(torch.randint(2**31 - 1, ()))
    rows = WeightStatistics(GRAPH)(weights).numpy()
    return kind(n_estimators=12, max_depth=3, random_state=seed, **options).fit(rows, targets.numpy())


def test_the_statistics_are_what_they_are_called() -> None:
    weights = networks(GRAPH, 4)
    statistics = WeightStatistics(GRAPH)
    rows = statistics(weights).unflatten(1, (-1, len(STATISTICS)))
    for place, name in enumerate(statistics.names):
        numbers = weights[name].flatten(1).double().numpy()
        wanted = [numbers.mean(1), numbers.std(1), *np.quantile(numbers, [0, 0.25, 0.5, 0.75, 1], axis=1)]
        for found, column in zip(rows[:, place].T, wanted, strict=False):
            assert np.allclose(found.numpy(), column, atol=1e-5)
        assert (rows[:, place, 7] == numbers.shape[1]).all()
        assert (rows[:, place, 8] == 1).all()
    assert len(statistics.features) == statistics.width == rows[0].numel()


def test_networks_of_several_graphs_are_described_by_role() -> None:
    statistics = WeightStatistics([GRAPH, OTHER])
    one, other = networks(GRAPH, 3), networks(OTHER, 2)
    rows = statistics([one, other])
    assert rows.shape == (5, statistics.width)
    assert torch.equal(rows, torch.cat([statistics(one), statistics(other)]))
    assert torch.equal(rows[3:], statistics([other, one])[:2])
    there = rows[:, statistics.features.index(f"{statistics.names[-1]}: there")]
    assert set(there.tolist()) <= {0.0, 1.0}
    for name in statistics.names:
        block = rows[:3, [statistics.features.index(f"{name}: {one}") for one in STATISTICS]]
        if not any((p.role or p.name) == name for p in GRAPH.parameters):
            assert not block.any()  # none of the role: all 0, the indicator among them


def test_numbers_of_one_role_are_taken_together() -> None:
    deep = mlp_graph([2, 4, 4, 4, 3])
    weights = networks(deep, 3)
    statistics = WeightStatistics([GRAPH, deep])
    rows = statistics(weights)
    for name in statistics.names:
        parts = [weights[p.name].flatten(1) for p in deep.parameters if (p.role or p.name) == name]
        if parts:
            place = statistics.features.index(f"{name}: mean")
            assert torch.allclose(rows[:, place], torch.cat(parts, 1).mean(1), atol=1e-6)


def test_whole_numbers_and_what_diverged_are_described() -> None:
    weights = networks(GRAPH, 2).map(lambda x: (10 * x).long())
    assert WeightStatistics(GRAPH)(weights).isfinite().all()
    broken = networks(GRAPH, 2).map(lambda x: torch.full_like(x, float("inf")))
    assert WeightStatistics(GRAPH)(broken).isfinite().all()


def test_a_parameter_that_no_graph_has_is_refused() -> None:
    with pytest.raises(WeightsError, match="no network that these statistics know has a parameter 'W3'"):
        WeightStatistics(GRAPH)(networks(OTHER, 1))
    with pytest.raises(UsageError, match="need the graph of the networks, got none"):
        WeightStatistics([])


@pytest.mark.parametrize("subsample", [1.0, 0.6])
def test_numbers_are_scikit_learns(subsample: float) -> None:
    targets = torch.randn(80, 2, generator=torch.Generator().manual_seed(1))
    model, weights = fitted(targets, 2, subsample=subsample)
    fresh = networks(GRAPH, 50, seed=5)
    for output in range(2):
        wanted = grown(GradientBoostingRegressor, targets[:, output], weights, subsample=subsample)
        for asked in (weights, fresh):
            rows = WeightStatistics(GRAPH)(asked).numpy()
            assert np.allclose(model(asked)[:, output].numpy(), wanted.predict(rows), atol=1e-6)


@pytest.mark.parametrize("classes", [2, 4])
def test_classes_are_scikit_learns(classes: int) -> None:
    targets = torch.randint(classes, (90,), generator=torch.Generator().manual_seed(1))
    model, weights = fitted(targets, classes)
    wanted = grown(GradientBoostingClassifier, targets, weights)
    fresh = networks(GRAPH, 50, seed=5)
    rows = WeightStatistics(GRAPH)(fresh).numpy()
    logits = model(fresh)
    assert np.allclose(logits.double().softmax(1).numpy(), wanted.predict_proba(rows), atol=1e-6)
    assert np.array_equal(logits.argmax(1).numpy(), wanted.predict(rows))


def test_a_class_without_networks_is_unlikely() -> None:
    targets = torch.tensor([0, 1, 3] * 20)
    model, weights = fitted(targets, 5)
    logits = model(weights)
    assert (logits[:, [2, 4]] == UNSEEN).all()
    assert (logits.argmax(1) == targets).double().mean() > 0.9


def test_a_state_dict_holds_the_whole_model() -> None:
    targets = torch.randn(40, 1)
    model, weights = fitted(targets, 1)
    other = BoostedTrees(GRAPH, 1, estimators=12, depth=3)
    assert not other(weights).any()  # before it is fitted
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(weights), model(weights))
    model.fit(weights, targets.round().clamp(-1, 1))  # again: nothing of the first trees is left
    torch.manual_seed(0)
    again = BoostedTrees(GRAPH, 1, estimators=12, depth=3)
    again.fit(weights, targets.round().clamp(-1, 1))
    assert torch.allclose(again(weights), model(weights), atol=1e-6)


def test_the_order_of_neurons_does_not_matter() -> None:
    model, weights = fitted(torch.randn(40, 1), 1)
    moved = GRAPH.group().random(torch.Generator().manual_seed(0), 40).act(weights)
    assert torch.allclose(model(moved), model(weights), atol=1e-4)


def test_nothing_to_learn_and_bad_options_are_named() -> None:
    weights = networks(GRAPH, 6)
    model = BoostedTrees(GRAPH, 3, estimators=2)
    with pytest.raises(DataError, match="all training networks are of one class"):
        model.fit(weights, torch.zeros(6, dtype=torch.long))
    with pytest.raises(DataError, match="trees with 3 outputs got classes 0 to 5"):
        model.fit(weights, torch.arange(6))
    with pytest.raises(DataError, match=r"trees with 3 outputs got targets of shape \(6, 2\)"):
        model.fit(weights, torch.zeros(6, 2))
    with pytest.raises(UsageError, match="depth 40"):
        BoostedTrees(GRAPH, 1, depth=40)
    with pytest.raises(UsageError, match="a positive lr and a subsample in"):
        BoostedTrees(GRAPH, 1, subsample=0)
