from __future__ import annotations

import itertools
from typing import cast

import pytest
import torch

from graphws.actions.groups.naming import named_symmetry
from graphws.actions.groups.placing import place
from graphws.actions.groups.symmetry import close
from graphws.actions.measures.equivariance import layer_errors, weight_errors
from graphws.actions.planted.networks import Planted, plant, recovery
from graphws.actions.problem import Problem, pose
from graphws.actions.search.almost_homomorphisms import linear_defect, newton
from graphws.actions.search.projection import homomorphism
from graphws.actions.search.search import Candidate, linked_errors, refine, search, start_forward
from graphws.errors import UsageError, WeightsError
from graphws.graph import GroupElement, LinearMap, Monomial, Weights
from graphws.graph.element import compose
from graphws.matching import Score, families, nearest_orthogonal
from graphws.matching.match import same_map
from graphws.operations import forward, mlp_graph
from tests.actions.planting import Case, attention, linear_gap, pictures, rng, violation

SHAPE = (3, 6, 6)


def deep(group: object = "mirror", output: str = "same", seed: int = 0) -> Case:
    outputs = 108 if output == "same" else 10
    graph = mlp_graph([108, 24, 32, 24, outputs], ["tanh", "relu", "gelu"])
    return pictures(graph, group, SHAPE, output, seed)


def solved(case: Case, weights: Weights, data: bool) -> tuple[Candidate, dict[str, float], dict[str, float], float]:
    problem = pose(weights, case.symmetry, case.shape, case.probes(120) if data else None)
    best = search(problem, generator=rng())
    errors = layer_errors(problem, best.maps, held=True) if data else weight_errors(problem, best.maps)
    found = [dict(problem.original(maps).maps) for maps in best.maps]
    return best, errors, recovery(found, case.planted.actions), linear_gap(case, found)  # type: ignore[arg-type]


def is_homomorphism(best: Candidate, table: torch.Tensor) -> bool:
    return all(
        same_map(compose(best.maps[g][name], best.maps[h][name]), best.maps[int(table[g, h])][name])
        for g in range(len(table))
        for h in range(len(table))
        for name in best.maps[0]
    )


