"""Summaries: which entries each pools, by which pooling, and what attention does."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from graphws.errors import UsageError
from graphws.layers import AttentionPool, EquivariantLinear, expand_blocks
from graphws.layers.pattern import slots
from graphws.layers.plan import PooledSlot
from graphws.layers.poolings.means import Sum
from graphws.layers.summaries import Summaries
from graphws.operations import mlp_graph
from graphws.testing import random_features
from tests.layers.cases import residual

NETWORK = mlp_graph([2, 4, 3, 2])
OVER = {"mean": torch.mean, "max": torch.amax, "sum": torch.sum, "std": partial(torch.std, correction=0)}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def summary(parameter: str, key: list[str], mode: str, merged: bool = False) -> torch.Tensor:
    graph = residual(3) if parameter == "A" else NETWORK
    features = random_features(graph, 2, 5, rng())
    for group in slots(graph.layout(parameter)):
        if [space for space, _ in group[0].key] == key and group[0].merges == merged:
            return Summaries(features).get(PooledSlot(group[0], mode))
    raise AssertionError("no such slot")


@pytest.mark.parametrize("mode", OVER)
def test_summaries_are_what_they_say(mode: str) -> None:
    tensor = random_features(NETWORK, 2, 5, rng())["W2"]
    assert tensor.shape == (5, 3, 4, 2)
    over = OVER[mode]
    torch.testing.assert_close(summary("W2", [], mode), over(tensor, (1, 2)))
    torch.testing.assert_close(summary("W2", ["hidden1"], mode), over(tensor, (1,)))
    torch.testing.assert_close(summary("W2", ["hidden2"], mode), over(tensor, (2,)))
    assert summary("W2", ["hidden1", "hidden2"], mode).shape == (5, 4, 3, 2), "in the key's order"


@pytest.mark.parametrize("mode", OVER)
def test_a_merged_pattern_reads_the_diagonal(mode: str) -> None:
    tensor = random_features(residual(3), 2, 5, rng())["A"]
    diagonal = torch.stack([tensor[:, k, k] for k in range(3)], 1)
    torch.testing.assert_close(summary("A", ["d"], mode, merged=True), diagonal)
    over = OVER[mode]
    torch.testing.assert_close(summary("A", [], mode, merged=True), over(diagonal, (1,)))


def test_sum_keeps_its_digits_in_float32() -> None:
    values = torch.rand(1, 100_000, 1, generator=rng()) + 1000
    exact = values.double().sum((1,))
    assert abs(float(Sum().pool(values, (1,)).double() - exact) / exact) < 1e-6


def test_attention_weighs_entries_by_a_softmax_of_their_scores() -> None:
    attention = AttentionPool(4, 2).double()
    x = torch.randn(3, 5, 6, 4, generator=rng(), dtype=torch.float64)
    found = attention(x, (2,))
    scores = x @ attention.score.weight.T
    for head, part in enumerate((slice(0, 2), slice(2, 4))):
        by_hand = (x[..., part] * scores[..., head : head + 1].softmax(2)).sum(2)
        torch.testing.assert_close(found[..., part], by_hand)
    both = attention(x, (1, 2))
    weight = scores.flatten(1, 2).softmax(1)
    torch.testing.assert_close(both[..., :2], (x.flatten(1, 2)[..., :2] * weight[..., :1]).sum(1))


def test_attention_does_not_overflow() -> None:
    attention = AttentionPool(2, 1)
    assert attention(1e4 * torch.randn(2, 8, 2, generator=rng()), (1,)).isfinite().all()


def test_heads_must_divide_channels() -> None:
    with pytest.raises(UsageError) as caught:
        AttentionPool(6, 4)
    assert str(caught.value) == "attention pooling: 4 heads do not divide 6 channels"
    with pytest.raises(UsageError, match="attention pooling: 4 heads do not divide 6 channels"):
        EquivariantLinear(mlp_graph([1, 4, 4, 1]), 6, 6, expand_blocks(pool="attention"), heads=4)


def test_maxima_share_their_gradient_between_ties() -> None:
    layer = EquivariantLinear(NETWORK, 1, 1, expand_blocks(pool="max"), bias=False).double()
    features = random_features(NETWORK, 1, 1, rng())
    tied = features.replace({name: torch.ones_like(x).requires_grad_() for name, x in features.tensors.items()})
    sum(x.sum() for x in layer(tied).tensors.values()).backward()  # type: ignore[union-attr]
    gradient = tied["W2"].grad
    assert gradient is not None
    torch.testing.assert_close(gradient, gradient.mean().expand_as(gradient))


def test_a_sum_layer_starts_like_a_mean_layer() -> None:
    features = random_features(NETWORK, 2, 3, rng())
    outputs = []
    for mode in ("mean", "sum"):
        torch.manual_seed(0)
        outputs.append(EquivariantLinear(NETWORK, 2, 3, expand_blocks(pool=mode)).double()(features))  # type: ignore[arg-type]
    for name, x in outputs[0].tensors.items():
        torch.testing.assert_close(outputs[1][name], x, rtol=1e-6, atol=1e-6)
