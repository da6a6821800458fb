"""Families inside a free space: each has a symmetry of its own, unless there are too many."""

from __future__ import annotations

import pytest
import torch

from graphws.graph import NetworkGraph
from graphws_converters.analysis import families
from graphws_converters.modules.conversion import convert_module
from tests.converters.architectures import build


def _graph() -> NetworkGraph:
    module, inputs = build("heads told apart by slopes")
    result = convert_module(module, inputs, generator=torch.Generator().manual_seed(1))
    assert result.verified
    return result.graph


def test_every_head_gets_sets_of_its_own() -> None:
    graph = _graph()
    blocks = [p for p in graph.parameters if p.name.startswith("qkv.weight")]
    assert len(blocks) == 9, "3 heads, each with q, k and v"
    owners = [block.spaces[0] for block in blocks]
    assert [owners[k] == owners[k + 1] for k in (0, 3, 6)] == [True] * 3, "q and k are permuted together"
    assert len(set(owners)) == 6
    assert {str(graph.space(name).action) for name in owners} == {"linear"}


@pytest.mark.parametrize(("limit", "most"), [("MOST_FAMILIES", 2), ("MOST_BLOCKS", 8)])
def test_beyond_the_limits_all_heads_are_permuted_alike(limit: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, limit, most)
    assert _graph().group().factors == ("S_4", "S_4")
