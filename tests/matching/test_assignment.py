from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from graphws.errors import GraphError
from graphws.graph import Action, GroupElement, LinearMap, Monomial, NetworkGraph, Parameter, Space
from graphws.matching import Score, assign_family, families, nearest_orthogonal, two_sided_least_squares


def nested(action: Action, kind: str = "nested", heads: Action = Action.PERMUTATION) -> NetworkGraph:
    spaces = (
        Space("x", 2, "free"),
        Space("h", 3, action=heads),
        Space("d", 2, kind, "h", action=action),  # type: ignore[arg-type]
    )
    return NetworkGraph(spaces, (Parameter("Q", "d x*"), Parameter("g", "h")))


def scores(graph: NetworkGraph, seed: int = 0) -> dict[str, Score]:
    rng = torch.Generator().manual_seed(seed)

    def drawn(n: int) -> Tensor:
        return torch.randn(n, n, generator=rng, dtype=torch.float64)

    return {name: Score(drawn(graph.extent(name)), drawn(graph.extent(name))) for name in ("h", "d")}


def value(scores: dict[str, Score], maps: dict[str, Monomial]) -> float:
    total = 0.0
    for name, element in maps.items():
        rows = torch.arange(element.size)
        sign = torch.ones(element.size).double() if element.scale is None else element.scale
        total += float((sign * scores[name].odd[rows, element.perm] + scores[name].even[rows, element.perm]).sum())
    return total


def every_element(action: Action, free: bool) -> list[dict[str, Monomial]]:
    """All maps of three heads with two dimensions each, by brute force."""
    found = []
    inner = [(0, 1)] if free else [(0, 1), (1, 0)]
    signs = list(itertools.product([1.0, -1.0], repeat=6)) if action is Action.SIGNED and not free else [(1.0,) * 6]
    for heads in itertools.permutations(range(3)):
        for dims in itertools.product(inner, repeat=3):
            perm = torch.tensor([2 * heads[i] + dims[i][a] for i in range(3) for a in range(2)])
            for sign in signs:
                found.append({"h": Monomial(torch.tensor(heads)), "d": Monomial(perm, torch.tensor(sign).double())})
    return found


@pytest.mark.parametrize(("action", "kind"), [("permutation", "nested"), ("signed", "nested"), ("permutation", "free")])
@pytest.mark.parametrize("seed", range(4))
def test_a_wreath_product_is_solved_exactly(action: str, kind: str, seed: int) -> None:
    graph = nested(Action(action), kind)
    given = scores(graph, seed)
    maps = assign_family(graph, families(graph)[0], given)
    assert graph.group().contains(GroupElement(graph, maps))
    best = max(value(given, element) for element in every_element(Action(action), kind == "free"))
    assert value(given, maps) == pytest.approx(best, rel=1e-12)  # type: ignore[arg-type]


def test_signs_are_read_off_the_odd_part() -> None:
    graph = nested(Action.PERMUTATION, heads=Action.SIGNED)
    given = {"h": Score(-torch.eye(3).double(), torch.zeros(3, 3).double())}
    head = assign_family(graph, families(graph)[0], given)["h"]
    assert isinstance(head, Monomial)
    assert head.perm.tolist() == [0, 1, 2]
    assert head.scale is not None
    assert head.scale.tolist() == [-1.0, -1.0, -1.0]
    even = {"h": Score(torch.zeros(3, 3).double(), -torch.eye(3).double())}
    moved = assign_family(graph, families(graph)[0], even)["h"]
    assert isinstance(moved, Monomial)
    assert (moved.perm != torch.arange(3)).all()  # a sign cannot turn what it does not touch


