"""State dicts told to be of a graph by their keys and shapes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from graphws.operations import mlp_graph
from graphws.runtime.network_sources import fitting

GRAPH = mlp_graph([2, 4, 1], keys=["0", "2"])
INSIDE = mlp_graph([2, 4, 1], keys=["net.0", "net.2"])


def _state(prefix: str = "") -> dict[str, Tensor]:
    module = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    return {prefix + key: tensor.detach() for key, tensor in module.state_dict().items()}


@pytest.mark.parametrize(("graph", "prefix"), [(GRAPH, ""), (GRAPH, "model.net."), (INSIDE, "net."), (INSIDE, "")])
def test_one_prefix_more_or_less_is_no_other_network(graph: object, prefix: str) -> None:
    state = _state(prefix)
    found, reason = fitting(state, [graph], ["a"])  # type: ignore[list-item]
    assert reason == ""
    assert found is not None
    assert found.graph.structure == GRAPH.structure
    back = found.to_state_dict()
    assert list(back) == list(state)
    assert all(torch.equal(back[key], state[key]) for key in state)


@pytest.mark.parametrize("change", ["1.", "extra", "shape"])
def test_other_keys_and_shapes_are_refused(change: str) -> None:
    state = _state("net.")
    if change == "1.":
        state["other.2.weight"] = state.pop("net.2.weight")
    elif change == "extra":
        state["net.3.weight"] = torch.zeros(1)
    else:
        state["net.0.weight"] = torch.zeros(4, 3)
    found, reason = fitting(state, [GRAPH], ["a"])
    assert found is None
    assert reason.startswith("it is no network like those of the run: ")
