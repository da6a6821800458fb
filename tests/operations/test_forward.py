from __future__ import annotations

import pytest
import torch
from torch import nn

from graphws.errors import GraphError
from graphws.graph import NetworkGraph, Operation, Weights
from graphws.operations import ACTIVATIONS, Activation, forward, mlp_graph
from tests.graph import samples

MODULES: dict[str, nn.Module] = {
    "relu": nn.ReLU(),
    "leaky_relu": nn.LeakyReLU(),
    "tanh": nn.Tanh(),
    "hardtanh": nn.Hardtanh(),
    "softsign": nn.Softsign(),
    "tanhshrink": nn.Tanhshrink(),
    "identity": nn.Identity(),
    "sigmoid": nn.Sigmoid(),
    "gelu": nn.GELU(),
    "gelu_tanh": nn.GELU(approximate="tanh"),
    "silu": nn.SiLU(),
    "elu": nn.ELU(),
    "selu": nn.SELU(),
    "softplus": nn.Softplus(),
    "mish": nn.Mish(),
    "hardswish": nn.Hardswish(),
    "relu6": nn.ReLU6(),
}


def _points(*shape: int) -> torch.Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", MODULES)
def test_a_graph_computes_what_the_module_computes(name: str, bias: bool) -> None:
    activation = MODULES[name]
    layers = [nn.Linear(3, 8, bias), activation, nn.Linear(8, 8, bias), activation, nn.Linear(8, 2, bias)]
    module = nn.Sequential(*layers).double()
    graph = mlp_graph([3, 8, 8, 2], name, bias=bias)
    weights = Weights.from_state_dict(graph, module.state_dict())
    x = _points(20, 3)
    torch.testing.assert_close(forward(graph, weights, x)[0], module(x))


def test_every_activation_is_compared_with_its_module_or_its_formula() -> None:
    assert set(ACTIVATIONS) == {*MODULES, "sine", "power"}
    graph = mlp_graph([1, 4, 1], "sine", omega=7.0)
    weights, x = samples.random_weights(graph, 1), _points(9, 1)
    w = weights.tensors
    expected = torch.sin(7 * (x @ w["W1"][0].T + w["b1"][0])) @ w["W2"][0].T + w["b2"][0]
    torch.testing.assert_close(forward(graph, weights, x)[0], expected)
    graph = mlp_graph([1, 4, 1], "power", exponent=3, bias=False)
    weights = samples.random_weights(graph, 1)
    expected = (x @ weights["W1"][0].T) ** 3 @ weights["W2"][0].T
    torch.testing.assert_close(forward(graph, weights, x)[0], expected)


def test_an_activation_after_the_last_layer() -> None:
    graph = mlp_graph([2, 4, 3], "relu", output_activation="sigmoid")
    weights, x = samples.random_weights(graph, 1), _points(5, 2)
    plain = mlp_graph([2, 4, 3], "relu")
    before = forward(plain, Weights(plain, weights.tensors), x)
    torch.testing.assert_close(forward(graph, weights, x), before.sigmoid())


def test_points_are_shared_or_each_networks_own() -> None:
    graph = mlp_graph([2, 5, 3], "tanh")
    weights = samples.random_weights(graph, 4)
    shared, own = _points(6, 2), _points(4, 6, 2)
    assert forward(graph, weights, shared).shape == (4, 6, 3)
    for k in range(4):
        one = weights.select([k])
        torch.testing.assert_close(forward(graph, weights, shared)[k], forward(graph, one, shared)[0])
        torch.testing.assert_close(forward(graph, weights, own)[k], forward(graph, one, own[k])[0])


def test_gradients_reach_weights_and_inputs() -> None:
    graph = mlp_graph([2, 3, 1], "tanh")
    x = _points(4, 2).requires_grad_()
    flat = samples.random_weights(graph, 2).flatten().requires_grad_()
    assert torch.autograd.gradcheck(lambda f, p: forward(graph, Weights.unflatten(graph, f), p), (flat, x))


def test_a_residual_sum() -> None:
    base = mlp_graph([2, 2], bias=False)
    operations = (*base.operations, Operation("add", ("x0", "z1"), ("y",)))
    graph = NetworkGraph(base.spaces, base.parameters, operations, ("x0",), ("y",))
    weights, x = samples.random_weights(graph, 2), _points(5, 2)
    torch.testing.assert_close(forward(graph, weights, x), x + x @ weights["W1"].mT)


CONSTANTS = {
    "leaky_relu": ({"negative_slope": 0.2}, nn.LeakyReLU(0.2)),
    "elu": ({"alpha": 2.0}, nn.ELU(alpha=2.0)),
    "hardtanh": ({"min_val": -2.0, "max_val": 2.0}, nn.Hardtanh(-2.0, 2.0)),
    "softplus": ({"beta": 2.0}, nn.Softplus(beta=2.0)),
    "gelu": ({"approximate": "tanh"}, nn.GELU(approximate="tanh")),
    "softshrink": ({"lambd": 0.7}, nn.Softshrink(0.7)),
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants_of_activations_are_not_lost(name: str) -> None:
    constants, module = CONSTANTS[name]
    graph = mlp_graph([3, 8, 2], [Activation(name, constants)])  # type: ignore[arg-type]
    network = nn.Sequential(nn.Linear(3, 8), module, nn.Linear(8, 2)).double()
    weights = Weights.from_state_dict(graph, network.state_dict())
    x = _points(20, 3)
    torch.testing.assert_close(forward(graph, weights, x)[0], network(x), rtol=1e-13, atol=1e-13)
    plain = mlp_graph([3, 8, 2], [Activation(name)])
    assert (forward(plain, Weights(plain, weights.tensors), x)[0] - network(x)).abs().max() > 1e-5


def test_a_sum_keeps_its_factor() -> None:
    base = mlp_graph([2, 2], bias=False)
    operations = (*base.operations, Operation("add", ("x0", "z1"), ("y",), {"alpha": 2}))
    graph = NetworkGraph(base.spaces, base.parameters, operations, ("x0",), ("y",), values=base.values)
    weights, x = samples.random_weights(graph, 2), _points(5, 2)
    torch.testing.assert_close(forward(graph, weights, x), x + 2 * (x @ weights["W1"].mT))


def test_graphs_that_cannot_be_run_say_so() -> None:
    graph = samples.heads()
    message = r"^this graph cannot be run by itself: the graph holds no operations$"
    with pytest.raises(GraphError, match=message):
        forward(graph, samples.random_weights(graph), _points(1, 2))
    base = mlp_graph([2, 2])
    graph = NetworkGraph(base.spaces, base.parameters, base.operations, ("x0",), ())
    message = r"^this graph cannot be run by itself: the graph names no inputs and outputs$"
    with pytest.raises(GraphError, match=message):
        forward(graph, samples.random_weights(graph), _points(1, 2))
    with pytest.raises(GraphError, match=r"^unknown kind of operation 'liner'; did you mean 'linear'\?$"):
        Operation("liner", ("x0", "W1"), ("z1",))
