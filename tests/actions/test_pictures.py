"""Actions in networks that convolve: channels are permuted, taps and pixels moved with the pictures."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from graphws.actions import find_actions
from graphws.actions.grid_moves import SQUARE, GridMove, grid_move
from graphws.actions.measures import end_to_end_error
from graphws.actions.moves import channel_permutation
from graphws.actions.naming import named_symmetry
from graphws.actions.picture_decoys import picture_decoys
from graphws.actions.picture_spelling import spelled
from graphws.actions.picture_steps import missing, run_network
from graphws.actions.picture_view import grids, kernel_size, picture_graph, picture_view, unfolded
from graphws.actions.placing import place
from graphws.actions.planted import Planted, plant, recovery
from graphws.actions.problem import pose
from graphws.actions.symmetry import DataSymmetry, close
from graphws.actions.tap_decoys import scrambled_layers, tap_decoys
from graphws.converting import convert
from graphws.errors import UsageError
from graphws.graph import GroupElement, Monomial, NetworkGraph, Operation, Parameter, Space, Weights
from graphws.graph.conversion import Conversion
from graphws.graph.element import compose
from graphws.matching.match import same_map
from tests.actions.planting import rng
from tests.actions.test_symmetry import is_group_action

SHAPE = (3, 8, 8)


def classifier(padding: Literal["zeros", "circular"] = "zeros") -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, padding_mode=padding), nn.ReLU(),
        nn.Conv2d(8, 12, 3, padding=1, padding_mode=padding), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(12, 12, 3, padding=1, padding_mode=padding), nn.GELU(), nn.Flatten(), nn.Linear(192, 10),
    ).double()  # fmt: skip


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.second, self.last = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.norm(self.first(x)))
        h = nn.functional.max_pool2d(h + torch.relu(self.second(h)), 2)
        y: Tensor = self.last(nn.functional.adaptive_avg_pool2d(h, 1).flatten(1))
        return y


def pictures(points: int, seed: int = 1, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.randn(points, *shape, generator=rng(seed), dtype=torch.float64)


def planted(module: nn.Module, group: object, seed: int = 0) -> tuple[Conversion, DataSymmetry, Planted]:
    """The module with a hidden action drawn at random, converted."""
    found = convert(module, pictures(2))
    assert found.weights is not None
    view = picture_view(found.weights)
    symmetry = named_symmetry(group, SHAPE, "invariant", outputs=10)  # type: ignore[arg-type]
    drawn = plant(view.graph, place(view.graph, symmetry, SHAPE), rng(seed))
    positive = {name: x.abs() + 0.5 if name.endswith("running_var") else x for name, x in drawn.weights.items()}
    case = Planted(Weights(view.graph, positive), drawn.actions)  # variances are positive
    module.load_state_dict(unfolded(case.weights, found.graph).to_state_dict())
    return convert(module, pictures(2)), symmetry, case


class Sides(nn.Module):
    """Kernels 1 x 1, 1 x 3 and 3 x 1."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.columns = nn.Conv2d(3, 8, (3, 1), padding=(1, 0)), nn.Conv2d(8, 8, (1, 3), padding=(0, 1))
        self.point, self.last = nn.Conv2d(8, 12, 1), nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.point(torch.relu(self.columns(torch.relu(self.rows(x))))))
        y: Tensor = self.last(nn.functional.adaptive_avg_pool2d(h, 1).flatten(1))
        return y


@pytest.mark.parametrize("module", [classifier(), classifier("circular"), Residual().double().eval(), Sides().double()])
def test_the_view_computes_what_the_module_does(module: nn.Module) -> None:
    found = convert(module, pictures(2))
    assert found.weights is not None
    view = picture_view(found.weights)
    assert missing(view.graph) is None
    x = pictures(5)
    got = run_network(view.graph, view, x)[view.graph.outputs[0]]
    torch.testing.assert_close(got[0], module(x))
    back = unfolded(view, found.graph)
    torch.testing.assert_close(back.flatten(), found.weights.flatten(), rtol=0, atol=0)


ATEN = {
    "conv2d": ("convolution", {"transposed": False, "output_padding": "0,0"}),
    "batch_norm": ("native_batch_norm", {"training": False, "momentum": 0.0}),
    "max_pool2d": ("max_pool2d_with_indices", {}),
}


