"""Rows of weights, the set encoder and the transformer on them: layout, and what each is blind to and what not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from graphws.errors import UsageError, VerificationError, WeightsError
from graphws.graph import Axis, NetworkGraph, Parameter, Space, Weights
from graphws.models import RowEncoder, RowTokens, RowTransformer
from graphws.operations import mlp_graph
from graphws.operations.sampling import random_weights
from graphws.testing import check_equivariance
from tests.layers.acting.networks import NETWORKS

GRAPH = mlp_graph([2, 5, 4, 3])


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def by_hand(weights: Weights, network: int) -> Tensor:
    """Row by row, for one network."""
    rows = []
    for k in (1, 2, 3):
        matrix, bias = weights[f"W{k}"][network], weights[f"b{k}"][network]
        rows += [torch.cat([matrix[i], bias[i : i + 1]]) for i in range(len(matrix))]
    found = torch.zeros(len(rows), 6, dtype=weights.dtype)
    for place, row in enumerate(rows):
        found[place, : len(row)] = row
    return found


def permuted(tokens: RowTokens, weights: Weights, seed: int, across: bool = False) -> tuple[Tensor, Tensor]:
    """Rows of networks in another order, one for each network, inside each layer or across all; and the orders."""
    generator, rows = rng(seed), tokens.read(weights)
    orders = []
    for _ in range(weights.batch):
        key = torch.rand(tokens.count, generator=generator)
        orders.append((key if across else key + tokens.owners()).argsort())
    order = torch.stack(orders)
    return torch.gather(rows, 1, order[..., None].expand_as(rows)), order


def answer(model: RowEncoder | RowTransformer, weights: Weights, rows: Tensor) -> Tensor | Weights:
    """What a model says to rows that take the place of the networks' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model.tokens, "read", lambda _: rows)
        found: Tensor | Weights = model(weights)
    return found


def test_rows_are_those_of_matrices_with_their_biases() -> None:
    weights, tokens = random_weights(GRAPH, 3, rng()), RowTokens(GRAPH)
    assert [str(group) for group in tokens.groups] == ["W1+b1: 5 rows of 3", "W2+b2: 4 rows of 6", "W3+b3: 3 rows of 5"]
    torch.testing.assert_close(tokens.read(weights), torch.stack([by_hand(weights, k) for k in range(3)]))
    assert tokens.owners().tolist() == [0] * 5 + [1] * 4 + [2] * 3


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_has_rows_and_comes_back(name: str) -> None:
    graph = NETWORKS[name]()
    weights, tokens = random_weights(graph, 2, rng()), RowTokens(graph)
    rows = tokens.read(weights)
    assert rows.shape == (2, tokens.count, tokens.length)
    assert torch.equal(tokens.write(rows).flatten(), weights.flatten())
    assert sorted(n for group in tokens.groups for n in group.parameters) == sorted(p.name for p in graph.parameters)


def test_a_bias_joins_the_weight_before_it_else_the_one_behind() -> None:
    spaces = (Space("in", 3, "free"), Space("d", 4), Space("out", 2, "free"))
    axes = {"scale": "d", "W": "d in*", "b": "d", "A": "d d*", "c": "d", "V": "out d*", "t": "", "alone": "in"}
    graph = NetworkGraph(spaces, tuple(Parameter(name, text) for name, text in axes.items()))  # type: ignore[arg-type]
    assert [group.parameters for group in RowTokens(graph).groups] == [
        ("W", "scale", "b"),
        ("A", "c"),
        ("V",),
        ("t",),
        ("alone",),
    ]
    assert [str(group) for group in RowTokens(graph).groups][-2:] == ["t: 1 row of 1", "alone: 3 rows of 1"]


def test_rows_of_nothing_and_of_others_are_refused() -> None:
    with pytest.raises(UsageError) as caught:
        RowTokens(NetworkGraph((Space("d", 2),), ()))
    assert str(caught.value) == "rows are those of weights, and these networks have no parameters"
    other = mlp_graph([2, 5, 4, 2])
    with pytest.raises(WeightsError) as refused:
        RowTokens(GRAPH).read(random_weights(other, 2, rng()))
    wanted = "these networks have other parameters than those whose rows the model was built to read"
    assert str(refused.value) == wanted
    again = mlp_graph([2, 5, 4, 3], activation="sine", omega=7.0)  # another function of the same weights
    assert RowTokens(GRAPH).read(random_weights(again, 2, rng())).shape == (2, 12, 6)


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_the_set_encoder_is_blind_to_the_order_of_rows(across: bool, training: bool) -> None:
    torch.manual_seed(0)
    weights = random_weights(GRAPH, 4, rng())
    model = RowEncoder(GRAPH, 3, layers=2, width=8).double().train(training)
    moved, _ = permuted(model.tokens, weights, 1, across)
    torch.testing.assert_close(answer(model, weights, moved), model(weights))
    columns = model.tokens.read(weights).roll(1, -1)
    assert (answer(model, weights, columns) - model(weights)).abs().max() > 1e-3


