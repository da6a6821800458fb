"""DWSNets whose messages name neurons: the group, what has features where, mixed batches, counts and refusals."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from graphws.errors import GraphError, UsageError
from graphws.graph import NetworkGraph, Parameter, Space, Weights
from graphws.layers import Features
from graphws.messages import Message
from graphws.models import DWSNet
from graphws.operations import mlp_graph
from graphws.spec import parse_spec
from graphws.testing import LayerTests, check_equivariance, random_weights
from tests.layers.acting_cases import BOTH, CARRY, CASES, EVERYWHERE, NEURONS, WRITE
from tests.layers.cases import GRAPHS, graph
from tests.layers.dense import perturb

MESSAGES = {"neurons": NEURONS, "everywhere": EVERYWHERE}
DEPTHS = [mlp_graph([2, 4, 3, 1]), mlp_graph([2, 3, 1]), mlp_graph([2, 3, 4, 5, 1])]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model_of(graphs: object, outputs: int | None = 3, **options: object) -> DWSNet:
    """A small model with noise on its parameters, whose norms have seen a batch, in evaluation mode."""
    torch.manual_seed(0)
    settings: dict[str, object] = {"layers": 3, "channels": 4, "messages": NEURONS, **options}
    model = DWSNet(graphs, outputs, **settings).double()  # type: ignore[arg-type]
    perturb(model, rng(7))
    several = graphs if isinstance(graphs, list) else [graphs]
    drawn = [random_weights(each, 8, rng(k)) for k, each in enumerate(several)]
    model(drawn if isinstance(graphs, list) else drawn[0])
    return model.eval()


class TestNeuronFeatures(LayerTests):
    batch = 3

    @pytest.fixture(
        autouse=True,
        params=[
            (name, messages, outputs, share)
            for name in CASES
            for messages, outputs in (("neurons", 2), ("everywhere", 2), ("everywhere", None))
            for share in ("none", "role")
        ],
        ids=str,
    )
    def case(self, request: pytest.FixtureRequest) -> None:
        name, messages, self.outputs, self.share = request.param
        self.graph, self.messages = CASES[name].graph, MESSAGES[messages]

    def make_layer(self) -> nn.Module:
        settings = {"layers": 3, "channels": 2, "messages": self.messages, "share": self.share}
        return DWSNet(self.graph, self.outputs, **settings)  # type: ignore[arg-type]


OPTIONS: dict[str, dict[str, object]] = {
    "max": {"messages": (Message(target=("neuron",)), Message(via="network"), CARRY, WRITE)},
    "residual": {"residual": True, "layers": 4},
    "layer norm": {"norm": "layer"},
    "no norm": {"norm": "none"},
    "one layer": {"layers": 1},
    "no bias": {"bias": False},
    "reduce": {"reduce": {"taps": 4}},
}


@pytest.mark.parametrize("outputs", [2, None])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_options(options: dict[str, object], outputs: int | None) -> None:
    spaces = [Space("image", 2, "free"), Space("c1", 3), Space("c2", 2), Space("taps", 9, "free")]
    network = graph(spaces, K1="c1 image* taps", b1="c1", K2="c2 c1* taps", b2="c2")
    settings = {"messages": EVERYWHERE if outputs is None else NEURONS, **options}
    for mode in (True, False):
        check_equivariance(model_of(network, outputs, **settings).train(mode), network, rng())


@pytest.mark.parametrize("name", ["head pairs", "nest", "cube 3", "pinned heads"])
def test_other_graphs(name: str) -> None:
    for outputs, messages in ((2, NEURONS), (2, EVERYWHERE), (None, EVERYWHERE)):
        check_equivariance(model_of(GRAPHS[name], outputs, messages=messages), GRAPHS[name], rng())


def states_of(model: DWSNet, weights: Weights) -> list[Features]:
    """What comes out of each layer."""
    found: list[Features] = []
    handles = [layer.register_forward_hook(lambda *call: found.append(call[-1])) for layer in model.layers]
    model(weights)
    for handle in handles:
        handle.remove()
    return found


def test_hidden_layers_have_no_features_of_edges() -> None:
    network = mlp_graph([2, 32, 32, 1])
    model = model_of(network)
    for state in states_of(model, random_weights(network, 2, rng())):
        assert {name: x[0, ..., 0].numel() for name, x in state.tensors.items()} == {"@hidden1": 32, "@hidden2": 32}
        assert [parameter.name for parameter in state.graph.parameters] == list(state.tensors)


@pytest.mark.parametrize(("messages", "edges"), [(NEURONS, False), (EVERYWHERE, True)], ids=["neurons", "everywhere"])
def test_nothing_of_the_size_of_edges_is_kept_for_gradients(messages: tuple[Message, ...], edges: bool) -> None:
    network = mlp_graph([2, 32, 32, 1])
    model, weights = model_of(network, messages=messages).train(), random_weights(network, 2, rng())
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        model(weights)
    assert (max(kept) > weights["W2"].numel()) == edges


def test_the_last_layer_of_networks_gives_networks_only() -> None:
    network = mlp_graph([2, 4, 3, 1])
    states = states_of(model_of(network, None, messages=EVERYWHERE), random_weights(network, 2, rng()))
    assert [len(state.tensors) for state in states] == [8, 8, 6]


def test_only_messages_that_name_neurons_make_any() -> None:
    network = mlp_graph([2, 4, 3, 1])
    assert not len(DWSNet(network, 2, channels=4).acting)
    plain = DWSNet(network, 2, channels=4, layers=2, messages=EVERYWHERE[:3])
    assert all(len(state.tensors) == 6 for state in states_of(plain, random_weights(network, 2, rng(), torch.float32)))
    named = DWSNet(network, 2, channels=4, layers=2, messages=EVERYWHERE)
    assert all(len(state.tensors) == 8 for state in states_of(named, random_weights(network, 2, rng(), torch.float32)))


def test_weights_are_read_that_sums_over_rows_and_columns_do_not_tell() -> None:
    """Rules 1 and 2, on neurons with means, see of W2 only its sums; rule 3 sees more."""
    network = mlp_graph([2, 4, 3, 1])
    weights = random_weights(network, 2, rng())
    hidden = torch.randn(2, 3, 4, dtype=torch.float64, generator=rng(1))
    hidden = hidden - hidden.mean(1, keepdim=True)
    hidden = hidden - hidden.mean(2, keepdim=True)
    other = Weights(network, {**weights.tensors, "W2": weights["W2"] + hidden})
    for messages, alike in ((NEURONS[:2], True), (NEURONS, False)):
        model = model_of(network, messages=messages)
        assert torch.allclose(model(weights), model(other)) == alike  # type: ignore[arg-type]


@pytest.mark.parametrize("messages", MESSAGES.values(), ids=MESSAGES)
def test_a_mixed_batch_gives_what_its_networks_give_alone(messages: tuple[Message, ...]) -> None:
    model = model_of(DEPTHS, messages=messages, share="role")
    drawn = [random_weights(each, 3, rng(k)) for k, each in enumerate(DEPTHS)]
    together, alone = model(drawn), [model(weights) for weights in drawn]
    torch.testing.assert_close(together, torch.cat(alone))  # type: ignore[arg-type]
    check_equivariance(model.train(), DEPTHS, rng())


def test_a_mixed_batch_of_networks() -> None:
    model = model_of(DEPTHS, None, messages=EVERYWHERE, share="role")
    drawn = [random_weights(each, 3, rng(k)) for k, each in enumerate(DEPTHS)]
    for weights, together in zip(drawn, model(drawn), strict=True):  # type: ignore[arg-type]
        torch.testing.assert_close(together.flatten(), model(weights).flatten())  # type: ignore[union-attr]


def test_a_depth_that_was_not_there_is_fine_if_its_roles_are_known() -> None:
    deeper = mlp_graph([2, 3, 3, 4, 3, 1])
    check_equivariance(model_of(DEPTHS, share="role"), deeper, rng())


SPEC = """
graphws: 1
input: {{kind: mlp, widths: [2, 4, 3, 1]}}
model:
  kind: dwsnet
  layers: 3
  channels: 4
  share: {share}
  messages:
    - {{from: any, via: network, to: any}}
    - {{from: [neuron, weight, bias], via: neuron, to: [{to}]}}
    - {{from: neuron, via: weight, to: {acts}}}
