from __future__ import annotations

from dataclasses import replace

import pytest

from graphws.graph import NetworkGraph
from graphws.graph.operation import Operation
from graphws.operations import mlp_graph
from graphws.operations.other_computation import other_computation

SINE = mlp_graph([2, 8, 8, 1], activation="sine", omega=30.0)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (mlp_graph([2, 8, 8, 1], activation="relu"), "x1 = relu(z1) where the others have x1 = sine(z1, omega=30.0)"),
        (
            mlp_graph([2, 8, 8, 1], activation="sine", omega=[30.0, 1.0]),
            "x2 = sine(z2, omega=1.0) where the others have x2 = sine(z2, omega=30.0)",
        ),
        (
            mlp_graph([2, 8, 8, 1], activation="gelu"),
            "x1 = gelu(z1) where the others have x1 = sine(z1, omega=30.0)",
        ),
    ],
)
def test_the_first_step_that_differs_is_named(other: NetworkGraph, words: str) -> None:
    assert other_computation(SINE, other) == words


@pytest.mark.parametrize(("slope", "words"), [(0.0, ""), (0.1, "x1 = leaky_relu(z1, negative_slope=0.1)")])
def test_steps_that_are_written_otherwise_compute_the_same(slope: float, words: str) -> None:
    known = mlp_graph([2, 8, 1], activation="relu")
    first, _, last = known.operations
    leaky = Operation("leaky_relu", ("z1",), ("x1",), (("negative_slope", slope),))
    found = other_computation(known, replace(known, operations=(first, leaky, last)))
    assert found == (words and f"{words} where the others have x1 = relu(z1)")


def test_networks_of_other_names_are_compared_by_the_keys_of_their_state_dict() -> None:
    known = mlp_graph([2, 8, 1], activation="tanh", keys=["0", "2"])
    names = {"W1": "first", "b1": "shift", "W2": "second", "b2": "last"}
    parameters = tuple(replace(p, name=names[p.name]) for p in known.parameters)
    for kind, words in (("tanh", ""), ("sigmoid", "x1 = sigmoid(z1) where the others have x1 = tanh(z1)")):
        steps = (
            Operation("linear", ("x0", "first", "shift"), ("z1",)),
            Operation(kind, ("z1",), ("x1",)),
            Operation("linear", ("x1", "second", "last"), ("z2",)),
        )
        assert other_computation(known, replace(known, parameters=parameters, operations=steps)) == words


def test_what_cannot_be_tried_is_not_claimed() -> None:
    bare = NetworkGraph(SINE.spaces, SINE.parameters)
    assert other_computation(SINE, bare) == other_computation(bare, SINE) == ""
    assert other_computation(SINE, mlp_graph([3, 8, 1])) == ""
