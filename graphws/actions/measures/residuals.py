"""An action as an approximate automorphism of the network's graph: how far from exact it is, weight by weight.

An automorphism g of a network leaves its weights alone, g·θ = θ.  A trained network has one only nearly, so its graph
is read with weights on it:

* the *residual* of one weight is max_g |(g·θ - θ)| there, in units of the weight;
* the *error* of a parameter is max_g ‖g·θ - θ‖ / (√2 ‖θ‖): 0 for an automorphism, about 1 for a random relabelling.

Both are taken in the network as it was given, not in the gauge that matching uses.

>>> import torch
>>> from graphws.graph import GroupElement, Monomial, Weights
>>> from graphws.operations import mlp_graph
>>> graph = mlp_graph([2, 2, 1], bias=False)
>>> weights = Weights(graph, {"W1": torch.tensor([[[1.0, 2.0], [2.0, 1.5]]]), "W2": torch.tensor([[[3.0, 3.0]]])})
>>> swap = Monomial(torch.tensor([1, 0]))
>>> residuals(weights, [GroupElement(graph, {"input": swap, "hidden1": swap})])["W1"].tolist()
[[0.5, 0.0], [0.0, 0.5]]
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import networkx as nx
import torch
from torch import Tensor

from graphws.graph import GroupElement, Weights


def residuals(weights: Weights, elements: Sequence[GroupElement]) -> dict[str, Tensor]:
    """For each parameter the largest change of each of its numbers by any element; the shape of the parameter.

    Args:
        weights: One network, a batch of one.
        elements: The elements of the group.
    """
    found = {name: torch.zeros_like(tensor[0], dtype=torch.float64, device="cpu") for name, tensor in weights.items()}
    for element in elements:
        for name, moved in element.act(weights).items():
            found[name] = torch.maximum(found[name], (moved[0] - weights[name][0]).abs().double().cpu())
    return found


def parameter_errors(weights: Weights, elements: Sequence[GroupElement]) -> dict[str, float]:
    """For each parameter max_g ‖g·θ - θ‖ / (√2 ‖θ‖); 0 for a parameter that is 0.  Arguments as `residuals`."""
    found = dict.fromkeys((name for name, _ in weights.items()), 0.0)
    for element in elements:
        for name, moved in element.act(weights).items():
            here = weights[name].double()
            gap, size = float((moved.double() - here).norm()), float(here.norm())
            found[name] = max(found[name], gap / (math.sqrt(2) * size) if size else 0.0)
    return found


def mark_residuals(view: nx.MultiDiGraph, found: Mapping[str, Tensor]) -> None:
    """Writes ``residual`` beside every weight of a neuron graph: on edges, or on the nodes of larger tuples.

    What hangs on a neuron alone, as biases do, is in its ``residuals``, by parameter.
    """
    for _, _, edge in view.edges(data=True):
        if "weight" in edge:
            edge["residual"] = float(found[edge["parameter"]][edge["index"]])
    for _, node in view.nodes(data=True):
        if "parameter" in node:
            node["residual"] = float(found[node["parameter"]][node["index"]])
        else:
            index = node["index"]
            node["residuals"] = {name: float(found[name][index]) for name in node["values"]}
