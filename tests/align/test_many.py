from __future__ import annotations

import pytest
import torch

from graphws.align import align_many
from graphws.errors import GraphError, WeightsError
from graphws.graph import NetworkGraph, Weights
from graphws.operations import forward
from tests.align.cases import ATTENTION, GRAPHS, MLPS, distance, network, points


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    "graph",
    [MLPS["relu"], MLPS["deep tanh"], MLPS["mixed"], ATTENTION["standard form"], GRAPHS["residual"]],
    ids=["relu", "tanh", "mixed", "attention", "residual"],
)
def test_many_copies_of_one_network_come_together(graph: NetworkGraph) -> None:
    first = network(graph)
    copies = [first] + [graph.group().random(rng(k), actions="rich").act(first) for k in range(4)]
    found = align_many(copies, generator=rng())
    for k in range(5):
        assert graph.group().contains(found.elements[k])
        assert distance(first, found.aligned.select([k])) < 1e-8
        assert distance(found.elements[k].act(copies[k]), found.aligned.select([k])) < 1e-14


def test_noisy_copies_come_to_one_order_and_the_mean_forgets_the_noise() -> None:
    graph = MLPS["gelu, wide and narrow"]
    true = network(graph)
    copies = []
    for k in range(8):
        noisy = Weights.unflatten(graph, true.flatten() + 0.2 * network(graph, 100 + k).flatten())
        copies.append(graph.group().random(rng(k)).act(noisy) if k else noisy)
    found = align_many(copies, generator=rng())
    mean = found.aligned.map(lambda x: x.mean(0, keepdim=True))
    apart = Weights.cat(copies).map(lambda x: x.mean(0, keepdim=True))
    assert distance(true, mean) < 0.16  # 0.2 / sqrt(8) = 0.07; the smallest tensor has three entries
    assert distance(true, apart) > 0.5  # control


def test_the_closeness_of_pairs_never_falls() -> None:
    graph = MLPS["deep tanh"]
    found = align_many(network(graph, batch=5), generator=rng())
    assert len(found.record) > 1
    assert all(b > a for a, b in zip(found.record, found.record[1:], strict=False))
    before, after = (forward(graph, w, points(graph)) for w in (network(graph, batch=5), found.aligned))
    torch.testing.assert_close(before, after)


def test_permutations_only() -> None:
    graph = MLPS["relu"]
    found = align_many(network(graph, batch=3), generator=rng(), actions="permutation")
    assert all(graph.group().contains(element, "permutation") for element in found.elements)


def test_several_ways_are_tried_and_the_better_is_kept() -> None:
    graph = MLPS["relu"]
    many, x = network(graph, batch=3), points(graph)
    seen: list[Weights] = []

    def objective(aligned: Weights) -> float:
        seen.append(aligned)
        return float(forward(graph, aligned.map(lambda t: t.mean(0, keepdim=True)), x).square().mean())

    found = align_many(many, generator=rng(), objective=objective)
    assert [str(candidate) for candidate in found.candidates] == [
        "rich, matched at unit norm, averaged at least norm",
        "rich, matched at least norm, averaged at least norm",
        "permutation, averaged at least norm",
        "permutation",
        "as they came",
    ]
    values = [candidate.objective for candidate in found.candidates]
    assert values[found.kept] == min(value for value in values if value is not None)
    assert torch.equal(found.aligned.flatten(), seen[found.kept].flatten())
    outputs = forward(graph, many, x)
    for aligned in seen:
        torch.testing.assert_close(forward(graph, aligned, x), outputs)
    nearest = align_many(many, generator=rng())
    distances = [candidate.distance for candidate in nearest.candidates]
    assert distances[nearest.kept] <= 1.01 * min(distances)
    (first,) = align_many([network(graph)] * 2, generator=rng()).candidates
    assert first.distance < 1e-20


def test_errors() -> None:
    with pytest.raises(GraphError, match=r"^there is nothing to align: got 1 network, at least 2 are needed$"):
        align_many(network(MLPS["relu"]), generator=rng())
    with pytest.raises(WeightsError, match=r"^weights of different graphs cannot be joined into one batch$"):
        align_many([network(MLPS["relu"]), network(MLPS["sine"])], generator=rng())
