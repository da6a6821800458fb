"""Networks moved by their whole group, orthogonal maps of the stream among it, come back; others are refused."""

from __future__ import annotations

from functools import lru_cache

import pytest
import torch
from torch import Tensor

from graphws.align import align, average, barrier, compare, function_loss, halfway, noise_inputs
from graphws.align.orthogonal import has_streams, head_products, match_streams, refine
from graphws.align.orthogonal.moves import Moves
from graphws.converting import convert
from graphws.errors import GraphError, UsageError
from graphws.graph import Action, GroupElement, LinearMap, Monomial, Weights
from graphws.operations import mlp_graph, outputs_of
from graphws.operations.rms_form import rms_form
from graphws.operations.sampling import random_weights
from tests.align.cases import distance
from tests.align.transformers import Encoder, Rotary, ViT


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@lru_cache(maxsize=1)
def network() -> Weights:
    torch.manual_seed(0)
    weights = random_weights(convert(ViT().eval(), torch.randn(4, 1, 8, 8)).graph, 1, rng(1))
    return weights.map(lambda x: x + 0.2 * torch.randn(x.shape, generator=rng(x.numel()), dtype=x.dtype))


def pictures(count: int = 40) -> Tensor:
    return torch.randn(count, 1, 8, 8, generator=rng(5), dtype=torch.float64)


def keeps_ones(size: int, generator: torch.Generator) -> Tensor:
    """A random orthogonal matrix that keeps the vector of ones."""
    first = torch.randn(size, size, generator=generator, dtype=torch.float64)
    first[:, 0] = 1
    basis = torch.linalg.qr(first)[0]
    inner = torch.linalg.qr(torch.randn(size - 1, size - 1, generator=generator, dtype=torch.float64))[0]
    return basis @ torch.block_diag(torch.ones(1, 1, dtype=torch.float64), inner) @ basis.T


def planted(weights: Weights, seed: int) -> Weights:
    """The same function: stream, heads, bases inside heads and neurons moved at random."""
    form = rms_form(weights)
    graph = form.weights.graph
    maps = dict(graph.group().random(rng(seed), actions="rich").maps)
    for name in form.streams:
        maps[name] = LinearMap(keeps_ones(graph.extent(name), rng(seed + 1)))
    return form.restored(GroupElement(graph, maps).act(form.weights))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_planted_pair_comes_back(seed: int) -> None:
    first = network()
    second = planted(first, seed)
    found = match_streams(first, second)
    assert distance(found.met, found.aligned) < 1e-6
    x = pictures()
    before, after = (outputs_of(w.graph, w, x) for w in (second, found.aligned))
    assert float((before - after).abs().max()) < 1e-9
    (name,) = found.form.streams
    turn = found.element.maps[name].matrix()
    assert torch.allclose(turn @ turn.T, torch.eye(len(turn), dtype=turn.dtype), atol=1e-9)


def test_permutations_alone_do_not_bring_it_back() -> None:
    first = network()
    second = planted(first, 0)
    assert distance(first, align(first, second, actions="permutation").aligned) > 0.1


def test_align_takes_the_streams_by_itself_and_gives_the_graph_back() -> None:
    first, x = network(), pictures()
    second = planted(first, 0)
    loss = function_loss(first, second, x)
    for objective in (None, halfway(first, loss)):
        found = align(first, second, objective=objective)
        assert found.candidates[found.kept].matching == "streams"
        assert found.met is not None
        assert found.aligned.graph == found.met.graph == first.graph
        assert distance(found.met, found.aligned) < 1e-6
        assert torch.allclose(*(outputs_of(w.graph, w, x) for w in (first, found.met)))
        assert torch.allclose(*(outputs_of(w.graph, w, x) for w in (second, found.aligned)))
    assert barrier(first, second, loss, 3).height > 0.1
    assert barrier(found.met, found.aligned, loss, 3).height < 1e-12
    compared = compare(first, second, inputs=x)
    assert compared.after is not None
    assert compared.after.height < 1e-12
    assert any("folded" in note for note in compared.notes)
    assert compared.merged is not None
    assert float(loss(compared.merged)[0]) < 1e-12


