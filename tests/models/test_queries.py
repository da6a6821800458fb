"""Queries: outputs at points and nothing else, against a loop over networks that runs each by itself."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from graphws.errors import GraphError, UsageError
from graphws.graph import Axis, NetworkGraph, Operation, Parameter, Space, Value, Weights
from graphws.models import Points, Queries
from graphws.models.queries import LARGEST
from graphws.operations import forward, mlp_graph
from graphws.operations.query_points import fixed_points, regular_grid
from graphws.operations.sampling import random_inputs, random_weights
from graphws.testing import check_equivariance

PICTURE = mlp_graph([2, 5, 1], activation="sine", omega=3.0)
DEEPER = mlp_graph([2, 4, 3, 1], activation="tanh")
WIDE = mlp_graph([3, 4, 2], activation="relu")
TOKENS = NetworkGraph(
    (Space("token", 7, "free"), Space("d", 3, "set"), Space("out", 2, "free")),
    (Parameter("E", (Axis("token"), Axis("d")), "weight"), Parameter("W", (Axis("out"), Axis("d", -1)), "weight")),
    (Operation("embedding", ("E", "ids"), ("e",)), Operation("linear", ("e", "W"), ("y",))),
    ("ids",),
    ("y",),
    values=(Value("ids", ("n", 4), dtype="int64", highest=6),),
)
SILENT = NetworkGraph((Space("d", 3, "set"),), (Parameter("W", (Axis("d"),), "weight"),))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def by_hand(model: Queries, parts: list[Weights], points: Tensor) -> Tensor:
    """One network after the other, layer by layer, in evaluation."""
    rows = []
    for part in parts:
        for k in range(part.batch):
            x = forward(part.graph, part.select([k]), points)
            assert isinstance(x, Tensor)
            rows.append(x.reshape(-1))
    x = torch.stack(rows)
    return model.head(model.read(model.norm(x)))


@pytest.mark.parametrize(("readout", "learned", "grid"), [("mlp", False, True), ("mlp", True, True),
                                                          ("mlp", False, False), ("cnn", False, True)])  # fmt: skip
def test_it_reads_what_a_loop_over_the_networks_gives(readout: str, learned: bool, grid: bool) -> None:
    model = Queries([PICTURE, DEEPER], 3, 16, learned, readout, 2, 8, grid).double()
    parts = [random_weights(PICTURE, 6, rng()), random_weights(DEEPER, 5, rng(1))]
    model(parts)  # moves the running statistics off their start
    model.eval()
    wanted = regular_grid(16) if grid else random_inputs(PICTURE, 16, rng(0), torch.float32)["x0"]
    torch.testing.assert_close(model(parts), by_hand(model, parts, wanted.double()))
    torch.testing.assert_close(model(parts[0]), model(parts)[:6])
    assert (
        model(parts) - by_hand(model, parts, wanted.double() + 0.3)
    ).abs().max() > 1e-3  # other points, other answers


def test_a_cnn_is_what_it_says() -> None:
    model = Queries(PICTURE, 3, 16, readout="cnn", layers=2, width=4).double().eval()
    x = torch.randn(5, 16, generator=rng(), dtype=torch.float64)
    found = model.read(x)
    read = model.read
    image = x.reshape(5, 1, 4, 4)
    scale = 1 / (1 + 1e-5) ** 0.5  # of an untrained normalisation
    one = torch.relu(torch.nn.functional.conv2d(image, read.layers[0].weight, padding=1) * scale)
    halved = one.reshape(5, 4, 2, 2, 2, 2).mean((3, 5))
    two = torch.relu(torch.nn.functional.conv2d(halved, read.layers[1].weight, padding=1) * scale)
    torch.testing.assert_close(found, two.mean((2, 3)))


def test_the_group_leaves_answers_alone_and_another_function_does_not() -> None:
    model = Queries(PICTURE, 3, 16).double().eval()
    check_equivariance(model, PICTURE, rng())
    weights = random_weights(PICTURE, 4, rng())
    scaled = weights.map(lambda x: x / 2)  # as normalisation would: another function
    assert (model(weights) - model(scaled)).abs().max() > 1e-3


def test_learned_points_move_and_fixed_ones_do_not() -> None:
    weights = random_weights(PICTURE, 4, rng(), torch.float32)
    learned, fixed = Queries(PICTURE, 3, 9, learned=True), Queries(PICTURE, 3, 9)
    learned(weights).sum().backward()
    grad = learned.points.at0_0.grad
    assert isinstance(grad, Tensor)
    assert bool((grad != 0).any())
    assert not list(fixed.points.parameters())
    assert sum(p.numel() for p in learned.parameters()) == sum(p.numel() for p in fixed.parameters()) + 18


def test_inputs_of_any_kind_are_drawn_in_their_shape() -> None:
    [ids] = fixed_points(TOKENS, 64)
    assert (ids.shape, ids.dtype, int(ids.min()), int(ids.max())) == ((64, 4), torch.int64, 0, 6)
    [x] = fixed_points(WIDE, 50, seed=3)
    assert torch.equal(x, fixed_points(WIDE, 50, seed=3)[0])
    assert not torch.equal(x, fixed_points(WIDE, 50, seed=4)[0])
    weights = random_weights(TOKENS, 5, rng(), torch.float32)
    model = Queries(TOKENS, 3, 8).eval()
    assert model.length == 8 * 4 * 2
    torch.testing.assert_close(model.answers(weights), forward(TOKENS, weights, model.points.at0_0).flatten(1))


def test_graphs_with_like_inputs_are_asked_at_the_same_points() -> None:
    points = Points([PICTURE, DEEPER, WIDE], 9)
    assert len(points.places) == 2
    assert points.of(PICTURE)["x0"] is points.of(DEEPER)["x0"]


def test_values_that_are_no_numbers_are_bounded() -> None:
    weights = random_weights(DEEPER, 2, rng(), torch.float32).map(lambda x: x * 1e30)
    found = Queries(DEEPER, 3, 9).eval().answers(weights)
    assert bool((found.abs() <= LARGEST).all())


@pytest.mark.parametrize(
    ("graphs", "options", "text"),
    [
        ([SILENT], {}, "queries need networks that run, and these do not: the graph holds no operations"),
        ([PICTURE], {"points": 50}, "50 points are no square grid; take 49 or 64"),
        ([PICTURE], {"points": 0}, "queries need points, layers and a width of at least 1; got 0, 2, 256"),
        (
            [TOKENS],
            {"learned": True},
            "points are learned for floating inputs only, and the input 'ids' is int64; take `learned: false`",
        ),
        ([WIDE], {"readout": "cnn"}, "a cnn reads pictures, that is, networks with 2 inputs; take `readout: mlp`"),
        (
            [PICTURE],
            {"readout": "cnn", "grid": False},
            "a cnn reads a grid of outputs: take `grid: true` and `learned: false`, or `readout: mlp`",
        ),
        ([PICTURE], {"readout": "rnn"}, "queries are read by an mlp or a cnn, got 'rnn'"),
        (
            [PICTURE, WIDE],
            {},
            "queries read outputs of one length, and these networks give 64, 128 numbers at the points; "
            "take networks with outputs alike",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused(graphs: list[NetworkGraph], options: dict[str, object], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Queries(graphs, 3, **options)  # type: ignore[arg-type]
    assert str(caught.value) == text


def test_networks_that_it_was_not_built_for_are_refused() -> None:
    model = Queries(PICTURE, 3, 9).eval()
    assert model(random_weights(DEEPER, 2, rng(), torch.float32)).shape == (2, 3)
    with pytest.raises(UsageError) as caught:
        model(random_weights(WIDE, 2, rng(), torch.float32))
    assert str(caught.value) == (
        "there are no points for networks that read (n, 3); the model was built for other ones"
    )
    with pytest.raises(UsageError) as caught:
        model(random_weights(mlp_graph([2, 3, 4]), 2, rng(), torch.float32))
    assert str(caught.value) == "these networks give 36 numbers at the points, the model reads 9"
    with pytest.raises((UsageError, GraphError)):
        model(random_weights(SILENT, 2, rng(), torch.float32))
