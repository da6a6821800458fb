"""The linear alternative: how well some action of GL explains a layer, where no permutation does.

Neurons that act almost linearly on the data are not identifiable, and a layer of them may carry an action by matrices
that no permutation comes near.  On each latent value the matrices T_g are fitted by ridge regression, h(g x) ≈ T_g
h(x), on the directions that hold all but 1e-4 of the variance; they are corrected to a homomorphism, and the layer
error is measured with them in place of permutations.  A small GL-error beside a large K-error says: there is an
action, but not one by neurons.  The fit has many more parameters than a permutation, so it is measured on held-out
probes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.actions.computation.latent_values import LatentValue, centred_norm, recompute
from graphws.actions.measures.equivariance import apply_features, distance
from graphws.actions.measures.reach import reach_of_values
from graphws.actions.problem import Problem
from graphws.actions.search.almost_homomorphisms import linear_defect, newton

KEPT = 0.9999
"""Share of a latent value's variance that the fitted directions hold."""
MOST_ROWS = 8192
"""Rows (points times tokens) that a fit uses at most."""


@dataclass(frozen=True, eq=False)
class LinearAction:
    """An affine action on one latent value: h -> mean + Q T_g Qᵀ (h - mean).

    Attributes:
        mean: (features,).
        basis: Q, (features, rank).
        matrices: T_g for each element of the group, (rank, rank).
        defect: How far the fitted matrices were from a homomorphism before they were corrected.
    """

    mean: Tensor
    basis: Tensor
    matrices: tuple[Tensor, ...]
    defect: float

    def __call__(self, g: int, value: Tensor) -> Tensor:
        """g·h for values whose last axis is the features."""
        inside = (value - self.mean) @ self.basis
        return inside @ self.matrices[g].mT @ self.basis.mT + self.mean


def fit_linear_action(problem: Problem, latent: LatentValue, ridge: float = 1e-6) -> LinearAction:
    """Fits T_g on the first half of the probes, over all pairs (h x, g h x) of the group."""
    rows = []
    for g in range(problem.order):
        # x at g, its tokens moved back: what is left of the action is on the features
        value = problem.runs[g][latent.value]
        back = problem.placed.symmetry.inverse(g)
        rows.append(problem.placed.move_positions(back, latent.value, value).flatten(0, -2)[:MOST_ROWS])
    mean = torch.stack([r.mean(0) for r in rows]).mean(0)
    rows = [r - mean for r in rows]
    values, vectors = torch.linalg.eigh(torch.stack([r.mT @ r for r in rows]).sum(0))
    held = values.flip(0).cumsum(0) / values.sum().clamp_min(torch.finfo(values.dtype).tiny)
    rank = min(len(values), int((held < KEPT).sum()) + 1)
    basis = vectors.flip(1)[:, :rank]
    inside = [r @ basis for r in rows]
    gram = torch.stack([r.mT @ r for r in inside]).sum(0)
    one = torch.eye(rank, dtype=gram.dtype, device=gram.device)
    table, matrices = problem.table, []
    if not bool(gram.trace() > 0):  # a value that never changes: any matrix explains it
        return LinearAction(mean, basis, (one,) * problem.order, 0.0)
    gram = gram + ridge * gram.trace() / rank * one
    for g in range(problem.order):
        cross = torch.stack([inside[h].mT @ inside[int(table[g, h])] for h in range(problem.order)]).sum(0)
        matrices.append(torch.linalg.solve(gram, cross).mT)
    matrices[0] = one
    return LinearAction(mean, basis, tuple(newton(matrices, table)), linear_defect(matrices, table))


def linear_errors(problem: Problem) -> tuple[dict[str, float], dict[str, float]]:
    """The layer errors with fitted linear actions on hidden latent values, and the defects of the fits, by space."""
    if not problem.runs:
        return {}, {}
    fitted = {w.value: fit_linear_action(problem, w) for w in problem.layers if w.value not in problem.graph.outputs}
    errors: dict[str, float] = {}
    for latent in problem.layers:
        base = problem.held[0][latent.value]
        worst = 0.0
        for g in range(1, problem.order):

            def source(name: str, g: int = g) -> Tensor:
                if name in fitted:
                    return _moved(problem, fitted[name], g, name)
                return problem.held[g][name]

            got = recompute(latent, problem.weights, source, problem.points(held=True))
            if latent.value in fitted:
                wanted = _moved(problem, fitted[latent.value], g, latent.value)
            else:
                wanted = apply_features(problem, g, latent, base, problem.fixed[g])
            reach = reach_of_values((problem.held[0][name], source(name)) for name in latent.starts)
            worst = max(worst, float(distance(got, wanted) / centred_norm(base)) / reach)
        errors[latent.space] = max(errors.get(latent.space, 0.0), worst)
    return errors, _defects(problem.layers, fitted)


def _moved(problem: Problem, action: LinearAction, g: int, name: str) -> Tensor:
    return problem.placed.move_positions(g, name, action(g, problem.held[0][name]))


def _defects(layers: Sequence[LatentValue], fitted: dict[str, LinearAction]) -> dict[str, float]:
    defects: dict[str, float] = {}
    for latent in layers:
        if latent.value in fitted:
            defects[latent.space] = max(defects.get(latent.space, 0.0), fitted[latent.value].defect)
    return defects