def test_unrelated_networks_are_not_called_close() -> None:
    first = network()
    other = random_weights(first.graph, 1, rng(9))
    found = align(first, other)
    assert found.candidates[found.kept].distance > 0.2


def test_an_objective_that_knows_one_form_keeps_streams_out() -> None:
    first = network()
    found = align(first, planted(first, 0), objective=lambda moved: 0.0)
    assert found.met is None
    assert all(candidate.matching != "streams" for candidate in found.candidates)


def test_products_do_not_feel_matrices_inside_heads() -> None:
    form = rms_form(network())
    graph = form.weights.graph
    inside = {s.name for s in graph.spaces if s.parent and s.action is Action.LINEAR}
    drawn = graph.group().random(rng(2), actions="rich").maps
    blocks = {n: torch.block_diag(*torch.randn(3, 4, 4, generator=rng(3), dtype=torch.float64)) for n in inside}
    before = head_products(form.weights)
    after = head_products(GroupElement(graph, {n: LinearMap(b) for n, b in blocks.items()}).act(form.weights))
    for name, products in before.items():
        assert all(torch.allclose(a, b) for a, b in zip(products, after[name], strict=True))
    moved = head_products(GroupElement(graph, {n: drawn[n] for n in form.streams}).act(form.weights))
    assert any(not torch.allclose(a, b) for n in before for a, b in zip(before[n], moved[n], strict=True))


def test_moves_are_elements_of_the_group() -> None:
    form = rms_form(network())
    moves = Moves(form.weights.graph, form.streams, form.centred).double()
    same = moves.act(form.weights).map(Tensor.detach)
    assert distance(form.weights, same) < 1e-12
    with torch.no_grad():
        for parameter in moves.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=rng(4), dtype=parameter.dtype)
    moved, by_element = moves.act(form.weights).map(Tensor.detach), moves.element().act(form.weights)
    assert distance(moved, by_element) < 1e-12
    x = pictures()
    before, after = (outputs_of(w.graph, w, x) for w in (form.weights, moved))
    assert float((before - after).abs().max()) < 1e-9
    assert distance(form.weights, moved) > 0.1
    assert form.restored(moved).graph == network().graph


def test_refining_lowers_the_loss_halfway_and_keeps_the_function() -> None:
    first = network()
    second = planted(first, 0).map(lambda x: x + 0.1 * torch.randn(x.shape, generator=rng(7), dtype=x.dtype))
    match = match_streams(first, second, sweeps=1)
    x = pictures(60)
    found = refine(match, x, generator=rng(), steps=30, batch=30)
    assert found.kept > 0
    assert found.losses[found.kept] == min(found.losses)
    loss = function_loss(first, second, x)
    halfways = [float(loss(average(Weights.cat([m.met, m.aligned])))[0]) for m in (match, found.match)]
    assert halfways[1] < 0.8 * halfways[0]
    before, after = (outputs_of(w.graph, w, x) for w in (second, found.match.aligned))
    assert float((before - after).abs().max()) < 1e-9
    again = refine(match, x, generator=rng(), steps=30, batch=30)
    assert again.losses == found.losses


def test_refining_never_makes_it_worse() -> None:
    match = match_streams(network(), planted(network(), 0))
    found = refine(match, pictures(20), generator=rng(), steps=3, rate=5.0)
    assert found.losses[found.kept] <= found.losses[0]


def test_align_refines_where_it_is_asked_to() -> None:
    first, x = network(), pictures(30)
    second = planted(first, 0).map(lambda t: t + 0.2 * torch.randn(t.shape, generator=rng(8), dtype=t.dtype))
    loss = function_loss(first, second, x)
    found = align(first, second, objective=halfway(first, loss), refine=(x, None))
    values = {c.matching: c.objective for c in found.candidates}
    assert found.candidates[found.kept].objective == min(v for v in values.values() if v is not None)
    assert values["refined"] is not None
    assert values["streams"] is not None
    assert values["refined"] < values["streams"]


