"""What benchmarks/actions.py says of redundant neurons: they hide the action, and taking them out shows it again."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch

from graphws.graph import Monomial
from graphws.operations import forward
from tests.scripts import load_script

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "actions.py"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    return load_script(SCRIPT)


def test_padding_keeps_the_function_and_knows_its_copies(benchmark: ModuleType) -> None:
    case, _, graph = benchmark.planted([588, 20, 20, 588], "tanh", "mirror", 0)
    padded, origins = benchmark.redundant(case.weights, 4, 6, benchmark.rng(3))
    x = torch.randn(5, 588, generator=benchmark.rng(4), dtype=torch.float64)
    torch.testing.assert_close(forward(padded.graph, padded, x), forward(graph, case.weights, x))
    origin, sign = origins["hidden1"]
    assert (origin >= 0).sum() == 26
    alive = origin >= 0
    rows = sign[alive].unsqueeze(1) * case.weights["W1"][0][origin[alive]]
    assert torch.equal(padded["W1"][0][alive], rows)


def test_the_share_counts_copies_and_signs(benchmark: ModuleType) -> None:
    """The planted action itself counts as 1; a wrong sign or neuron does not count, a copy of the target does."""
    case, _, _ = benchmark.planted([588, 20, 588], "tanh", "mirror", 0)
    _, origins = benchmark.redundant(case.weights, 4, 6, benchmark.rng(3))
    truth = case.actions[1]["hidden1"]
    padded = torch.cat([truth.perm, torch.arange(20, 30)])
    scale = torch.cat([truth.scale, torch.ones(10, dtype=torch.float64)])
    origin, sign = origins["hidden1"]

    def share(perm: torch.Tensor, signs: torch.Tensor) -> float:
        return benchmark.real_share({"hidden1": Monomial(perm, signs)}, case, origins, {})

    assert share(padded, scale) == 1
    flipped = scale.clone()
    flipped[3] *= -1
    assert share(padded, flipped) == pytest.approx(19 / 20)
    source = int((truth.perm == origin[20]).nonzero())
    other = padded.clone()
    other[source] = 20  # to the copy of its target
    beside = scale.clone()
    beside[source] *= sign[20]
    assert share(other, beside) == 1
    other[source] = 26  # to a dead neuron
    assert share(other, beside) == pytest.approx(19 / 20)
    dropped = Monomial(truth.perm, truth.scale)
    assert benchmark.real_share({"hidden1": dropped}, case, origins, {"hidden1": torch.arange(20)}) == 1


@pytest.mark.parametrize("level", [0.0, 0.1])
def test_reduction_shows_the_action_again(benchmark: ModuleType, level: float) -> None:
    """The line of the facts: 64 real, 16 dead and 16 copied neurons a layer, noise on all of them up to σ = .1."""
    raw, raw_error, share, error, widths = benchmark.recovered_beside_redundant(0, level, widths=(588, 64, 64, 588))
    assert raw < 0.95
    assert raw_error > 0.3
    assert widths == [64, 64]
    assert share == 1
    assert error < 1.1 * level + 1e-10
