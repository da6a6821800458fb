"""Networks that could be mistaken for symmetric ones: what the verdict says of each, and why that is right."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from graphws.actions import find_actions
from graphws.actions.computation.latent_values import covariances
from graphws.actions.groups.naming import named_symmetry
from graphws.actions.groups.placing import place
from graphws.actions.groups.symmetry import DataSymmetry, close
from graphws.actions.planted.networks import plant
from graphws.actions.verdict.reached_layers import reached_layers
from graphws.converting import convert
from graphws.errors import DataError, UsageError
from graphws.graph import Monomial, Weights
from graphws.operations import mlp_graph, run_values
from tests.actions.planting import rng

SHAPE = (1, 6, 6)
MIRROR = torch.eye(36, dtype=torch.float64).reshape(36, *SHAPE).flip(-1).reshape(36, 36)


def draw(widths: Sequence[int], activation: str, seed: int = 0) -> Weights:
    graph = mlp_graph(widths, activation)
    flat = torch.randn(1, graph.numel, generator=rng(seed), dtype=torch.float64)
    return Weights.unflatten(graph, flat).map(lambda x: x / math.sqrt(x.shape[-1]))


def probes(points: int = 60, seed: int = 5) -> Tensor:
    return torch.randn(points, 36, generator=rng(seed), dtype=torch.float64)


def equivariant_matrix() -> Tensor:
    free = torch.randn(36, 36, generator=rng(9), dtype=torch.float64)
    return (free + MIRROR @ free @ MIRROR) / 2


@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh"])
@pytest.mark.parametrize("decoys", [0, 1, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_middle_layers_alone_are_no_action(activation: str, decoys: int, seed: int) -> None:
    """Inside a deep network some relabelling fits always; nothing links it to the mirror of the inputs."""
    found = find_actions(draw([36, 16, 16, 16, 36], activation, seed), "mirror", SHAPE, decoys=decoys)
    assert found.verdict.outcome == "no action found"


@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("points", [None, 4, 40])
@pytest.mark.parametrize("output", ["same", "invariant"])
def test_narrow_networks_and_few_probes(width: int, points: int | None, output: str) -> None:
    for seed in range(2):
        weights = draw([36, width, 36 if output == "same" else 3], "tanh", seed)
        found = find_actions(weights, "mirror", SHAPE, output, data=None if points is None else probes(points))
        assert found.verdict.outcome == "no action found"


def pair(outputs: Sequence[int]) -> DataSymmetry:
    """Two inputs exchanged: no other permutation of two numbers can be a decoy."""
    return close("swap", {"a": Monomial(torch.tensor([1, 0]))}, {"a": Monomial(torch.tensor(outputs))})


@pytest.mark.parametrize("seed", range(4))
def test_without_decoys_matched_neurons_say_nothing(seed: int) -> None:
    """Among 8 random filters on 2 inputs half have a mirror image by chance."""
    found = find_actions(draw([2, 8, 1], "tanh", seed), pair([0]), (2,))
    assert found.verdict.outcome == "no action found"
    assert "; there is no decoy to compare with" not in found.verdict.text
    graph = mlp_graph([2, 8, 2], "tanh")
    planted = plant(graph, place(graph, pair([1, 0]), (2,)), rng(seed))
    for level, outcome in ((0.0, "exact action"), (0.02, "action found")):
        seen = find_actions(planted.noisy(level, rng(1)), pair([1, 0]), (2,))
        assert seen.verdict.outcome == outcome
        assert "; there is no decoy to compare with. End to end, on random inputs, " in seen.verdict.text


@pytest.mark.parametrize("data", [False, True])
@pytest.mark.parametrize("dead", [("W1",), ("W2",), ("W1", "b1", "W2", "b2")])
def test_a_constant_function_has_no_action(data: bool, dead: tuple[str, ...]) -> None:
    weights = draw([36, 8, 3], "tanh")
    constant = Weights(weights.graph, {n: 0 * x if n in dead else x for n, x in weights.tensors.items()})
    for reduced in (True, False):
        found = find_actions(constant, "mirror", SHAPE, "invariant", data=probes() if data else None, reduced=reduced)
        assert found.verdict.text == (
            "No action found: the network's outputs are the same for all inputs, so every group leaves them alone."
        )
        assert set(found.verdict.layers.values()) == {"none"}


def test_probes_that_the_group_leaves_alone_are_refused() -> None:
    """On pictures that are their own mirror image the identity would explain every network."""
    pictures = probes().reshape(-1, *SHAPE)
    own = pictures + pictures.flip(-1)
    with pytest.raises(UsageError) as error:
        find_actions(draw([36, 16, 3], "tanh"), "mirror", SHAPE, "invariant", data=own)
    assert str(error.value) == (
        "mirror moves these probes by 0.0% of their spread only, so they cannot show how it acts: give others, or none"
    )
    with pytest.raises(UsageError, match=r"mirror moves these probes by 4\.0% of their spread only"):
        find_actions(draw([36, 16, 3], "tanh"), "mirror", SHAPE, "invariant", data=own + 0.04 * pictures)
    with pytest.raises(DataError) as other:
        find_actions(draw([36, 16, 3], "tanh"), "mirror", SHAPE, "invariant", data=pictures[:1].repeat(9, 1, 1, 1))
    assert str(other.value) == "all 9 probes are the same input, so nothing can be measured on them"


def test_decoys_that_leave_the_probes_alone_are_no_rivals() -> None:
    """Pictures that are alike upside down: a flip changes no output, and must not outdo the mirror."""
    graph = mlp_graph([36, 12, 3], "tanh")
    planted = plant(graph, place(graph, close_mirror(), SHAPE), rng())
    pictures = probes().reshape(-1, *SHAPE)
    found = find_actions(planted.weights, close_mirror(), SHAPE, data=pictures + pictures.flip(-2))
    assert found.verdict.outcome == "exact action"
    assert "flip" not in found.decoy_end_to_end


def close_mirror() -> DataSymmetry:
    return close("mirror", {"m": Monomial(MIRROR.argmax(1))}, "invariant", outputs=3)


@pytest.mark.parametrize("data", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_an_equivariant_function_without_an_action_by_neurons(data: bool, activation: str) -> None:
    """σ(x) - σ(-x) = x: pairs of neurons compute a matrix that commutes with the mirror, in a basis that does not."""
    basis = torch.linalg.qr(torch.randn(36, 36, generator=rng(8), dtype=torch.float64))[0]
    read = equivariant_matrix() @ basis.mT
    graph = mlp_graph([36, 72, 36], activation, bias=False)
    weights = Weights(graph, {"W1": torch.cat([basis, -basis])[None], "W2": torch.cat([read, -read], 1)[None]})
    found = find_actions(weights, "mirror", SHAPE, data=probes(200) if data else None)
    assert found.verdict.outcome == "no action found"
    assert "Neurons with a negated copy, which can bypass the activation: 100% on hidden1." in found.verdict.text
    if data:
        assert found.end_to_end is not None
        assert found.end_to_end < 1e-12


@pytest.mark.parametrize("scale", [1e-3, 1e-1])
def test_a_nearly_linear_network_has_a_linear_action_only(scale: float) -> None:
    basis = torch.linalg.qr(torch.randn(36, 36, generator=rng(8), dtype=torch.float64))[0]
    graph = mlp_graph([36, 36, 36], "tanh", bias=False)
    tensors = {"W1": (scale * basis)[None], "W2": (equivariant_matrix() @ basis.mT / scale)[None]}
    found = find_actions(Weights(graph, tensors), "mirror", SHAPE, data=probes(200))
    assert found.verdict.outcome == "no action found"
    assert found.verdict.layers == {"hidden1": "linear only"}
    assert "A linear action explains hidden1, but none by neurons was identified." in found.verdict.text


@pytest.mark.parametrize("decoys", [0, 3])
def test_an_action_that_stops_before_the_outputs_is_one_in_part(decoys: int) -> None:
    graph = mlp_graph([36, 16, 36], "tanh")
    planted = plant(graph, place(graph, named_symmetry("mirror", SHAPE), SHAPE), rng()).weights
    cut = Weights(graph, {**planted.tensors, "W2": draw([36, 16, 36], "tanh")["W2"]})
    found = find_actions(cut, "mirror", SHAPE, decoys=decoys)
    assert found.verdict.outcome == "action in part"
    assert found.verdict.layers == {"hidden1": "exact"}
    assert " acts exactly up to hidden1, and breaks at output. " in found.verdict.text
    assert found.verdict.breaks_at == ("output",)
    seen = find_actions(cut, "mirror", SHAPE, data=probes(), decoys=decoys)
    assert (seen.verdict.outcome, seen.verdict.layers) == ("action in part", {"hidden1": "exact"})


def test_more_symmetry_than_the_group_is_said() -> None:
    """A network of the pixels' sum knows every permutation: the mirror's action is exact, and so is a decoy's."""
    weights = draw([36, 8, 3], "tanh")
    total = weights["W1"].mean(2, keepdim=True).expand(1, 8, 36).clone()
    for data in (None, probes()):
        found = find_actions(
            Weights(weights.graph, {**weights.tensors, "W1": total}), "mirror", SHAPE, "invariant", data=data
        )
        assert found.verdict.outcome == "exact action"
        assert "; flip acts as exactly, so the network has more symmetry than this group." in found.verdict.text


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_a_mean_picture_matches_no_neurons(activation: str) -> None:
    """To inputs with a large mean all filters answer alike, up to a sign: that is no mirror image."""
    pictures = 4 + probes(200)
    found = find_actions(draw([36, 16, 3], activation), "mirror", SHAPE, "invariant", data=pictures)
    first = found.layer("hidden1")
    assert first.best_rival is not None
    assert max(first.matched, first.best_rival.matched) < 0.2
    graph = mlp_graph([36, 16, 3], activation)
    planted = plant(graph, place(graph, close_mirror(), SHAPE), rng())
    seen = find_actions(planted.noisy(0.05, rng(1)), close_mirror(), SHAPE, data=pictures)
    assert seen.layer("hidden1").matched == 1.0


