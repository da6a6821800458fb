"""Convolutional networks as actions see them: axes joined, kernels of any sides, moves."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from graphws.actions import find_actions
from graphws.actions.computation.features import run_network, why_not_analysed
from graphws.actions.groups.grid_moves import SQUARE, GridMove, grid_move
from graphws.actions.pictures.joined_axes import kernel_size, picture_view, unfolded
from graphws.converting import convert
from graphws.errors import UsageError
from graphws.graph import NetworkGraph, Parameter, Space, Weights
from tests.actions.picture_cases import SHAPE, Residual, Sides, classifier, pictures
from tests.actions.planting import rng


@pytest.mark.parametrize("module", [classifier(), classifier("circular"), Residual().double().eval(), Sides().double()])
def test_the_view_computes_what_the_module_does(module: nn.Module) -> None:
    found = convert(module, pictures(2))
    assert found.weights is not None
    view = picture_view(found.weights)
    assert why_not_analysed(view.graph) is None
    x = pictures(5)
    got = run_network(view.graph, view, x)[view.graph.outputs[0]]
    torch.testing.assert_close(got[0], module(x))
    back = unfolded(view, found.graph)
    torch.testing.assert_close(back.flatten(), found.weights.flatten(), rtol=0, atol=0)


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


def test_a_kernel_without_storage_must_show_its_sides() -> None:
    spaces = (Space("a", 3, "free"), Space("b", 8), Space("k", 3, "free"))
    kernels = (Parameter("K", "b a* k k"), Parameter("P", "b a*"), Parameter("R", "b a* k"))
    graph = NetworkGraph(spaces, kernels)
    assert [kernel_size(graph, kernel) for kernel in kernels[:2]] == [(3, 3), (1, 1)]
    with pytest.raises(UsageError) as error:
        kernel_size(graph, kernels[2])
    assert str(error.value) == "kernel 'R' has one axis of taps, and nothing says whether they are rows"
