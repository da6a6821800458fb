from __future__ import annotations

import pytest
import torch
from torch import Tensor

from graphws.errors import GraphError
from graphws.graph import Action, GroupElement, LinearMap, Monomial, NetworkGraph, Parameter, Space, Weights
from graphws.graph.group import Richness
from graphws.operations import mlp_graph
from tests.graph import samples

HEADS = NetworkGraph(
    samples.heads().spaces, tuple(p for p in samples.heads().parameters if p.name not in ("v", "s", "n"))
)
GRAPHS = [samples.rich_mlp(), HEADS, mlp_graph([2, 5, 3], "tanh", bias=False)]
ACTIONS: list[Richness] = ["permutation", "rich"]
CASES = [(graph, actions, batch) for graph in GRAPHS for actions in ACTIONS for batch in (None, 3)]


def _draw(graph: NetworkGraph, actions: Richness, batch: int | None, seed: int) -> GroupElement:
    return graph.group().random(torch.Generator().manual_seed(seed), batch, actions)


def _close(first: Weights, second: Weights) -> None:
    torch.testing.assert_close(first.flatten(), second.flatten(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("graph", "actions", "batch"), CASES)
def test_group_laws(graph: NetworkGraph, actions: Richness, batch: int | None) -> None:
    a, b, c = (_draw(graph, actions, batch, seed) for seed in range(3))
    weights = samples.random_weights(graph, batch=3)
    assert torch.equal(graph.group().identity().act(weights).flatten(), weights.flatten())
    _close((a @ b).act(weights), a.act(b.act(weights)))
    _close(((a @ b) @ c).act(weights), (a @ (b @ c)).act(weights))
    _close((a @ a.inverse()).act(weights), weights)
    _close(a.inverse().act(a.act(weights)), weights)
    _close((a @ b).inverse().act(weights), (b.inverse() @ a.inverse()).act(weights))
    _close((a @ graph.group().identity()).act(weights), a.act(weights))


@pytest.mark.parametrize(("graph", "actions", "batch"), CASES)
def test_what_is_drawn_composed_and_inverted_belongs_to_the_group(
    graph: NetworkGraph, actions: Richness, batch: int | None
) -> None:
    group = graph.group()
    a, b = (_draw(graph, actions, batch, seed) for seed in range(2))
    for element in (group.identity(), a, a @ b, a.inverse(), a @ b.inverse()):
        assert group.contains(element, actions)
        assert group.contains(element)
    assert group.contains(a, "permutation") == (actions == "permutation")


def test_a_batch_of_elements_acts_network_by_network() -> None:
    graph = samples.rich_mlp()
    weights, element = samples.random_weights(graph, batch=3), _draw(graph, "rich", 3, 0)
    moved = element.act(weights)
    for k in range(3):
        maps = {
            name: Monomial(one.perm[k], None if one.scale is None else one.scale[k])
            if isinstance(one, Monomial)
            else LinearMap(one.weight[k])
            for name, one in element.maps.items()
        }
        _close(GroupElement(graph, maps).act(weights.select([k])), moved.select([k]))


def test_elements_for_other_networks_are_refused() -> None:
    graph = mlp_graph([2, 3, 1])
    other = mlp_graph([2, 4, 1])
    weights, element = samples.random_weights(graph), graph.group().identity()
    with pytest.raises(GraphError, match=r"^this group element belongs to another graph than the weights$"):
        other.group().identity().act(weights)
    with pytest.raises(GraphError, match=r"^group elements of different graphs cannot be composed$"):
        element @ other.group().identity()
    with pytest.raises(GraphError, match=r"^space 'hidden1' has 3 elements, the map 4$"):
        GroupElement(graph, {"hidden1": Monomial(torch.arange(4))})
    message = r"^this group element is one for each of 5 networks, the weights hold 2$"
    with pytest.raises(GraphError, match=message):
        _draw(graph, "permutation", 5, 0).act(weights)
    assert not graph.group().contains(other.group().identity())


def test_drawing_is_repeatable_and_reaches_every_permutation() -> None:
    group = mlp_graph([1, 3, 1]).group()
    first, second = (group.random(torch.Generator().manual_seed(5)).maps["hidden1"] for _ in range(2))
    assert torch.equal(first.matrix(), second.matrix())
    drawn = group.random(torch.Generator().manual_seed(0), batch=600).maps["hidden1"]
    assert isinstance(drawn, Monomial)
    _, counts = drawn.perm.unique(dim=0, return_counts=True)
    assert len(counts) == 6
    assert int(counts.min()) > 60, "each of 6 permutations is expected 100 times"


def _one(kind: str, action: Action, element: Monomial | LinearMap, actions: Richness = "rich") -> bool:
    graph = NetworkGraph((Space("h", 3, kind, action=action),), (Parameter("v", "h"),))  # type: ignore[arg-type]
    return graph.group().contains(GroupElement(graph, {"h": element}), actions)


KEEP = torch.arange(3)


def _scaled(*scale: float) -> Monomial:
    return Monomial(torch.tensor([2, 0, 1]), torch.tensor(scale, dtype=torch.float64))


@pytest.mark.parametrize(
    ("action", "scale", "belongs"),
    [
        (Action.PERMUTATION, (1.0, 1.0, 1.0), True),
        (Action.PERMUTATION, (1.0, -1.0, 1.0), False),
        (Action.SIGNED, (1.0, -1.0, 1.0), True),
        (Action.SIGNED, (1.0, 2.0, 1.0), False),
        (Action.SCALING, (1.0, 2.0, 0.5), True),
        (Action.SCALING, (1.0, -2.0, 0.5), False),
        (Action.SCALING, (1.0, 0.0, 0.5), False),
        (Action.MONOMIAL, (1.0, -2.0, 0.5), True),
        (Action.MONOMIAL, (1.0, -2.0, 0.0), False),
        (Action.MONOMIAL, (1.0, -2.0, float("nan")), False),
        (Action.LINEAR, (1.0, -2.0, 0.5), True),
        (Action.LINEAR, (1.0, -2.0, 0.0), False),
    ],
)
def test_scales_belong_where_the_action_allows_them(action: Action, scale: tuple[float, ...], belongs: bool) -> None:
    assert _one("set", action, _scaled(*scale)) == belongs
    plain = all(value == 1 for value in scale)
    assert _one("set", action, _scaled(*scale), "permutation") == plain


def test_maps_without_an_inverse_do_not_belong() -> None:
    assert not _one("set", Action.PERMUTATION, Monomial(torch.tensor([0, 0, 1])))
    assert not _one("set", Action.PERMUTATION, Monomial(torch.tensor([0, 1, 3])))
    assert not _one("set", Action.LINEAR, LinearMap(torch.ones(3, 3)))
    assert not _one("set", Action.LINEAR, LinearMap(torch.full((3, 3), float("nan"))))
    assert _one("set", Action.LINEAR, LinearMap(torch.ones(3, 3) + torch.eye(3)))


def test_matrices_and_free_spaces() -> None:
    mixed = LinearMap(torch.ones(3, 3) + torch.eye(3))
    assert not _one("set", Action.MONOMIAL, mixed)
    assert not _one("set", Action.LINEAR, mixed, "permutation")
    assert not _one("free", Action.LINEAR, mixed)
    assert not _one("free", Action.PERMUTATION, Monomial(torch.tensor([1, 0, 2])))
    assert not _one("free", Action.SIGNED, Monomial(KEEP, -torch.ones(3)))
    assert _one("free", Action.PERMUTATION, Monomial(KEEP))


def _nested(heads: list[int], children: list[int], free: list[int]) -> bool:
    graph = NetworkGraph(
        (Space("h", 2), Space("k", 2, "nested", "h"), Space("r", 2, "free", "h")),
        (Parameter("Q", "k r"),),  # type: ignore[arg-type]
    )
    maps = {name: Monomial(torch.tensor(perm)) for name, perm in (("h", heads), ("k", children), ("r", free))}
    return graph.group().contains(GroupElement(graph, maps))


def test_children_move_inside_their_parents_and_with_them() -> None:
    still = [0, 1, 2, 3]
    assert _nested([0, 1], [1, 0, 2, 3], still)
    assert _nested([1, 0], [2, 3, 1, 0], [2, 3, 0, 1])
    assert not _nested([0, 1], [2, 3, 0, 1], still), "children moved without their parents"
    assert not _nested([1, 0], still, [2, 3, 0, 1]), "parents moved without their children"
    assert not _nested([0, 1], [0, 2, 1, 3], still), "children mixed between families"
    assert not _nested([1, 0], [2, 3, 0, 1], still), "free children stayed behind"
    assert not _nested([0, 1], still, [1, 0, 2, 3]), "free children permuted inside their parent"


def test_a_linear_action_inside_heads_is_block_diagonal() -> None:
    graph = HEADS
    element = _draw(graph, "rich", None, 0)
    matrix = element.maps["k"].matrix()
    heads = element.maps["h"].matrix() != 0
    blocks = matrix.reshape(3, 2, 3, 2).abs().amax(dim=(1, 3)) > 0
    assert torch.equal(blocks, heads)
    full = GroupElement(graph, {"k": LinearMap(torch.randn(6, 6, dtype=torch.float64))})
    assert not graph.group().contains(full)


def test_moving_to_a_device_keeps_the_element() -> None:
    element = _draw(samples.rich_mlp(), "rich", None, 0)
    for name, one in element.to("cpu").maps.items():
        assert torch.equal(one.matrix(), element.maps[name].matrix())


def _brute_orbits(graph: NetworkGraph, name: str, shared_generators: list[dict[str, Tensor]]) -> Tensor:
    """Union-find over the entries of a parameter, from a generating set of G."""
    shape = graph.shape(name)
    index = torch.arange(max(1, int(torch.tensor(shape).prod()))).reshape(shape)
    parent = list(range(index.numel()))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for generator in shared_generators:
        moved = index
        for k, space in enumerate(graph.parameter(name).spaces):
            if space in generator:
                moved = moved.index_select(k, generator[space])
        for i, j in zip(index.flatten().tolist(), moved.flatten().tolist(), strict=True):
            parent[find(i)] = find(j)
    return torch.tensor([find(i) for i in range(index.numel())]).reshape(shape)


def test_random_elements_generate_the_orbits() -> None:
    from graphws.graph import orbits

    for graph in (samples.heads(), samples.rich_mlp()):
        drawn = [_draw(graph, "permutation", None, seed).maps for seed in range(30)]
        generators = [{name: one.perm for name, one in maps.items() if isinstance(one, Monomial)} for maps in drawn]
        for parameter in graph.parameters:
            brute = _brute_orbits(graph, parameter.name, generators)
            label = orbits(graph, parameter.name)
            pairs = torch.stack([brute.flatten(), label.flatten()], 1).unique(dim=0)
            assert len(pairs) == len(brute.unique()) == len(label.unique()), parameter.name


def test_a_moving_element_leaves_no_space_as_it_is() -> None:
    """On two elements every other permutation is the identity, and shows nothing of a claim."""
    graph = NetworkGraph(
        (Space("a", 2), Space("b", 2, "nested", "a"), Space("c", 1, action=Action.SIGNED), Space("d", 2)),
        (Parameter("W", "a b c d"),),
    )
    rows, still = torch.arange(2), 0
    for seed in range(20):
        plain = graph.group().random(torch.Generator().manual_seed(seed), actions="rich")
        moving = graph.group().random(torch.Generator().manual_seed(seed), actions="rich", moving=True)
        assert graph.group().contains(moving)
        assert torch.equal(moving.maps["a"].perm, rows.flip(0))
        assert torch.equal(moving.maps["d"].perm, rows.flip(0))
        assert moving.alone("b").maps["b"].perm.tolist() == [1, 0, 3, 2]
        assert moving.maps["c"].scale.tolist() == [-1]
        still += torch.equal(plain.maps["d"].perm, rows)
    assert 0 < still < 20
