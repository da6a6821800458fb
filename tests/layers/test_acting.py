"""Rule 3 by itself: the group, a reference entry by entry, its size at the start, and what it refuses."""

from __future__ import annotations

import doctest
import math
from collections.abc import Callable
from itertools import combinations, permutations, product
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from graphws.errors import GraphError, UsageError
from graphws.graph import NetworkGraph, Parameter, Space
from graphws.layers import EquivariantLinear, Features
from graphws.layers.acting import neurons, terms
from graphws.layers.acting.acting import Acting
from graphws.layers.acting.neurons import neurons_of, with_neurons
from graphws.layers.keys import state_key
from graphws.messages import Message
from graphws.operations import mlp_graph
from graphws.testing import LayerTests, random_features
from tests.layers.acting_cases import BOTH, CARRY, CASES, WRITE, Case
from tests.layers.cases import graph

MESSAGES = {"carry": (CARRY,), "write": (WRITE,), "both": (BOTH,), "in two": (CARRY, WRITE)}
IN, OUT = 3, 2


class OnExtended(nn.Module):
    """Acting as a map of features of the extended graph: their first channel is the weights, and nothing was there."""

    def __init__(self, network: NetworkGraph, acting: Acting) -> None:
        super().__init__()
        self.network, self.acting = network, acting

    def weights(self, features: Features) -> Features:
        names = [parameter.name for parameter in self.network.parameters]
        return Features(self.network, {name: first(features, name) for name in names}, 1)

    def forward(self, features: Features) -> Features:
        shapes = {p.name: features.graph.layout(p.name) for p in features.graph.parameters}
        nothing = {
            name: features[name].new_zeros(features.batch, *layout.sizes, layout.free * OUT)
            for name, layout in shapes.items()
        }
        received = Features(features.graph, nothing, OUT)
        found: Features = self.acting(self.weights(features), features, received)
        return found


def first(features: Features, name: str) -> Tensor:
    return features[name].unflatten(-1, (-1, features.channels))[..., 0]


def acting_of(network: NetworkGraph, messages: tuple[Message, ...], share: str = "none", **options: int) -> Acting:
    sizes = {"in_channels": IN, "out_channels": OUT, **options}
    return Acting([network], [with_neurons(network)], messages=messages, share=share, **sizes)


class TestActing(LayerTests):
    channels = IN
    batch = 2

    @pytest.fixture(
        autouse=True,
        params=[(name, messages, share) for name in CASES for messages in MESSAGES for share in ("none", "role")],
        ids=str,
    )
    def case(self, request: pytest.FixtureRequest) -> None:
        name, messages, self.share = request.param
        self.on, self.messages = CASES[name], MESSAGES[messages]
        self.graph = with_neurons(self.on.graph)

    def make_layer(self) -> nn.Module:
        return OnExtended(self.on.graph, acting_of(self.on.graph, self.messages, self.share))

    def make_reference(self, layer: nn.Module) -> Callable[..., Features]:
        assert isinstance(layer, OnExtended)
        return lambda features: entry_by_entry(self.on, layer.acting, features)


def entry_by_entry(case: Case, acting: Acting, features: Features) -> Features:
    """Acting by loops over networks, weights, entries and free numbers, from places that are written by hand."""
    network, whole, names = case.graph, features.graph, neurons_of(case.graph)
    kinds = {kind for message in acting.messages for kind in message.target}
    sums: dict[str, Tensor] = {}
    for p in whole.parameters:
        layout = whole.layout(p.name)
        sums[p.name] = features[p.name].new_zeros(features.batch, *layout.sizes, layout.free * OUT)
    for parameter, places in case.places.items():
        owner = parameter if acting.share == "none" else network.role_of(parameter)
        free, sizes = network.layout(parameter).free, network.layout(parameter).sizes

        def matrix(way: str, owner: str = owner) -> Tensor:
            return acting.matrices[state_key(f"{owner}:{way}")]

        for entry in product(*(range(size) for size in sizes)):
            weight = first(features, parameter)[(slice(None), *entry)]
            ends = [tuple(entry[position] for position in positions) for _, positions in places]
            held = [features[names[space]][(slice(None), *end)] for (space, _), end in zip(places, ends, strict=True)]
            for s, t in permutations(range(len(places)), 2) if "neuron" in kinds else ():
                summed = math.prod(size for k, size in enumerate(sizes) if k not in places[t][1])
                sent = (held[s] @ matrix(f"{s}>{t}")).view(-1, free, OUT)
                arrived = sum(weight[:, y, None] * sent[:, y] for y in range(free)) / math.sqrt(summed)
                add(sums, names[places[t][0]], ends[t], arrived)  # type: ignore[arg-type]
            for k in range(len(places)) if "weight" in kinds else ():
                scaled = (held[k] @ matrix(f"*{k}")).view(-1, free, free * OUT)
                add(sums, parameter, entry, sum(weight[:, y, None] * scaled[:, y] for y in range(free)))  # type: ignore[arg-type]
            for i, j in combinations(range(len(places)), 2) if "weight" in kinds else ():
                left, right = held[i] @ matrix(f"{i}&{j}@{i}"), held[j] @ matrix(f"{i}&{j}@{j}")
                add(sums, parameter, entry, sum((left * right).split(free * OUT, -1)))  # type: ignore[arg-type]
    return Features(whole, sums, OUT)


