"""Networks that were trained, not planted: they carry what the theorem promises, and nothing without a symmetry."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from graphws.actions import find_actions
from graphws.actions.groups.placing import place
from graphws.actions.groups.symmetry import DataSymmetry, close
from graphws.actions.planted.networks import plant, recovery
from graphws.actions.planted.students import fit_student
from graphws.errors import UsageError
from graphws.graph import Monomial, Weights
from graphws.matching import match
from graphws.operations import forward, mlp_graph
from tests.actions.planting import rng

GRAPH = mlp_graph([6, 6, 4], "tanh")


def swap() -> DataSymmetry:
    """Inputs and outputs exchanged in pairs."""
    given = {"swap": Monomial(torch.tensor([1, 0, 3, 2, 5, 4]))}
    return close("swap", given, {"swap": Monomial(torch.tensor([1, 0, 3, 2]))})


def lesson(seed: int, points: int = 2048) -> tuple[Weights, Tensor, Tensor]:
    """A symmetric teacher bent enough that its neurons are not linear, and what it says."""
    planted = plant(GRAPH, place(GRAPH, swap(), (6,)), rng(seed))
    tensors = planted.weights.tensors
    teacher = Weights(GRAPH, {**tensors, "W1": 2 * tensors["W1"], "b1": 3 * tensors["b1"]})
    inputs = torch.randn(points, 6, generator=rng(100 + seed), dtype=torch.float64)
    return teacher, inputs, forward(GRAPH, teacher, inputs)[0]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [5, 6])
def test_a_student_has_its_teachers_action(seed: int) -> None:
    """Bar: K-error below 1e-5; and the action is the teacher's, carried over by the match between the two."""
    teacher, inputs, targets = lesson(seed)
    student, error = fit_student(GRAPH, inputs, targets, rng(seed))
    assert error < 1e-13
    found = find_actions(student, swap(), (6,), data=inputs[:500], decoys=2)
    assert found.end_to_end is not None
    assert found.end_to_end < 1e-6
    assert max(layer.k_error for layer in found.layers) < 1e-5
    assert found.verdict.outcome in ("exact action", "action found")
    truth = find_actions(teacher, swap(), (6,), decoys=0).elements[1]
    carried = match(student, teacher)
    moved = (carried @ truth @ carried.inverse()).maps
    assert recovery([{}, found.elements[1].maps], [{}, moved])["hidden1"] == 1.0


@pytest.mark.slow
def test_a_student_of_a_teacher_without_the_symmetry_has_none() -> None:
    teacher, inputs, _ = lesson(5)
    crooked = teacher.map(lambda x: x + 0.5 * torch.randn(x.shape, generator=rng(1), dtype=x.dtype))
    student, error = fit_student(GRAPH, inputs, forward(GRAPH, crooked, inputs)[0], rng(0))
    assert error < 1e-2
    found = find_actions(student, swap(), (6,), data=inputs[:500], decoys=2)
    assert found.verdict.outcome == "no action found"


def test_targets_that_are_no_numbers() -> None:
    inputs = torch.randn(8, 6, generator=rng(), dtype=torch.float64)
    with pytest.raises(UsageError, match="no student converged: are inputs and targets finite and of moderate size"):
        fit_student(GRAPH, inputs, torch.full((8, 4), float("nan"), dtype=torch.float64), rng())
