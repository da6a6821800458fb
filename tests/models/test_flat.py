"""The baseline without symmetry."""

from __future__ import annotations

import pytest
import torch

from graphws.errors import UsageError, VerificationError
from graphws.graph import Weights
from graphws.models import FlatMLP, perceptron, width_for
from graphws.operations import mlp_graph
from graphws.testing import check_equivariance, random_weights

NETWORK = mlp_graph([2, 4, 3, 2])


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
@pytest.mark.parametrize("layers", [1, 2, 4])
def test_shapes(layers: int, norm: str) -> None:
    weights = random_weights(NETWORK, 5, rng(), torch.float32)
    assert FlatMLP(NETWORK, 3, layers, 16, norm=norm)(weights).shape == (5, 3)  # type: ignore[union-attr]
    moved = FlatMLP(NETWORK, None, layers, 16, norm=norm)(weights)
    assert isinstance(moved, Weights)
    assert moved.flatten().shape == (5, NETWORK.numel)


@pytest.mark.parametrize("outputs", [3, None])
def test_it_does_not_follow_the_group(outputs: int | None) -> None:
    with pytest.raises(VerificationError):
        check_equivariance(FlatMLP(NETWORK, outputs, 2, 16).double().eval(), NETWORK, rng())


@pytest.mark.parametrize("hidden", [(), (7, 5)])
@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("parameters", [500, 5_000, 50_000])
@pytest.mark.parametrize("layers", [2, 4])
def test_width_for_finds_the_nearest_size(layers: int, parameters: int, norm: str, hidden: tuple[int, ...]) -> None:
    def size(width: int) -> int:
        model = FlatMLP(NETWORK, lambda features: perceptron(features, 3, hidden), layers, width, norm=norm)
        return sum(p.numel() for p in model.parameters())

    width = width_for(size, parameters)
    best = min(range(max(1, width - 2), width + 3), key=lambda w: abs(size(w) - parameters))
    assert width == best


def test_width_for_ends_where_the_width_does_not_count() -> None:
    assert width_for(lambda width: 7, 100) == 1


def test_width_for_takes_multiples_of_a_step() -> None:
    found = [width_for(lambda width: width * width, wanted, 4) for wanted in (1, 60, 100, 106, 1000)]
    assert found == [4, 8, 8, 12, 32]


def test_a_readout_has_layers_and_dropout_of_its_own() -> None:
    model = FlatMLP(NETWORK, lambda width: perceptron(width, 3, (8, 4), 0.5), 2, 16, dropout=0.25)
    linear = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    assert [module.out_features for module in linear] == [16, 8, 4, 3]
    assert [module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)] == [0.25, 0.5, 0.5]


def test_batch_norm_is_torchs_in_one_process() -> None:
    torch.manual_seed(0)
    ours = FlatMLP(NETWORK, 3, 3, 16).double()
    theirs = torch.nn.Sequential(
        *(torch.nn.BatchNorm1d(16).double() if isinstance(m, torch.nn.BatchNorm1d) else m for m in ours.layers)
    )
    for _ in range(3):
        weights = random_weights(NETWORK, 6, rng(), torch.float64)
        assert torch.allclose(ours(weights), theirs(weights.flatten()), atol=1e-12)  # type: ignore[arg-type]
    ours.eval()
    theirs.eval()
    assert torch.allclose(ours(weights), theirs(weights.flatten()), atol=1e-12)  # type: ignore[arg-type]


def test_dropout_is_off_in_evaluation() -> None:
    model, weights = FlatMLP(NETWORK, 3, 3, 16, dropout=0.5).eval(), random_weights(NETWORK, 4, rng(), torch.float32)
    assert torch.equal(model(weights), model(weights))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"layers": 0}, "an MLP needs at least one layer and a width of at least 1, got 0 and 128"),
        ({"width": 0}, "an MLP needs at least one layer and a width of at least 1, got 4 and 0"),
        ({"activation": "rleu"}, "unknown activation 'rleu'; did you mean 'relu'?"),
        ({"norm": "bacth"}, "norm must be one of batch, layer, none; got 'bacth'; did you mean 'batch'?"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        FlatMLP(NETWORK, 3, **options)  # type: ignore[arg-type]
    assert str(caught.value) == text
