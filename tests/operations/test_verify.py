from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from graphws.errors import VerificationError
from graphws.graph import Action, Axis, NetworkGraph, Space, Weights
from graphws.graph.group import Richness
from graphws.operations import mlp_graph, verify
from graphws.operations.verify import relative_change
from tests.graph import samples


def _points(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def _verify(graph: NetworkGraph, actions: Richness = "rich", **options: object) -> object:
    weights = samples.random_weights(graph, 3)
    rng = torch.Generator().manual_seed(0)
    return verify(graph, weights, _points(20, 2), generator=rng, actions=actions, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("actions", ["permutation", "rich"])
@pytest.mark.parametrize("activation", ["relu", "sine", "power", "identity", "gelu", "tanh", "leaky_relu"])
def test_mlps_pass(activation: str, actions: Richness) -> None:
    graph = mlp_graph([2, 6, 5, 2], activation, omega=3.0 if activation == "sine" else None)
    found = verify(
        graph,
        samples.random_weights(graph, 3),
        _points(20, 2),
        generator=torch.Generator().manual_seed(0),
        actions=actions,
    )
    assert found.error < 1e-10
    assert found.control > 1e-2
    assert (found.draws, found.actions) == (3, actions)
    assert str(found).startswith("VERIFIED (error ")


def test_an_action_that_the_activation_does_not_allow_fails() -> None:
    graph = mlp_graph([2, 6, 5, 2], "tanh")
    spaces = tuple(replace(s, action=Action.SCALING) if s.name == "hidden1" else s for s in graph.spaces)
    broken = replace(graph, spaces=spaces)
    _verify(broken, "permutation")
    with pytest.raises(VerificationError, match=r"^a random rich element changes the outputs by .* \(allowed 1e-08\)$"):
        _verify(broken, "rich")


def test_an_axis_of_the_wrong_power_fails() -> None:
    graph = mlp_graph([2, 6, 2], "relu")
    wrong = replace(graph.parameter("W2"), axes=(Axis("output"), Axis("hidden1", 1)))
    broken = replace(graph, parameters=tuple(wrong if p.name == "W2" else p for p in graph.parameters))
    with pytest.raises(VerificationError, match=r"^a random rich element changes the outputs"):
        _verify(broken)


def test_an_axis_of_the_wrong_space_fails() -> None:
    graph = mlp_graph([2, 6, 6, 2], "relu")
    wrong = replace(graph.parameter("b1"), axes=(Axis("hidden2"),))
    broken = replace(graph, parameters=tuple(wrong if p.name == "b1" else p for p in graph.parameters))
    with pytest.raises(VerificationError, match=r"^a random permutation element changes the outputs"):
        _verify(broken, "permutation")


def test_a_free_space_that_is_called_a_set_fails() -> None:
    graph = mlp_graph([2, 6, 2], "relu")
    broken = replace(graph, spaces=(Space("input", 2), *graph.spaces[1:]))
    with pytest.raises(VerificationError, match=r"^a random permutation element changes the outputs"):
        _verify(broken, "permutation", draws=8)


def test_a_check_that_could_not_fail_is_no_check() -> None:
    graph = mlp_graph([2, 6, 2], "relu")
    message = (
        r"^the check proves nothing: leaving a parameter behind changes the outputs by 0.0e\+00 only "
        r"\(at least 1e-06 wanted\)$"
    )
    with pytest.raises(VerificationError, match=message):
        _verify(graph, run=lambda weights: torch.ones(3, 1, dtype=torch.float64))
    with pytest.raises(VerificationError, match=message):
        _verify(mlp_graph([2, 2]))


def test_outputs_that_are_not_numbers_fail() -> None:
    graph = mlp_graph([2, 6, 2], "relu")
    seen: list[int] = []

    def breaks(weights: Weights) -> Tensor:
        seen.append(1)
        return weights["W2"].sum(-1) * (float("nan") if len(seen) > 1 else 1)

    with pytest.raises(VerificationError, match=r"^a random rich element changes the outputs by nan"):
        _verify(graph, run=breaks)


def test_something_to_compare_is_needed() -> None:
    graph = mlp_graph([2, 6, 2])
    with pytest.raises(VerificationError, match=r"^nothing to compare: give `inputs`, or `run`$"):
        verify(graph, samples.random_weights(graph), generator=torch.Generator())


def test_the_measure_ignores_a_constant_offset_but_no_change() -> None:
    x = _points(50)
    assert relative_change(x, x) == 0
    assert relative_change(x + 1e6, x + 1e6 + 0.1 * _points(50)) == pytest.approx(0.1, rel=0.01)
    assert relative_change(torch.zeros(3), torch.ones(3)) > 1e30
    flat = torch.full((1000,), 0.4610, dtype=torch.float64)
    rounded = flat * (1 + torch.finfo(torch.float64).eps * (torch.arange(1000) % 2))
    assert relative_change(rounded, flat) < 1e-15, "outputs that agree up to rounding have no spread"
    assert relative_change(rounded, 2 * flat) == pytest.approx(1)
    assert relative_change(torch.tensor([0, 2, 4]), torch.tensor([0, 2, 4])) == 0
    assert relative_change(torch.tensor([0, 2, 4]), torch.tensor([4, 2, 0])) == pytest.approx(2)
