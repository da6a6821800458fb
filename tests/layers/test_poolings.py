"""Every pooling of the table: the forward and backward of its kernel are those of its definition, whatever it is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import permutations

import pytest
import torch
from torch import Tensor

from graphws import pooling as table
from graphws.errors import UsageError
from graphws.layers import EquivariantLinear, expand_blocks
from graphws.layers.fused import products
from graphws.layers.poolings.maximum import Maximum
from graphws.operations import mlp_graph
from graphws.pooling import POOLINGS, FixedPooling, fixed_pooling, learned_pooling, pooling_named
from graphws.testing import random_features

FIXED = {name: pooling for name in POOLINGS if (pooling := fixed_pooling(name)) is not None}
each = pytest.mark.parametrize("pool", FIXED.values(), ids=FIXED)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tensor(kind: str, channels: int = 3) -> Tensor:
    x = torch.randn(2, 5, 6, channels, generator=rng(), dtype=torch.float64)
    if kind == "ties":
        return x.round()
    return torch.full_like(x, 0.1) if kind == "constant" else x


def by_kernel(pool: FixedPooling, x: Tensor, axis: int, g_summary: Tensor) -> tuple[Tensor, Tensor]:
    """The summary and the gradient, which is added to one that is there already."""
    summary = pool.summarise(x, axis)
    gradient = torch.ones_like(x)
    pool.add_gradient(gradient, x, axis, summary, g_summary, torch.full_like(x, math.nan))
    return summary, gradient - 1


@each
@pytest.mark.parametrize("channels", [1, 3, 33])
@pytest.mark.parametrize("kind", ["random", "ties", "constant"])
@pytest.mark.parametrize("axis", [1, 2])
def test_kernel_and_definition_agree(pool: FixedPooling, kind: str, channels: int, axis: int) -> None:
    x = tensor(kind, channels).requires_grad_()
    wanted = pool.pool(x, (axis,))
    g_summary = torch.randn(wanted.shape, generator=rng(1), dtype=wanted.dtype)
    (gradient,) = torch.autograd.grad(wanted, x, g_summary)
    summary, found = by_kernel(pool, x.detach(), axis, g_summary)
    torch.testing.assert_close(summary, wanted.detach())
    torch.testing.assert_close(found, gradient)


def test_the_comparison_notices_a_wrong_forward_and_a_wrong_backward() -> None:
    class Doubled(Maximum):
        def summarise(self, chunk: Tensor, axis: int) -> Tensor:
            return 2 * super().summarise(chunk, axis)

    class WholeToEach(Maximum):
        def add_gradient(
            self, gradient: Tensor, chunk: Tensor, axis: int, summary: Tensor, g_summary: Tensor, room: Tensor
        ) -> None:
            gradient += (chunk == summary.unsqueeze(axis)) * g_summary.unsqueeze(axis)

    for wrong in (Doubled(), WholeToEach()):
        with pytest.raises(AssertionError):
            test_kernel_and_definition_agree(wrong, "ties", 3, 1)


@each
def test_the_definition_has_the_right_gradient(pool: FixedPooling) -> None:
    x = tensor("random").requires_grad_()
    for axes in ((1,), (2,), (1, 2)):
        assert torch.autograd.gradcheck(lambda x, axes=axes: pool.pool(x, axes), x, fast_mode=True)


@each
def test_the_order_of_entries_does_not_matter(pool: FixedPooling) -> None:
    x = tensor("random")
    moved = x[:, torch.randperm(5, generator=rng(1))]
    torch.testing.assert_close(pool.pool(moved, (1,)), pool.pool(x, (1,)))
    torch.testing.assert_close(pool.summarise(moved, 1), pool.summarise(x, 1))


@each
def test_it_nests_if_it_says_so(pool: FixedPooling) -> None:
    x = tensor("random")
    assert torch.allclose(pool.pool(pool.pool(x, (2,)), (1,)), pool.pool(x, (1, 2))) == pool.nests


@each
def test_it_is_linear_if_it_says_so(pool: FixedPooling) -> None:
    x, y = tensor("random"), tensor("ties")
    alike = torch.allclose(pool.pool(x - 2 * y, (1,)), pool.pool(x, (1,)) - 2 * pool.pool(y, (1,)))
    assert alike == pool.linear


@each
def test_what_is_not_a_number_is_not_hidden(pool: FixedPooling) -> None:
    x = tensor("random")
    x[0, 1, 2, 0] = math.nan
    for axis in (1, 2):
        assert pool.pool(x, (axis,)).isnan().sum() == pool.summarise(x, axis).isnan().sum() == 1


@pytest.mark.parametrize("name", [n for n in POOLINGS if learned_pooling(n)])
def test_learned_poolings_count_their_parameters_and_do_not_mind_order(name: str) -> None:
    learned = learned_pooling(name)
    assert learned is not None
    module = learned.module(4, 2).double()
    assert sum(p.numel() for p in module.parameters()) == learned.parameters(4, 2)
    x = torch.randn(2, 3, 4, generator=rng(), dtype=torch.float64)
    for order in permutations(range(3)):
        torch.testing.assert_close(module(x[:, list(order)], (1,)), module(x, (1,)))


def test_ties_share_the_gradient_where_rows_are_stacked() -> None:
    """Two networks of a key with three elements and two channels: in one, all tie; in the other, two."""
    rows = torch.tensor([[[1.0, 0], [1, 2], [1, 1]], [[3, 0], [3, 2], [1, 2]]], dtype=torch.float64).requires_grad_()
    _, summary = products.stack([products.Rows(rows)], "identity", "max")
    assert summary is not None
    (gradient,) = torch.autograd.grad(summary.sum(), rows)
    third = 1 / 3
    assert torch.equal(
        gradient,
        torch.tensor([[[third, 0], [third, 1], [third, 0]], [[0.5, 0], [0.5, 0.5], [0, 0.5]]], dtype=torch.float64),
    )


@each
@pytest.mark.parametrize("kind", ["random", "ties"])
def test_stacked_rows_are_summarised_as_defined(pool: FixedPooling, kind: str) -> None:
    name = next(name for name, one in FIXED.items() if one is pool)
    x = tensor(kind)[:, :, 0].contiguous().requires_grad_()
    results = []
    for summary in (products.stack([products.Rows(x)], "identity", name)[1], pool.pool(x, (1,))):
        assert summary is not None
        weight = torch.randn(summary.shape, generator=rng(1), dtype=summary.dtype)
        results.append([summary, *torch.autograd.grad((summary * weight).sum(), x)])
    for found, wanted in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, -1e4, 1e-20])
def test_equal_entries_have_no_deviation_and_no_gradient(value: float, dtype: torch.dtype) -> None:
    """Also where their mean is not exactly their value."""
    pool = FIXED["std"]
    x = torch.full((2, 7, 3, 2), value, dtype=dtype).requires_grad_()
    summary = pool.pool(x, (1,))
    (gradient,) = torch.autograd.grad(summary.sum(), x)
    found, by_hand = by_kernel(pool, x.detach(), 1, torch.ones_like(summary))
    for zero in (summary, gradient, found, by_hand):
        assert not zero.any()


def test_a_small_deviation_is_still_one() -> None:
    x = 1 + 1e-12 * torch.randn(1, 50, 1, 1, generator=rng(), dtype=torch.float64)
    wanted = x.std(1, correction=0)
    assert float(wanted.min()) > 0
    torch.testing.assert_close(FIXED["std"].pool(x, (1,)), wanted, rtol=1e-2, atol=0)
    torch.testing.assert_close(FIXED["std"].summarise(x, 1), wanted, rtol=1e-2, atol=0)


def test_a_word_that_the_table_lacks_is_refused_everywhere() -> None:
    text = f"unknown pooling 'sdt'; known are {', '.join(POOLINGS)}; did you mean 'std'?"
    for refuse in (pooling_named, fixed_pooling, learned_pooling):
        with pytest.raises(UsageError) as caught:
            refuse("sdt")
        assert str(caught.value) == text
    x = torch.zeros(1, 2, 2, 1)
    with pytest.raises(UsageError, match="unknown pooling 'sdt'"):
        products.stack([products.Rows(x[:, 0])], "identity", "sdt")


class Range(Maximum):
    """A pooling that this project does not have: largest less smallest entry."""

    nests = False

    def pool(self, x: Tensor, axes: tuple[int, ...]) -> Tensor:
        return x.amax(axes) - x.amin(axes)

    def summarise(self, chunk: Tensor, axis: int) -> Tensor:
        return chunk.amax(axis) - chunk.amin(axis)

    def add_gradient(
        self, gradient: Tensor, chunk: Tensor, axis: int, summary: Tensor, g_summary: Tensor, room: Tensor
    ) -> None:
        for sign in (1, -1):
            top = (sign * chunk).amax(axis, keepdim=True)
            ties = (sign * chunk == top).to(chunk)
            gradient += sign * ties * (g_summary.unsqueeze(axis) / ties.sum(axis, keepdim=True))


@pytest.fixture
def with_range(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(table, "POOLINGS", {**POOLINGS, "range": f"{__name__}:Range"})
    monkeypatch.setattr("graphws.messages.POOLINGS", table.POOLINGS)
    yield
    pooling_named.cache_clear()


def test_nothing_else_has_to_know_a_new_pooling(with_range: None) -> None:
    graph = mlp_graph([2, 4, 3, 2])
    layer = EquivariantLinear(graph, 2, 3, expand_blocks(pool="range")).double()
    features = random_features(graph, 2, 3, rng())
    (w2,) = [name for name, reading in layer.schedule(graph).readings.items() if reading.pool == "range"]
    assert w2 == "W2"
    results = []
    for fused in (True, False):
        layer.fused = fused
        leaves = {n: x.clone().requires_grad_() for n, x in features.tensors.items()}
        out = layer(features.replace(leaves))
        loss = sum((x**2).sum() for x in out.tensors.values())
        results.append([*out.tensors.values(), *torch.autograd.grad(loss, [*layer.parameters(), *leaves.values()])])  # type: ignore[arg-type]
    for found, wanted in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted)