def in_aten(graph: NetworkGraph) -> NetworkGraph:
    """The graph as an ONNX file tells it."""
    steps = []
    for number, step in enumerate(graph.operations):
        kind, more = ATEN.get(step.kind, (step.kind, {}))
        outputs = step.outputs if kind == step.kind else (*step.outputs, f"unread{number}")
        steps.append(replace(step, kind=kind, attributes=(*step.attributes, *more.items()), outputs=outputs))
    return replace(graph, operations=tuple(steps))


@pytest.mark.parametrize("module", [classifier(), Residual().double().eval(), Sides().double()])
def test_steps_are_known_by_either_name(module: nn.Module) -> None:
    found = convert(module, pictures(2))
    assert found.weights is not None
    other = in_aten(found.graph)
    assert other != found.graph
    assert [(o.kind, o.inputs, o.outputs) for o in picture_graph(other).operations] == [
        (o.kind, o.inputs, o.outputs) for o in picture_graph(found.graph).operations
    ]
    view = picture_view(Weights(other, found.weights.tensors))
    x = pictures(5)
    torch.testing.assert_close(run_network(view.graph, view, x)[view.graph.outputs[0]][0], module(x))


@pytest.mark.parametrize(
    "step",
    [
        Operation("convolution", ("x", "w"), ("y",), (("transposed", True), ("stride", "1,1"))),
        Operation("convolution", ("x", "w"), ("y",), (("transposed", False), ("stride", "1"))),
        Operation("native_batch_norm", ("x", "m", "v"), ("y", "z"), (("training", True),)),
        Operation("max_pool2d_with_indices", ("x",), ("y", "read")),
        Operation("relu", ("x",), ("y",)),
    ],
)
def test_steps_that_mean_something_else_keep_their_name(step: Operation) -> None:
    assert spelled(step, {"read"}) is step


def test_networks_without_steps_say_so() -> None:
    found = convert(classifier(), pictures(2))
    assert found.weights is not None
    graph = found.graph
    bare = NetworkGraph(tuple(s for s in graph.spaces if s.name != "output"), graph.parameters[:2])
    with pytest.raises(UsageError) as error:
        find_actions(Weights(bare, {p.name: found.weights[p.name] for p in bare.parameters}), "mirror", SHAPE)
    assert str(error.value) == (
        "the network has no input space of 192 numbers; it has input (3); it does not say how its weights are used: "
        "give the converted module, or an ONNX file"
    )


def test_a_convolution_commutes_with_moves_of_pictures_and_taps() -> None:
    """g (x * K) = (g x) * (g K), around the edge; the wrong taps break it."""
    x, kernel = pictures(4, shape=(1, 6, 6)), pictures(1, 2, (1, 3, 3))

    def convolve(pixels: Tensor, taps: Tensor) -> Tensor:
        return nn.functional.conv2d(nn.functional.pad(pixels, (1, 1, 1, 1), "circular"), taps)

    for turn in SQUARE:
        move = GridMove(turn, (2, 5), (6, 6))
        moved = kernel.flatten()[move.on_taps(3, 3).perm].reshape(kernel.shape)
        torch.testing.assert_close(move.on_table(convolve(x, kernel)), convolve(move.on_table(x), moved))
        if turn != "stay":
            wrong = move.on_table(convolve(x, kernel)) - convolve(move.on_table(x), kernel)
            assert float(wrong.norm()) > 0.1


@pytest.mark.parametrize("turn", sorted(SQUARE))
def test_moves_are_recognised(turn: str) -> None:
    for shift in ((0, 0), (3, 0), (1, 4)):
        move = GridMove(turn, shift, (5, 5))
        assert grid_move(move.on_pixels(5, 5).perm, (5, 5)) == move
    with pytest.raises(UsageError) as error:
        grid_move(torch.randperm(25, generator=rng()), (5, 5))
    assert str(error.value) == (
        "a network that convolves needs a group that moves whole pictures: mirrors, turns and cyclic shifts, "
        "with or without a map of the channels"
    )


