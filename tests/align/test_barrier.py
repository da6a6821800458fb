from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from graphws.align import Barrier, align, average, barrier, classification_loss, function_loss
from graphws.errors import DataError, GraphError, UsageError
from graphws.graph import NetworkGraph, Weights
from graphws.operations import forward, mlp_graph
from graphws.zoo.sources.digits import load_digits
from tests.align.cases import MLPS, distance, network


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_barrier_of_a_line_is_its_largest_excess() -> None:
    line = Barrier((0.0, 0.5, 1.0), (1.0, 2.5, 2.0))
    assert line.excess == (0.0, 1.0, 0.0)
    assert (line.height, line.middle) == (1.0, 2.5)
    assert str(line) == "barrier 1 (loss 1 to 2, halfway 2.5)"
    assert Barrier((0.0, 0.5, 1.0), (1.0, 0.5, 2.0)).height == 0


def test_losses_along_the_line_are_those_of_the_networks_there() -> None:
    graph = MLPS["relu"]
    first, second = network(graph, 1), network(graph, 2)
    x, labels = torch.randn(20, 5, generator=rng(), dtype=torch.float64), torch.arange(20) % 3
    found = barrier(first, second, classification_loss(x, labels), points=5)
    assert found.positions == (0.0, 0.25, 0.5, 0.75, 1.0)
    for t, loss in zip(found.positions, found.losses, strict=True):
        flat = (1 - t) * first.flatten() + t * second.flatten()
        logits = forward(graph, Weights.unflatten(graph, flat), x)[0]
        assert loss == pytest.approx(float(torch.nn.functional.cross_entropy(logits, labels)))
    middle = average(Weights.cat([first, second]))
    assert float(classification_loss(x, labels)(middle)[0]) == pytest.approx(found.middle)


def test_a_moved_copy_has_a_barrier_before_and_none_after() -> None:
    graph = MLPS["deep tanh"]
    first = network(graph)
    second = graph.group().random(rng(), actions="rich").act(first)
    x = torch.randn(50, 5, generator=rng(), dtype=torch.float64)
    loss = function_loss(first, second, x)
    assert barrier(first, second, loss).height > 0.3
    assert barrier(first, align(first, second, generator=rng()).aligned, loss).height < 1e-12


def test_other_ways_to_run_a_network() -> None:
    graph = MLPS["relu"]
    first, second = network(graph, 1), network(graph, 2)
    x, labels = torch.randn(20, 5, generator=rng(), dtype=torch.float64), torch.arange(20) % 3

    def run(weights: Weights) -> Tensor:
        return forward(graph, weights, x)

    for one, other in (
        (classification_loss(x, labels), classification_loss(x, labels, run)),
        (function_loss(first, second, x), function_loss(first, second, x, run)),
    ):
        assert barrier(first, second, one) == barrier(first, second, other)


def test_errors() -> None:
    first = network(MLPS["relu"])
    loss = classification_loss(torch.zeros(4, 5, dtype=torch.float64), torch.zeros(4, dtype=torch.long))
    for points in (4, 1):
        message = rf"^the line needs an odd number of points, at least 3; got {points}$"
        with pytest.raises(UsageError, match=message):
            barrier(first, first, loss, points)
    with pytest.raises(GraphError, match=r"^networks of different graphs cannot be aligned$"):
        barrier(first, network(MLPS["sine"]), loss)
    with pytest.raises(DataError, match=r"^labels of shape \(3,\) for 4 points: one number each is wanted$"):
        classification_loss(torch.zeros(4, 5), torch.zeros(3, dtype=torch.long))


def trained(graph: NetworkGraph, x: Tensor, labels: Tensor, seed: int) -> Weights:
    """A network fitted to labelled points from its own random start."""
    generator = rng(seed)
    tensors = {}
    for p in graph.parameters:
        shape = graph.shape(p.name)
        scale = math.sqrt(2 / shape[1]) if len(shape) == 2 else 0.0
        start = scale * torch.randn(1, *shape, generator=generator, dtype=x.dtype)
        tensors[p.name] = start.requires_grad_()
    optimizer = torch.optim.Adam(tensors.values(), lr=3e-3)
    for _ in range(150):
        rows = torch.randint(len(x), (256,), generator=generator)
        optimizer.zero_grad()
        classification_loss(x[rows], labels[rows])(Weights(graph, tensors)).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return Weights(graph, {name: tensor.detach() for name, tensor in tensors.items()})


@pytest.mark.slow
def test_networks_trained_apart_have_a_lower_barrier_once_aligned() -> None:
    digits = load_digits()
    x, y = digits.values.flatten(1).double(), torch.from_numpy(digits.table["label"])
    graph = mlp_graph([x.shape[1], 128, 128, 10], "relu")
    first, second = (trained(graph, x, y, seed) for seed in (1, 2))
    loss = classification_loss(x, y)
    before = barrier(first, second, loss)
    assert before.losses[0] < 0.1
    assert before.losses[-1] < 0.1
    shuffled = graph.group().random(rng(), actions="rich").act(second)
    heights = {}
    for method, options in (
        ("weights", {}),
        ("activations", {"inputs": x}),
        ("attributions", {"run": lambda w: forward(graph, w, x)}),
    ):
        found = align(first, shuffled, method=method, generator=rng(), **options)  # type: ignore[arg-type]
        assert distance(shuffled, found.aligned) > 0.1
        heights[method] = barrier(first, found.aligned, loss).height
    assert max(heights.values()) < 0.5 * before.height, (before.height, heights)
