"""What extraction must reach on planted attention networks: heads, matrices under noise, every form of the layer."""

from __future__ import annotations

import pytest
import torch

from graphws.actions import find_actions
from graphws.actions.groups.naming import named_symmetry
from graphws.actions.groups.placing import place
from graphws.actions.groups.symmetry import DataSymmetry
from graphws.actions.measures.equivariance import layer_errors, weight_errors
from graphws.actions.planted.networks import plant, recovery
from graphws.actions.problem import pose
from graphws.actions.search.search import search
from graphws.graph import LinearMap, NetworkGraph
from graphws.operations import attention_pool_graph
from graphws.operations.builders.attention import AttentionLayer, attention_graph
from tests.actions.planting import Case, rng, token_group

TOKENS = 5


def planted(graph: NetworkGraph, symmetry: DataSymmetry, shape: tuple[int, ...], seed: int = 0) -> Case:
    placed = place(graph, symmetry, shape)
    return Case(graph, symmetry, shape, placed, plant(graph, placed, rng(seed), condition=4.0))


NARROW = {"Z2": (6, 8, 8), "Z4": (8, 8, 4), "S3": (9, 12, 4)}
"""Heads, their dimension, and copies of the regular representation on the tokens: heads half as wide as tokens."""


def narrow(group: str, seed: int) -> Case:
    """Heads narrower than tokens, as they are in practice: their matrices are well determined."""
    heads, dim, copies = NARROW[group]
    symmetry = token_group(group, copies, TOKENS)
    width = symmetry.input[0].size // TOKENS
    layers = [AttentionLayer(heads, dim), AttentionLayer(heads, dim, width)]
    return planted(attention_graph(width, layers, output=width), symmetry, (TOKENS, width), seed)


@pytest.mark.parametrize("group", ["Z2", pytest.param("Z4", marks=pytest.mark.slow), "S3"])
@pytest.mark.parametrize("level", [0.0, 0.03, 0.1])
def test_heads_and_their_matrices_under_noise(group: str, level: float) -> None:
    """Bars: heads 1.0 up to σ = .1; the matrices' relative error at most 6 σ up to σ = .03, 0 without noise."""
    worst = []
    for seed in range(3 if group == "Z2" else 1):
        case = narrow(group, seed)
        weights = case.planted.noisy(level, rng(10 + seed)) if level else case.planted.weights
        problem = pose(weights, case.symmetry, case.shape)
        best = search(problem, generator=rng())
        found = [dict(problem.original(maps).maps) for maps in best.maps]
        shares = recovery(found, case.planted.actions)
        assert {name: share for name, share in shares.items() if name.startswith("head")} == {"head1": 1, "head2": 1}
        for ours, theirs in list(zip(found, case.planted.actions, strict=True))[1:]:
            for name, element in theirs.items():
                if isinstance(element, LinearMap) and name.startswith("value"):
                    wanted = element.matrix()
                    worst.append(float((ours[name].matrix() - wanted).norm() / wanted.norm()))
        if not level:
            assert max(weight_errors(problem, best.maps).values()) < 1e-10
    if level <= 0.03:
        assert max(worst) < max(6 * level, 1e-9)


@pytest.mark.parametrize("scores", ["softmax", "linear"])
@pytest.mark.parametrize("query_dim", [None, 4])
@pytest.mark.parametrize("data", [False, True])
def test_every_form_of_attention(scores: str, query_dim: int | None, data: bool) -> None:
    """Softmax and linear scores; attention matrices merged, or plain queries and keys."""
    symmetry = token_group("Z2", 4, TOKENS)
    layers = [AttentionLayer(4, 4, query_dim=query_dim), AttentionLayer(4, 4, 8, query_dim=query_dim)]
    graph = attention_graph(8, layers, output=8, scores=scores)  # type: ignore[arg-type]
    case = planted(graph, symmetry, (TOKENS, 8))
    found = find_actions(case.planted.weights, symmetry, case.shape, data=case.probes(40) if data else None, decoys=1)
    assert found.verdict.outcome == "exact action"
    assert max(layer.k_error for layer in found.layers) < 1e-9
    shares = recovery([element.maps for element in found.elements], case.planted.actions)
    assert {shares[name] for name in shares if name.startswith("head")} == {1.0}
    spaces = {layer.space for layer in found.layers}
    assert {"value1", "value2"} <= spaces


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("level", "outcome"), [(0.0, "exact action"), (0.02, "action found")])
@pytest.mark.parametrize("data", [False, True])
def test_queries_that_share_keys_and_values(groups: int, level: float, outcome: str, data: bool) -> None:
    """S_r wr S_g: the askers of a head are permuted inside it, and get an error although no value has them."""
    symmetry = token_group("Z2", 4, TOKENS)
    layers = [AttentionLayer(4, 4, width, query_dim=4, key_value_heads=groups) for width in (None, 8)]
    case = planted(attention_graph(8, layers, output=8), symmetry, (TOKENS, 8))
    weights = case.planted.noisy(level, rng(10)) if level else case.planted.weights
    found = find_actions(weights, symmetry, case.shape, data=case.probes(40) if data else None, decoys=1)
    assert found.verdict.outcome == outcome
    assert {"asker1", "query1", "value1", "asker2", "query2", "value2"} <= {layer.space for layer in found.layers}
    shares = recovery([element.maps for element in found.elements], case.planted.actions)
    assert {share for name, share in shares.items() if name.startswith(("head", "asker"))} == {1.0}


