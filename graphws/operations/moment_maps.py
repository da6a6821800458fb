"""Moment maps of the spaces of a graph, computed from gradients, and the exponents in their null space.

See `graphws.operations.moments` for what they mean.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.errors import VerificationError
from graphws.graph.network import NetworkGraph
from graphws.graph.parameter import Parameter
from graphws.graph.weights import Weights
from graphws.operations.verify import Run


@dataclass(frozen=True, eq=False)
class Evidence:
    """Moment maps of one space at one set of weights.

    Attributes:
        axes: The axes that the space labels, ``parameter.position``.
        powers: The power of each.
        moments: diag(M) of each axis, (rows, elements, axes).
        diagonals: diag(M) of each axis over the element's scale, (rows, elements, axes): a row is a loss and a network.
        strength: Share of each axis in the element's scale, the same shape.
        alive: Which elements have gradients.
        scaling_error: Largest |Σ power · diag(M)| over the scale, among elements alive; NaN where none is.
        matrix_error: The same for matrices, off and on the diagonal; NaN where an axis has a power beyond ±1.
    """

    axes: tuple[str, ...]
    powers: tuple[int, ...]
    moments: Tensor
    diagonals: Tensor
    strength: Tensor
    alive: Tensor
    scaling_error: float
    matrix_error: float


def collect_evidence(
    graph: NetworkGraph,
    weights: Weights,
    run: Run,
    spaces: Sequence[str],
    losses: int,
    generator: torch.Generator,
    matrices: Collection[str] | None = None,
) -> dict[str, Evidence]:
    """Moment maps of spaces for random linear losses.

    Args:
        graph: The graph.
        weights: Where to differentiate.
        run: Outputs from weights.
        spaces: Names of the spaces.
        losses: How many losses: each is one backward pass.
        generator: Source of the losses.
        matrices: For which of them to look off the diagonal as well, for linear actions; all where None.

    Raises:
        VerificationError: Where outputs are not finite, or not differentiable in the weights; PyTorch cannot
            differentiate a batch norm in its running statistics.
    """
    leaves = {name: x.detach().clone().requires_grad_(_differentiable(x)) for name, x in weights.items()}
    try:
        output = run(Weights(graph, leaves))
    except RuntimeError as error:  # torch's own refusal, as of running statistics
        raise VerificationError(
            f"the network cannot be differentiated in its weights: {error}".split("\n")[0]
        ) from error
    if not bool(torch.isfinite(output).all()):
        raise VerificationError("the outputs hold NaN or infinity: nothing can be measured there")
    if not output.requires_grad:
        raise VerificationError("the outputs do not depend differentiably on the weights: nothing can be measured")
    places = _places(graph)
    maps = {name: _Maps(graph, name, places.get(name, ()), matrices is None or name in matrices) for name in spaces}
    free = [leaf for leaf in leaves.values() if leaf.requires_grad]
    for k in range(losses):
        probe = torch.randn(output.shape, generator=generator, dtype=output.dtype, device=output.device)
        gradients = torch.autograd.grad(output, free, probe, retain_graph=k + 1 < losses, allow_unused=True)
        found = dict(zip([name for name, leaf in leaves.items() if leaf.requires_grad], gradients, strict=True))
        for each in maps.values():
            each.add(leaves, found)
    return {name: each.evidence() for name, each in maps.items()}


_Place = tuple[Parameter, int, int]
"""A parameter, the position of an axis in it, and the power of the axis."""


def _places(graph: NetworkGraph) -> dict[str, list[_Place]]:
    """The axes that each space labels."""
    found: dict[str, list[_Place]] = {}
    for parameter in graph.parameters:
        for k, axis in enumerate(parameter.axes):
            found.setdefault(axis.space, []).append((parameter, k, axis.power))
    return found


class _Maps:
    """Accumulates the moment maps of one space over losses."""

    def __init__(self, graph: NetworkGraph, space: str, places: Sequence[_Place], matrices: bool) -> None:
        self.size, self.extent = graph.space(space).size, graph.extent(space)
        self.graph = graph
        self.places = places
        powers = {power for _, _, power in self.places}
        self.linear = matrices and powers <= {1, 0, -1} and powers != {0}
        self.rows: list[Tensor] = []
        self.parts: list[Tensor] = []
        self.scales: list[Tensor] = []
        self.matrix: list[Tensor] = []

    def add(self, weights: dict[str, Tensor], gradients: Mapping[str, Tensor | None]) -> None:
        """One loss."""
        if not self.places:
            return
        diagonals, parts, residual, bound = [], [], torch.zeros(()), torch.zeros(())
        for parameter, axis, power in self.places:
            w = _rows(self.graph, weights[parameter.name].detach(), (parameter, axis))
            gradient = gradients.get(parameter.name)
            g = torch.zeros_like(w) if gradient is None else _rows(self.graph, gradient, (parameter, axis))
            diagonals.append((g * w).sum(-1))
            parts.append(g.norm(dim=-1) * w.norm(dim=-1))
            if self.linear and power:
                g, w = (x.reshape(x.shape[0], -1, self.size, x.shape[-1]) for x in (g, w))
                moment, size = g @ w.mT, g.norm(dim=-1).unsqueeze(-1) * w.norm(dim=-1).unsqueeze(-2)
                residual = residual.to(moment) + (moment if power == 1 else -moment.mT)
                bound = bound.to(size) + (size if power == 1 else size.mT)
        self.rows.append(torch.stack(diagonals, -1))
        self.parts.append(torch.stack(parts, -1))
        if self.linear:
            self.matrix.append(residual.abs())
            self.scales.append(bound)

    def evidence(self) -> Evidence:
        """What was collected, over the scale of each element."""
        if not self.places:  # a space that shows only in its children
            empty = torch.zeros(0, self.extent, 0)
            return Evidence((), (), empty, empty, empty, torch.zeros(self.extent, dtype=torch.bool), math.nan, math.nan)
        diagonals, parts = torch.cat(self.rows), torch.cat(self.parts)  # (losses * networks, elements, axes)
        axes = tuple(f"{parameter.name}.{axis}" for parameter, axis, _ in self.places)
        claimed = tuple(power for _, _, power in self.places)
        scale, tiny = parts.sum(-1), torch.finfo(parts.dtype).tiny
        alive = (scale > 16 * torch.finfo(scale.dtype).eps * scale.amax()).any(0)
        powers = torch.tensor(claimed, dtype=diagonals.dtype, device=diagonals.device)
        scaling = matrix = math.nan
        if bool(alive.any()):
            total = (diagonals @ powers).abs() / (parts @ powers.abs()).clamp_min(tiny)
            scaling = float(total[:, alive].amax())
        if bool(alive.any()) and self.matrix:
            known = alive.reshape(-1, self.size)
            pairs = known.unsqueeze(-1) & known.unsqueeze(-2)
            matrix = float((torch.cat(self.matrix) / torch.cat(self.scales).clamp_min(tiny))[:, pairs].amax())
        unit = scale.clamp_min(tiny).unsqueeze(-1)
        return Evidence(axes, claimed, diagonals, diagonals / unit, parts / unit, alive, scaling, matrix)


def _differentiable(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _rows(graph: NetworkGraph, tensor: Tensor, place: tuple[Parameter, int]) -> Tensor:
    """(batch, elements of the space, everything else); an inner axis is put back behind its parents.

    The two parts of a complex number are two real ones.
    """
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    parameter, axis = place
    host = graph.host(parameter, axis) if parameter.axes[axis].inner else None
    if host is None:
        return tensor.movedim(axis + 1, 1).reshape(tensor.shape[0], tensor.shape[axis + 1], -1)
    parent = graph.space(parameter.axes[axis].space).parent
    assert parent is not None
    whole = tensor.movedim((host + 1, axis + 1), (1, 2))
    split = whole.reshape(tensor.shape[0], graph.extent(parent), -1, *whole.shape[2:])
    return split.movedim(3, 2).flatten(1, 2).flatten(2)


def exponent_basis(evidence: Sequence[Evidence], limit: float) -> tuple[list[dict[int, float]], list[int]]:
    """Exponents under which scaling the elements changes no loss, and the axes through which nothing is felt.

    Returns:
        tuple: A basis in reduced row echelon form, each row as {axis: exponent} of its entries other than 0 and with
        signs like the graph's powers; idle axes.
    """
    rows = torch.cat([piece.diagonals[:, piece.alive].flatten(0, 1) for piece in evidence])
    share = torch.cat([piece.strength[:, piece.alive].flatten(0, 1) for piece in evidence])
    if not len(rows):
        return [], []
    felt = share.amax(0) > 1e-12 if rows.dtype == torch.float64 else share.amax(0) > 1e-6
    live = torch.nonzero(felt).flatten().tolist()
    idle = torch.nonzero(~felt).flatten().tolist()
    _, values, right = torch.linalg.svd(rows[:, live].double(), full_matrices=True)
    rank = int((values > limit * values.max()).sum()) if values.numel() and float(values.max()) > 0 else 0
    basis = _reduced(right[rank:])
    signs = [1 if sum(e * evidence[0].powers[k] for k, e in zip(live, row, strict=True)) >= 0 else -1 for row in basis]
    rounded = [
        {k: round(sign * e, 6) for k, e in zip(live, row, strict=True) if abs(e) > 1e-5}
        for sign, row in zip(signs, basis, strict=True)
    ]
    return rounded, idle


def _reduced(rows: Tensor) -> list[list[float]]:
    """Reduced row echelon form."""
    matrix, done = rows.clone(), 0
    for column in range(matrix.shape[1]):
        if done == len(matrix):
            break
        pivot = done + int(matrix[done:, column].abs().argmax())
        if abs(float(matrix[pivot, column])) < 1e-6:
            continue
        matrix[[done, pivot]] = matrix[[pivot, done]]
        matrix[done] /= matrix[done, column].clone()
        factors = matrix[:, column].clone()
        factors[done] = 0
        matrix -= factors.unsqueeze(1) * matrix[done]
        done += 1
    result: list[list[float]] = matrix.tolist()
    return result
