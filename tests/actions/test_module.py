"""Networks whose graph does not run while their module does: the function is measured, layers by their weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from graphws.actions import find_actions
from graphws.actions.lie import lie_derivative
from graphws.actions.measures.equivariance import largest
from graphws.checkpoints.conversion import Conversion
from graphws.converting import convert
from graphws.errors import DataError, UsageError
from graphws.graph import Operation, Weights
from graphws.operations import why_not
from tests.actions.picture_cases import SHAPE, classifier, pictures, planted

WHY = "fold cannot be run from the graph: no rule"


def opaque(found: Conversion) -> Conversion:
    """The same with a first step that nothing but the module can run."""
    graph, x = found.graph, found.graph.inputs[0]
    step = Operation("opaque", (x,), ("x0~",), {"name": "fold", "why": "no rule"})
    steps = [replace(o, inputs=tuple("x0~" if name == x else name for name in o.inputs)) for o in graph.operations]
    graph = replace(graph, operations=(step, *steps))
    assert found.weights is not None
    assert why_not(graph) == WHY
    return replace(found, graph=graph, weights=type(found.weights)(graph, found.weights.tensors))


@pytest.mark.parametrize("symmetric", [True, False])
def test_the_function_is_measured_on_the_module(symmetric: bool) -> None:
    network, symmetry, _ = planted(classifier(), "mirror")
    torch.manual_seed(1)
    other = network if symmetric else convert(classifier(), pictures(2))
    found = find_actions(opaque(other), symmetry, SHAPE, data=pictures(24), decoys=2)
    assert found.note == (
        f"The module was run on probes and on random inputs, its layers were looked at by their weights alone: {WHY}."
    )
    assert found.end_to_end is not None
    assert found.end_to_end < 1e-12 if symmetric else found.end_to_end > 0.3
    assert found.verdict.outcome == ("exact action" if symmetric else "no action found")
    assert all(layer.cumulative is None for layer in found.layers)
    assert found.decoy_end_to_end
    assert min(found.decoy_end_to_end.values()) > 0.1
    ran = find_actions(other, symmetry, SHAPE, data=pictures(24), decoys=2, reduced=False)
    assert ran.end_to_end == pytest.approx(found.end_to_end, abs=1e-9)


def test_outputs_that_move_and_vectors() -> None:
    """A linear layer that commutes with the mirror of 4 x 4 pictures."""
    torch.manual_seed(0)
    mirror = torch.eye(16).reshape(16, 4, 4).flip(-1).reshape(16, 16)
    net = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 16))
    with torch.no_grad():
        for layer in (net[0], net[2]):
            layer.weight.copy_((layer.weight + mirror @ layer.weight @ mirror) / 2)
            layer.bias.copy_((layer.bias + mirror @ layer.bias) / 2)
    points = torch.randn(20, 16, dtype=torch.float64)
    found = find_actions(opaque(convert(net.double(), points[:2])), "mirror", (1, 4, 4), data=points)
    assert found.verdict.outcome == "exact action"
    assert found.end_to_end is not None
    assert found.end_to_end < 1e-12


@pytest.mark.parametrize("run", [True, False])
def test_without_probes_the_module_is_run_on_random_inputs(run: bool) -> None:
    """What was not seen end to end is not called exact, however exact its weights are."""
    network, symmetry, _ = planted(classifier(), "mirror")
    network = opaque(network) if run else replace(opaque(network), run=None)
    found = find_actions(network, symmetry, SHAPE, decoys=1)
    assert found.end_to_end is None
    assert (found.on_random_inputs is not None and found.on_random_inputs < 1e-12) == run
    assert found.verdict.outcome == ("exact action" if run else "action found")
    assert found.to_dict()["end_to_end_on_random_inputs"] == pytest.approx(found.on_random_inputs)


def test_a_module_that_takes_no_random_inputs() -> None:
    """Nobody said that it would: it was not seen end to end, which is all that follows."""
    network, symmetry, _ = planted(classifier(), "mirror")
    taken = opaque(network)

    def picky(weights: Weights, x: Tensor) -> Tensor:
        if len(x) > 30:
            raise ValueError("at most 30")
        assert taken.run is not None
        return taken.run(weights, x)

    found = find_actions(replace(taken, run=picky), symmetry, SHAPE, decoys=1)
    assert found.on_random_inputs is None
    assert found.verdict.outcome == "action found"
    assert found.verdict.text.endswith(" Nothing was seen end to end, so it is not called exact.")
    seen = find_actions(replace(taken, run=picky), symmetry, SHAPE, data=pictures(40), decoys=1)
    assert seen.on_random_inputs is None
    assert seen.verdict.outcome == "exact action"  # on the probes


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_is_no_number_is_no_error_of_0(number: float) -> None:
    network, symmetry, _ = planted(classifier(), "mirror")
    taken = opaque(network)

    def holed(weights: Weights, x: Tensor) -> Tensor:
        assert taken.run is not None
        y = taken.run(weights, x)
        return torch.where(x.flatten(1)[:, :1] > 0, y, number)

    found = find_actions(replace(taken, run=holed), symmetry, SHAPE, decoys=1)
    assert found.on_random_inputs is None
    assert found.verdict.outcome == "action found"
    assert largest([0.0, float("nan"), 0.5]) == float("inf")
    assert largest([0.0, 0.5]) == 0.5
    with pytest.raises(DataError) as error:
        find_actions(replace(taken, run=holed), symmetry, SHAPE, data=pictures(24), decoys=1)
    assert str(error.value) == "the network gives NaN or infinity on the probes, so nothing can be measured on them"


class Roots(nn.Module):
    """Roots, which numbers below -1 have none of."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sqrt(x + 1.0)


