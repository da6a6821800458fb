"""Grades of axes: what each space's action makes of a power."""

from __future__ import annotations

import pytest

from graphws.errors import UsageError
from graphws.graph import Action, NetworkGraph, Parameter, Space
from graphws.layers.acting.grades import grading
from graphws.operations import mlp_graph
from tests.layers.acting.networks import NETWORKS, residual, stacked_experts


def grades(graph: NetworkGraph, parameter: str, symmetry: str = "rich") -> list[int]:
    return [place.grade for place in grading(graph, symmetry).places(parameter)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("action", "found"),
    [
        (Action.PERMUTATION, [0, 0]),
        (Action.SIGNED, [1, 1]),
        (Action.SCALING, [0, 0]),
        (Action.MONOMIAL, [1, 1]),
        (Action.LINEAR, [1, -1]),
    ],
)
def test_the_action_decides(action: Action, found: list[int]) -> None:
    assert grades(residual(action), "A") == found


def test_even_powers_of_signs_are_invariant() -> None:
    spaces = (Space("d", 3, action=Action.SIGNED),)
    graph = NetworkGraph(spaces, (Parameter("variance", "d^2"), Parameter("mean", "d")))  # type: ignore[arg-type]
    assert (grades(graph, "variance"), grades(graph, "mean")) == ([0], [1])


def test_under_permutations_every_grade_is_trivial() -> None:
    for make in NETWORKS.values():
        graph = make()
        assert not any(
            grade for parameter in graph.parameters for grade in grades(graph, parameter.name, "permutation")
        )


def test_families_stand_on_the_axis_of_their_parents() -> None:
    places = grading(stacked_experts(), "rich").places("up")
    assert [(place.space, place.letters) for place in places] == [("d", "b"), ("h", "ac")]


def test_a_linear_space_has_no_invariants_of_its_own() -> None:
    found = grading(residual(Action.LINEAR), "rich")
    assert found.site("d") is None
    assert grading(residual(Action.SIGNED), "rich").site("d") == "d"


def test_powers_that_a_matrix_cannot_have_are_refused() -> None:
    graph = NetworkGraph((Space("d", 3, action=Action.LINEAR),), (Parameter("x", "d^2"),))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="axis of power 2 of the linear space 'd'"):
        grades(graph, "x")


def test_an_unknown_symmetry_is_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'rich'"):
        grading(mlp_graph([2, 3, 1]), "ritch")  # type: ignore[arg-type]
