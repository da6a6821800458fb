"""Features and positions of values, and the layers between latent values, on networks of several layouts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from graphws.actions.computation.features import features_of, run_network, turned, turned_back, why_not_analysed
from graphws.actions.computation.latent_values import covariances, latent_values, recompute
from graphws.actions.computation.position_moves import AxisMove, Moves, PositionMove, broken_at, measure_moves
from graphws.actions.computation.values import outputs_on, values_on
from graphws.actions.groups.grid_moves import GridMove
from graphws.actions.groups.moves import mirror
from graphws.actions.groups.naming import named_symmetry
from graphws.actions.groups.placing import Placed, place
from graphws.actions.pictures.joined_axes import picture_view
from graphws.converting import convert
from graphws.errors import DataError, UsageError
from graphws.graph import GroupElement, NetworkGraph, Weights
from graphws.operations import mlp_graph
from graphws.operations.sampling import random_weights
from tests.actions.architecture_cases import GENERIC, INVARIANT, Net
from tests.actions.planting import rng

SHAPE = (3, 8, 8)


def pictures(points: int, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.randn(points, *shape, generator=rng(1), dtype=torch.float64)


def viewed(module: nn.Module, points: Tensor) -> Weights:
    found = convert(module.double().eval(), points[:2])
    assert found.weights is not None
    return picture_view(found.weights)


def mirrored(module: nn.Module, shape: tuple[int, ...] = SHAPE) -> tuple[NetworkGraph, Placed]:
    """The mirror of pictures, placed on a network."""
    torch.manual_seed(0)
    points = pictures(2, shape)
    graph = viewed(module, points).graph
    symmetry = named_symmetry("mirror", shape, "invariant", outputs=module(points)[0].numel())
    return graph, place(graph, symmetry, shape)


class WithClassToken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cut, self.token = nn.Conv2d(3, 6, 2, 2), nn.Parameter(torch.randn(1, 1, 6))
        self.mix, self.last = nn.Linear(6, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.cut(x).flatten(2).transpose(1, 2)
        h = torch.cat([self.token.expand(len(h), -1, -1), h], 1)
        y: Tensor = self.last(torch.tanh(self.mix(h)).mean(1))
        return y


def last(*layers: nn.Module, width: int) -> nn.Module:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 4))


THROUGH = {
    "convolution": last(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), width=5),
    "pooling that divides": last(nn.Conv2d(3, 5, 3, padding=1), nn.MaxPool2d(2), nn.Tanh(), width=5),
    "flattened": nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(320, 4)),
    "class token": WithClassToken(),
}
STOPPED = {
    "stride": (last(nn.Conv2d(3, 5, 3, 2), nn.ReLU(), width=5), (3, 8, 8), "conv2d"),
    "pooling": (last(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.AvgPool2d(3), width=5), (3, 8, 8), "avg_pool2d"),
    "pad": (last(nn.ZeroPad2d((1, 0, 1, 1)), nn.Conv2d(3, 5, 2, 2), nn.ReLU(), width=5), (3, 8, 9), "pad("),
}


@pytest.mark.parametrize("name", THROUGH)
def test_moves_get_through_and_hold_for_other_weights(name: str) -> None:
    graph, placed = mirrored(THROUGH[name])
    assert placed.stopped == ""
    assert not placed.lost
    weights, x = random_weights(graph, 1, rng(5)), pictures(4)
    before = run_network(graph, weights, x)
    after = run_network(graph, weights_moved(graph, weights, placed), placed.symmetry.on_inputs(1, x))
    assert len(placed.moves[1]) >= 4
    for value, move in placed.moves[1].items():
        assert move is not None
        torch.testing.assert_close(after[value], move(before[value]))


def weights_moved(graph: NetworkGraph, weights: Weights, placed: Placed) -> Weights:
    """Taps, pixels and positions moved as the second element of the group says."""
    return GroupElement(graph, dict(placed.maps[1])).act(weights)


@pytest.mark.parametrize("name", STOPPED)
def test_a_step_that_a_move_does_not_get_through_is_named(name: str) -> None:
    module, shape, kind = STOPPED[name]
    graph, placed = mirrored(module, shape)
    assert kind in placed.stopped
    stopped = next(operation for operation in graph.operations if str(operation) == placed.stopped)
    assert placed.moves[1][stopped.outputs[0]] is None
    assert stopped.outputs[0] in placed.lost


def test_a_wrong_move_is_noticed() -> None:
    """Weights that are not moved along with the input: nothing explains what a convolution makes of it."""
    graph, placed = mirrored(THROUGH["convolution"])
    taps = next(space.name for space in graph.spaces if space.role == "taps")
    grid = placed.grids[1]
    moves: Moves = measure_moves(
        graph,
        {name: element for name, element in placed.maps[1].items() if name != taps},
        lambda x: placed.symmetry.on_inputs(1, x),
        SHAPE,
        grid=grid,
    )
    assert moves["x0"] is not None
    assert moves["x1"] is None
    assert broken_at(graph, [moves]).startswith("x1 = conv2d(")
    assert broken_at(graph, [placed.moves[1]]) == ""


def test_positions_that_share_an_axis_with_points() -> None:
    value, perm = torch.arange(12.0).reshape(1, 6, 2), torch.tensor([1, 0])
    slow, fast = AxisMove(1, perm)(value), AxisMove(1, perm, slow=False)(value)
    torch.testing.assert_close(slow[0, :, 0], torch.tensor([6.0, 8, 10, 0, 2, 4]))
    torch.testing.assert_close(fast[0, :, 0], torch.tensor([2.0, 0, 6, 4, 10, 8]))
    grid = PositionMove(grid=GridMove("mirror", (0, 0), (2, 3)))
    table = torch.arange(12.0).reshape(1, 1, 2, 3, 2)
    torch.testing.assert_close(grid(table)[0, 0, ..., 0], mirror(table[0, 0, ..., 0]))


EVERY = {
    name: {**INVARIANT, **GENERIC}[name]
    for name in ("DeepSets max", "MultiheadAttention", "residual MLP", "ResNet", "U-Net", "ViT", "Mixer of patches",
                 "1-D convolution", "cat at the end")
}  # fmt: skip


@pytest.mark.parametrize("name", EVERY)
def test_recomputing_a_latent_value_reproduces_it(name: str) -> None:
    case = EVERY[name]
    points = case.points(5)
    weights = viewed(case.module(), points)
    graph = weights.graph
    values = run_network(graph, weights, points)
    path = latent_values(graph)
    assert path[-1].value == graph.outputs[0]
    for latent in path:
        torch.testing.assert_close(recompute(latent, weights, values.__getitem__, 5), values[latent.value])

    def disturbed(value: str) -> Tensor:
        return values[value] * 1.5

    gaps = [recompute(latent, weights, disturbed, 5) - values[latent.value] for latent in path]
    assert min(float(gap.abs().max()) for gap in gaps) > 1e-3


@pytest.mark.parametrize("name", EVERY)
def test_features_are_last_and_go_back(name: str) -> None:
    case = EVERY[name]
    weights = viewed(case.module(), case.points(2))
    graph = weights.graph
    for value, found in features_of(graph).items():
        native = torch.randn(1, *range(2, 2 + max(found.axis + 1, 2)))
        there = turned(graph, value, native)
        assert there.shape[-1] == native.shape[found.axis + 1]
        torch.testing.assert_close(turned_back(graph, value, there), native)


def test_layers_lead_past_values_that_a_move_does_not_reach() -> None:
    graph, placed = mirrored(STOPPED["pooling"][0])
    every, some = latent_values(graph), latent_values(graph, placed.lost)
    assert [latent.space for latent in every] == ["0", "output"]
    assert some[-1].value == every[-1].value
    assert {latent.value for latent in some} == {latent.value for latent in every} - placed.lost


def test_covariances_of_what_weights_read() -> None:
    graph = mlp_graph([2, 3, 2], "tanh")
    weights, x = random_weights(graph, 1, rng()), torch.randn(50, 2, generator=rng(1), dtype=torch.float64)
    found = covariances(graph, run_network(graph, weights, x))
    h = run_network(graph, weights, x)["x1"][0]
    torch.testing.assert_close(found["hidden1"], (h - h.mean(0)).T @ (h - h.mean(0)) / 50)
    assert set(found) == {"input", "hidden1"}


def test_weights_put_together_are_no_values_of_a_space() -> None:
    """The reordered weight behind a concatenation has axes of the same spaces, and is not what they carry."""
    case = GENERIC["U-Net"]
    points = case.points(3)
    found = convert(case.module(), points[:2])
    assert found.weights is not None
    carried = values_on(points)(found.weights)
    assert {space: value.shape[1] for space, value in carried.items()} == {
        "input": 3 * 64, "a": 3 * 64, "d": 3 * 16, "u": 3 * 64, "output": 3 * 64
    }  # fmt: skip
    torch.testing.assert_close(outputs_on(points)(found.weights)[0], case.module()(points))


def test_refusals() -> None:
    graph = mlp_graph([2, 3, 1], "tanh")
    assert why_not_analysed(graph) is None
    assert why_not_analysed(replace(graph, operations=(), inputs=(), outputs=())) == "the graph holds no operations"
    two = convert(
        Net(lambda m, x: (m.a(x), m.b(x)), a=nn.Linear(2, 3), b=nn.Linear(2, 1)),  # type: ignore[arg-type, return-value]
        torch.zeros(2, 2),
    )
    assert two.weights is not None
    assert why_not_analysed(two.graph) == "it has 1 inputs and 2 outputs: an analysis follows one of each"
    with pytest.raises(UsageError) as error:
        outputs_on(torch.zeros(2, 2))(two.weights)
    assert str(error.value) == (
        "this network is not run: it has 1 inputs and 2 outputs: an analysis follows one of each"
    )
    weights = random_weights(graph, 1, rng())
    with pytest.raises(DataError) as wrong:
        outputs_on(torch.zeros(2, 2, 2))(weights)
    assert str(wrong.value) == "this network reads inputs of shape (points, 2); got (2, 2, 2)"
