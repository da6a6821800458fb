"""Networks whose graph does not run while their module does: the function is measured, layers by their weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from graphws.actions import find_actions
from graphws.actions.lie import lie_derivative
from graphws.checkpoints.conversion import Conversion
from graphws.converting import convert
from graphws.errors import UsageError
from graphws.graph import Operation
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
