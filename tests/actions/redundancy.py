"""Networks with redundancy planted in known places, for the tests of the reduction."""

from __future__ import annotations

import torch

from graphws.graph import Action, Weights
from graphws.operations import Activation, mlp_graph

FACTORS = {
    Action.PERMUTATION: (1.0,),
    Action.SIGNED: (1.0, -1.0),
    Action.SCALING: (0.3, 1.0, 4.0),
    Action.MONOMIAL: (0.5, -1.0, 2.0, -3.0),
}


def random_mlp(widths, activation, generator, **options):
    """A generic network in float64; weights of a size at which no activation saturates or vanishes."""
    graph = mlp_graph(widths, activation, **options)
    flat = torch.randn(1, graph.numel, generator=generator, dtype=torch.float64)
    weights = Weights.unflatten(graph, flat)
    scaled = {name: x / x.shape[-1] ** 0.5 if x.ndim == 3 else 0.3 * x for name, x in weights.items()}
    return Weights(graph, scaled)


def plant(weights, layer, activation, generator, unread=1, constant=1, duplicates=2, exponent=2):
    """Adds redundant neurons to hidden layer `layer` without changing the function; gives the larger network.

    Columns of a duplicated neuron are shared between it and its copy; the new neurons are shuffled in.
    """
    graph = weights.graph
    widths = [space.size for space in graph.spaces]
    state = {name: x[0].clone() for name, x in weights.items()}
    w, b, out, bias = (state[n] for n in (f"W{layer}", f"b{layer}", f"W{layer + 1}", f"b{layer + 1}"))
    kinds = [o for o in graph.operations if o.row.pointwise]
    operation = kinds[layer - 1]
    action = graph.spaces[layer].action
    power = exponent if activation == "power" else 1

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    for _ in range(unread):
        w = torch.cat([w, normal(1, w.shape[1])])
        b = torch.cat([b, normal(1)])
        out = torch.cat([out, torch.zeros(len(out), 1, dtype=torch.float64)], 1)
    for _ in range(constant):
        level, column = normal(1), normal(len(out), 1)
        w = torch.cat([w, torch.zeros(1, w.shape[1], dtype=torch.float64)])
        b = torch.cat([b, level])
        out = torch.cat([out, column], 1)
        bias = bias - column[:, 0] * operation(level)
    choices = FACTORS[action]
    for k in range(duplicates):
        factor, share = choices[k % len(choices)], 0.4
        w = torch.cat([w, factor * w[k : k + 1]])
        b = torch.cat([b, factor * b[k : k + 1]])
        out = torch.cat([out, share * out[:, k : k + 1] / factor**power], 1)
        out[:, k] *= 1 - share
    order = torch.randperm(len(w), generator=generator)
    state[f"W{layer}"], state[f"b{layer}"] = w[order], b[order]
    state[f"W{layer + 1}"], state[f"b{layer + 1}"] = out[:, order], bias
    widths[layer] = len(w)
    larger = mlp_graph(widths, [Activation(o.kind, dict(o.attributes)) for o in kinds])
    return Weights(larger, {name: x.unsqueeze(0) for name, x in state.items()})
