"""A reference for many networks: whoever knows the relabellings finds them again."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from graphws.align import Reference, find_reference
from graphws.align.objective import climb, closeness
from graphws.errors import GraphError
from graphws.graph import GroupElement, Monomial, NetworkGraph, Weights
from graphws.graph.group import Richness
from graphws.matching import balanced_metric, match_forward
from graphws.matching.each import match_each
from graphws.matching.scored_parameters import matching_view
from graphws.operations import forward
from tests.align.cases import ATTENTION, GRAPHS, MLPS, distance, network, points

RELABELLED = [MLPS["relu"], MLPS["sine"], MLPS["deep tanh"], ATTENTION["standard form"], GRAPHS["residual"]]
NAMES = ["relu", "sine", "tanh", "attention", "residual"]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def relabelled(graph: NetworkGraph, count: int, apart: float, actions: Richness) -> tuple[Weights, list[GroupElement]]:
    """Noisy networks of three prototypes in random orders, and the orders; prototypes alternate."""
    prototypes, shared = network(graph, 1, batch=3), network(graph, 7)
    clean = shared.flatten() + apart * prototypes.flatten()[torch.arange(count) % 3]
    noisy = Weights.unflatten(graph, clean + 0.02 * network(graph, 2, batch=count).flatten())
    elements = [graph.group().random(rng(10 + k), actions=actions) for k in range(count)]
    return Weights.cat([each.act(noisy.select([k])) for k, each in enumerate(elements)]), elements


def disorder(elements: GroupElement, known: list[GroupElement]) -> list[int]:
    """For each network how many hidden neurons come to another place than those of the first, each known before."""
    back = [elements.select(torch.tensor([k])) @ each for k, each in enumerate(known)]
    hidden = [[each.maps[name] for name in ("hidden1", "hidden2")] for each in back]
    perms = torch.stack([torch.cat([m.perm[0] for m in maps if isinstance(m, Monomial)]) for maps in hidden])
    return (perms != perms[0]).sum(1).tolist()


@pytest.mark.parametrize("actions", ["permutation", "rich"])
def test_relabellings_of_near_prototypes_are_undone(actions: Richness) -> None:
    """Every network is brought back by its own relabelling, up to one that all share; half of them took no part."""
    networks, known = relabelled(MLPS["sine"], 18, 0.1, actions)
    found = find_reference(networks.select(slice(0, 9)), generator=rng(), actions=actions)
    assert disorder(found.reference.elements(networks), known) == [0] * 18
    assert found.before < 0.3 < 0.95 < found.record[-1]
    wrong = Reference(network(MLPS["sine"], 99), found.reference.metric, actions)  # control: of no network here
    assert sum(disorder(wrong.elements(networks), known)) > 0
    rows = Monomial(torch.arange(32).expand(18, -1))
    stays = GroupElement(MLPS["sine"], {"hidden1": rows, "hidden2": rows})  # control: nothing was done
    assert sum(disorder(stays, known)) > 400


@pytest.mark.parametrize("actions", ["permutation", "rich"])
def test_networks_of_one_prototype_come_to_one_order(actions: Richness) -> None:
    """Whatever else is in the data: prototypes here have nothing in common."""
    networks, known = relabelled(MLPS["sine"], 18, 10.0, actions)
    found = find_reference(networks.select(slice(0, 9)), generator=rng(), actions=actions)
    elements = found.reference.elements(networks)
    for first in range(3):
        same = torch.arange(first, 18, 3)
        assert disorder(elements.select(same), [known[int(k)] for k in same]) == [0] * 6


@pytest.mark.parametrize("graph", RELABELLED, ids=NAMES)
@pytest.mark.parametrize("actions", ["permutation", "rich"])
def test_what_a_network_becomes_does_not_depend_on_the_order_of_its_neurons(
    graph: NetworkGraph, actions: Richness
) -> None:
    reference = find_reference(network(graph, batch=4), generator=rng(), actions=actions, rounds=2).reference
    tested = network(graph, 50, batch=5)
    moved = graph.group().random(rng(3), batch=5, actions=actions).act(tested)
    aligned = [reference.elements(each).act(each) for each in (tested, moved)]
    assert distance(*aligned) < 1e-8
    assert distance(tested, moved) > 0.1  # control: they were not equal
    assert distance(aligned[0], tested) > 0.1


@pytest.mark.parametrize("name", ["relu", "sine", "mixed"])
def test_functions_stay(name: str) -> None:
    graph, networks = MLPS[name], network(MLPS[name], batch=6)
    reference = find_reference(networks, generator=rng(), actions="rich", rounds=2).reference
    elements = reference.elements(networks)
    aligned = elements.act(networks)
    assert graph.group().contains(elements)
    x = points(graph)
    torch.testing.assert_close(forward(graph, aligned, x), forward(graph, networks, x), rtol=1e-9, atol=1e-9)
    turned = aligned.map(lambda t: t.flip(1))  # control: another order of one axis alone
    assert not torch.allclose(forward(graph, turned, x), forward(graph, networks, x), atol=1e-3)


@pytest.mark.parametrize("graph", [*RELABELLED, ATTENTION["grouped queries"]], ids=[*NAMES, "grouped"])
def test_many_at_once_are_matched_as_one_by_one(graph: NetworkGraph) -> None:
    """Against the forward pass and the descent for two networks."""
    networks = matching_view(network(graph, batch=4))
    first = matching_view(network(graph, 9))
    metric = balanced_metric(first)
    elements, reached = match_each(first, networks, metric)
    for k in range(4):
        one = networks.select([k])
        slow, record = climb(first, one, match_forward(first, one, metric=metric), metric, None, 30)
        assert float(reached[k]) == pytest.approx(record[-1], rel=1e-9)
        fast = elements.select(torch.tensor([k])).act(one)
        assert closeness(first, fast, metric) == pytest.approx(record[-1], rel=1e-9)
        assert distance(slow.act(one), fast) < 1e-8


def test_the_record_never_falls_and_seeds_repeat() -> None:
    networks = network(MLPS["sine"], batch=8)
    heard: list[int] = []
    first, again = (find_reference(networks, generator=rng(4), progress=heard.append) for _ in range(2))
    assert first.record == again.record
    assert all(b > a for a, b in zip(first.record, first.record[1:], strict=False))
    assert first.record[0] > first.before
    assert torch.equal(first.reference.mean.flatten(), again.reference.mean.flatten())
    assert heard[:8] == list(range(1, 9))


def test_single_precision_is_aligned_alike() -> None:
    graph = MLPS["sine"]
    networks = network(graph, batch=6).to(dtype=torch.float32)
    reference = find_reference(networks, generator=rng()).reference
    single, double = (reference.elements(each).act(each) for each in (networks, networks.to(dtype=torch.float64)))
    assert single.dtype == torch.float32
    assert torch.equal(single.flatten(), double.flatten().float())


def test_errors() -> None:
    with pytest.raises(GraphError, match=r"^there is nothing to align: got 1 network, at least 2 are needed$"):
        find_reference(network(MLPS["relu"]), generator=rng())
    reference = find_reference(network(MLPS["relu"], batch=2), generator=rng()).reference
    with pytest.raises(GraphError, match=r"^networks of another graph than the reference cannot be aligned to it$"):
        reference.elements(network(MLPS["sine"]))
    broken = replace(network(MLPS["relu"]), tensors={n: x * float("nan") for n, x in network(MLPS["relu"]).items()})
    with pytest.raises(GraphError, match=r"^the scores hold NaN or infinity: are all weights finite\?$"):
        reference.elements(broken)
