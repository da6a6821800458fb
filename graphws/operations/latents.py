"""What each space carries while a network runs: its latent space, in paper I's words.

A space is carried by the last value whose axis it labels: the activations of a layer, not what goes into them; what a
head has attended to, not its values.  Readers of the space (axes of power -1) read that value.

>>> from graphws.operations import mlp_graph
>>> carriers(mlp_graph([2, 8, 1], activation="tanh"))
{'input': 'x0', 'hidden1': 'x1', 'output': 'z2'}
"""

from __future__ import annotations

from torch import Tensor

from graphws.graph.network import NetworkGraph
from graphws.graph.weights import Weights
from graphws.operations.labels import labels
from graphws.operations.runner import Inputs, run_values


def carriers(graph: NetworkGraph) -> dict[str, str]:
    """The value that carries each space, for a graph that runs; spaces that no value carries are missing."""
    found = {axis.space: name for name, axes in labels(graph).items() for axis in axes if axis and axis.power == 1}
    order = [space.name for space in graph.spaces]
    return dict(sorted(found.items(), key=lambda entry: order.index(entry[0])))


def latents(graph: NetworkGraph, weights: Weights, inputs: Inputs) -> dict[str, Tensor]:
    """The values on every space, (batch, samples, extent): points, and the tokens of points, in a row.

    Args:
        graph: A graph that runs.
        weights: A batch of its networks.
        inputs: As for `graphws.operations.forward`.
    """
    carried = carriers(graph)
    values, found = run_values(graph, weights, inputs, carried.values()), {}
    for space, name in carried.items():
        axes = labels(graph)[name]
        place = next(k for k, axis in enumerate(axes) if axis and axis.space == space)
        found[space] = values[name].movedim(place + 1, -1).flatten(1, -2)
    return found