head: {head}
"""
HEADS = ("{kind: invariant, outputs: 2}", "{kind: equivariant}")


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("share", ["none", "role"])
@pytest.mark.parametrize(("to", "acts"), [("neuron", "neuron"), ("neuron", "weight"), ("any", "[neuron, weight]")])
def test_explanations_count_what_the_model_has(share: str, to: str, acts: str, head: str) -> None:
    spec = parse_spec(SPEC.format(share=share, to=to, acts=acts, head=head))
    graphs = DEPTHS if share == "role" else DEPTHS[:1]
    model = spec.model.build(graphs if share == "role" else graphs[0], spec.head)
    explained = spec.model.explanations(graphs, spec.head)
    counts = [
        sum(p.numel() for p in (*layer.parameters(), *acting.parameters()))
        for layer, acting in zip(model.layers, model.acting, strict=True)
    ]
    assert [each.parameters for each in explained] == counts
    if share == "none":
        assert [each.acting_parameters for each in explained] == [sum(a.parameters for a in e.acts) for e in explained]


def refused(messages: list[Message], outputs: int | None = 2, network: NetworkGraph = DEPTHS[0]) -> str:
    with pytest.raises((UsageError, GraphError)) as caught:
        DWSNet(network, outputs, messages=messages)
    return str(caught.value)


def test_neurons_need_a_start() -> None:
    assert refused([CARRY, Message(("neuron",), "neuron", ("any",))]) == (
        "messages: nothing reaches the neurons but what starts from neurons; add "
        "`{from: [weight, bias], via: neuron, to: neuron}`"
    )


def test_an_output_of_networks_needs_all_parameters() -> None:
    assert refused([*NEURONS, WRITE], None) == (
        "messages: the output is a network, and nothing reaches its parameters of the kind bias; add "
        "`{from: neuron, via: neuron, to: [bias]}`"
    )


def test_where_nothing_moves_there_are_no_neurons() -> None:
    network = NetworkGraph((Space("x", 2, "free"),), (Parameter("W", "x"),))  # type: ignore[arg-type]
    assert refused([*NEURONS], 2, network) == (
        "no space of these networks moves, so there are no neurons that could receive"
    )


def test_the_written_message_is_shown() -> None:
    assert str(BOTH) == "neuron -> weight -> neuron+weight"
