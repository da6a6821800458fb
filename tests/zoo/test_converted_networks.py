"""Converted networks in zoos: counters bit for bit, statistics by role, augmentations that work or say why not."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from graphws import convert, forward
from graphws.errors import ZooError
from graphws.graph import NetworkGraph, Operation, Weights
from graphws.operations import mlp_graph
from graphws.zoo import Zoo, augmentation
from graphws.zoo.augmentations import SignalTransform, first_layer
from graphws.zoo.store import ARCHITECTURE
from graphws.zoo.writer import finish, partial_folder
from tests.converters.architectures import build

NAMES = ("VGG", "nn.TransformerEncoder", "SIREN")
COUNT = 4


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@lru_cache(maxsize=8)
def networks(name: str) -> tuple[Weights, Tensor]:
    """Networks near a converted one, and inputs."""
    module, inputs = build(name)
    found = convert(module.eval(), inputs if len(inputs) > 1 else inputs[0], generator=rng())
    one = Weights.cat([found.weights] * COUNT)
    moved = one.map(lambda x: x + 0.1 * torch.rand(x.shape, generator=rng(1)) if x.is_floating_point() else x + 7)
    return moved, inputs[0]


@pytest.fixture
def zoo(tmp_path: Path) -> Zoo:
    weights = {name: networks(name)[0] for name in NAMES}
    partial_folder(tmp_path / "zoo").mkdir()
    finish(
        tmp_path / "zoo",
        {name: each.graph for name, each in weights.items()},
        lambda name, low, high: weights[name].select(slice(low, high)),
        {ARCHITECTURE: np.array(NAMES * COUNT, dtype=object)},
        {},
    )
    return Zoo.open(tmp_path / "zoo", verify=True)


def test_what_goes_in_comes_out(zoo: Zoo) -> None:
    for number, name in enumerate(NAMES):
        found = zoo.weights(np.arange(number, len(zoo), len(NAMES)))
        assert found.graph == networks(name)[0].graph
        for key, tensor in networks(name)[0].items():
            assert found[key].dtype == tensor.dtype
            assert torch.equal(found[key], tensor), key
    counters = [key for key, tensor in zoo[0][0].items() if tensor.dtype == torch.int64]
    assert counters, "the batch norms of VGG count"
    state = zoo[0][0].to_state_dict()
    assert state.keys() == build("VGG")[0].state_dict().keys()


def test_statistics_of_roles_serve_each_architecture(zoo: Zoo) -> None:
    for _, weights in zoo.parts():
        normal = zoo.statistics.normalise(weights)
        assert all(tensor.is_floating_point() for _, tensor in normal.items())
        back = zoo.statistics.restore(normal)
        for name, tensor in weights.items():
            torch.testing.assert_close(back[name], tensor.float(), atol=1e-4, rtol=1e-4)


def test_noise_dropout_and_group_work_for_every_architecture(zoo: Zoo) -> None:
    change = augmentation(noise=0.3, dropout=0.3, group=True, statistics=zoo.statistics)
    for _, weights in zoo.parts():
        changed = change(weights, rng())
        assert torch.equal(change(weights, rng()).flatten(), changed.flatten())
        for parameter in weights.graph.parameters:
            before, after = weights[parameter.name], changed[parameter.name]
            assert before.dtype == after.dtype
            if parameter.kind == "buffer":
                assert torch.equal(before.flatten().sort().values, after.flatten().sort().values), "only moved"
            else:
                assert not torch.equal(before, after)


def test_group_elements_keep_the_function() -> None:
    for name in NAMES:
        weights, inputs = networks(name)
        doubles, points = weights.to(dtype=torch.float64), inputs.double()
        moved = augmentation(group=True)(doubles, rng())
        before, after = (forward(weights.graph, each, points) for each in (doubles, moved))
        assert isinstance(before, Tensor)
        assert isinstance(after, Tensor)
        torch.testing.assert_close(after, before, rtol=1e-9, atol=1e-9)
        assert not torch.equal(moved.flatten(), doubles.flatten())


@pytest.mark.parametrize("name", ["SIREN", "MLP", "nn.TransformerEncoder"])
def test_signals_of_converted_networks(name: str) -> None:
    """Whatever reads its input by one linear layer can have it moved, exactly."""
    weights, inputs = networks(name)
    weights, points = weights.to(dtype=torch.float64), inputs.double()
    transform = SignalTransform(translation=0.3, scaling=0.4)
    matrix, shift = transform.draw(weights, rng())
    moved = transform(weights, rng())
    flat = points.reshape(1, -1, points.shape[-1])
    there = (flat @ matrix.mT + shift.unsqueeze(1)).reshape(COUNT, *points.shape)
    before, after = forward(weights.graph, weights, points), forward(weights.graph, moved, there)
    assert isinstance(before, Tensor)
    assert isinstance(after, Tensor)
    torch.testing.assert_close(after, before, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(after, forward(weights.graph, weights, there))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("VGG", "only networks whose input is read by one linear layer can have their signal transformed; here it is "
         "read by conv2d"),
        ("write into a slice", "only networks whose first layer has a weight of its own can have their signal "
         "transformed; 'first.weight~' is made of other parameters"),
        ("weight norm", "only networks whose first layer has a weight of its own can have their signal transformed; "
         "'x1' is made of other parameters"),
    ],
)  # fmt: skip
def test_networks_without_a_signal_say_why_not(name: str, text: str) -> None:
    weights, _ = networks(name)
    with pytest.raises(ZooError) as caught:
        augmentation(translation=0.1)(weights, rng())
    assert str(caught.value) == text


def test_a_first_layer_that_is_read_twice() -> None:
    graph = mlp_graph([2, 2, 2], activation="tanh")
    again = Operation("linear", (graph.outputs[0], "W1", "b1"), ("y",))
    twice = NetworkGraph(graph.spaces, graph.parameters, (*graph.operations, again), graph.inputs, ("y",))
    with pytest.raises(ZooError) as caught:
        first_layer(twice)
    assert str(caught.value) == "the signal cannot be transformed: 'W1' is read in 2 places"
