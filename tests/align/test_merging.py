"""Many networks merged: what their mean loses, and that a wrong alignment is caught."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from graphws.align import align_many, average, function_loss, merge_many, merging, spread_loss
from graphws.errors import DataError, VerificationError
from graphws.graph import Weights
from graphws.operations import forward
from tests.align.cases import ATTENTION, MLPS, distance, network, points

GRAPH = MLPS["relu"]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def copies(graph=GRAPH, count: int = 4) -> Weights:
    """Copies of one network, each moved otherwise: networks that differ only by the group."""
    first = network(graph)
    return Weights.cat([first, *(graph.group().random(rng(k), actions="rich").act(first) for k in range(1, count))])


@pytest.mark.parametrize("graph", [GRAPH, MLPS["deep tanh"], ATTENTION["matrix form"]], ids=["relu", "tanh", "heads"])
def test_the_mean_of_moved_copies_is_the_network(graph) -> None:
    many, x = copies(graph), points(graph)
    found = merge_many(many, generator=rng(), inputs=x)
    assert found.error is not None
    assert found.error < 1e-9
    assert found.loss == "distance"
    assert found.before is not None
    assert found.after is not None
    assert found.before > 0.05
    assert found.after < 1e-12
    assert max(found.each) < 1e-12  # they compute the same
    assert distance(network(graph), found.merged) < 1e-7
    assert found.to_dict()["networks"] == 4


def test_cross_entropy_of_each_and_of_the_mean() -> None:
    many, x = network(GRAPH, batch=3), points(GRAPH)
    labels = torch.arange(len(x)) % 3
    found = merge_many(many, generator=rng(), inputs=x, labels=labels)

    def loss(weights: Weights) -> float:
        return float(torch.nn.functional.cross_entropy(forward(GRAPH, weights, x)[0], labels))

    assert found.each == pytest.approx([loss(many.select([k])) for k in range(3)])
    assert found.before == pytest.approx(loss(average(many)))
    values = [candidate.objective for candidate in found.alignment.candidates]
    assert found.after == min(value for value in values if value is not None) == values[found.alignment.kept]
    assert values[-1] == found.before
    assert found.after == pytest.approx(loss(average(found.alignment.aligned))) == pytest.approx(loss(found.merged))


def test_a_mean_worse_than_its_parts_says_so() -> None:
    many, x = network(GRAPH, batch=3), points(GRAPH)
    labels = forward(GRAPH, many.select([0]), x)[0].argmax(1)
    found = merge_many(many, generator=rng(), inputs=x, labels=labels)
    assert found.after is not None
    assert min(found.each) < found.after < max(found.each)
    worse = f"the merged network is worse than the best of the networks: loss {found.after:.4g} against "
    assert found.notes == (f"{worse}{min(found.each):.4g}",)
    assert found.to_dict()["notes"] == list(found.notes)
    assert merge_many(copies(), generator=rng(), inputs=x).notes == ()  # control: a mean that is no worse


def test_without_data_nothing_is_measured() -> None:
    found = merge_many(copies(), generator=rng())
    assert (found.error, found.loss, found.each, found.before, found.after) == (None, "", (), None, None)
    assert found.notes == ("whether the merged network is worse than the networks was not measured: there are no data",)


def test_a_wrong_alignment_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def false(weights: Weights, **options: object) -> object:
        found = align_many(weights, generator=rng())
        return replace(found, aligned=network(GRAPH, 7, batch=weights.batch))

    monkeypatch.setattr(merging, "align_many", false)
    with pytest.raises(
        VerificationError,
        match=r"^an aligned network computes something else: its outputs are off by .* \(allowed 1e-04\)$",
    ):
        merge_many(copies(), generator=rng(), inputs=points(GRAPH))


def test_labels_must_fit() -> None:
    with pytest.raises(DataError, match=r"^labels of shape \(3,\) for 80 points: one number each is wanted$"):
        merge_many(copies(), generator=rng(), inputs=points(GRAPH), labels=torch.zeros(3).long())


def test_spread_is_the_distance_from_the_mean_of_all() -> None:
    many, x = [network(GRAPH, k) for k in range(3)], points(GRAPH)
    outputs = torch.cat([forward(GRAPH, w, x) for w in many])
    mean = outputs.mean(0)
    variance = (mean - mean.mean()).square().mean()
    loss = spread_loss(many, x)
    for k in range(3):
        assert float(loss(many[k])[0]) == pytest.approx(float((outputs[k] - mean).square().mean() / variance))
    assert float(function_loss(many[0], many[1], x)(many[2])[0]) == pytest.approx(
        float(spread_loss(many[:2], x)(many[2])[0])
    )