def test_linear_children_get_the_polar_factors_of_the_best_pairs() -> None:
    graph = nested(Action.LINEAR)
    rng = torch.Generator().manual_seed(1)
    hidden = graph.group().random(rng).maps["h"]
    assert isinstance(hidden, Monomial)
    turns = nearest_orthogonal(torch.randn(3, 2, 2, generator=rng, dtype=torch.float64))
    odd = torch.zeros(3, 2, 3, 2).double()
    for i, j in enumerate(hidden.perm.tolist()):
        odd[i, :, j] = turns[i]
    odd = odd.reshape(6, 6) + 0.01 * torch.randn(6, 6, generator=rng, dtype=torch.float64)
    maps = assign_family(graph, families(graph)[0], {"d": Score(odd, torch.zeros(6, 6).double())})
    assert isinstance(maps["h"], Monomial)
    assert torch.equal(maps["h"].perm, hidden.perm)
    inner = maps["d"]
    assert isinstance(inner, LinearMap)
    torch.testing.assert_close(inner.weight @ inner.weight.T, torch.eye(6).double())
    assert graph.group().contains(GroupElement(graph, maps))
    assert float((inner.weight - odd).norm()) < 0.1


def test_the_polar_factor_beats_random_orthogonal_matrices() -> None:
    rng = torch.Generator().manual_seed(0)
    given = torch.randn(5, 5, generator=rng, dtype=torch.float64)
    best = float((nearest_orthogonal(given) * given).sum())
    for _ in range(50):
        turn = torch.linalg.qr(torch.randn(5, 5, generator=rng, dtype=torch.float64))[0]
        assert float((turn * given).sum()) < best


@pytest.mark.parametrize("with_out", [False, True])
def test_two_sided_least_squares_against_the_dense_system(with_out: bool) -> None:
    rng = torch.Generator().manual_seed(0)
    a, b = (torch.randn(4, 7, generator=rng, dtype=torch.float64) for _ in range(2))
    c, d = (torch.randn(6, 4, generator=rng, dtype=torch.float64) for _ in range(2))
    eye = torch.eye(4).double()
    system, wanted = [torch.kron(eye, b.T.contiguous())], [a.flatten()]
    if with_out:
        system.append(torch.kron(c, eye))
        wanted.append(d.flatten())
    dense = torch.linalg.lstsq(torch.cat(system), torch.cat(wanted)).solution.reshape(4, 4)
    ours = two_sided_least_squares(a, b, *((c, d) if with_out else ()))
    torch.testing.assert_close(ours, dense)


def test_directions_that_nobody_sees_get_nothing() -> None:
    b = torch.zeros(3, 2).double()
    b[0] = 1.0
    assert torch.equal(two_sided_least_squares(2 * b, b)[:, 1:], torch.zeros(3, 2).double())


def test_scores_must_be_finite_and_present() -> None:
    graph = nested(Action.PERMUTATION)
    family = families(graph)[0]
    with pytest.raises(GraphError) as error:
        assign_family(graph, family, {})
    assert str(error.value) == "nothing is known about space 'h': no parameter speaks about it"
    broken = scores(graph)
    broken["h"].odd[0, 0] = float("nan")
    with pytest.raises(GraphError) as error:
        assign_family(graph, family, broken)
    assert str(error.value) == "the scores hold NaN or infinity: are all weights finite?"
    broken = scores(graph)
    broken["d"].odd[0, 0] = float("inf")
    with pytest.raises(GraphError, match="the scores hold NaN or infinity"):
        assign_family(graph, family, broken)


@pytest.mark.parametrize("action", ["permutation", "signed", "linear"])
def test_a_batch_of_scores_is_solved_one_by_one(action: str) -> None:
    graph = nested(Action(action))
    each = [scores(graph, seed) for seed in range(4)]
    batch = {
        name: Score(torch.stack([s[name].odd for s in each]), torch.stack([s[name].even for s in each]))
        for name in each[0]
    }
    found = assign_family(graph, families(graph)[0], batch)
    for k, alone in enumerate(each):
        for name, element in assign_family(graph, families(graph)[0], alone).items():
            torch.testing.assert_close(found[name].matrix()[k], element.matrix(), rtol=0, atol=1e-12)