@pytest.mark.parametrize("group", ["mirror", "rotations:4"])
@pytest.mark.parametrize("data", [False, True])
def test_a_hidden_action_on_channels_is_recovered(group: str, data: bool) -> None:
    module = classifier()
    network, symmetry, case = planted(module, group)
    x = pictures(6)
    for g in range(symmetry.order):
        torch.testing.assert_close(module(symmetry.on_inputs(g, x)), module(x))
    found = find_actions(network, symmetry, SHAPE, data=pictures(40) if data else None)
    assert found.verdict.outcome == "exact action"
    assert recovery([e.maps for e in found.elements], case.actions) == dict.fromkeys(case.actions[0], 1.0)
    assert max(layer.k_error for layer in found.layers) < 1e-10
    assert max(layer.defect for layer in found.layers) == 0.0
    assert all(layer.best_rival is not None for layer in found.layers)
    for element in found.elements:
        torch.testing.assert_close(element.act(case.weights).flatten(), case.weights.flatten())


@pytest.mark.slow
def test_all_symmetries_of_the_square_and_residual_networks() -> None:
    network, symmetry, _ = planted(classifier(), "dihedral")
    found = find_actions(network, symmetry, SHAPE, data=pictures(20))
    assert found.verdict.outcome == "exact action"
    assert set(found.layers[0].rivals) == {
        "dihedral, taps shuffled", "dihedral, taps shuffled (2)", "dihedral, taps shuffled (3)"
    }  # fmt: skip
    assert all(layer.best_rival is not None and layer.best_rival.weights for layer in found.layers)
    assert min(layer.best_rival.k_error for layer in found.layers if layer.best_rival) > 0.5
    assert max(layer.best_rival.matched for layer in found.layers[:-1] if layer.best_rival) < 0.2
    assert "there is no decoy to compare with" not in found.verdict.text
    network, symmetry, case = planted(Residual().double().eval(), "mirror")
    found = find_actions(network, symmetry, SHAPE, data=pictures(40))
    assert max(layer.k_error for layer in found.layers) < 1e-10
    assert found.end_to_end is not None
    assert found.end_to_end < 1e-10
    assert set(found.verdict.layers.values()) == {"exact"}
    assert min(recovery([e.maps for e in found.elements], case.actions).values()) == 1.0


@pytest.mark.parametrize("data", [False, True])
def test_kernels_of_one_row_one_column_and_one_tap(data: bool) -> None:
    network, symmetry, case = planted(Sides().double(), "mirror")
    assert set(grids(case.weights.graph)) == {"taps3x1", "taps1x3"}
    found = find_actions(network, symmetry, SHAPE, data=pictures(40) if data else None, reduced=False)
    assert found.verdict.outcome == "exact action"
    assert max(layer.k_error for layer in found.layers) < 1e-10
    shares = recovery([e.maps for e in found.elements], case.actions)
    shares.pop("rows")  # a mirror leaves 3 x 1 kernels as they are, so partners are copies, and either may stay
    assert set(shares.values()) == {1.0}
    with pytest.raises(UsageError) as error:
        find_actions(network, "rotations:4", SHAPE, "invariant")
    assert str(error.value) == "a move that turns pictures needs square kernels and feature maps, got 3 x 1"


