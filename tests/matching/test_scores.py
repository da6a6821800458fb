from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from graphws.errors import GraphError
from graphws.graph import Action, GroupElement, LinearMap, Monomial, NetworkGraph, Parameter, Space, Weights
from graphws.graph.element import SpaceElement
from graphws.matching import Metric, agreement, balanced_metric, score
from graphws.operations import mlp_graph


def wide() -> NetworkGraph:
    """Powers, free axes, heads with dimensions, and parameters of one to three axes."""
    spaces = (
        Space("x", 3, "free"),
        Space("s", 4, action=Action.SIGNED),
        Space("m", 5, action=Action.MONOMIAL),
        Space("h", 2),
        Space("d", 3, "nested", "h", action=Action.SIGNED),
    )
    parameters = (
        Parameter("A", "s x*"),
        Parameter("B", "m s* x"),
        Parameter("C", "d m^-3"),
        Parameter("D", "h s m*"),
        Parameter("v", "s^2", "variance"),
        Parameter("b", "d", "bias"),
    )
    return NetworkGraph(spaces, parameters)


def drawn(graph: NetworkGraph, seed: int) -> Weights:
    rng = torch.Generator().manual_seed(seed)
    return Weights.unflatten(graph, torch.randn(1, graph.numel, generator=rng, dtype=torch.float64))


def closeness(first: Weights, second: Weights, element: GroupElement, space: str) -> float:
    """Σ <A, k·B> over the parameters that the space labels, by acting and multiplying out."""
    moved = element.act(second)
    names = [p.name for p in first.graph.parameters if space in p.spaces]
    return sum(float((first[name] * moved[name]).sum()) for name in names)


@pytest.mark.parametrize("space", ["x", "s", "m", "h", "d"])
def test_scores_give_the_closeness_of_every_element(space: str) -> None:
    graph = wide()
    first, second = drawn(graph, 0), drawn(graph, 1)
    rng = torch.Generator().manual_seed(2)
    for _ in range(5):
        element = graph.group().random(rng, actions="rich")
        maps = dict(element.maps)
        here = maps.get(space, Monomial(torch.arange(graph.extent(space))))
        assert isinstance(here, Monomial)
        sign = torch.ones(graph.extent(space)).double() if here.scale is None else here.scale.sign()
        maps[space] = Monomial(here.perm, sign)
        scored = score(first, second, space, {name: m for name, m in maps.items() if name != space})
        assert scored is not None
        rows = torch.arange(scored.size)
        value = (sign * scored.odd[rows, here.perm] + scored.even[rows, here.perm]).sum()
        expected = closeness(first, second, GroupElement(graph, maps), space)
        assert float(value) == pytest.approx(expected, rel=1e-12)
        assert scored.worth(Monomial(here.perm, 7 * sign)) == pytest.approx(expected, rel=1e-12)  # sizes do not count
        wrong = GroupElement(graph, {**maps, space: Monomial(here.perm.roll(1), sign)})
        assert abs(float(value) - closeness(first, second, wrong, space)) > 1e-3


def test_what_a_matrix_is_worth() -> None:
    spaces = (Space("x", 3, "free"), Space("l", 4, action=Action.LINEAR))
    graph = NetworkGraph(spaces, (Parameter("A", "l x*"), Parameter("v", "l^0 x")))
    first, second = drawn(graph, 0), drawn(graph, 1)
    matrix = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(5)))[0]
    scored = score(first, second, "l", {})
    assert scored is not None
    expected = closeness(first, second, GroupElement(graph, {"l": LinearMap(matrix)}), "l")
    assert scored.worth(LinearMap(matrix)) == pytest.approx(expected, rel=1e-12)
    assert abs(scored.worth(LinearMap(matrix.mT)) - expected) > 1e-3


def test_moments_weigh_what_is_read() -> None:
    graph = mlp_graph([3, 4, 2], activation="tanh")
    first, second = drawn(graph, 0), drawn(graph, 1)
    root = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    seen = score(first, second, "hidden1", {}, metric=Metric(moments={"input": root @ root.T}), side="in")
    plain = Weights(graph, {**first.tensors, "W1": first["W1"] @ root})
    other = Weights(graph, {**second.tensors, "W1": second["W1"] @ root})
    expected = score(plain, other, "hidden1", {}, side="in")
    assert seen is not None
    assert expected is not None
    torch.testing.assert_close(seen.odd, expected.odd)


def test_sides_add_up() -> None:
    graph = wide()
    first, second = drawn(graph, 0), drawn(graph, 1)
    known = graph.group().random(torch.Generator().manual_seed(0)).maps
    parts = {side: score(first, second, "s", known, side=side) for side in ("in", "out", "both")}  # type: ignore[arg-type]
    assert all(part is not None for part in parts.values())
    torch.testing.assert_close((parts["in"] + parts["out"]).odd, parts["both"].odd)  # type: ignore[operator, union-attr]
    assert not torch.allclose(parts["in"].odd, parts["both"].odd)  # type: ignore[union-attr]


def test_unknown_spaces_leave_parameters_out() -> None:
    graph = mlp_graph([3, 4, 5, 2], activation="tanh")
    first, second = drawn(graph, 0), drawn(graph, 1)
    alone = score(first, second, "hidden2", {})
    assert alone is not None
    expected = torch.outer(first["b2"][0], second["b2"][0]) + first["W3"][0].T @ second["W3"][0]
    torch.testing.assert_close(alone.odd, expected)
    weights_only = mlp_graph([3, 4, 5, 2], activation="tanh", bias=False)
    mute = score(drawn(weights_only, 0), drawn(weights_only, 1), "hidden2", {}, side="in")
    assert mute is None


