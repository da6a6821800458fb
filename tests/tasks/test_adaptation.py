"""Classifiers adapted to corrupted pictures: v - Δv is run, relabels with v, and is judged on what it never saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from graphws.errors import DataError
from graphws.graph import Mixed, NetworkGraph, Weights
from graphws.models import DWSNet, FlatMLP, Unchanged
from graphws.operations import mlp_graph
from graphws.operations.sampling import random_weights
from graphws.tasks import Adaptation
from graphws.tasks.picture_draws import PictureDraws
from graphws.zoo.picture_changes import Corruption
from graphws.zoo.sources.labelled_pictures import Pictures, to_float
from tests.tasks.classifiers import digits

GRAPH = mlp_graph([64, 6, 5, 10])
CORRUPTION = Corruption(30.0, True, 0.3, 0.1)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def task(graph: NetworkGraph = GRAPH, networks: int = 1, **options: Any) -> Adaptation:
    given: dict[str, Any] = {"pictures": digits, "corruption": CORRUPTION, "batch": 12, "judged": 40, **options}
    return Adaptation(torch.full((graph.numel,), 0.5), graph, lambda weights: weights, networks, **given)


def networks(count: int = 4, graph: NetworkGraph = GRAPH) -> Weights:
    return random_weights(graph, count, rng(), torch.float64)


def module(weights: Weights, k: int) -> nn.Sequential:
    """One network by hand."""
    own = nn.Sequential(nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 10)).double()
    with torch.no_grad():
        for parameter, x in zip(own.parameters(), _in_order(weights, k), strict=True):
            parameter.copy_(x)
    return own


def _in_order(weights: Weights, k: int) -> list[Tensor]:
    state = weights.to_state_dict(k)
    return [state[name] for name in sorted(state, key=lambda name: (name.split(".")[:-1], "bias" in name))]


def test_the_gradient_through_the_runner_is_that_of_a_module_by_hand() -> None:
    """The loss of v - Δv and its gradient in Δv, on the same pictures."""
    found, weights = task(), networks()
    _, targets = found.prepare_training(weights, torch.zeros(4, 0), rng())
    change = 0.1 * torch.randn(4, GRAPH.numel, generator=rng(2), dtype=torch.float64)
    change.requires_grad_()
    outputs = found.apply(lambda seen: Weights.unflatten(GRAPH, change), weights)
    losses = found.losses(outputs, targets)
    (gradient,) = torch.autograd.grad(losses.sum(), change)
    seed = int(targets[0, 0])
    pixels, labels = found.draws.random(targets[:, 1:], 12, rng(seed))
    changed = Weights.unflatten(GRAPH, weights.flatten() - 0.5 * change.detach())
    for k in range(4):
        own = module(changed, k)
        loss = functional.cross_entropy(own(pixels[k].double()), labels[k])
        torch.testing.assert_close(losses[k].double(), loss, rtol=1e-5, atol=1e-6)
        loss.backward()
        by_hand = Weights.from_state_dict(GRAPH, _named(own, changed))
        torch.testing.assert_close(gradient[k], -0.5 * by_hand.flatten()[0], rtol=1e-4, atol=1e-6)


def _named(own: nn.Sequential, like: Weights) -> dict[str, Tensor]:
    names = sorted(like.to_state_dict(0), key=lambda name: (name.split(".")[:-1], "bias" in name))
    return {name: p.grad for name, p in zip(names, own.parameters(), strict=True) if p.grad is not None}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("several", [1, 3])
def test_the_returned_network_relabels_with_the_one_given(training: bool, several: int) -> None:
    """For any element of the group; a perceptron on the flat weights does not follow."""
    found, weights = task(networks=several), networks()
    torch.manual_seed(0)
    follows = DWSNet(GRAPH, None, 2, 4, reduce="none", networks=several).double().eval()
    does_not = FlatMLP(GRAPH, None, 2, 8, networks=several).double().eval()
    for seed in range(3):
        element = GRAPH.group().random(rng(seed), batch=4, dtype=torch.float64)
        moved = element.act(weights)
        prepare = found.prepare_training if training else found.prepare
        _, targets = prepare(weights, torch.zeros(4, 0), rng(5))
        for model, follow in ((follows, True), (does_not, False)):
            outputs, others = found.apply(model, weights), found.apply(model, moved)
            for k in range(several):
                own = slice(k * GRAPH.numel, (k + 1) * GRAPH.numel)
                wanted = element.act(Weights.unflatten(GRAPH, outputs[:, own])).flatten()
                error = float((others[:, own] - wanted).detach().abs().max())
                assert error < 1e-10 if follow else error > 1e-3
            losses = found.losses(outputs, targets) - found.losses(others, targets)
            assert (float(losses.detach().abs().max()) < 1e-5) == follow


def test_several_networks_answer_by_the_mean_of_their_scores() -> None:
    weights = networks(2)
    both, one = task(networks=2), task()
    changes = torch.randn(4, GRAPH.numel, generator=rng(3), dtype=torch.float64)
    outputs = both.apply(lambda seen: Weights.unflatten(GRAPH, changes), weights)
    assert outputs.shape == (2, 2 * GRAPH.numel)
    _, targets = both.prepare(weights, torch.zeros(2, 0), rng())
    pixels, labels = one.draws.fixed(targets[:, 1:])
    for k in range(2):
        scores = [
            module(Weights.unflatten(GRAPH, outputs[:, j * GRAPH.numel : (j + 1) * GRAPH.numel]), k)(pixels[k].double())
            for j in range(2)
        ]
        loss = functional.cross_entropy((scores[0] + scores[1]) / 2, labels[k])
        torch.testing.assert_close(both.losses(outputs, targets)[k].double(), loss, rtol=1e-5, atol=1e-6)


def test_a_network_gets_pictures_of_its_classes_only() -> None:
    draws = task().draws
    known = torch.tensor([[0, 9], [3, 4], [4, 3]])
    for shown, labels in (draws.random(known, 500, rng()), draws.fixed(known)):
        assert shown.shape[2:] == (64,)
        assert [sorted(row.unique().tolist()) for row in labels] == [[0, 9], [3, 4], [3, 4]]
        share = (labels == known[:, :1]).double().mean(1)
        assert ((share > 0.4) & (share < 0.6)).all()
    _, labels = draws.random(torch.zeros(2, 0, dtype=torch.int64), 500, rng())
    assert len(labels.unique()) == 10


def test_training_and_test_pictures_are_not_mixed() -> None:
    """Pictures of the parts have other values, so that it can be seen from where each is."""
    test = torch.arange(40) % 4 == 0
    pixels = torch.where(test, 0.75, 0.25)[:, None, None, None].expand(40, 1, 2, 2)
    draws = PictureDraws(Pictures(pixels, torch.arange(40) % 5, test, 5), Corruption(), (4,), judged=7)
    known = torch.zeros(3, 0, dtype=torch.int64)
    assert draws.random(known, 50, rng())[0].unique().tolist() == [0.25]
    assert draws.fixed(known)[0].unique().tolist() == [0.75]
    assert draws.fixed(known)[0].shape == (3, 7, 4)


def test_pictures_are_as_the_source_has_them_with_channels_first_and_standardised() -> None:
    colour = torch.rand(20, 3, 4, 4, generator=rng())
    marks = torch.arange(20) >= 10
    pictures = Pictures(colour, torch.zeros(20, dtype=torch.int64), marks, 1)
    draws = PictureDraws(pictures, Corruption(), (48,), mean=0.5, deviation=0.25, judged=10)
    shown, _ = draws.fixed(torch.zeros(1, 0, dtype=torch.int64))
    torch.testing.assert_close(shown[0], (colour[10:].flatten(1) - 0.5) / 0.25)
    whole = PictureDraws(pictures, Corruption(), (3, 4, 4), judged=10)
    torch.testing.assert_close(whole.fixed(torch.zeros(1, 0, dtype=torch.int64))[0][0], colour[10:])
    with pytest.raises(DataError) as caught:
        PictureDraws(pictures, Corruption(), (49,))
    assert str(caught.value) == "the networks read 49 numbers, and the pictures of task.target.data are 3x4x4"


def test_fixed_pictures_are_always_the_same_and_random_ones_of_their_seed() -> None:
    one, same, other = task(), task(), task(seed=1)
    known = torch.tensor([[1, 2]])
    assert torch.equal(one.draws.fixed(known)[0], same.draws.fixed(known)[0])
    assert not torch.equal(one.draws.fixed(known)[0], other.draws.fixed(known)[0])
    weights = networks()
    seeds = [one.prepare_training(weights, torch.zeros(4, 0), rng(k))[1][0, 0].item() for k in (0, 0, 1)]
    assert seeds[0] == seeds[1] != seeds[2]
    assert torch.equal(one.draws.random(known, 5, rng())[0], same.draws.random(known, 5, rng())[0])


def test_a_network_is_judged_the_same_beside_any_others() -> None:
    """Also where there are so many that they are judged in portions."""
    found, weights = task(), networks(5)
    targets = torch.tensor([[-1, 0, 1], [-1, 2, 3], [-1, 2, 4], [-1, 0, 1], [-1, 8, 9]])
    whole = found.accuracies(weights, targets)
    for k in range(5):
        assert torch.equal(found.accuracies(weights.select([k]), targets[k : k + 1]), whole[k : k + 1])
    import graphws.tasks.adaptation as module_

    before, module_.NUMBERS = module_.NUMBERS, 40 * 64 * 2
    try:
        torch.testing.assert_close(found.accuracies(weights, targets), whole)
    finally:
        module_.NUMBERS = before


def test_accuracy_counts_hits() -> None:
    found, weights = task(), networks(3)
    metrics = found.metrics()
    seen, targets = found.prepare(weights, torch.tensor([[0.0, 1], [2, 3], [7, 8]]), rng())
    outputs = found.apply(Unchanged(), seen)
    assert torch.equal(outputs, weights.flatten())
    found.update(metrics, outputs, targets)
    pixels, labels = found.draws.fixed(targets[:, 1:])
    hits = [(module(weights, k)(pixels[k].double()).argmax(1) == labels[k]).double().mean() for k in range(3)]
    assert float(metrics.compute()["accuracy"]) == pytest.approx(float(sum(hits)) / 3)


def test_judging_runs_the_networks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found, weights = task(), networks(3)
    seen, targets = found.prepare(weights, torch.tensor([[0.0, 1], [2, 3], [7, 8]]), rng())
    outputs = found.apply(Unchanged(), seen)
    apart, together, runs = found.metrics(), found.metrics(), []
    found.update(apart, outputs, targets)
    losses = found.losses(outputs, targets)
    run = found.run
    monkeypatch.setattr(found, "run", lambda *given: runs.append(given) or run(*given))
    torch.testing.assert_close(found.judge(together, outputs, targets), losses)
    assert together.compute() == apart.compute()
    assert len(runs) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.draws.fixed(torch.tensor([[3, 10]])),
            "networks know the classes 3 to 10, and the pictures have 10",
        ),
        (
            lambda t: t.draws.random(torch.tensor([[-1, 2]]), 3, rng()),
            "networks know the classes -1 to 2, and the pictures have 10",
        ),
        (
            lambda t: task(mlp_graph([64, 4, 3])).accuracies(
                random_weights(mlp_graph([64, 4, 3]), 1, rng()), torch.tensor([[-1]])
            ),
            "the networks return 3 numbers, and the pictures have 10 classes",
        ),
    ],
)
def test_networks_of_other_classes_are_refused(change: Callable[[Adaptation], Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        change(task())
    assert str(caught.value) == message


def test_a_class_without_pictures_is_named() -> None:
    pictures = digits()
    labels = torch.where(pictures.labels == 3, 4, pictures.labels)
    draws = PictureDraws(replace(pictures, labels=labels), CORRUPTION, (64,))
    with pytest.raises(DataError) as caught:
        draws.fixed(torch.tensor([[2, 3]]))
    assert str(caught.value) == "a part of the pictures has none of class 3, which a network knows"


def test_a_process_may_have_no_network_of_a_batch() -> None:
    """Where several processes share a batch that is smaller than they are many."""
    found = task()
    for prepare in (found.prepare, found.prepare_training):
        weights, targets = prepare(networks(1).select(slice(0)), torch.zeros(0, 0), rng())
        change = torch.zeros(0, GRAPH.numel, dtype=torch.float64, requires_grad=True)
        losses = found.losses(found.apply(lambda seen, own=change: Weights.unflatten(GRAPH, own), weights), targets)
        assert losses.shape == (0,)
        losses.sum().backward()
        assert change.grad is not None
    found.update(found.metrics(), change.detach(), targets)


def test_unchanged_answers_with_zeros_for_networks_of_any_kind() -> None:
    weights: Mixed = networks()
    assert isinstance(weights, Weights)
    assert Unchanged(3)(weights).batch == 12
    assert not Unchanged()(weights).flatten().any()
    assert list(Unchanged().parameters()) == []


def test_examples_show_the_same_pictures_twice() -> None:
    plain, corrupted = task(corruption=Corruption()).draws.examples(6)
    assert plain.shape == (6, 1, 8, 8)
    torch.testing.assert_close(plain, corrupted)
    assert torch.equal(plain, to_float(plain))