class Grey(nn.Module):
    """One channel comes in, and one is all that a layer in the middle has."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.neck = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 1, 3, padding=1)
        self.second, self.last = nn.Conv2d(1, 6, 3, padding=1), nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.second(torch.tanh(self.neck(torch.relu(self.first(x))))))
        y: Tensor = self.last(nn.functional.adaptive_avg_pool2d(h, 1).flatten(1))
        return y


@pytest.mark.parametrize("group", ["mirror", "dihedral"])
@pytest.mark.parametrize("data", [False, True])
def test_grey_pictures_and_single_channels(group: str, data: bool) -> None:
    shape = (1, 8, 8)
    module = Grey().double()
    found = convert(module, pictures(2, shape=shape))
    assert found.weights is not None
    view = picture_view(found.weights)
    x = pictures(5, shape=shape)
    torch.testing.assert_close(run_network(view.graph, view, x)[view.graph.outputs[0]][0], module(x))
    symmetry = named_symmetry(group, shape, "invariant", outputs=10)
    case = plant(view.graph, place(view.graph, symmetry, shape), rng(0))
    module.load_state_dict(unfolded(case.weights, found.graph).to_state_dict())
    torch.testing.assert_close(module(symmetry.on_inputs(1, x)), module(x))
    result = find_actions(
        convert(module, x[:2]), group, shape, "invariant", data=pictures(40, shape=shape) if data else None
    )
    assert result.verdict.outcome == "exact action"
    assert max(layer.k_error for layer in result.layers) < 1e-10
    assert {layer.space for layer in result.layers} >= {"first", "second"}


def test_a_kernel_without_storage_must_show_its_sides() -> None:
    spaces = (Space("a", 3, "free"), Space("b", 8), Space("k", 3, "free"))
    kernels = (Parameter("K", "b a* k k"), Parameter("P", "b a*"), Parameter("R", "b a* k"))
    graph = NetworkGraph(spaces, kernels)
    assert [kernel_size(graph, kernel) for kernel in kernels[:2]] == [(3, 3), (1, 1)]
    with pytest.raises(UsageError) as error:
        kernel_size(graph, kernels[2])
    assert str(error.value) == "kernel 'R' has one axis of taps, and nothing says whether they are rows"


@pytest.mark.slow
def test_noise_and_networks_without_the_symmetry() -> None:
    network, symmetry, case = planted(classifier(), "mirror")
    noisy = case.noisy(0.1, rng(3))
    found = find_actions(noisy, symmetry, SHAPE, data=pictures(40))
    assert recovery([e.maps for e in found.elements], case.actions) == dict.fromkeys(case.actions[0], 1.0)
    assert found.verdict.outcome == "action found"
    assert network.weights is not None
    torch.manual_seed(0)
    other = convert(classifier(), pictures(2))
    for data in (None, pictures(40)):
        assert find_actions(other, symmetry, SHAPE, data=data).verdict.outcome == "no action found"
    assert find_actions(network, "flip", SHAPE, "invariant", data=pictures(40)).verdict.outcome == "no action found"


def test_shifts_around_the_edge_leave_every_channel_in_its_place() -> None:
    """A convolution around the edge and a mean over pixels know all shifts, with the trivial action on channels."""
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, padding_mode="circular"), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10),
    ).double()  # fmt: skip
    network = convert(module, pictures(2, shape=(3, 4, 4)))
    assert network.weights is not None
    symmetry = named_symmetry("translations", (3, 4, 4), "invariant", outputs=10)
    problem = pose(network.weights, symmetry, (3, 4, 4), pictures(8, shape=(3, 4, 4)))
    assert (end_to_end_error(problem) or 0) < 1e-10
    found = find_actions(network, symmetry, (3, 4, 4), data=pictures(8, shape=(3, 4, 4)), decoys=0)
    assert found.layers[0].k_error < 1e-10
    first = found.elements[1].maps[found.layers[0].space]
    assert isinstance(first, Monomial)
    assert first.perm.tolist() == list(range(8))


def test_decoys_move_pixels_in_other_ways() -> None:
    graph = planted(classifier(), "mirror")[2].weights.graph
    for group, some in (("mirror", True), ("rotations:4", True), ("dihedral", False)):
        symmetry = named_symmetry(group, SHAPE, "invariant", outputs=10)
        found = picture_decoys(graph, symmetry, SHAPE, count=3, generator=rng())
        assert len(found) == (3 if some else 0)
        assert all(is_group_action(decoy) for decoy in found)


def test_scrambled_taps_are_the_same_group_acting_otherwise() -> None:
    """Each decoy is a homomorphism, moves taps and pixels as no element of the group does, and leaves the rest."""
    _, symmetry, case = planted(classifier(), "dihedral")
    graph = case.weights.graph
    placed = place(graph, symmetry, SHAPE)
    found = tap_decoys(graph, placed, count=3, generator=rng())
    assert len(found) == 3
    sizes = grids(graph)
    assert set(sizes) == {"taps3x3", "pixels4x4"}
    for decoy in found:
        for g in range(symmetry.order):
            for name, element in decoy.maps[g].items():
                if name not in sizes:
                    assert element is placed.maps[g][name]
                    continue
                for h in range(symmetry.order):
                    product = compose(element, decoy.maps[h][name])
                    assert same_map(product, decoy.maps[int(symmetry.table[g, h])][name])
            if g:
                alike = [
                    all(same_map(decoy.maps[g][n], placed.maps[h][n]) for n in sizes) for h in range(symmetry.order)
                ]
                assert not any(alike)
    assert scrambled_layers(graph) == {"0", "2", "5", "output"}


def test_where_nothing_can_be_scrambled_there_is_no_decoy() -> None:
    pointwise = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    found = convert(pointwise.double(), pictures(2))
    assert found.weights is not None
    graph = picture_view(found.weights).graph
    symmetry = named_symmetry("dihedral", SHAPE, "invariant", outputs=10)
    assert tap_decoys(graph, place(graph, symmetry, SHAPE), count=3, generator=rng()) == []
    assert scrambled_layers(graph) == set()
    view = picture_view(convert(classifier("circular"), pictures(2)).weights).graph  # type: ignore[arg-type]
    shifts = named_symmetry("translations:4", SHAPE, "invariant", outputs=10)
    assert tap_decoys(picture_graph_without_pixels(view), place(view, shifts, SHAPE), count=3, generator=rng()) == []


def picture_graph_without_pixels(graph: NetworkGraph) -> NetworkGraph:
    """Its kernels alone, which shifts leave as they are."""
    kernels = tuple(p for p in graph.parameters if "pixels4x4" not in p.spaces)
    return NetworkGraph(tuple(s for s in graph.spaces if s.name != "pixels4x4"), kernels)


@pytest.mark.slow
def test_scrambled_taps_tell_networks_that_know_the_square_from_those_that_do_not() -> None:
    """Without the symmetry the group does no better than its decoys; with noise on it, far better on every layer."""
    _, symmetry, case = planted(classifier(), "dihedral")
    for data in (None, pictures(40)):
        found = find_actions(case.noisy(0.03, rng(3)), symmetry, SHAPE, data=data)
        assert found.verdict.outcome == "action found"
        assert all(layer.best_rival and 4 * layer.weight_error < layer.best_rival.k_error for layer in found.layers)
    torch.manual_seed(0)
    other = find_actions(convert(classifier(), pictures(2)), symmetry, SHAPE)
    assert other.verdict.outcome == "no action found"
    for layer in other.layers:
        assert layer.best_rival is not None
        assert layer.weight_error == pytest.approx(layer.best_rival.k_error, rel=0.15)


def test_what_a_network_of_pictures_cannot_take() -> None:
    network, _, case = planted(classifier(), "mirror")
    shuffled = {"m": Monomial(torch.arange(192).reshape(3, 64)[:, torch.randperm(64, generator=rng())].flatten())}
    with pytest.raises(UsageError, match="needs a group that moves whole pictures"):
        pose(case.weights, close("mixed", {"m": _involution(shuffled["m"])}, "invariant", outputs=10), SHAPE)
    with pytest.raises(UsageError) as error:
        pose(case.weights, named_symmetry("mirror", (1, 8, 8), "invariant", outputs=10), (1, 8, 8))
    assert str(error.value) == ("this network reads pictures of 3 channels; inputs (1, 8, 8) are no such pictures")
    with pytest.raises(UsageError) as error:
        pose(case.weights, named_symmetry("translations", SHAPE, "invariant", outputs=10), SHAPE)
    assert str(error.value) == "a shift by 1 of 8 pixels is no whole number of pixels of a feature map 4 x 4"
    colours = close("colours", {"c": channel_permutation([1, 0, 2], SHAPE)}, "invariant", outputs=10)
    placed = place(case.weights.graph, colours, SHAPE)
    assert placed.maps[1]["input"].perm.tolist() == [1, 0, 2]  # type: ignore[union-attr]
    assert isinstance(GroupElement(case.weights.graph, placed.maps[1]), GroupElement)
    assert network.weights is not None


def _involution(shuffle: Monomial) -> Monomial:
    """A random exchange of pixels: the mirror, conjugated."""
    mirror = named_symmetry("mirror", SHAPE).input[1]
    assert isinstance(mirror, Monomial)
    return shuffle.compose(mirror).compose(shuffle.inverse())
