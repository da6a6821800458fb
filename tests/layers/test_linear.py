"""The linear layer under the base test case: every graph, every pooling, block families, messages and sharing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from graphws.layers import EquivariantLinear, Message, expand_blocks
from graphws.messages import FAMILIES
from graphws.operations import mlp_graph
from graphws.pooling import POOLINGS, learned_pooling, pooling_named
from graphws.testing import LayerTests, LinearLayerTests, random_features
from graphws.testing.reference import ReferenceLinear
from tests.layers.cases import GRAPHS, MLPS

MOVING = {name: graph for name, graph in GRAPHS.items() if graph.log10_order() > 0}
NETWORK = mlp_graph([2, 4, 3, 2])
SEVERAL = ("mlp 2-3-2-3", "mlp 2-3-3", "mlp 1-2-1", "convolution", "residual 3", "heads 3x2", "nest")
LINEAR = [name for name in POOLINGS if pooling_named(name).linear]


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


class OurLayer(LayerTests):
    """The layer by either path, and block by block."""

    channels = 2
    messages: Any = None
    options: dict[str, Any]

    def make_layer(self) -> nn.Module:
        return EquivariantLinear(self.graph, self.channels or 1, 4, self.messages, **self.options)

    def make_reference(self, layer: nn.Module) -> nn.Module:
        assert isinstance(layer, EquivariantLinear)
        return ReferenceLinear(layer)


class TestEveryPooling(OurLayer):
    @pytest.fixture(autouse=True, params=[(name, pool) for name in SEVERAL for pool in POOLINGS], ids="-".join)
    def case(self, request: pytest.FixtureRequest) -> None:
        name, pool = request.param
        self.graph, self.messages = MOVING[name], expand_blocks(pool=pool)
        self.options = {"heads": 2 if learned_pooling(pool) else 1}


class TestEveryGraph(OurLayer):
    @pytest.fixture(autouse=True, params=[name for name in MOVING if name not in SEVERAL])
    def case(self, request: pytest.FixtureRequest) -> None:
        self.graph, self.messages, self.options = MOVING[request.param], expand_blocks(pool="max"), {}


class TestEveryLinearMap(OurLayer, LinearLayerTests):
    """With a linear pooling, one channel and all messages on."""

    channels = 1

    @pytest.fixture(autouse=True, params=[(name, pool) for name in SEVERAL for pool in LINEAR], ids="-".join)
    def case(self, request: pytest.FixtureRequest) -> None:
        name, pool = request.param
        self.graph, self.messages, self.options = MOVING[name], expand_blocks(pool=pool), {}

    def make_layer(self) -> nn.Module:
        return EquivariantLinear(self.graph, 1, 1, self.messages)


OPTIONS: dict[str, tuple[Any, dict[str, Any]]] = {
    **{f"{f} {v}": (expand_blocks({f: v}), {}) for f in FAMILIES for v in ("diagonal", "none")},
    "edge only": ([Message(via="edge")], {}),
    "neuron only": ([Message(via="neuron")], {}),
    "network only": ([Message(via="network", pool="mean")], {}),
    "one pooling each way": (
        [
            Message(("weight",), "edge", ("weight",)),
            Message(("weight", "bias"), "neuron", ("weight", "bias"), "max"),
            Message(("any",), "network", ("any",), "mean"),
        ],
        {},
    ),
    "two poolings at once": ([Message(pool="max"), Message(pool="mean"), Message(via="edge")], {}),
    "poolings mixed": (
        [
            Message(via="edge"),
            Message(via="neuron", pool="max"),
            Message(via="neuron", pool="mean", target=("bias",)),
            Message(source=("weight",), via="network", pool="sum"),
            Message(source=("bias",), via="network", pool="attention"),
        ],
        {},
    ),
    "weights to biases only": ([Message(("weight",), "neuron", ("bias",), "sum", "sharing")], {}),
    "every pooling to the network": ([Message(via="network", pool=pool) for pool in POOLINGS], {}),
    "every pooling": ([Message(via=via, pool=pool) for via in ("neuron", "network") for pool in POOLINGS], {}),  # type: ignore[arg-type]
    "no bias": (None, {"bias": False}),
    "init scale": (None, {"init_scale": 1e-3}),
    "role": (None, {"share": "role"}),
    "role, std": (expand_blocks(pool="std"), {"share": "role"}),
}
"""Messages and options of the layer."""


class TestEveryOption(OurLayer):
    @pytest.fixture(autouse=True, params=OPTIONS)
    def case(self, request: pytest.FixtureRequest) -> None:
        self.graph = mlp_graph([2, 4, 3, 3, 2])
        self.messages, self.options = OPTIONS[request.param]


class TestMessagesOnOtherGraphs(OurLayer):
    @pytest.fixture(
        autouse=True,
        params=[(g, o) for g in ("residual 4", "head pairs") for o in ("every pooling", "edge only", "no bias")],
        ids=", ".join,
    )
    def case(self, request: pytest.FixtureRequest) -> None:
        name, option = request.param
        self.graph = GRAPHS[name]
        self.messages, self.options = OPTIONS[option]


class TestTheDiagonalLayer(OurLayer):
    @pytest.fixture(autouse=True, params=["mlp 2-2-3-2-2", "residual 3", "heads 3x2", "head pairs", "convolution"])
    def case(self, request: pytest.FixtureRequest) -> None:
        self.graph, self.options = GRAPHS[request.param], {}
        self.messages = expand_blocks(dict.fromkeys(FAMILIES, "diagonal"))


def test_without_bias_zero_goes_to_zero() -> None:
    layer = EquivariantLinear(NETWORK, 2, 4, bias=False).double()
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


@pytest.mark.parametrize("name", [*MLPS, "convolution"])
def test_the_inputs_are_left_alone(name: str) -> None:
    graph = GRAPHS[name]
    features = random_features(graph, 2, 2, rng())
    before = {key: x.clone() for key, x in features.tensors.items()}
    EquivariantLinear(graph, 2, 4).double()(features)
    assert all(torch.equal(before[key], x) for key, x in features.tensors.items())