@pytest.mark.parametrize("group", ["mirror", "rotations:4", "dihedral"])
@pytest.mark.parametrize("data", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_planted_action_is_recovered_exactly(group: str, data: bool, seed: int) -> None:
    case = deep(group, "same" if seed else "invariant", seed)
    assert violation(case) < 1e-14
    best, errors, shares, _ = solved(case, case.planted.weights, data)
    assert shares == dict.fromkeys(shares, 1.0)
    assert max(errors.values()) < 1e-10
    assert is_homomorphism(best, case.symmetry.table)
    assert not any(bool(mask.any()) for mask in best.unmatched.values())


REGULAR = {
    "Z3": {"a": [1, 2, 0]},
    "S3": {"a": [1, 0, 2], "b": [1, 2, 0]},
    "Q8": {"i": [1, 2, 3, 0, 5, 6, 7, 4], "j": [4, 7, 6, 5, 2, 1, 0, 3]},
}
"""Generators of small groups as permutations."""


@pytest.mark.parametrize("name", list(REGULAR))
@pytest.mark.parametrize(("activation", "level"), [("tanh", 0.0), ("tanh", 0.1), ("relu", 0.0)])
def test_groups_that_are_no_moves_of_pictures(name: str, activation: str, level: float) -> None:
    """Z3, S3 and the quaternions on six copies of their regular representation."""
    base = close(name, {key: Monomial(torch.tensor(perm)) for key, perm in REGULAR[name].items()})
    assert base.order == {"Z3": 3, "S3": 6, "Q8": 8}[name]
    maps, m = {}, base.order
    for key, index in base.generators.items():
        perm = torch.empty(m, dtype=torch.long)
        perm[base.table[index]] = torch.arange(m)
        maps[key] = Monomial(torch.cat([perm + m * copy for copy in range(6)]))
    symmetry = close(name, maps)
    graph = mlp_graph([6 * m, 24, 24, 6 * m], activation)
    placed = place(graph, symmetry, (6 * m,))
    case = Case(graph, symmetry, (6 * m,), placed, plant(graph, placed, rng()))
    assert violation(case) < 1e-14
    weights = case.planted.noisy(level, rng(1)) if level else case.planted.weights
    for data in (False, True):
        best, errors, shares, _ = solved(case, weights, data)
        assert shares == {"input": 1.0, "hidden1": 1.0, "hidden2": 1.0, "output": 1.0}
        assert is_homomorphism(best, symmetry.table)
        assert level or max(errors.values()) < 1e-10


@pytest.mark.parametrize("name", ["Z2", "Z4", "S3"])
@pytest.mark.parametrize("data", [False, True])
def test_heads_and_their_matrices_are_recovered(name: str, data: bool) -> None:
    case = attention(name)
    assert violation(case) < 1e-13
    best, errors, shares, gap = solved(case, case.planted.weights, data)
    assert shares == dict.fromkeys(shares, 1.0)
    assert gap < 1e-8
    assert max(errors.values()) < 1e-9
    assert is_homomorphism(best, case.symmetry.table)


def test_noise_is_withstood() -> None:
    case = pictures(mlp_graph([108, 32, 32, 32, 108], "tanh"), "mirror", SHAPE)
    _, _, shares, _ = solved(case, case.planted.noisy(0.5, rng(3)), data=False)
    assert min(shares.values()) == 1.0


def test_the_identity_traps_a_search_that_is_not_debiased() -> None:
    """Seven layers and ten logits: descent from the identity keeps it, the search does not."""
    graph = mlp_graph([108, *[32] * 7, 10], "tanh")
    case = pictures(graph, "mirror", SHAPE, "invariant")
    problem = pose(case.planted.weights, case.symmetry, SHAPE)
    nothing = [{s.name: Monomial(torch.arange(s.size)) for s in graph.spaces} for _ in range(2)]
    start = Candidate("identity", tuple({**maps, **problem.fixed[g]} for g, maps in enumerate(nothing)), {})
    trapped = refine(problem, start, "weights", generator=rng())
    wrong = recovery([problem.original(maps).maps for maps in trapped.maps], case.planted.actions)
    assert min(wrong.values()) < 0.9
    _, _, shares, _ = solved(case, case.planted.weights, data=False)
    assert min(shares.values()) == 1.0


def test_an_equivariant_network_computes_an_equivariant_function() -> None:
    for case in (deep("dihedral"), attention("S3")):
        x = case.probes(10)
        y = forward(case.graph, case.planted.weights, x)[0]
        for g in range(case.symmetry.order):
            moved = forward(case.graph, case.planted.weights, case.symmetry.on_inputs(g, x))[0]
            torch.testing.assert_close(moved, case.symmetry.on_outputs(g, y))


def test_planted_networks_are_not_symmetric_under_something_else() -> None:
    case = deep()
    wrong = Planted(case.planted.weights, tuple(reversed(case.planted.actions)))
    for maps, space in ((case.planted.actions[1], "hidden1"), (case.planted.actions[1], "hidden3")):
        bent = {**maps, space: Monomial(torch.arange(case.graph.extent(space)))}
        gap = GroupElement(case.graph, bent).act(case.planted.weights).flatten() - case.planted.weights.flatten()
        assert float(gap.norm()) > 0.1
    assert recovery(list(wrong.actions), case.planted.actions)["hidden1"] < 1.0


def test_a_matrix_group_that_is_not_orthogonal() -> None:
    """An involution with a skew basis on the inputs: the ends are moved to a basis in which it is orthogonal."""
    skew = torch.eye(8).double() + 0.3 * torch.randn(8, 8, generator=rng(5), dtype=torch.float64)
    matrix = skew @ torch.diag(torch.tensor([1.0, 1, 1, 1, -1, -1, -1, -1]).double()) @ torch.linalg.inv(skew)
    graph = mlp_graph([8, 16, 16, 3], "tanh")
    group = {"kind": "generated", "generators": {"a": matrix.tolist()}, "relations": ["a^2"]}
    case = pictures(graph, group, (8,), "invariant")
    for data in (False, True):
        _, errors, shares, _ = solved(case, case.planted.weights, data)
        assert shares["hidden1"] == shares["hidden2"] == 1.0
        assert max(errors.values()) < 1e-9


def test_inconsistent_neurons_are_left_unmatched() -> None:
    graph = mlp_graph([4, 6, 2], "gelu")
    table = torch.tensor([[0, 1, 2], [1, 2, 0], [2, 0, 1]])
    cycle, swap = torch.eye(6).double()[[1, 2, 0, 3, 4, 5]], torch.eye(6).double()[[0, 1, 2, 4, 3, 5]]
    cycle[3:], swap[:3] = 0, 0  # an honest orbit of three, and a swap that is of order 2 and so none of Z3
    scores = [{}, *({"hidden1": Score(10 * m, torch.zeros(6, 6).double())} for m in (cycle + swap, cycle.T + swap))]
    maps, unmatched = homomorphism(graph, families(graph)[0], scores, table, rounds=1)
    assert [int(m["hidden1"].perm[0]) for m in maps] == [0, 1, 2]  # type: ignore[union-attr]
    assert unmatched.tolist() == [False, False, False, True, True, False]
    assert all(m["hidden1"].perm[3:].tolist() == [3, 4, 5] for m in maps)  # type: ignore[union-attr]


@pytest.mark.parametrize("orthogonal", [False, True])
def test_newton_makes_a_homomorphism(orthogonal: bool) -> None:
    table = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0], [2, 3, 0, 1], [3, 0, 1, 2]])
    turn = torch.linalg.matrix_power
    base = torch.eye(4).double()[[1, 2, 3, 0]]
    mixed = torch.linalg.qr(torch.randn(4, 4, generator=rng(), dtype=torch.float64))[0]
    exact = [mixed @ turn(base, k) @ mixed.T for k in range(4)]
    noisy = [m + 0.05 * torch.randn(4, 4, generator=rng(k), dtype=torch.float64) for k, m in enumerate(exact)]
    assert linear_defect(noisy, table) > 0.01
    fixed = newton(noisy, table, orthogonal=orthogonal)
    assert linear_defect(fixed, table) < 1e-12
    assert max(float((a - b).norm()) for a, b in zip(fixed, exact, strict=True)) < 0.3


