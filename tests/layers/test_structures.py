"""What a model depends on: spaces, parameters and roles, and no more; and names, which never become one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import graphws
from graphws.errors import UsageError
from graphws.graph import NetworkGraph, Parameter, Space, Weights
from graphws.layers import EquivariantLinear
from graphws.layers.differences import difference
from graphws.layers.keys import matrix_key, state_key
from graphws.models import DWSNet
from graphws.operations import mlp_graph
from graphws.testing import check_equivariance, random_weights
from tests.layers.dense import perturb


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_frequency_or_an_activation_makes_no_other_model() -> None:
    slow, fast = (mlp_graph([2, 8, 8, 1], "sine", omega=omega) for omega in (5.0, 30.0))
    model = DWSNet(slow, 1, layers=2, channels=4).eval()
    weights = random_weights(slow, 3, rng(), torch.float32)
    wanted = model(weights)
    for graph in (fast, mlp_graph([2, 8, 8, 1], "relu")):
        assert torch.equal(model(Weights(graph, dict(weights.items()))), wanted)


def test_networks_that_come_back_keep_their_own_graph() -> None:
    slow, fast = (mlp_graph([2, 4, 1], "sine", omega=omega) for omega in (5.0, 30.0))
    model = DWSNet(slow, None, layers=2, channels=4)
    found = model(random_weights(fast, 2, rng(), torch.float32))
    assert isinstance(found, Weights)
    assert found.graph is fast


def test_other_keys_of_a_state_dict_make_no_other_model() -> None:
    one = graphws.convert(nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1)))
    two = graphws.convert(nn.Sequential(nn.Linear(2, 8), nn.Identity(), nn.ReLU(), nn.Linear(8, 1)))
    assert one.graph != two.graph
    assert one.graph.structure == two.graph.structure
    assert two.weights is not None
    assert DWSNet(one.graph, 1, layers=2, channels=4)(two.weights).shape == (1, 1)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("other", "text"),
    [
        (mlp_graph([2, 9, 8, 1]), "space 'hidden1' has 9 elements, the model's 8"),
        (mlp_graph([2, 8, 8, 8, 1]), "parameter 'W3' has the axes hidden3 x hidden2, the model's output x hidden2"),
        (mlp_graph([2, 8, 8, 1], bias=False), "there is no parameter 'b1'"),
    ],
)
def test_errors_say_what_differs(other: NetworkGraph, text: str) -> None:
    known = mlp_graph([2, 8, 8, 1])
    if "no parameter" not in text:
        assert difference(known, other) == text
    else:
        assert difference(known, other).startswith("there is no parameter 'b")
    layer = EquivariantLinear(known, 1, 1)
    with pytest.raises(UsageError, match=r"built for another graph: .*share='role'"):
        layer.plan(other)


def test_equal_structures_differ_in_nothing() -> None:
    assert difference(mlp_graph([2, 8, 1], "sine"), mlp_graph([2, 8, 1], "relu")) == ""


def named(first: str, second: str) -> NetworkGraph:
    graph = mlp_graph([2, 8, 1])
    names = dict(zip([p.name for p in graph.parameters], [first, "b1", second, "b2"], strict=True))
    return NetworkGraph(graph.spaces, tuple(replace(p, name=names[p.name], role="") for p in graph.parameters))


@pytest.mark.parametrize("names", [("h.1", "h_1"), ("keys", "values"), ("0.weight", "0%2Eweight"), ("a/b", "a+b")])
@pytest.mark.parametrize("share", ["none", "role"])
def test_no_two_names_become_one(names: tuple[str, str], share: str) -> None:
    graph = named(*names)
    model = DWSNet(graph, 2, layers=2, channels=4, share=share, reduce={"input": 1}).double()
    perturb(model, rng())
    check_equivariance(model, graph, rng())
    norm = model.norms[0]
    assert len(norm.scale) == 4  # type: ignore[arg-type]


def test_no_two_spaces_share_a_matrix() -> None:
    spaces = (Space("x", 2, "free"), Space("h", 3), Space("h.1", 3), Space("h_1", 3), Space("network", 3))
    parameters = tuple(Parameter(f"W{s.name}", f"{s.name} x*") for s in spaces[1:])
    layer = EquivariantLinear(NetworkGraph(spaces, parameters), 1, 1)
    assert len(layer.matrices) == len(layer.plan(NetworkGraph(spaces, parameters)).products) == 5


def test_keys_are_told_apart() -> None:
    names = ["a.b", "a_b", "a%2Eb", "a+b", "a/b", "keys", "%6Beys", "network"]
    assert len({state_key(name) for name in names}) == len(names)
    assert all("." not in state_key(name) for name in names)
    assert matrix_key([("h", None), ("k", 0)]) != matrix_key([("h", None), ("k", None)])
