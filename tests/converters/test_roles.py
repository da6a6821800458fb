"""Roles of converted networks: shared over depths and widths, fine enough to be shared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import graphws
from graphws.checkpoints.conversion import Conversion
from graphws.errors import GraphError
from graphws.graph import NetworkGraph, Weights
from graphws.models import DWSNet
from graphws.operations import mlp_graph
from graphws_converters.assembly.roles import with_roles
from graphws_converters.fronts import Front
from graphws_converters.modules.conversion import convert_module
from tests.converters.role_networks import FAMILIES, GPT, Encoder, cnn

PIXELS = torch.zeros(2, 1, 12, 12)


def converted(module: nn.Module, inputs: Tensor = PIXELS) -> Conversion:
    return graphws.convert(module.eval(), inputs)


def weights_of(conversion: Conversion) -> Weights:
    assert conversion.weights is not None
    return conversion.weights.to(dtype=torch.float64)


def shared(graphs: Iterable[NetworkGraph]) -> DWSNet:
    torch.manual_seed(0)
    return DWSNet(list(graphs), 3, layers=2, channels=4, share="role").double().eval()


def roles(conversion: Conversion) -> dict[str, str]:
    return {parameter.name: parameter.role for parameter in conversion.graph.parameters}


def structures(graph: NetworkGraph) -> set[tuple[str, object]]:
    """For each role what must be the same wherever it stands: the moving indices, and the free entries."""
    found: set[tuple[str, object]] = set()
    for parameter in graph.parameters:
        layout = graph.layout(parameter.name)
        index = tuple((graph.space(axis.space).role, axis.parent) for axis in layout.index)
        found.add((parameter.role, (index, layout.free)))
    return found


def check_one_structure(graphs: Iterable[NetworkGraph]) -> None:
    """Raises where a role has two structures."""
    found = set().union(*map(structures, graphs))
    names = [role for role, _ in found]
    assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)


def test_cnns_of_any_depth_share_a_model() -> None:
    nets = [converted(cnn(channels)) for channels in ([4, 6], [4, 4, 6], [4, 4, 4, 6])]
    for some in (nets[:1], nets[:2]):
        assert shared(net.graph for net in some)([weights_of(net) for net in some]).shape == (len(some), 3)
    assert shared(net.graph for net in nets[:2])(weights_of(nets[2])).shape == (1, 3)


def test_roles_of_a_cnn() -> None:
    assert roles(converted(cnn([3, 4], norm=True))) == {
        "0.weight": "conv3x3.first.weight",
        "0.bias": "conv.first.bias",
        "1.weight": "norm.hidden.scale",
        "1.bias": "norm.hidden.bias",
        "1.running_mean": "norm.hidden.mean",
        "1.running_var": "norm.hidden.variance",
        "1.num_batches_tracked": "unused",
        "3.weight": "conv3x3.inner.weight",
        "3.bias": "conv.inner.bias",
        "4.weight": "norm.hidden.scale",
        "4.bias": "norm.hidden.bias",
        "4.running_mean": "norm.hidden.mean",
        "4.running_var": "norm.hidden.variance",
        "4.num_batches_tracked": "unused",
        "8.weight": "linear.last.weight.x10",
        "8.bias": "linear.last.bias.x10",
    }


def test_roles_of_a_decoder() -> None:
    found = converted(GPT(2, 8, 2, gated=True), torch.zeros(2, 4, dtype=torch.int64))
    named = roles(found)
    block = {name.removeprefix("blocks.1."): role for name, role in named.items() if name.startswith("blocks.1.")}
    assert {name: role for name, role in block.items() if "bias" not in name} == {
        "norm1.weight": "norm.residual.attention.scale",
        "norm2.weight": "norm.residual.scale",
        "q.weight": "attention.q.weight",
        "k.weight": "attention.k.weight",
        "v.weight": "attention.v.weight",
        "o.weight": "attention.o.weight",
        "up.weight": "linear.residual-hidden.weight",
        "down.weight": "linear.hidden-residual.weight",
        "gate.weight": "linear.residual-hidden.gate.weight",
    }
    assert block["q.bias"] == "attention.q.bias"
    assert block["down.bias"] == "linear.hidden-residual.bias"
    assert named["tokens.weight"] == "embedding.first.residual.weight.x7"
    assert named["norm.weight"] == "norm.residual.last.scale"
    assert named["head.weight"] == "linear.last.residual.weight.x7"
    spaces = {space.role for space in found.graph.spaces if space.moves}
    assert spaces == {"residual", "hidden", "heads", "head.qk", "head.v"}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_model_built_for_two_sizes_takes_a_third(name: str) -> None:
    build, inputs = FAMILIES[name]
    torch.manual_seed(0)
    nets = [converted(module, inputs) for module in build()]
    assert all(net.verified for net in nets)
    check_one_structure(net.graph for net in nets)
    model, rng = shared(net.graph for net in nets[:2]), torch.Generator().manual_seed(1)
    for net in nets:
        weights = weights_of(net)
        moved = net.graph.group().random(rng, dtype=torch.float64).act(weights)
        before = model(weights)
        torch.testing.assert_close(model(moved), before, rtol=0, atol=1e-10)
        changes = {n: float((x - moved[n]).abs().max()) for n, x in weights.items()}
        largest = max(changes, key=changes.__getitem__)
        control = Weights(net.graph, {**dict(weights.items()), largest: moved[largest]})
        assert float((model(control) - before).detach().abs().max()) > 1e-6, "one tensor alone was moved"


def test_the_check_of_structures_fails_where_a_role_has_two() -> None:
    graph = converted(cnn([3, 4])).graph
    one = tuple(replace(parameter, role="weight") for parameter in graph.parameters)
    with pytest.raises(AssertionError, match="weight"):
        check_one_structure([replace(graph, parameters=one)])


def test_a_kernel_never_seen_is_told() -> None:
    model = shared(converted(cnn(channels)).graph for channels in ([3, 4], [3, 3, 4]))
    other = converted(cnn([3, 4], kernels=(3, 5)))
    assert roles(other)["2.weight"] == "conv5x5.inner.weight"
    with pytest.raises(GraphError, match=r"conv5x5\.inner\.weight.*which this model was not built for"):
        model(weights_of(other))


def test_a_mean_and_all_pixels_have_other_last_layers() -> None:
    assert roles(converted(cnn([3, 4])))["6.weight"] == "linear.last.weight.x10"
    assert roles(converted(cnn([3, 4], flat=True)))["6.weight"] == "linear.last.weight.x10x2x2"


def test_an_mlp_has_the_roles_of_mlp_graphs() -> None:
    module = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    found = converted(module, torch.zeros(4, 2)).graph
    assert [p.role for p in found.parameters] == [p.role for p in mlp_graph([2, 5, 4, 3]).parameters]
    assert [s.role for s in found.spaces] == [s.role for s in mlp_graph([2, 5, 4, 3]).spaces]


def test_names_do_not_count() -> None:
    class Renamed(nn.Module):
        """The same network: other names, the last layer made first, one layer called bias."""

        def __init__(self) -> None:
            super().__init__()
            self.zz, self.bias = nn.Linear(4, 10), nn.Conv2d(1, 3, 3, padding=1)
            self.norm_weight = nn.Conv2d(3, 4, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            y = torch.relu(self.norm_weight(torch.relu(self.bias(x))))
            return self.zz(y.mean((2, 3)))  # type: ignore[no-any-return]

    assert set(roles(converted(Renamed())).values()) == set(roles(converted(cnn([3, 4]))).values())


def test_two_fronts_find_the_same_roles() -> None:
    """One writes a linear layer as a product and a sum."""
    module, inputs = Encoder(1, 8, 2, True).eval(), torch.zeros(2, 5, dtype=torch.int64)
    fronts: tuple[Front, ...] = ("export", "recorder")
    found = [convert_module(module, inputs, generator=torch.Generator(), front=front) for front in fronts]
    assert roles(found[0]) == roles(found[1])


def test_what_is_read_is_told_by_powers_where_nobody_says() -> None:
    graph = converted(cnn([3, 4])).graph
    assert with_roles(graph).parameters == graph.parameters


@pytest.mark.slow
def test_gpt2_of_an_unseen_depth() -> None:
    transformers = pytest.importorskip("transformers")

    def gpt2(layers: int, width: int, heads: int) -> nn.Module:
        torch.manual_seed(0)
        config = transformers.GPT2Config(vocab_size=17, n_positions=8, n_embd=width, n_layer=layers, n_head=heads)
        model: nn.Module = transformers.GPT2LMHeadModel(config)
        return model

    inputs = {"input_ids": torch.zeros(2, 6, dtype=torch.int64)}
    nets = [converted(gpt2(*sizes), inputs) for sizes in ((1, 8, 2), (2, 12, 3), (4, 8, 4))]  # type: ignore[arg-type]
    check_one_structure(net.graph for net in nets)
    assert shared(net.graph for net in nets[:2])(weights_of(nets[2])).shape == (1, 3)
    assert roles(nets[0])["transformer.h.0.mlp.c_fc.weight"] == "linear.residual-hidden.transposed.weight"
