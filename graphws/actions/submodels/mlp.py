"""Submodels of multilayer perceptrons: embeddings of few neurons into many (paper I, section 5.1).

α_i is given by a matrix A_i (d_i × d̃_i) with at most one non-zero entry in a row: a row of zeros is an inactive neuron,
two rows with an entry in the same column are redundant ones.  It must be a rectangular intertwiner, A σ(y) = σ(B y) for
some B; then W_i = B_i W̃_i A*_{i-1} and b_i = B_i b̃_i make the diagram commute.  A* is the pseudo-inverse of A.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from graphws.actions.submodels.submodel import Layer, Model, Submodel, identity, linear
from graphws.errors import GraphError, UsageError, nearest
from graphws.graph import Action, Monomial
from graphws.graph.element import compose
from graphws.operations import ACTIVATIONS
from graphws.operations import activation as named

Affine = tuple[Tensor, Tensor]
"""The parameters of a layer: W (d_out, d_in) and b (d_out,)."""


def mlp_model(activation: str, depth: int, exponent: int = 2) -> Model:
    """The model of an MLP: x -> σ(W x + b), without σ in the last layer.

    Raises:
        UsageError: On an unknown activation or a depth below 1.
    """
    if activation not in ACTIVATIONS:
        raise UsageError(f"unknown activation {activation!r}" + nearest(activation, ACTIVATIONS))
    compute = named(activation, exponent=exponent)

    def hidden(x: Tensor, theta: Affine) -> Tensor:
        return compute(last(x, theta))

    def last(x: Tensor, theta: Affine) -> Tensor:
        return x @ theta[0].mT + theta[1]

    layers: list[Layer] = [hidden] * (depth - 1)
    return Model((*layers, last))


def mlp_submodel(activation: str, embeddings: Sequence[Tensor], exponent: int = 2) -> Submodel:
    """The submodel of an MLP that embeds hidden layer i by the matrix A_i.

    Args:
        activation: One of `graphws.operations.ACTIVATIONS`.
        embeddings: A_1, …, A_{L-1}, each (d_i, d̃_i) of full column rank.
        exponent: m of a power activation.

    Returns:
        Submodel: Parameters are pairs (W, b); symmetries are `Monomial` maps.  γ permutes the copies of a neuron as
        blocks, so it needs neurons that are exchanged to have equally many copies.

    Raises:
        GraphError: On a matrix that is no rectangular intertwiner of the activation.
    """
    action = ACTIVATIONS[activation].action if activation in ACTIVATIONS else Action.PERMUTATION
    depth = len(embeddings) + 1
    model = mlp_model(activation, depth, exponent)
    for i, matrix in enumerate(embeddings, start=1):
        _check_intertwiner(matrix, activation, action, f"embedding {i}")
    power = exponent if activation == "power" else 1
    inner = [matrix.sign() * matrix.abs() ** (1 / power) for matrix in embeddings]
    inverses = [torch.linalg.pinv(matrix) for matrix in embeddings]
    betas = [_beta(inner[i] if i < depth - 1 else None, inverses[i - 1] if i else None) for i in range(depth)]
    return Submodel(
        model,
        model,
        (identity, *(linear(matrix) for matrix in embeddings), identity),
        (identity, *(linear(matrix) for matrix in inverses), identity),
        tuple(betas),
        (None, *(_gamma(matrix) for matrix in embeddings), None),
        _act,
        _act,
        compose,
    )


def _act(space: int, symmetry: Monomial, x: Tensor) -> Tensor:
    return symmetry.apply(x, x.ndim - 1, 1)


def _beta(left: Tensor | None, right: Tensor | None) -> Any:
    def beta(theta: Affine) -> Affine:
        weight, bias = theta
        if right is not None:
            weight = weight @ right
        return (weight, bias) if left is None else (left @ weight, left @ bias)

    return beta


def _check_intertwiner(matrix: Tensor, activation: str, action: Action, name: str) -> None:
    rows, columns = (matrix != 0).sum(1), (matrix != 0).sum(0)
    if bool((rows > 1).any()) or bool((columns == 0).any()):
        raise GraphError(f"{name}: an embedding has at most one non-zero entry in a row and at least one in a column")
    entries = matrix[matrix != 0]
    signs = action in (Action.SIGNED, Action.MONOMIAL, Action.LINEAR)
    scales = action in (Action.SCALING, Action.MONOMIAL, Action.LINEAR)
    if (not signs and bool((entries < 0).any())) or (not scales and bool((entries.abs() != 1).any())):
        raise GraphError(f"{name}: {activation} allows {action} entries only, got {sorted(set(entries.tolist()))}")
    zero = torch.zeros(1, dtype=matrix.dtype)
    if bool((rows == 0).any()) and float(ACTIVATIONS[activation](zero)) != 0:
        raise GraphError(f"{name}: a row of zeros needs an activation with value 0 at 0, {activation} has not")


def _gamma(matrix: Tensor) -> Any:
    """k̃ -> the block permutation of copies; rows of zeros stay."""
    copies = [matrix[:, j].nonzero().flatten() for j in range(matrix.shape[1])]

    def gamma(symmetry: Monomial) -> Monomial:
        perm, scale = torch.arange(matrix.shape[0]), torch.ones(matrix.shape[0], dtype=matrix.dtype)
        for i, j in enumerate(symmetry.perm.tolist()):
            if len(copies[i]) != len(copies[j]):
                raise GraphError(
                    f"neurons {i} and {j} have {len(copies[i])} and {len(copies[j])} copies: no symmetry of the model "
                    "exchanges them"
                )
            shares = [matrix[copies[k], k].abs() / matrix[:, k].norm() for k in (i, j)]
            if not torch.allclose(*shares):
                raise GraphError(f"the copies of neurons {i} and {j} are scaled in different ratios")
            factor = 1.0 if symmetry.scale is None else float(symmetry.scale[i])
            for target, source in zip(copies[i].tolist(), copies[j].tolist(), strict=True):
                perm[target] = source
                scale[target] = factor * matrix[target, i] / matrix[source, j]
        return Monomial(perm, scale)

    return gamma
