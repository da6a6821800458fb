"""Networks as an answer: from the channels of the last layer."""

from __future__ import annotations

import torch

from graphws.graph import NetworkGraph, Weights
from graphws.layers import Features


def networks_of(parts: list[Features], graph: NetworkGraph) -> Weights:
    """The networks of features with one channel each, those for one network next to each other."""
    answers = [Features(graph, part.tensors, 1).to_weights() for part in parts]
    if len(answers) == 1:
        return answers[0]
    names = [parameter.name for parameter in graph.parameters]
    return Weights(graph, {n: torch.stack([one[n] for one in answers], 1).flatten(0, 1) for n in names})


def shares(state: Features, count: int) -> list[Features]:
    """Features whose channels are shared out, as many to each; channels are folded behind the free entries."""
    if count == 1:
        return [state]
    state = state.settled
    each = state.channels // count
    return [
        state.replace(
            {
                name: x.unflatten(-1, (-1, state.channels))[..., k * each : (k + 1) * each].flatten(-2)
                for name, x in state.tensors.items()
            },
            each,
        )
        for k in range(count)
    ]
