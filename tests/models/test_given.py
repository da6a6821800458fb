"""Models called with what is no `Weights` say what they take; one owner for all of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from graphws import convert
from graphws.errors import UsageError
from graphws.graph import Weights
from graphws.models import (
    BoostedTrees,
    DWSNet,
    FlatMLP,
    GradedNet,
    NeuronGNN,
    PublishedDWSNet,
    Queries,
    Represented,
    RowEncoder,
    RowTransformer,
    Unchanged,
)
from graphws.operations import mlp_graph

GRAPH = mlp_graph([2, 4, 1], activation="tanh")
WEIGHTS = Weights.unflatten(GRAPH, torch.zeros(2, GRAPH.numel))
MODULE = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
MODELS: dict[str, Callable[[], nn.Module]] = {
    "DWSNet": lambda: DWSNet(GRAPH, 1, layers=1, channels=2),
    "FlatMLP": lambda: FlatMLP(GRAPH, 1, layers=1),
    "GradedNet": lambda: GradedNet(GRAPH, 1, layers=1, channels=2),
    "NeuronGNN": lambda: NeuronGNN(GRAPH, 1, layers=1, width=2),
    "PublishedDWSNet": lambda: PublishedDWSNet(GRAPH, 1, layers=1, channels=2),
    "Queries": lambda: Queries(GRAPH, 1, points=4, layers=1, width=2),
    "RowEncoder": lambda: RowEncoder(GRAPH, 1, layers=1, width=2),
    "RowTransformer": lambda: RowTransformer(GRAPH, 1, layers=1, width=2, heads=1),
    "BoostedTrees": lambda: BoostedTrees(GRAPH, 1),
    "Unchanged": Unchanged,
}


@pytest.mark.parametrize("name", MODELS)
def test_every_model_says_what_it_takes(name: str) -> None:
    model = MODELS[name]().eval()
    with pytest.raises(UsageError) as caught:
        model(torch.zeros(8, 1217))
    assert str(caught.value) == (
        f"{name} takes Weights, got a Tensor (8, 1217): make them with Weights.unflatten(graph, tensor)"
    )
    with pytest.raises(UsageError) as nested:
        model([WEIGHTS, torch.zeros(3)])
    assert str(nested.value) == (
        f"{name} takes Weights, got a Tensor (3,): make them with Weights.unflatten(graph, tensor)"
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (GRAPH, "a NetworkGraph, which holds no numbers: make them with Weights.from_state_dict(graph, state)"),
        (
            MODULE.state_dict(),
            "a mapping: of a state dict make them with Weights.from_state_dict(graph, state)",
        ),
        (MODULE, "a module Sequential: give graphws.convert(module).weights"),
        (convert(MODULE), "a Conversion: give conversion.weights"),
        ([], "an empty list"),
        (3, "an int"),
        (None, "a NoneType"),
    ],
)
def test_what_it_got_is_named_with_the_way_to_weights(given: object, words: str) -> None:
    model = DWSNet(GRAPH, 1, layers=1, channels=2)
    with pytest.raises(UsageError) as caught:
        model(given)  # type: ignore[arg-type]
    assert str(caught.value) == f"DWSNet takes Weights, got {words}"


def test_the_ways_that_are_named_lead_there() -> None:
    model = DWSNet(GRAPH, 1, layers=1, channels=2).eval()
    found = convert(MODULE)
    assert found.weights is not None
    states = Weights.from_state_dict(found.graph, MODULE.state_dict())
    flat = Weights.unflatten(found.graph, states.flatten())
    for weights in (found.weights, states, flat):
        torch.testing.assert_close(model(weights), model(Weights(GRAPH, found.weights.tensors)))


def test_models_of_one_graph_take_no_several() -> None:
    model = FlatMLP(GRAPH, 1, layers=1).eval()
    with pytest.raises(UsageError) as caught:
        model([WEIGHTS, WEIGHTS])  # type: ignore[arg-type]
    assert str(caught.value) == "FlatMLP takes Weights of one graph, got a list of 2"
    other = mlp_graph([2, 5, 1])
    with pytest.raises(UsageError) as wide:
        model(Weights.unflatten(other, torch.zeros(1, other.numel)))
    assert str(wide.value) == (
        "this FlatMLP was built for another graph: space 'hidden1' has 5 elements, the model's 4"
    )


def test_a_completed_model_says_it_too() -> None:
    with pytest.raises(UsageError, match="DWSNet takes Weights, got a Tensor"):
        Represented(DWSNet(GRAPH, 4, layers=1, channels=2), 4, 1)(torch.zeros(2, 3))  # type: ignore[arg-type]