@pytest.mark.parametrize("widths", [[8, 12, 108], [16, 16, 108]])
@pytest.mark.parametrize("data", [False, True])
def test_one_learned_query(widths: list[int], data: bool) -> None:
    """Of a query that never changes one direction counts: the rest is taken out, or it would hide the action."""
    shape, symmetry = (3, 6, 6), named_symmetry("mirror", (3, 6, 6))
    graph = attention_pool_graph(3, 9, widths, heads=widths[0] // 4, activation=["tanh", "gelu"], patch=2)
    case = planted(graph, symmetry, shape)
    probes = case.probes(40) if data else None
    found = find_actions(case.planted.weights, symmetry, shape, data=probes, decoys=2)
    assert found.verdict.outcome == "exact action"
    assert max(layer.k_error for layer in found.layers) < 1e-9
    assert found.reduction is not None
    assert found.reduction.sizes()["asker"] == (widths[0], 1)
    for element in found.elements:
        lifted = found.reduction.lift(element)
        assert lifted.graph == graph
        moved = lifted.act(found.reduction.equivalent())
        torch.testing.assert_close(moved.flatten(), found.reduction.equivalent().flatten(), rtol=0, atol=1e-9)
    whole = find_actions(case.planted.weights, symmetry, shape, decoys=1, reduced=False)
    assert whole.reduction is None
    assert whole.verdict.outcome != "exact action"


@pytest.mark.parametrize("grid", [(3, 3), (4, 4)])
@pytest.mark.parametrize("move", ["mirror", "rotations:4"])
@pytest.mark.parametrize("seed", [0, 1])
def test_token_permutations(grid: tuple[int, int], move: str, seed: int) -> None:
    """Positional encodings follow their tokens, also where they write a part of the tokens' space only."""
    count = grid[0] * grid[1]
    symmetry = named_symmetry({"kind": "tokens", "grid": list(grid), "move": move}, (count, 8))
    layers = [AttentionLayer(4, 4, 8), AttentionLayer(4, 4, 8)]
    case = planted(attention_graph(8, layers, output=8, positions=count), symmetry, (count, 8), seed)
    found = find_actions(case.planted.weights, symmetry, case.shape, decoys=1)
    assert found.verdict.outcome == "exact action"
    assert max(layer.k_error for layer in found.layers) < 1e-9


@pytest.mark.slow
def test_token_permutations_of_a_patch_grid() -> None:
    """Patches move as wholes and inside; positional encodings follow; a wrong order of positions breaks it."""
    group, shape = "mirror", (1, 8, 8)
    symmetry = named_symmetry({"kind": "tokens", "grid": [4, 4], "move": "mirror"}, (16, 8))
    layers = [AttentionLayer(4, 4, 8), AttentionLayer(4, 4, 8)]
    graph = attention_graph(8, layers, output=8, positions=16)
    case = planted(graph, symmetry, (16, 8))
    problem = pose(case.planted.weights, symmetry, (16, 8), case.probes(40))
    best = search(problem, generator=rng())
    assert max(layer_errors(problem, best.maps, held=True).values()) < 1e-9
    found = [problem.original(maps).maps for maps in best.maps]
    assert {s for name, s in recovery(found, case.planted.actions).items() if name.startswith("head")} == {1.0}
    positions = case.planted.weights["P"]
    broken = {**case.planted.weights.tensors, "P": positions[:, torch.randperm(16, generator=rng())]}
    wrong = find_actions(type(case.planted.weights)(graph, broken), symmetry, (16, 8), data=case.probes(40), decoys=1)
    assert wrong.verdict.outcome == "no action found"
    patched = attention_graph(1, layers, output=4, positions=16, patch=2)
    moved = named_symmetry(group, shape)
    other = planted(patched, moved, shape)
    seen = find_actions(other.planted.weights, moved, shape, data=other.probes(40), decoys=1)
    assert seen.end_to_end is not None
    assert seen.end_to_end < 1e-10
    assert seen.verdict.outcome == "exact action"
