"""Baselines anywhere: nothing of theirs stays behind on another device, half precision runs, every number learns."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from graphws.graph import NetworkGraph
from graphws.models import NeuronGNN, RowEncoder, RowTransformer
from graphws.operations.sampling import random_weights
from tests.layers.acting.networks import NETWORKS

MODELS: dict[str, Callable[[NetworkGraph, int | None], nn.Module]] = {
    "rows": lambda graph, outputs: RowEncoder(graph, outputs, layers=1, width=4),
    "transformer": lambda graph, outputs: RowTransformer(graph, outputs, layers=1, width=4, heads=2),
    "gnn": lambda graph, outputs: NeuronGNN(graph, outputs, layers=1, width=4),
    "gnn, channels": lambda graph, outputs: NeuronGNN(graph, outputs, layers=1, width=4, free="channels"),
}
NAMES = ("SIREN", "CNN with batch norms", "attention, queries and keys", "experts in a list")


@pytest.mark.parametrize("outputs", [3, None])
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("name", NAMES)
def test_it_runs_wherever_it_is_put(name: str, kind: str, outputs: int | None) -> None:
    torch.manual_seed(0)
    graph = NETWORKS[name]()
    weights = random_weights(graph, 3, torch.Generator().manual_seed(0), torch.float32)
    model = MODELS[kind](graph, outputs)

    def numbers() -> Tensor:
        found = model(weights)
        return found if isinstance(found, Tensor) else found.flatten()

    with torch.no_grad():
        exact = numbers()
        with torch.autocast("cpu", torch.bfloat16):
            rough = numbers()
    assert exact.dtype == torch.float32
    assert (rough.float() - exact).norm() < 0.2 * exact.norm()
    numbers().square().sum().backward()  # type: ignore[no-untyped-call]
    assert [n for n, parameter in model.named_parameters() if parameter.grad is None] == []
    model.to("meta")  # a tensor that stayed would meet those that moved
    assert (model(weights.to("meta")) if outputs else model(weights.to("meta")).flatten()).device.type == "meta"
    with pytest.raises(RuntimeError):
        numbers()
