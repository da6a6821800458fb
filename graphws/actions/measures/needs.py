"""What a layer needs of its neurons: the share of what its readers get that each of them carries.

A weight that reads a space adds up Σ_i w_i h_i, and neuron i brings ‖w_i‖² Var(h_i) of the variance that it makes.  The
shares of all neurons (or heads, with all that is nested in them) add up to 1; each weight that reads the space counts
the same.  A neuron that nothing reads, or that never changes, has share 0: nothing depends on whether it is matched.

Variances are those of what `moments` were measured on.  Without any, the incoming weights' squared norm stands for the
variance; a space that no weight reads has what is written into it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from graphws.actions.problem import Problem
from graphws.matching import Family


def needed_shares(problem: Problem, family: Family, moments: Mapping[str, Tensor]) -> Tensor:
    """The share of each element of a family's root, (size,) on the CPU; equal shares where nothing is carried at all.

    Args:
        problem: The problem.
        family: The family.
        moments: The covariance of what is read from each space; see `graphws.actions.computation.latent_values`.
    """
    size = problem.view.graph.space(family.root).size
    written = _written(problem, family, size)
    reads = _reads(problem, family, size, written, moments) or [written]
    shares = [each / each.sum() for each in reads if bool(each.sum() > 0)]
    return torch.stack(shares).mean(0) if shares else torch.full((size,), 1 / size, dtype=torch.float64)


def _reads(problem: Problem, family: Family, size: int, written: Tensor, moments: Mapping[str, Tensor]) -> list[Tensor]:
    """What each element brings to every weight that reads the family."""
    found = []
    for parameter in problem.view.graph.parameters:
        for place, axis in enumerate(parameter.axes):
            if axis.space not in family.spaces or axis.power >= 0:
                continue
            squares = problem.view[parameter.name].detach().double().cpu().square()
            norms = squares.movedim(place + 1, 0).flatten(1).sum(1)
            if axis.space in moments:
                found.append((norms * moments[axis.space].diagonal().double().cpu()).reshape(size, -1).sum(1))
            else:
                found.append(norms.reshape(size, -1).sum(1) * written)
    return found


def _written(problem: Problem, family: Family, size: int) -> Tensor:
    """The squared norm of what is written into each element; of biases and scales where nothing else is."""
    for alone in (False, True):
        total = torch.zeros(size, dtype=torch.float64)
        for parameter in problem.view.graph.parameters:
            places = [k for k, a in enumerate(parameter.axes) if a.space in family.spaces and a.power >= 0]
            if places and (parameter.kind == "bias" or len(parameter.axes) == 1) == alone:
                squares = problem.view[parameter.name].detach().double().cpu().square()
                total += squares.movedim(places[0] + 1, 0).reshape(size, -1).sum(1)
        if bool(total.any()):
            break
    return total
