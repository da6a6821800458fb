"""Every architecture gets its group, verified, from both front ends."""

from __future__ import annotations

import pytest
import torch

from graphws.graph import Action, NetworkGraph, Weights
from graphws_converters.modules.conversion import convert_module
from tests.converters.architectures import ARCHITECTURES, GROUPS, build
from tests.graph import samples


def _factors(graph: NetworkGraph) -> str:
    return " · ".join(graph.group().factors)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_each_architecture_gets_its_group_verified(name: str) -> None:
    module, inputs = build(name)
    result = convert_module(module, inputs, generator=torch.Generator().manual_seed(1))
    assert result.verification is not None, result.verdict
    assert result.verification.error < 1e-10
    assert result.verification.control > 1e-3
    assert _factors(result.graph) == GROUPS[name]
    assert not any(note.startswith("no rule") for note in result.notes)
    rich = [space.name for space in result.graph.spaces if space.moves and space.action is not Action.PERMUTATION]
    assert [check.space for check in result.actions] == rich
    assert {check.verdict for check in result.actions} <= {"confirmed"}
    assert result.runs is not None
    assert result.runs.error is not None, result.runs.reason
    assert (result.runs.error < 1e-12, result.runs.batch) == (True, "any")
    assert isinstance(result.weights, Weights)
    state, back = module.state_dict(), result.weights.to_state_dict()
    assert sorted(state) == sorted(back)
    assert all(samples.bits(back[key], value) for key, value in state.items())
    assert NetworkGraph.from_json(result.graph.to_json()) == result.graph


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name != "write into a slice"])
def test_the_recorder_finds_the_same_spaces_and_actions(name: str) -> None:
    module, inputs = build(name)
    rng = torch.Generator().manual_seed(1)
    first, second = (convert_module(module, inputs, generator=rng, front=front) for front in ("export", "recorder"))
    assert second.verified
    assert first.graph.spaces == second.graph.spaces
    assert first.graph.parameters == second.graph.parameters


def test_the_recorder_frees_what_a_write_in_place_may_have_changed() -> None:
    """It cannot tell which entries were written; the exported program is functional and can."""
    module, inputs = build("write into a slice")
    result = convert_module(module, inputs, generator=torch.Generator().manual_seed(1), front="recorder")
    assert not any(space.moves for space in result.graph.spaces)
    assert any(space.reason.startswith("alias_write knows the order") for space in result.graph.spaces)
