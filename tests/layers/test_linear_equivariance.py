"""The linear layer commutes with random group elements, whatever its options; and its gradients are right."""

from __future__ import annotations

import pytest
import torch

from graphws.graph import NetworkGraph, mlp_graph
from graphws.layers import EquivariantLinear, Message, expand_blocks
from graphws.messages import FAMILIES
from graphws.pooling import POOLINGS
from graphws.testing import check_equivariance, random_features
from tests.layers.cases import GRAPHS, MLPS
from tests.layers.dense import perturb

MOVING = {name: graph for name, graph in GRAPHS.items() if graph.log10_order() > 0}
NETWORK = mlp_graph([2, 4, 3, 2])


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def layer_on(graph: NetworkGraph, messages: object = None, **options: object) -> EquivariantLinear:
    """A layer from 2 to 4 channels with noise on all its parameters."""
    layer = EquivariantLinear(graph, 2, 4, messages, **options).double()  # type: ignore[arg-type]
    perturb(layer, rng(7))
    return layer


SEVERAL = ("mlp 2-3-2-3", "mlp 2-3-3", "mlp 1-2-1", "convolution", "residual 3", "heads 3x2", "nest")
EACH = [(name, pool) for name in MOVING for pool in POOLINGS if pool in ("mean", "max") or name in SEVERAL]


@pytest.mark.parametrize(("name", "pool"), EACH)
def test_every_graph_and_pooling(name: str, pool: str) -> None:
    graph = MOVING[name]
    heads = 2 if pool == "attention" else 1
    found = check_equivariance(layer_on(graph, expand_blocks(pool=pool), heads=heads), graph, rng(), channels=2)
    assert found.error < 1e-10
    assert found.response > 1e-2


@pytest.mark.parametrize("value", ["diagonal", "none"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_block_family(family: str, value: str) -> None:
    layer = layer_on(NETWORK, expand_blocks({family: value}))
    check_equivariance(layer, NETWORK, rng(), channels=2)


@pytest.mark.parametrize("name", ["mlp 2-2-3-2-2", "residual 3", "heads 3x2", "head pairs", "convolution"])
def test_the_diagonal_layer(name: str) -> None:
    layer = layer_on(GRAPHS[name], expand_blocks(dict.fromkeys(FAMILIES, "diagonal")))
    check_equivariance(layer, GRAPHS[name], rng(), channels=2)


MESSAGES = {
    "edge only": [Message(via="edge")],
    "neuron only": [Message(via="neuron")],
    "network only": [Message(via="network", pool="mean")],
    "one pooling each way": [
        Message(("weight",), "edge", ("weight",)),
        Message(("weight", "bias"), "neuron", ("weight", "bias"), "max"),
        Message(("any",), "network", ("any",), "mean"),
    ],
    "two poolings at once": [Message(pool="max"), Message(pool="mean"), Message(via="edge")],
    "weights to biases only": [Message(("weight",), "neuron", ("bias",), "sum", "sharing")],
    "all poolings": [Message(via="network", pool=pool) for pool in POOLINGS],
}


@pytest.mark.parametrize("name", ["mlp 2-3-2-3", "residual 4", "head pairs"])
@pytest.mark.parametrize("messages", MESSAGES.values(), ids=MESSAGES)
def test_message_lists(messages: list[Message], name: str) -> None:
    check_equivariance(layer_on(GRAPHS[name], messages), GRAPHS[name], rng(), channels=2)


def test_without_bias_zero_goes_to_zero() -> None:
    layer = layer_on(NETWORK, bias=False)
    check_equivariance(layer, NETWORK, rng(), channels=2)
    zero = random_features(NETWORK, 2, 1, rng())
    zero = zero.replace({name: torch.zeros_like(x) for name, x in zero.tensors.items()})
    assert all(not x.any() for x in layer(zero).tensors.values())


def test_init_scale_multiplies_the_initial_output() -> None:
    features = random_features(NETWORK, 2, 3, rng())
    torch.manual_seed(1)
    plain = EquivariantLinear(NETWORK, 2, 4).double()
    torch.manual_seed(1)
    small = EquivariantLinear(NETWORK, 2, 4, init_scale=1e-3).double()
    for name, x in plain(features).tensors.items():
        torch.testing.assert_close(small(features)[name], 1e-3 * x)
    check_equivariance(small, NETWORK, rng(), channels=2)


@pytest.mark.parametrize("share", ["none", "role"])
def test_sharing_by_role_keeps_the_law(share: str) -> None:
    layer = layer_on(NETWORK, share=share)
    check_equivariance(layer, NETWORK, rng(), channels=2)


def test_float32_follows_float64() -> None:
    layer = layer_on(NETWORK, expand_blocks(pool="mean"))
    features = random_features(NETWORK, 2, 3, rng())
    exact = layer(features)
    single = layer.float()(features.replace({name: x.float() for name, x in features.tensors.items()}))
    for name, x in exact.tensors.items():
        assert single[name].dtype == torch.float32
        torch.testing.assert_close(single[name].double(), x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pool", POOLINGS)
@pytest.mark.parametrize("name", ["mlp 2-3-2-3", "mlp 2-3-3", "residual 2", "heads 2x1"])
def test_gradients_agree_with_finite_differences(name: str, pool: str) -> None:
    graph = GRAPHS[name]
    layer = EquivariantLinear(graph, 2, 2, expand_blocks(pool=pool)).double()
    perturb(layer, rng(3))
    features = random_features(graph, 2, 2, rng(4))
    named = {**{("input", n): x for n, x in features.tensors.items()}, **dict(layer.named_parameters())}

    def run(flat: torch.Tensor) -> torch.Tensor:
        """All outputs in a row, from all inputs and parameters in a row."""
        parts = flat.split([x.numel() for x in named.values()])
        values = {key: part.reshape(x.shape) for (key, x), part in zip(named.items(), parts, strict=True)}
        inputs = features.replace({name: values[("input", name)] for name in features.tensors})
        weights = {key: x for key, x in values.items() if isinstance(key, str)}
        out = torch.func.functional_call(layer, weights, (inputs,))
        return torch.cat([x.flatten() for x in out.tensors.values()])

    flat = torch.cat([x.detach().flatten() for x in named.values()]).requires_grad_()
    assert torch.autograd.gradcheck(run, (flat,), eps=1e-6, atol=1e-7, rtol=1e-6, fast_mode=True)


@pytest.mark.parametrize("name", [*MLPS, "convolution"])
def test_the_inputs_are_left_alone(name: str) -> None:
    graph = GRAPHS[name]
    features = random_features(graph, 2, 2, rng())
    before = {key: x.clone() for key, x in features.tensors.items()}
    layer_on(graph, expand_blocks(pool="max"))(features)
    assert all(torch.equal(before[key], x) for key, x in features.tensors.items())