@pytest.mark.parametrize(("positions", "blind"), [("layers", True), ("rows", False)])
def test_the_transformer_is_blind_to_the_order_in_a_layer_where_layers_have_places(positions: str, blind: bool) -> None:
    torch.manual_seed(0)
    weights = random_weights(GRAPH, 4, rng())
    model = RowTransformer(GRAPH, 3, layers=2, width=8, heads=2, positions=positions).double()
    nn.init.normal_(model.place.weight)
    inside, _ = permuted(model.tokens, weights, 1)
    across, _ = permuted(model.tokens, weights, 1, across=True)
    change = (answer(model, weights, inside) - model(weights)).abs().max()
    assert change < 1e-12 if blind else change > 1e-3
    assert (answer(model, weights, across) - model(weights)).abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["rows", "transformer"])
def test_rows_of_returned_networks_move_with_those_that_are_read(kind: str) -> None:
    torch.manual_seed(0)
    weights = random_weights(GRAPH, 4, rng())
    model: RowEncoder | RowTransformer
    if kind == "rows":
        model = RowEncoder(GRAPH, None, layers=2, width=8).double()
    else:
        model = RowTransformer(GRAPH, None, layers=2, width=8, heads=2, positions="layers").double()
    moved, order = permuted(model.tokens, weights, 1)
    before = model.tokens.read(model(weights))
    wanted = torch.gather(before, 1, order[..., None].expand_as(before))
    assert model.decoder is not None
    written = []
    model.decoder.last.register_forward_hook(lambda module, given, rows: written.append(rows))
    answer(model, weights, moved)
    mask = model.tokens.read(Weights(GRAPH, {n: torch.ones_like(x) for n, x in weights.items()})) > 0
    torch.testing.assert_close(written[0] * mask, wanted)
    assert (written[0] * mask - before).abs().max() > 1e-3


@pytest.mark.parametrize("outputs", [3, None])
def test_neurons_are_not_rows(outputs: int | None) -> None:
    """A relabelling moves columns, too, which neither model can follow."""
    torch.manual_seed(0)
    for model in (
        RowEncoder(GRAPH, outputs, layers=2, width=8),
        RowTransformer(GRAPH, outputs, layers=2, width=8, heads=2, positions="layers"),
    ):
        with pytest.raises(VerificationError):
            check_equivariance(model.double(), GRAPH, rng())


def test_several_networks_come_back_next_to_each_other_and_start_small() -> None:
    torch.manual_seed(0)
    weights = random_weights(GRAPH, 4, rng(), torch.float32)
    for make in (RowEncoder, RowTransformer):
        model = make(GRAPH, None, layers=1, width=8, networks=3).eval()
        found = model(weights)
        assert found.batch == 12
        torch.testing.assert_close(model(weights.select([1])).flatten(), found.select(slice(3, 6)).flatten())
        small = make(GRAPH, None, layers=1, width=8, init_scale=1e-3)
        assert small(weights).flatten().abs().max() < 1e-2


def test_blocks_start_from_numbers_of_their_own() -> None:
    first, second = RowTransformer(GRAPH, 3, layers=2, width=8).encoder.layers
    assert not torch.equal(first.linear1.weight, second.linear1.weight)
    assert not torch.equal(first.self_attn.in_proj_weight, second.self_attn.in_proj_weight)


def test_sizes_that_make_no_sense_are_refused() -> None:
    cases = [
        (lambda: RowEncoder(GRAPH, 3, layers=0), "a row encoder has at least one layer, a width and networks of at "
                                                 "least 1; got 0, 128 and 1"),
        (lambda: RowTransformer(GRAPH, 3, width=0), "a transformer's layers, width, heads and networks are at least 1; "
                                                    "got 4, 0, 4 and 1"),
        (lambda: RowTransformer(GRAPH, 3, width=6, heads=4), "4 heads do not divide a width of 6"),
        (lambda: RowTransformer(GRAPH, 3, positions="row"), "positions are of rows or layers, got 'row'; "
                                                            "did you mean 'rows'?"),
    ]  # fmt: skip
    for make, text in cases:
        with pytest.raises(UsageError) as caught:
            make()
        assert str(caught.value) == text


def test_leading_axes_inside_a_parent_are_not_those_of_the_whole_space() -> None:
    spaces = (Space("h", 2), Space("d", 3, "nested", "h"), Space("in", 2, "free"))
    whole, inner = (Axis("d"), Axis("in", -1)), (Axis("h"), Axis("d", inner=True))
    graph = NetworkGraph(spaces, (Parameter("W", whole), Parameter("b", (Axis("d"),)), Parameter("c", inner)))
    assert [str(group) for group in RowTokens(graph).groups] == ["W+b: 6 rows of 3", "c: 2 rows of 3"]