def test_what_has_no_stream_is_refused() -> None:
    graph = mlp_graph([3, 6, 2], "gelu")
    one = Weights.unflatten(graph, torch.randn(1, graph.numel, generator=rng(), dtype=torch.float64))
    assert not has_streams(graph)
    with pytest.raises(GraphError, match="no residual stream of this graph can be moved by orthogonal maps"):
        match_streams(one, one)
    with pytest.raises(UsageError, match="refine: this graph has no residual stream"):
        align(one, one, refine=(torch.randn(4, 3), None))
    post = convert(Encoder(norm_first=False).eval(), torch.randn(4, 5, 4)).weights.to(dtype=torch.float64)
    assert not has_streams(post.graph)
    with pytest.raises(GraphError, match="adds something else to the stream"):
        match_streams(post, post)


def test_neurons_stay_permutations() -> None:
    found = match_streams(network(), planted(network(), 1))
    ups = [name for name in found.element.maps if name.endswith("up")]
    assert len(ups) == 2
    assert all(isinstance(found.element.maps[name], Monomial) for name in ups)


def test_a_rotary_network_comes_back_and_its_queries_are_mixed_by_no_matrix() -> None:
    torch.manual_seed(0)
    graph = convert(Rotary().eval(), torch.randn(4, 5, 3)).graph
    first = random_weights(graph, 1, rng(1)).map(lambda t: t + 0.2 * torch.randn(t.shape, generator=rng(2)).to(t))
    form = rms_form(first)
    maps = dict(form.weights.graph.group().random(rng(3), actions="rich").maps)
    (name,) = form.streams
    turn = torch.linalg.qr(torch.randn(8, 8, generator=rng(4), dtype=torch.float64))[0]
    second = form.restored(GroupElement(form.weights.graph, {**maps, name: LinearMap(turn)}).act(form.weights))
    found = match_streams(first, second)
    x = torch.randn(20, 5, 3, generator=rng(5), dtype=torch.float64)
    before, after = (outputs_of(w.graph, w, x) for w in (second, found.aligned))
    assert float((before - after).abs().max()) < 1e-9
    assert distance(found.met, found.aligned) < 1e-6
    query = graph.parameter("q.weight")
    inside = [axis.space for axis in query.axes if axis.space != name]
    assert not any(isinstance(found.element.maps.get(space), LinearMap) for space in inside)
    tensors = dict(first.tensors)
    mixed = torch.linalg.qr(torch.randn(4, 4, generator=rng(6), dtype=torch.float64))[0]
    for key in ("q.weight", "k.weight"):  # a map that plain attention would not feel
        tensors[key] = torch.einsum("ij,bhjd->bhid", mixed, tensors[key].reshape(1, 2, 4, 8)).reshape(first[key].shape)
    wrong = outputs_of(graph, Weights(graph, tensors), x)
    assert float((wrong - outputs_of(graph, first, x)).abs().max()) > 1e-3


@pytest.mark.slow
def test_noise_refines_without_data() -> None:
    """The mean of two networks comes closer to both on inputs that were never seen, and noise alone was."""
    first, second = network(), planted(network(), 3)
    second = second.map(lambda x: x + 0.5 * torch.randn(x.shape, generator=rng(x.numel() + 1), dtype=x.dtype))
    match = match_streams(first, second)
    x = 0.4 * pictures(60) + 0.3

    def apart(aligned: Weights) -> float:
        middle, *ends = (
            outputs_of(match.met.graph, w, x)[0]
            for w in (average(Weights.cat([match.met, aligned])), match.met, aligned)
        )
        return float((middle - (ends[0] + ends[1]) / 2).square().mean())

    noise = noise_inputs((1, 8, 8), 256, generator=rng(9))
    found = refine(match, noise, generator=rng(), steps=60, batch=64)
    assert found.kept > 0
    assert apart(found.match.aligned) < 0.9 * apart(match.aligned)
    graph = match.met.graph
    torch.testing.assert_close(outputs_of(graph, found.match.aligned, x)[0], outputs_of(graph, match.aligned, x)[0])
