"""The numbers of the authors' own networks with the same parameters, where a checkout of theirs is at hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from graphws.graph import Weights
from graphws.messages import FAMILIES
from graphws.models import PublishedDWSNet
from graphws.operations import mlp_graph
from graphws.testing import random_weights
from tests.layers.dense import perturb
from tests.layers.published.peer import as_peer, from_peer, peer_models, shapes, take_numbers

CASES: dict[str, tuple[list[int], dict[str, Any], dict[str, Any]]] = {
    "as published": ([2, 6, 5, 1], {}, {}),
    "deeper, neighbours": ([2, 3, 4, 3, 1], {"blocks": dict.fromkeys(FAMILIES, "diagonal")}, {"diagonal": True}),
    "deepsets, mean": (
        [3, 4, 4, 2, 1],
        {"set_layer": "deepsets", "pooling": "mean"},
        {"set_layer": "ds", "reduction": "mean"},
    ),
    "no norm": ([1, 4, 4, 1], {"norm": "none"}, {"bn": False}),
    "inputs reduced": ([6, 4, 3, 1], {"reduce": {"input": 2}}, {"input_dim_downsample": 2}),
}
"""Widths, our options, theirs.  They tie the outputs of some maps to the last weight, so there is one output."""


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("outputs", [3, None])
def test_values_and_gradients_are_theirs(name: str, outputs: int | None) -> None:
    models = peer_models()
    widths, options, peer_options = CASES[name]
    draw = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    said = {"input_features": 1, "hidden_dim": 8, "n_hidden": 2, "num_heads": 4, "init_scale": 1.0, "bn": True}
    said |= shapes(widths) | peer_options
    if outputs is None:
        theirs = models.DWSModel(output_features=1, **said).double()
    else:
        theirs = models.DWSModelForClassification(n_classes=outputs, **said).double()
    perturb(theirs, draw)
    ours = PublishedDWSNet(mlp_graph(widths), outputs, layers=3, channels=8, heads=4, **options).double()
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    take_numbers(ours, theirs)
    weights = random_weights(mlp_graph(widths), 6, draw).map(lambda x: x.requires_grad_())
    answer, expected = ours(weights), theirs(as_peer(weights))
    if isinstance(answer, Weights):
        answer, expected = answer.flatten(), Weights(answer.graph, from_peer(expected)).flatten()
    torch.testing.assert_close(answer, expected, rtol=1e-10, atol=1e-10)
    leaves = list(weights.tensors.values())
    found, wanted = (torch.autograd.grad(x.square().sum(), leaves) for x in (answer, expected))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)
