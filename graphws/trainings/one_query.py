"""Attention by one learned query, computed in the order that costs least.

The graph of `graphws.operations.builders.attention_pool` projects every token to keys and values, head by head.
But with one query, the same for all pictures, a head's scores are linear in a patch x_t,

    q·K(E_K x_t + p_t) = (E_Kᵀ Kᵀ q)·x_t + (Kᵀ q)·p_t,

and a head's output is Σ_t a_t V(E_V x_t + p'_t) = V(E_V Σ_t a_t x_t + Σ_t a_t p'_t): patches may be summed before they
are projected.  So nothing of the layer's width is done token by token; training is some twenty times as fast, and the
function is that of `graphws.operations.forward` up to rounding, which is a test.
"""

from __future__ import annotations

import torch
from torch import Tensor

from graphws.graph import NetworkGraph, Weights
from graphws.operations import continue_from


def attend_once(graph: NetworkGraph, weights: Weights, pictures: Tensor) -> Tensor:
    """The outputs of one network of `attention_pool_graph` that reads pictures, (points, outputs).

    Args:
        graph: Its graph.
        weights: A batch of one.
        pictures: (points, channels, rows, columns).
    """
    kinds = [operation.kind for operation in graph.operations]
    cut, flat = graph.operations[kinds.index("patches")], kinds.index("flatten_tokens")
    scored = graph.operations[kinds.index("dot_scores")]
    heads, scale = int(scored.attribute("heads", 1)), float(scored.attribute("scale", 1.0))
    one = {name: tensor[0] for name, tensor in weights.items()}

    tokens = cut(pictures)
    query = (one["Q1"] @ one["T"][0]).unflatten(0, (heads, -1))
    asked = torch.einsum("hd,hde->he", query, one["K1"].unflatten(0, (heads, -1)))
    scores = tokens @ (asked @ one["EK"]).T + one["PK"] @ asked.T
    attention = torch.softmax(scale * scores, dim=1)
    read = torch.einsum("nth,ntf->nhf", attention, tokens) @ one["EV"].T
    read = read + torch.einsum("nth,te->nhe", attention, one["PV"])
    written = torch.einsum("nhe,hde->nhd", read, one["V1"].unflatten(0, (heads, -1))).flatten(1) + one["bV1"]

    given = {graph.operations[flat].outputs[0]: written.unsqueeze(0)}
    return continue_from(graph, weights, given, graph.outputs)[graph.outputs[0]][0]