def test_what_cannot_be_posed_is_refused() -> None:
    case = deep()
    two = Weights.cat([case.planted.weights, case.planted.weights])
    with pytest.raises(UsageError) as error:
        pose(two, case.symmetry, SHAPE)
    assert str(error.value) == "actions are looked for in one network at a time, got 2"
    with pytest.raises(UsageError) as error:
        pose(case.planted.weights, case.symmetry, SHAPE, case.probes(3))
    assert str(error.value) == "probes are split in two halves: give at least 4, got 3"
    broken = case.planted.weights.map(torch.clone)
    broken["W2"][0, 0, 0] = float("nan")
    with pytest.raises(WeightsError, match="parameter 'W2' of network 0 holds 1 NaN or inf"):
        pose(broken, case.symmetry, SHAPE)
    other = mlp_graph([100, 8, 108], "tanh")
    with pytest.raises(UsageError) as error:
        pose(Weights.unflatten(other, torch.zeros(1, other.numel)), case.symmetry, SHAPE)
    assert str(error.value) == "the network has no input space of 108 numbers; it has input (100)"
    line = mlp_graph([108, 108])
    with pytest.raises(UsageError) as error:
        search(pose(Weights.unflatten(line, torch.ones(1, line.numel)), case.symmetry, SHAPE), generator=rng())
    assert str(error.value) == "the network has no hidden space that anything may act on"


def test_results_are_linear_maps_on_linear_spaces() -> None:
    case = attention("Z2")
    problem = pose(case.planted.weights, case.symmetry, case.shape)
    best = search(problem, generator=rng())
    assert isinstance(best.maps[1]["model1"], LinearMap)
    for maps in best.maps:
        element = problem.original(maps)
        hidden = {k: v for k, v in element.maps.items() if case.graph.space(k).moves or case.graph.space(k).parent}
        assert case.graph.group().contains(GroupElement(case.graph, hidden))