def test_scales_of_a_norm_match_no_channels() -> None:
    """A new batch norm scales every channel by 1, which says nothing about kernels that are random."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 4, 3)).eval()
    found = find_actions(convert(net, torch.randn(2, 1, 8, 8)), "mirror", (1, 8, 8), "invariant")
    first = found.layers[0]
    assert first.matched < 0.3
    assert first.weight_error > 0.3


def test_covariances_are_those_of_all_runs() -> None:
    weights = draw([36, 16, 3], "relu")
    runs = [run_values(weights.graph, weights, 3 + probes(50, seed)) for seed in range(2)]
    found = covariances(weights.graph, *runs)
    for space, value in (("input", "x0"), ("hidden1", "x1")):
        rows = torch.cat([run[value][0] if run[value].ndim == 3 else run[value] for run in runs])
        torch.testing.assert_close(found[space], torch.cov(rows.mT, correction=0))


def test_chains_of_layers() -> None:
    reads = {"a": {"input"}, "b": {"a"}, "c": {"b"}, "query": set(), "out": {"c"}}
    assert reached_layers({"a", "c"}, reads, {"input"}) == {"a"}
    assert reached_layers({"b", "c"}, reads, {"input"}) == set()
    assert reached_layers({"b", "c", "out"}, reads, {"input", "out"}) == {"b", "c", "out"}
    assert reached_layers({"query"}, reads, {"input"}) == {"query"}  # a constant: its own map is all there is to say