def test_values_inside_that_are_no_numbers() -> None:
    """The graph runs, and the root of what is negative is no number."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 8), Roots(), nn.Linear(8, 3)).double()
    network = convert(net, torch.rand(2, 16, dtype=torch.float64))
    whole = find_actions(network, "mirror", (1, 4, 4), "invariant", decoys=1, reduced=False)
    assert whole.on_random_inputs is None
    probes = torch.randn(20, 16, dtype=torch.float64)
    for reduced, what in ((False, "on the probes"), (True, "on these inputs")):
        with pytest.raises(DataError, match=f"^the network gives NaN or infinity {what}, so nothing can be "):
            find_actions(network, "mirror", (1, 4, 4), "invariant", data=probes, decoys=1, reduced=reduced)


def test_without_a_module_probes_are_not_used() -> None:
    network = opaque(convert(classifier(), pictures(2)))
    for given in (replace(network, run=None), network.weights):
        assert given is not None
        found = find_actions(given, "mirror", SHAPE, "invariant", data=pictures(12), decoys=1)
        assert found.note == f"Probes were not used: {WHY}."
        assert found.end_to_end is None


def test_the_lie_derivative_is_that_of_the_module() -> None:
    network = convert(classifier().double(), pictures(2))
    ran = lie_derivative(network, "rotation", SHAPE, "invariant", data=pictures(8), decoys=1)
    found = lie_derivative(opaque(network), "rotation", SHAPE, "invariant", data=pictures(8), decoys=1)
    assert found.end_to_end == pytest.approx(ran.end_to_end)
    assert found.decoys == pytest.approx(ran.decoys)
    assert found.layers == ()
    assert found.note == found.to_dict()["note"] == f"The module was run, without its layers: {WHY}."
    assert ran.note == ""
    with pytest.raises(UsageError) as error:
        lie_derivative(replace(opaque(network), run=None), "rotation", SHAPE, "invariant", data=pictures(8))
    assert str(error.value) == f"the Lie derivative needs a network that can be run: {WHY}"
