"""Features as a mapping of names."""

from __future__ import annotations

import pytest
import torch

from graphws.graph import Weights
from graphws.layers import Features, Prologue
from graphws.layers.union.features import UnionFeatures
from graphws.operations import mlp_graph

GRAPH = mlp_graph([2, 3, 1])


def test_iterating_gives_names_and_what_they_give_is_settled() -> None:
    rng = torch.Generator().manual_seed(0)
    features = Features.from_weights(Weights.unflatten(GRAPH, torch.randn(2, GRAPH.numel, generator=rng)))
    waiting = features.awaiting(Prologue("relu"))
    assert list(waiting) == list(waiting.keys()) == ["W1", "b1", "W2", "b2"]
    assert "W1" in waiting
    assert 0 not in waiting
    for name, tensor in waiting.items():
        torch.testing.assert_close(tensor, features[name].relu())
    for ours, theirs in zip(waiting.values(), dict(waiting).values(), strict=True):
        torch.testing.assert_close(ours, theirs)
    with pytest.raises(KeyError, match="W9"):
        waiting["W9"]


def test_those_of_several_graphs_are_a_mapping_of_stacks() -> None:
    rng = torch.Generator().manual_seed(0)
    graphs = (GRAPH, mlp_graph([2, 4, 1]))
    states = [Features.from_weights(Weights.unflatten(g, torch.randn(2, g.numel, generator=rng))) for g in graphs]
    joined = UnionFeatures.join(states)
    assert list(joined) == list(joined.tensors)
    assert len(joined.items()) == len(joined.values()) == len(joined.tensors)
    assert next(iter(joined)) in joined
