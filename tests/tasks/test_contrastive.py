"""NT-Xent: against a slow loop, and over processes."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from graphws.models.linear_probe import LinearProbe
from graphws.tasks.contrastive import nt_xent
from tests.processes import ROOT
from tests.tasks import gathered


def _slow(views: Tensor, temperature: float) -> list[float]:
    """The definition, pair by pair."""
    rows = [view for network in views.tolist() for view in network]

    def similarity(i: int, k: int) -> float:
        dot = sum(a * b for a, b in zip(rows[i], rows[k], strict=True))
        return math.exp(dot / math.hypot(*rows[i]) / math.hypot(*rows[k]) / temperature)

    def loss(i: int, j: int) -> float:
        return -math.log(similarity(i, j) / sum(similarity(i, k) for k in range(len(rows)) if k != i))

    return [(loss(i, i + 1) + loss(i + 1, i)) / 2 for i in range(0, len(rows), 2)]


def _views(networks: int, size: int = 5, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(networks, 2, size, generator=draw, dtype=torch.float64)


@pytest.mark.parametrize("networks", [1, 2, 7])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_it_is_the_definition(networks: int, temperature: float) -> None:
    for seed in range(3):
        views = _views(networks, seed=seed)
        assert nt_xent(views, temperature).tolist() == pytest.approx(_slow(views, temperature), rel=1e-12)


def test_its_gradient_is_that_of_differences() -> None:
    views = _views(3, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: nt_xent(x, 0.5), (views,))


@pytest.mark.parametrize("networks", [1, 2, 32])
def test_views_that_are_all_the_same_cannot_be_told_apart(networks: int) -> None:
    views = torch.ones(networks, 2, 3)
    assert nt_xent(views, 0.1).tolist() == pytest.approx([math.log(2 * networks - 1)] * networks, abs=1e-5)


def test_views_of_other_networks_cost_more() -> None:
    draw = torch.Generator().manual_seed(0)
    views = torch.randn(20, 1, 6, generator=draw) + 0.1 * torch.randn(20, 2, 6, generator=draw)
    wrong = torch.stack([views[:, 0], views[:, 1].roll(1, 0)], dim=1)
    longer = views * (0.1 + torch.rand(20, 2, 1, generator=draw))
    right, same, high = (float(nt_xent(each, 0.1).mean()) for each in (views, longer, wrong))
    assert right < 0.5 < math.log(39) < high
    assert same == pytest.approx(right, rel=1e-5)  # only directions count


def test_it_is_exact_within_a_cast() -> None:
    views = _views(40).float()
    with torch.autocast("cpu", torch.bfloat16):
        inside = nt_xent(views, 0.1)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, nt_xent(views, 0.1))
    assert nt_xent(views.bfloat16(), 0.1).dtype == torch.float32


@pytest.fixture(scope="module")
def both() -> list[dict[str, Any]]:
    """What two processes find."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "-m", "tests.tasks.gathered"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


@pytest.mark.slow
def test_two_processes_have_the_loss_and_the_gradient_of_the_joined_batch(both: list[dict[str, Any]]) -> None:
    views, matrix, _ = gathered.inputs()
    matrix.requires_grad_()
    losses = nt_xent(views @ matrix, gathered.TEMPERATURE)
    losses.sum().backward()  # type: ignore[no-untyped-call]
    assert matrix.grad is not None
    assert both[0]["losses"] + both[1]["losses"] == pytest.approx(losses.tolist(), rel=1e-12)
    for one in both:
        torch.testing.assert_close(torch.tensor(one["gradient"], dtype=torch.float64), matrix.grad)
    apart = both[0]["apart"] + both[1]["apart"]  # each alone, it has fewer negatives
    assert all(alone < joined for alone, joined in zip(apart, losses.tolist(), strict=True))


@pytest.mark.slow
def test_two_processes_gather_rows_and_fit_one_probe(both: list[dict[str, Any]]) -> None:
    views, _, targets = gathered.inputs()
    given = views.split(gathered.SIZES)[1].flatten(1)
    assert [one["start"] for one in both] == [0, 0]
    assert all(torch.equal(torch.tensor(one["rows"], dtype=torch.float64), given) for one in both)
    probe = LinearProbe(2, 2)
    probe.fit([(views[:, 0, :2], targets)])
    for one in both:
        torch.testing.assert_close(torch.tensor(one["probe"], dtype=torch.float64), probe.weight)
        torch.testing.assert_close(torch.tensor(one["bias"], dtype=torch.float64), probe.bias)