def _basis(shape: tuple[int, ...]) -> list[Tensor]:
    size = int(torch.tensor(shape).prod())
    return [row.reshape(1, *shape) for row in torch.eye(size, dtype=torch.float64)]


@pytest.mark.parametrize(
    ("space", "parameter"), [("s", "A"), ("m", "B"), ("s", "B"), ("d", "C"), ("m", "D"), ("s", "v")]
)
@pytest.mark.parametrize("with_moments", [False, True])
def test_debiasing_removes_the_expectation_of_shared_noise(space: str, parameter: str, with_moments: bool) -> None:
    """Σ_e C(e, e) over all unit tensors e is the expectation of C(N, N) for noise of variance 1."""
    graph = wide()
    scales = {"s": [1, -1, 1, 1], "m": [2, -1, 0.5, 3, 1], "d": [1, -1, 1, 1, 1, -1]}
    known: dict[str, SpaceElement] = {}
    for name in ("x", "s", "m", "h", "d"):  # some elements stay, so that traces are not 0
        perm = torch.arange(graph.extent(name))
        if name != "h" and name != "d":
            perm[:2] = torch.tensor([1, 0])
        known[name] = Monomial(perm, torch.tensor(scales[name]).double() if name in scales else None)
    del known[space]
    moments = {}
    if with_moments:
        for name in ("x", "s", "m"):
            root = torch.randn(graph.extent(name), 9, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
            moments[name] = root @ root.T
    metric = Metric(moments=moments)
    zero = Weights.unflatten(graph, torch.zeros(1, graph.numel, dtype=torch.float64))
    total = torch.zeros(graph.extent(space), graph.extent(space), dtype=torch.float64)
    for unit in _basis(graph.shape(parameter)):
        noise = Weights(graph, {**zero.tensors, parameter: unit})
        scored = score(noise, noise, space, known, metric=metric)
        assert scored is not None
        total += scored.odd + scored.even
    assert float(total.norm()) > 0.1
    removed = score(zero, zero, space, known, metric=metric, noise={parameter: 1.0})
    assert removed is not None
    torch.testing.assert_close(-(removed.odd + removed.even), total)


def test_a_norms_mean_scale_does_not_count() -> None:
    """Scales of 1 and variances of 100 would drown the kernel that they stand beside."""
    spaces = (Space("x", 3, "free"), Space("s", 4))
    kinds = (Parameter("A", "s x*"), Parameter("g", "s", "scale"), Parameter("v", "s^0", "buffer"))
    graph = NetworkGraph(spaces, kinds)
    drawn_ones = drawn(graph, 0)
    large = Weights(graph, {**drawn_ones.tensors, "g": drawn_ones["g"] + 10, "v": drawn_ones["v"] + 100})
    metric = balanced_metric(large)
    assert metric.importance == pytest.approx(balanced_metric(drawn_ones).importance)
    parts = [x - x.mean() if x.ndim == 2 else x for x in drawn_ones.tensors.values()]
    assert 1 / metric.of("A") == pytest.approx(sum(float(x.square().sum()) for x in parts))


def test_every_layer_counts_one_in_a_balanced_metric() -> None:
    graph = mlp_graph([3, 4, 5, 2], activation="tanh")
    weights = drawn(graph, 0)
    metric = balanced_metric(weights)
    for layer in ("1", "2", "3"):
        total = sum(metric.of(kind + layer) * float(weights[kind + layer].square().sum()) for kind in "Wb")
        assert total == pytest.approx(1.0)
    scaled = Weights(graph, {**weights.tensors, "W2": 10 * weights["W2"]})
    assert balanced_metric(scaled).of("W2") < balanced_metric(weights).of("W2") / 50


def test_agreement_is_one_for_equal_and_falls_with_distance() -> None:
    graph = mlp_graph([3, 4, 2], activation="tanh")
    first, second = drawn(graph, 0), drawn(graph, 1)
    assert agreement(first, first, Metric()) == pytest.approx(dict.fromkeys(first.tensors, 1.0))
    assert all(abs(value) < 1 for value in agreement(first, second, Metric()).values())
    opposite = second.map(torch.neg)
    assert agreement(second, opposite, Metric()) == pytest.approx(dict.fromkeys(first.tensors, -1.0))


def test_only_single_networks_of_one_graph_are_scored() -> None:
    graph = mlp_graph([3, 4, 2])
    one, two = drawn(graph, 0), Weights.cat([drawn(graph, 0), drawn(graph, 1)])
    with pytest.raises(GraphError) as error:
        score(one, two, "hidden1", {})
    assert str(error.value) == "matching takes one network on each side, got batches of 1 and 2"
    with pytest.raises(GraphError) as error:
        score(one, drawn(mlp_graph([3, 5, 2]), 0), "hidden1", {})
    assert str(error.value) == "networks of different graphs cannot be matched"
    with pytest.raises(GraphError, match=r"no space 'hiden1' in this graph; did you mean 'hidden1'\?"):
        score(one, one, "hiden1", {})


def test_the_basis_of_the_debiasing_test_is_whole() -> None:
    assert len(_basis((2, 3))) == 6
    assert sum(float(a.flatten() @ b.flatten()) for a, b in itertools.combinations(_basis((2, 3)), 2)) == 0
