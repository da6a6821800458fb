"""A layer as the matrices that it is made of: one for each of its parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphws.graph import NetworkGraph, Weights
from graphws.layers import EquivariantLinear, Features


@torch.no_grad()
def parameter_matrices(layer: EquivariantLinear, graph: NetworkGraph) -> Tensor:
    """(parameters, numel, numel): the matrix of the layer with one parameter 1 and all others 0.

    A layer with linear pooling, one channel and no bias is linear in its parameters, so this stack is the Jacobian of
    its matrix by its parameters.
    """
    unit = Features.from_weights(Weights.unflatten(graph, torch.eye(graph.numel, dtype=torch.float64)))
    layer.double()
    for parameter in layer.parameters():
        parameter.zero_()
    found = []
    for parameter in layer.parameters():
        flat = parameter.view(-1)
        for k in range(flat.numel()):
            flat[k] = 1
            found.append(layer(unit).to_weights().flatten().T.clone())
            flat[k] = 0
    return torch.stack(found) if found else torch.zeros(0, graph.numel, graph.numel, dtype=torch.float64)


def blocks(matrices: Tensor, graph: NetworkGraph) -> dict[tuple[str, str], Tensor]:
    """The part of every matrix that leads from one parameter to another, by (source, target)."""
    sizes = [torch.Size(graph.shape(p.name)).numel() for p in graph.parameters]
    names = [p.name for p in graph.parameters]
    return {
        (source, target): block
        for target, rows in zip(names, matrices.split(sizes, 1), strict=True)
        for source, block in zip(names, rows.split(sizes, 2), strict=True)
    }


def rank(matrices: Tensor) -> int:
    """How many of the matrices are linearly independent."""
    return int(torch.linalg.matrix_rank(matrices.flatten(1), rtol=1e-9)) if matrices.numel() else 0


def perturb(module: nn.Module, generator: torch.Generator) -> None:
    """Normal noise on every parameter, so that zeros and ones of the initialisation hide nothing."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype), alpha=0.3)
