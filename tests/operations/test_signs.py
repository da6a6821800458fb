"""Signs of many spaces: as many runs as of few where all claims are right, and each wrong claim is found."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from graphws.graph import Action, NetworkGraph, Weights
from graphws.operations import measure_actions, mlp_graph
from graphws.operations.runner import outputs_of
from graphws.operations.signs import sign_errors
from tests.graph import samples

LIMIT = 1e-7


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Runs:
    """Runs a network, and counts."""

    def __init__(self, graph: NetworkGraph) -> None:
        self.graph, self.count = graph, 0
        self.points = torch.randn(20, 3, generator=rng(1), dtype=torch.float64)

    def __call__(self, weights: Weights) -> Tensor:
        self.count += 1
        return outputs_of(self.graph, weights, self.points)


def deep(layers: int, wrong: tuple[int, ...] = (), width: int = 5) -> NetworkGraph:
    """A tanh network whose hidden spaces have signs; those at `wrong` pass a softplus, which has none."""
    graph = mlp_graph([3, *[width] * layers, 2], "tanh")
    outputs = {f"x{k}" for k in wrong}
    operations = [replace(o, kind="softplus") if set(o.outputs) & outputs else o for o in graph.operations]
    return replace(graph, operations=tuple(operations))


def loud(graph: NetworkGraph, seed: int = 0) -> Weights:
    return samples.random_weights(graph, 1, seed)


@pytest.mark.parametrize("beyond", [False, True])
def test_the_runs_of_a_check_do_not_grow_with_the_spaces(beyond: bool) -> None:
    counts = []
    for layers in (8, 32):
        run = Runs(deep(layers))
        found = measure_actions(run.graph, loud(run.graph), generator=rng(), run=run, beyond=beyond)
        assert [each.claimed for each in found] == [Action.SIGNED] * layers
        assert {each.verdict for each in found} == {"confirmed"}
        assert max(each.errors["signs"] for each in found) < 1e-10
        counts.append(run.count)
    assert counts[0] == counts[1]


@pytest.mark.parametrize("wrong", [(3,), (1, 8), (4, 5, 6)])
@pytest.mark.parametrize("width", [1, 2, 5])
def test_each_wrong_claim_is_found_among_many(wrong: tuple[int, ...], width: int) -> None:
    graph = deep(8, wrong, width)
    names = [f"hidden{k}" for k in range(1, 9)]
    run = Runs(graph)
    found = sign_errors(graph, loud(graph), run, names, LIMIT, rng())
    alone = sign_errors(graph, loud(graph), run, names, LIMIT, rng(), together=False)
    at_fault = {f"hidden{k}" for k in wrong}
    assert {name for name, error in found.items() if error > LIMIT} == at_fault
    assert {name for name, error in alone.items() if error > LIMIT} == at_fault


def test_two_claims_that_cancel_are_parted() -> None:
    """A product of two numbers keeps its value where both change sign: each alone does not."""
    graph = mlp_graph([3, *[1] * 6, 2], "tanh")
    names = [f"hidden{k}" for k in range(1, 7)]

    def run(weights: Weights) -> Tensor:
        return torch.stack([weights["b2"].sum() * weights["b5"].sum(), torch.ones((), dtype=torch.float64)])

    caught = 0
    for seed in range(20):
        found = sign_errors(graph, loud(graph), run, names, LIMIT, rng(seed))
        caught += {name for name, error in found.items() if error > LIMIT} == {"hidden2", "hidden5"}
    assert caught >= 12  # each draw parts them with a chance of three fifths


def test_few_spaces_are_tried_alone_and_unlabelled_ones_not_at_all() -> None:
    graph = deep(3)
    run = Runs(graph)
    found = sign_errors(graph, loud(graph), run, ["hidden1", "hidden2", "hidden3"], LIMIT, rng())
    assert run.count == 1 + 3
    assert max(found.values()) < 1e-10
    bare = replace(graph, spaces=(*graph.spaces, replace(graph.space("hidden1"), name="none")))
    assert math.isnan(sign_errors(bare, Weights(bare, loud(graph).tensors), run, ["none"], LIMIT, rng())["none"])