def add(sums: dict[str, Tensor], name: str, place: tuple[int, ...], value: Tensor) -> None:
    mask = torch.zeros(sums[name].shape[1:-1], dtype=value.dtype)
    mask[place] = 1
    shape = (-1, *[1] * (sums[name].ndim - 2), value.shape[-1])
    sums[name] = sums[name] + mask.unsqueeze(-1) * value.view(shape)


@pytest.mark.parametrize("name", CASES)
def test_what_is_added_has_about_unit_size(name: str) -> None:
    network = {
        "mlp": mlp_graph([2, 48, 64, 2]),
        "residual": graph([Space("d", 64)], A="d d*"),
    }.get(name, CASES[name].graph)
    torch.manual_seed(0)
    whole, found = with_neurons(network), {}
    for seed in range(40):
        layer = OnExtended(network, acting_of(network, (BOTH,), in_channels=16)).double()
        drawn = random_features(whole, 16, 4, torch.Generator().manual_seed(seed))
        for target, tensor in layer(drawn).tensors.items():
            found.setdefault(target, []).append(tensor.detach().square().mean())
    for target, squares in found.items():
        size = float(torch.stack(squares).mean().sqrt())
        assert size == 0 or 0.8 < size < 1.25, target


@torch.no_grad()
@pytest.mark.parametrize("message", [CARRY, WRITE], ids=["carry", "write"])
def test_the_factor_of_the_start(message: Message) -> None:
    network, sizes = CASES["mlp"].graph, []
    for scale in (1.0, 1e-3):
        torch.manual_seed(0)
        acting = Acting([network], [with_neurons(network)], IN, OUT, [message], init_scale=scale).double()
        out = OnExtended(network, acting)(random_features(with_neurons(network), IN, 4, torch.Generator()))
        sizes.append(torch.cat([x.flatten() for x in out.tensors.values()]))
    torch.testing.assert_close(sizes[1], sizes[0] * 1e-3)


def test_a_pair_has_as_many_products_as_channels_come_in() -> None:
    narrow = acting_of(CASES["mlp"].graph, (WRITE,), in_channels=5, out_channels=2)
    assert {name: tuple(x.shape) for name, x in narrow.matrices.items() if "&" in name} == {
        "W2:0&1@0": (5, 6),
        "W2:0&1@1": (5, 6),
    }


def test_depths_share_by_role() -> None:
    acting = acting_of(mlp_graph([2, 3, 4, 3, 2]), (CARRY,), "role")
    assert sorted(acting.matrices) == ["weight%2Ehidden:0>1", "weight%2Ehidden:1>0"]
    deeper = mlp_graph([2, 3, 5, 4, 3, 2])
    OnExtended(deeper, acting)(random_features(with_neurons(deeper), IN, 1, torch.Generator(), torch.float32))


def kernels(taps: int, role: str = "kernel") -> NetworkGraph:
    spaces = (Space("a", 3), Space("b", 2), Space("taps", taps, "free"))
    return NetworkGraph(spaces, (Parameter("K", "b a* taps", role=role),))  # type: ignore[arg-type]


def test_roles_with_other_free_numbers_are_refused() -> None:
    with pytest.raises(GraphError) as caught:
        Acting([kernels(2), kernels(3)], [with_neurons(kernels(n)) for n in (2, 3)], 1, 1, [CARRY], "role")
    assert str(caught.value) == (
        "role 'kernel' has different numbers of free entries in different places, among them 3 of 'K'; weights that "
        "carry features are shared by role only where these agree"
    )


def test_roles_that_were_not_there_are_refused() -> None:
    acting = acting_of(kernels(2), (CARRY,), "role")
    other = kernels(2, "odd")
    with pytest.raises(GraphError) as caught:
        OnExtended(other, acting)(random_features(with_neurons(other), IN, 1, torch.Generator(), torch.float32))
    assert str(caught.value) == (
        "parameter 'K' has the role 'odd', which carried nothing in the networks that this model was built for; build "
        "it for such a network too"
    )


def test_names_of_neurons_stay_apart_from_those_of_parameters() -> None:
    network = NetworkGraph((Space("d", 2),), (Parameter("@d", "d"), Parameter("W", "d d*", role="@@d")))  # type: ignore[arg-type]
    assert neurons_of(network) == {"d": "@@@d"}
    whole = with_neurons(network)
    assert (whole.parameters[-1].name, whole.parameters[-1].role) == ("@@@d", "@@@d")
    assert neurons_of(whole) == neurons_of(network)


def test_the_kind_is_taken() -> None:
    with pytest.raises(GraphError) as caught:
        with_neurons(NetworkGraph((Space("d", 2),), (Parameter("x", "d", "neuron"),)))  # type: ignore[arg-type]
    assert str(caught.value) == (
        "parameter 'x' is of the kind 'neuron', which messages call features of neurons; give it another kind"
    )


def test_a_linear_layer_takes_no_message_of_rule_3() -> None:
    with pytest.raises(UsageError) as caught:
        EquivariantLinear(CASES["mlp"].graph, 1, 1, [CARRY])
    assert str(caught.value) == ("a message via weight is not linear; a DWSNet takes it, an EquivariantLinear does not")


@pytest.mark.parametrize("module", [neurons, terms])
def test_doctests(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0
