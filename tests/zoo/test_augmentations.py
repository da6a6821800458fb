"""Augmentations: the augmented network must *represent* the transformed signal; stored data never changes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from graphws.errors import ZooError
from graphws.graph import NetworkGraph, Operation, Weights
from graphws.operations import forward, mlp_graph
from graphws.zoo import augmentation, orbit_statistics
from graphws.zoo.augmentations import (
    Compose,
    DropoutNoise,
    GaussianNoise,
    RandomElement,
    SignalTransform,
    first_layer,
    rotation_matrix,
    transform_signal,
)
from graphws.zoo.reconstruction import reconstruct

GRAPH = mlp_graph([2, 16, 16, 1], activation="sine", omega=5.0)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def networks(graph: NetworkGraph = GRAPH, count: int = 6, dtype: torch.dtype = torch.float64) -> Weights:
    return Weights.unflatten(graph, 0.4 * torch.randn(count, graph.numel, generator=rng(), dtype=dtype))


def agrees(before: Weights, after: Weights, matrix: Tensor, shift: Tensor) -> float:
    """Largest difference between after(Ax + t) and before(x): 0 where `after` represents the transformed signal."""
    x = torch.rand(40, before.graph.extent("input"), generator=rng(1), dtype=torch.float64) * 2 - 1
    moved = x @ matrix.mT + shift.unsqueeze(1)
    return float((forward(after.graph, after, moved) - forward(before.graph, before, x)).abs().max())


@pytest.mark.parametrize("activation", ["sine", "relu"])
def test_the_network_represents_the_transformed_signal(activation: str) -> None:
    graph = mlp_graph([2, 16, 16, 3], activation=activation, omega=5.0 if activation == "sine" else None)
    weights = networks(graph)
    transform = SignalTransform(rotation=60, translation=0.4, scaling=0.5)
    matrix, shift = transform.draw(weights, rng(2))
    after = transform(weights, rng(2))
    assert agrees(weights, after, matrix, shift) < 1e-12
    assert agrees(weights, weights, matrix, shift) > 1e-2  # the check itself can fail
    assert agrees(weights, after, matrix, torch.zeros_like(shift)) > 1e-2
    assert [name for name, tensor in after.items() if not torch.equal(tensor, weights[name])] == ["W1", "b1"]


def test_networks_with_an_offset_keep_it() -> None:
    graph = mlp_graph([2, 16, 16, 1], activation="sine", omega=5.0, offset=0.5)
    weights, bare = networks(graph), networks()
    after = SignalTransform(rotation=60, translation=0.4, scaling=0.5)(weights, rng(2))
    assert after.graph == graph
    pictures = reconstruct(SignalTransform(rotation=60, translation=0.4, scaling=0.5)(bare, rng(2)), (6, 6))
    assert torch.allclose(reconstruct(after, (6, 6)), pictures + 0.5, atol=1e-12)
    turned = RandomElement("rich")(weights, rng(1))
    assert torch.allclose(reconstruct(turned, (6, 6)), reconstruct(bare, (6, 6)) + 0.5, atol=1e-12)
    assert not torch.allclose(turned.flatten(), weights.flatten())


def test_draws_stay_in_their_ranges() -> None:
    weights = networks(count=400)
    matrix, shift = SignalTransform(rotation=20, translation=0.3, scaling=0.25).draw(weights, rng())
    factor = torch.linalg.det(matrix).sqrt()
    angle = torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0])
    assert 1.2 < factor.max() <= 1.25
    assert 0.8 <= factor.min() < 0.83
    assert 19 < angle.abs().rad2deg().max() <= 20
    assert 0.29 < shift.abs().max() <= 0.3
    assert len(set(angle.tolist())) == 400  # a draw for each network


def test_a_positive_angle_turns_counterclockwise_to_the_eye() -> None:
    right = torch.tensor([0.0, 1.0])  # (y, x) with y downwards
    assert torch.allclose(rotation_matrix(torch.tensor([math.pi / 2]))[0] @ right, torch.tensor([-1.0, 0.0]), atol=1e-6)


def test_waves_can_be_moved_and_scaled_but_not_rotated() -> None:
    weights = networks(mlp_graph([1, 8, 1], activation="sine"))
    transform = SignalTransform(translation=0.4, scaling=0.5)
    matrix, shift = transform.draw(weights, rng(2))
    assert agrees(weights, transform(weights, rng(2)), matrix, shift) < 1e-12
    with pytest.raises(ZooError) as caught:
        SignalTransform(rotation=10)(weights, rng())
    assert str(caught.value) == "rotation needs signals on a plane; these networks have 1 inputs"


def test_networks_without_bias() -> None:
    weights = networks(mlp_graph([2, 8, 1], activation="sine", bias=False))
    matrix, shift = SignalTransform(rotation=30).draw(weights, rng(2))
    assert agrees(weights, transform_signal(weights, matrix, shift), matrix, shift) < 1e-12
    with pytest.raises(ZooError) as caught:
        SignalTransform(translation=0.1)(weights, rng())
    assert str(caught.value) == "a signal cannot be moved by networks whose first layer has no bias"


def test_networks_whose_input_is_read_twice() -> None:
    graph = mlp_graph([2, 2, 2], activation="tanh")
    skip = Operation("add", ("x0", graph.outputs[0]), ("y",))
    twice = NetworkGraph(graph.spaces, graph.parameters, (*graph.operations, skip), graph.inputs, ("y",))
    assert first_layer(graph) == ("W1", "b1")
    with pytest.raises(ZooError) as caught:
        first_layer(twice)
    assert str(caught.value) == (
        "only networks whose input is read by one linear layer can have their signal transformed; here it is read by "
        "linear, add"
    )


def test_noise_is_relative_to_each_orbit() -> None:
    weights = networks(count=3000)
    scaled = Weights(GRAPH, {**weights.tensors, "W2": weights["W2"] * 50})
    for statistics in (None, orbit_statistics(GRAPH, [scaled])):
        noisy = GaussianNoise(0.2, statistics)(scaled, rng(1))
        for name, tensor in scaled.items():
            ratio = (noisy[name] - tensor).std() / tensor.std()
            assert float(ratio) == pytest.approx(0.2, rel=0.05)


def test_dropout_makes_holes() -> None:
    weights = networks(count=200)
    after = DropoutNoise(0.3)(weights, rng())
    gone = after.flatten() == 0
    assert float(gone.double().mean()) == pytest.approx(0.3, abs=0.01)
    assert torch.equal(after.flatten()[~gone], weights.flatten()[~gone])


@pytest.mark.parametrize("actions", ["permutation", "rich"])
def test_random_elements_keep_the_function(actions: str) -> None:
    weights = networks()
    after = RandomElement(actions)(weights, rng())  # type: ignore[arg-type]
    x = torch.randn(20, 2, generator=rng(3), dtype=torch.float64)
    assert torch.allclose(forward(GRAPH, after, x), forward(GRAPH, weights, x), atol=1e-12)
    assert not torch.allclose(after.flatten(), weights.flatten())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_everything_together_changes_nothing_stored_and_repeats(dtype: torch.dtype) -> None:
    weights = networks(dtype=dtype)
    before = weights.flatten().clone()
    full = augmentation(noise=0.1, dropout=0.1, group=True, rotation=10, translation=0.1, scaling=0.1)
    after = full(weights, rng(7))
    assert torch.equal(weights.flatten(), before)
    assert after.dtype == dtype
    assert torch.equal(full(weights, rng(7)).flatten(), after.flatten())
    assert not torch.equal(full(weights, rng(8)).flatten(), after.flatten())
    assert [type(step).__name__ for step in full.augmentations] == [
        "SignalTransform",
        "RandomElement",
        "DropoutNoise",
        "GaussianNoise",
    ]
    assert augmentation() == Compose(())
    assert torch.equal(augmentation()(weights, rng()).flatten(), before)


def test_wrong_amounts() -> None:
    for options, message in (
        ({"noise": -1.0}, "augmentation: noise must be at least 0, got -1.0"),
        ({"dropout": 1.5}, "augmentation: dropout must be at least 0 and at most 1, got 1.5"),
        ({"rotation": 400.0}, "augmentation: rotation must be at least 0 and at most 360, got 400.0"),
        ({"scaling": math.nan}, "augmentation: scaling must be at least 0, got nan"),
    ):
        with pytest.raises(ZooError) as caught:
            augmentation(**options)
        assert str(caught.value) == message


def test_what_networks_draw() -> None:
    weights = networks(count=5)
    pictures = reconstruct(weights, (9, 7))
    assert pictures.shape == (5, 9, 7, 1)
    with pytest.raises(ZooError) as caught:
        reconstruct(weights, (9,))
    assert str(caught.value) == "a picture has rows and columns, got the shape [9]"
