from __future__ import annotations

import re
from collections import OrderedDict
from contextlib import AbstractContextManager

import pytest
import torch
from torch import nn

from graphws.errors import GraphError, WeightsError
from graphws.graph import NetworkGraph, Parameter, Weights
from graphws.operations import mlp_graph
from tests.graph import samples

GRAPH = mlp_graph([2, 3, 1])


def _tensors() -> dict[str, torch.Tensor]:
    return dict(samples.random_weights(GRAPH).tensors)


def _refused(message: str) -> AbstractContextManager[object]:
    return pytest.raises(WeightsError, match=f"^{re.escape(message)}$")


def test_tensors_that_do_not_fit_are_refused() -> None:
    with _refused("no parameter 'bb1' in the graph; did you mean 'b1'?"):
        Weights(GRAPH, {**_tensors(), "bb1": torch.zeros(1)})
    with _refused("no tensor for parameter 'W1'"):
        Weights(GRAPH, {})
    with _refused("parameter 'W1': got shape (3, 2), the graph needs (batch, *(3, 2))"):
        Weights(GRAPH, {**_tensors(), "W1": torch.zeros(3, 2)})
    with _refused("tensors of different batch sizes: [2, 5]"):
        Weights(GRAPH, {**_tensors(), "W1": torch.zeros(5, 3, 2)})
    with _refused("got shape (2, 12), the graph needs (batch, 13)"):
        Weights.unflatten(GRAPH, torch.zeros(2, 12))
    with _refused("nothing to join: got an empty list of weights"):
        Weights.cat([])
    with _refused("weights of different graphs cannot be joined into one batch"):
        Weights.cat([samples.random_weights(GRAPH), samples.random_weights(mlp_graph([2, 4, 1]))])
    with pytest.raises(GraphError, match=r"^no parameter 'W9' in this graph$"):
        samples.random_weights(GRAPH)["W9"]


def test_flatten_select_cat_and_map_keep_the_numbers() -> None:
    weights = samples.random_weights(GRAPH, batch=5)
    assert torch.equal(Weights.unflatten(GRAPH, weights.flatten()).flatten(), weights.flatten())
    assert torch.equal(weights.select([3, 0]).flatten(), weights.flatten()[[3, 0]])
    assert torch.equal(Weights.cat([weights.select([k]) for k in range(5)]).flatten(), weights.flatten())
    assert torch.equal(weights.map(torch.neg).flatten(), -weights.flatten())
    assert weights.to(dtype=torch.float32).dtype == torch.float32
    assert (len(weights), weights.batch, str(weights.device)) == (5, 5, "cpu")
    assert repr(weights) == "Weights(5 networks of 13 numbers, torch.float64, cpu)"


def test_weights_are_a_mapping_of_names() -> None:
    weights = samples.random_weights(GRAPH, batch=5)
    names = ["W1", "b1", "W2", "b2"]
    assert list(weights) == list(weights.keys()) == [name for name, _ in weights.items()] == names
    assert [tuple(x.shape) for x in weights.values()] == [(5, 3, 2), (5, 3), (5, 1, 3), (5, 1)]
    assert dict(weights) == {**weights} == weights.tensors
    assert "W1" in weights
    assert "W3" not in weights
    assert 0 not in weights


def test_numbers_that_no_network_should_have_are_named() -> None:
    weights = samples.random_weights(GRAPH)
    weights.check_finite()
    weights["b1"][1, :2] = torch.tensor([float("nan"), float("inf")])
    with _refused("parameter 'b1' of network 1 holds 2 NaN or inf"):
        weights.check_finite()


def test_a_modules_state_dict_comes_back_bit_for_bit() -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    state = module.state_dict()
    state["0.bias"][:3] = torch.tensor([float("nan"), -0.0, 1e-45])
    back = Weights.from_state_dict(GRAPH, state).to_state_dict()
    assert list(back) == list(state)
    assert all(samples.bits(back[key], state[key]) for key in state)
    module.load_state_dict(back)


def test_fused_and_tied_tensors_come_back_bit_for_bit() -> None:
    weights = samples.odd_weights()
    for network in range(2):
        state = weights.to_state_dict(network)
        assert set(state) == {"qr.weight", "embed", "head", "W", "T", "b", "v", "s", "n"}
        assert state["qr.weight"].shape == (12, 4)
        assert torch.equal(state["qr.weight"][6:], weights["R"][network])
        assert state["head"] is state["embed"]
        assert samples.same_bits(Weights.from_state_dict(weights.graph, state), weights.select([network]))
        again = Weights.from_state_dict(weights.graph, state).to_state_dict()
        assert all(samples.bits(again[key], state[key]) for key in state)


def test_reading_a_state_dict_copies_it() -> None:
    state = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)).state_dict()
    weights = Weights.from_state_dict(GRAPH, state)
    weights["W1"].zero_()
    weights.to_state_dict()["2.weight"].zero_()
    assert bool(state["0.weight"].any())
    assert bool(weights["W2"].any())


def test_other_state_dicts_are_refused() -> None:
    state = OrderedDict(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)).state_dict())
    with _refused("state dict holds 'extra', which the graph does not know"):
        Weights.from_state_dict(GRAPH, {**state, "extra": torch.zeros(1)})
    with _refused("'0.weight' has shape (2, 3), the graph needs (3, 2)"):
        Weights.from_state_dict(GRAPH, {**state, "0.weight": torch.zeros(2, 3)})
    del state["2.weight"]
    with _refused("state dict has no '2.weight' (shape (1, 3)); did you mean '0.weight'?"):
        Weights.from_state_dict(GRAPH, state)


def test_tied_tensors_that_differ_are_refused() -> None:
    state = samples.odd_weights().to_state_dict(0)
    state["head"] = state["head"] + 1
    with _refused("'head' and 'embed' should be one tensor (tied weights), but differ"):
        Weights.from_state_dict(samples.heads(), state)
    del state["head"]
    Weights.from_state_dict(samples.heads(), state)


def test_networks_with_scalars_are_flattened_too() -> None:
    graph = NetworkGraph((), (Parameter("s", ()),))
    weights = Weights(graph, {"s": torch.tensor([1.0, 2.0])})
    assert torch.equal(weights.flatten(), torch.tensor([[1.0], [2.0]]))


def test_a_state_dict_can_stay_differentiable() -> None:
    weights = samples.random_weights(samples.heads(), 1).map(lambda x: x.requires_grad_())
    assert not any(x.requires_grad for x in weights.to_state_dict().values())
    state = weights.to_state_dict(detach=False)
    assert all(torch.equal(x, state[key]) for key, x in weights.to_state_dict().items())
    total = sum((x.sum() for key, x in state.items() if key != "head"), torch.zeros(()))  # "head" is an alias
    gradients = torch.autograd.grad(total, list(weights.tensors.values()))
    assert all(torch.equal(g, torch.ones_like(g)) for g in gradients)