def test_a_refinement_that_only_fits_noise_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an action to find, a few sweeps say as much as dozens; where there is one, all of it is found."""
    graph = mlp_graph([108, 192, 192, 108], "gelu")
    draw = Weights.unflatten(graph, torch.randn(1, graph.numel, generator=rng(), dtype=torch.float64))
    nothing = pose(draw.map(lambda x: x / x.shape[-1] ** 0.5), named_symmetry("mirror", SHAPE), SHAPE)
    case = pictures(mlp_graph([108, 32, 32, 32, 108], "tanh"), "mirror", SHAPE)
    something = pose(case.planted.noisy(0.7, rng(3)), case.symmetry, SHAPE)

    def refined(problem: Problem, sweeps: int) -> Candidate:
        return refine(problem, start_forward(problem, "weights"), "weights", generator=rng(), sweeps=sweeps)

    def alike(first: Candidate, second: Candidate) -> bool:
        return all(same_map(k, second.maps[1][name]) for name, k in first.maps[1].items())

    here, there = refined(nothing, 5), refined(something, 30)
    assert alike(here, refined(nothing, 30))
    errors = [max(weight_errors(nothing, here.maps).values())]
    monkeypatch.setattr("graphws.actions.search.search._GAIN", -1.0)
    assert alike(there, refined(something, 30))
    on = refined(nothing, 30)
    assert not alike(here, on)
    errors.append(max(weight_errors(nothing, on.maps).values()))
    assert errors[1] > 0.98 * errors[0]


def _nested(parents: int, size: int, noise: float, seed: int = 0) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Orthogonal matrices of blocks, nearly a homomorphism of Z4: it turns the parents and a basis inside of each."""
    drawn = rng(seed)
    table = torch.tensor([[(g + h) % 4 for h in range(4)] for g in range(4)])
    bases = torch.linalg.qr(torch.randn(parents, size, size, generator=drawn, dtype=torch.float64))[0]
    found = []
    for g in range(4):
        whole = torch.zeros(parents, size, parents, size, dtype=torch.float64)
        for i in range(parents):
            j = (i + g) % 4 + 4 * (i // 4)
            gap = noise * torch.randn(size, size, generator=drawn, dtype=torch.float64) if g else 0.0
            left, _, right = torch.linalg.svd(bases[i] @ bases[j].mT + gap)
            whole[i, :, j] = left @ right
        found.append(whole.reshape(parents * size, parents * size))
    return found, table


def test_newton_by_blocks_does_what_it_does_on_whole_matrices():
    noisy, table = _nested(8, 3, 0.05)
    whole, by_blocks = newton(noisy, table, orthogonal=True), newton(noisy, table, orthogonal=True, parents=8)
    assert linear_defect(noisy, table, 8) == pytest.approx(linear_defect(noisy, table), rel=1e-9)
    assert linear_defect(noisy, table, 8) > 0.01
    for a, b in zip(whole, by_blocks, strict=True):
        assert torch.allclose(a, b, atol=1e-9)
        assert torch.equal(a.abs() > 1e-9, b.abs() > 1e-9)
    assert max(linear_defect(by_blocks, table), linear_defect(whole, table)) < 1e-13


def test_newton_takes_matrices_that_are_no_blocks_as_wholes():
    noisy, table = _nested(8, 3, 0.05)
    turn = torch.linalg.qr(torch.randn(24, 24, generator=rng(3), dtype=torch.float64))[0]
    mixed = [turn @ matrix @ turn.mT for matrix in noisy]
    for a, b in zip(newton(mixed, table, orthogonal=True), newton(noisy, table, orthogonal=True), strict=True):
        assert torch.allclose(a, turn @ b @ turn.mT, atol=1e-9)
    for a, b in zip(
        newton(mixed, table, orthogonal=True, parents=8), newton(mixed, table, orthogonal=True), strict=True
    ):
        assert torch.allclose(a, b, atol=1e-9)


def test_what_is_no_homomorphism_has_a_defect():
    noisy, table = _nested(8, 3, 0.0)
    assert linear_defect(noisy, table, 8) < 1e-13
    wrong = [noisy[0], noisy[2], noisy[1], noisy[3]]
    assert linear_defect(wrong, table, 8) > 0.5


@pytest.mark.parametrize("gap", [0.0, 1e-9, 0.02, 0.2, 3.0])
def test_the_nearest_orthogonal_matrix_is_the_polar_factor(gap: float):
    turned = torch.linalg.qr(torch.randn(4, 6, 6, generator=rng(1), dtype=torch.float64))[0]
    scores = turned + gap * torch.randn(4, 6, 6, generator=rng(2), dtype=torch.float64)
    left, _, right = torch.linalg.svd(scores)
    found = nearest_orthogonal(scores)
    assert torch.allclose(found, left @ right, atol=1e-11)
    assert torch.allclose(found.mT @ found, torch.eye(6, dtype=torch.float64), atol=1e-13)


def test_an_exact_layer_behind_broken_ones_is_worth_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """From outputs that do not follow, no layer before them is linked, however well it fits by itself."""
    chain = ["input", "hidden1", "hidden2", "hidden3", "output"]
    reads = {space: {before} for before, space in itertools.pairwise(chain)}

    def linked(*errors: float) -> dict[str, float]:
        known = dict(zip(chain[1:], errors, strict=True))
        monkeypatch.setattr("graphws.actions.search.search.errors_of_layers", lambda problem, maps: known)
        return linked_errors(cast(Problem, None), Candidate("", (), {}), reads, {"input", "output"})

    assert set(linked(1.2, 0.7, 0.0, 0.7).values()) == {1.2}
    assert linked(1.2, 0.7, 0.0, 0.1) == {"hidden1": 1.2, "hidden2": 1.2, "hidden3": 0.1, "output": 0.1}
    assert linked(0.1, 0.7, 0.0, 0.7) == {"hidden1": 0.1, "hidden2": 0.7, "hidden3": 0.7, "output": 0.7}
