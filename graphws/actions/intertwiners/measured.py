"""Which intertwiners does an activation have?  Asked of the function, not of a table of names.

`graphws.operations.measure_intertwiners` says which maps pass through a function; here they are a group that can be
sampled, and `check_group` tries random elements of it.

>>> import torch
>>> group, rng = measured_group(lambda t: torch.relu(t) ** 2, 4), torch.Generator().manual_seed(0)
>>> group.action, group.exponent
(<Action.SCALING: 'scaling'>, 2.0)
>>> x = torch.randn(9, 4, generator=rng, dtype=torch.float64)
>>> group.defect(lambda t: torch.relu(t) ** 2, group.sample(rng), x) < 1e-12
True
"""

from __future__ import annotations

import torch

from graphws.actions.intertwiners.group import Function, Intertwiners
from graphws.errors import GraphError
from graphws.graph import Action
from graphws.operations import measure_intertwiners


def measured_group(function: Function, size: int) -> Intertwiners:
    """The group on a layer of `size` neurons that a function was found to let through."""
    found = measure_intertwiners(function)
    return Intertwiners(found.action, size, exponent=found.exponent, even=found.even)


def check_group(function: Function, action: Action, name: str = "the activation") -> None:
    """Confirms what is stated of an activation: its action, and that random elements of the group pass through it.

    σ ∘ A = B ∘ σ is tried on five neurons.

    Raises:
        GraphError: Where the measurement contradicts the statement, or random elements the measurement.
    """
    measured = measured_group(function, 5)
    if measured.action is not action:
        raise GraphError(f"activation {name!r}: {action} is stated, {measured.action} was measured")
    _try_out(name, function, measured)


def _try_out(activation: str, function: Function, group: Intertwiners, tolerance: float = 1e-6) -> None:
    """σ ∘ A = B ∘ σ for random A of the group."""
    generator = torch.Generator().manual_seed(0)
    points = 2 * torch.randn(64, group.extent, generator=generator, dtype=torch.float64)
    worst = max(group.defect(function, group.sample(generator), points) for _ in range(8))
    if not worst <= tolerance:
        raise GraphError(
            f"activation {activation!r}: {group.action} was measured, but random elements of that group leave a "
            f"residual of {worst:.1e}"
        )
