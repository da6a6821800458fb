"""Which intertwiners does an activation have?  Asked of the function, not of a table of names.

The table of `graphws.operations.ACTIVATIONS` (see `graphws.actions.intertwiners.group`) is a claim about functions.
`measure_intertwiners` says which group a function has, `check_table` whether the table is right.

>>> import torch
>>> measure_intertwiners(torch.nn.functional.hardtanh).action
<Action.SIGNED: 'signed'>
>>> found = measure_intertwiners(lambda t: torch.relu(t) ** 2)
>>> found.action, found.exponent
(<Action.SCALING: 'scaling'>, 2.0)
>>> group, rng = found.group(4), torch.Generator().manual_seed(0)
>>> x = torch.randn(9, 4, generator=rng, dtype=torch.float64)
>>> group.defect(lambda t: torch.relu(t) ** 2, group.sample(rng), x) < 1e-12
True
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.actions.intertwiners.group import Function, Intertwiners
from graphws.errors import GraphError, UsageError, nearest
from graphws.graph import Action, Operation
from graphws.operations import ACTIVATIONS


@dataclass(frozen=True)
class MeasuredIntertwiners:
    """Which maps an activation was found to let through.

    Attributes:
        action: The largest group of the table that it has.
        even: Whether a change of sign is swallowed (B = 1) rather than passed on (B = -1).
        exponent: m, where a positive scale a of A is a scale a^m of B; 1 where no scales are let through.
        residuals: For each candidate, ‖σ ∘ A - B ∘ σ‖ / ‖σ ∘ A‖ with the best B: ``sign``, ``positive scale``,
            ``negative scale``, ``matrix``.
    """

    action: Action
    even: bool
    exponent: float
    residuals: dict[str, float]

    def group(self, size: int) -> Intertwiners:
        """The group on a layer of `size` neurons."""
        return Intertwiners(self.action, size, exponent=self.exponent, even=self.even)


def measure_intertwiners(function: Function, *, tolerance: float = 1e-6) -> MeasuredIntertwiners:
    """Finds the intertwiners of an activation by trying them.

    Coordinates are independent, so scales are tried on one coordinate: σ(a t) = b σ(t) with the best b, for t from -4
    to 4.  Matrices are tried on three coordinates, with the best B.

    Args:
        function: σ, pointwise, on float64 tensors.
        tolerance: Largest relative residual that counts as none.

    Raises:
        UsageError: Where σ is not pointwise, is constant or gives values that are not finite.
    """
    t = torch.linspace(-4.0, 4.0, 801, dtype=torch.float64)
    values = function(t)
    if values.shape != t.shape:
        raise UsageError(f"the activation turns {len(t)} values into shape {tuple(values.shape)}: it is not pointwise")
    if not torch.allclose(function(t[::7]), values[::7], rtol=1e-6, atol=1e-9, equal_nan=True):
        raise UsageError("the activation gives a value that depends on the others or on chance: it is not pointwise")
    if not bool(torch.isfinite(values).all()) or float((values - values.mean()).norm()) == 0:
        raise UsageError("the activation is constant or not finite between -4 and 4: it has no intertwiners to find")
    sign, factor = _scale_residual(function, t, -1.0)
    positive = max(_scale_residual(function, t, scale)[0] for scale in (0.3, 0.7, 2.1, 3.9))
    stretch = _scale_residual(function, t, 2.1)[1]
    negative = max(_scale_residual(function, t, -scale)[0] for scale in (0.3, 0.7, 2.1, 3.9))
    residuals = {
        "sign": sign,
        "positive scale": positive,
        "negative scale": negative,
        "matrix": _matrix_residual(function),
    }
    fits = {name: value <= tolerance for name, value in residuals.items()}
    if fits["matrix"]:
        action = Action.LINEAR
    elif fits["positive scale"] and fits["negative scale"]:
        action = Action.MONOMIAL
    elif fits["positive scale"]:
        action = Action.SCALING
    elif fits["sign"]:
        action = Action.SIGNED
    else:
        action = Action.PERMUTATION
    scaled = action in (Action.SCALING, Action.MONOMIAL) and stretch > 0
    exponent = round(math.log(stretch) / math.log(2.1), 9) if scaled else 1.0
    return MeasuredIntertwiners(action, fits["sign"] and factor > 0, exponent, residuals)


def _scale_residual(function: Function, t: Tensor, scale: float) -> tuple[float, float]:
    """Residual of σ(scale · t) = b σ(t), and the best b."""
    values, scaled = function(t), function(scale * t)
    factor = float((scaled * values).sum() / (values * values).sum())
    return float((scaled - factor * values).norm() / scaled.norm()), factor


def _matrix_residual(function: Function, size: int = 3, points: int = 400) -> float:
    """Residual of σ(A x) = B σ(x) for a few fixed matrices without zeros, with the best B."""
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for _ in range(3):
        x = 2 * torch.randn(points, size, generator=generator, dtype=torch.float64)
        a = torch.randn(size, size, generator=generator, dtype=torch.float64)
        before, after = function(x), function(x @ a.T)
        best = torch.linalg.lstsq(before, after).solution
        worst = max(worst, float((after - before @ best).norm() / after.norm()))
    return worst


def check_table(activation: str, *, function: Function | None = None, exponent: int | None = None) -> Action:
    """The action of a named activation, confirmed by measurement.

    Args:
        activation: Its name; it must be in `graphws.operations.ACTIVATIONS` unless `function` is given.
        function: σ, where the table does not know it (or to test the table's entry with another function).
        exponent: m of a power.

    Random elements of the group are tried besides: σ ∘ A = B ∘ σ on five neurons.

    Returns:
        Action: The table's action; for an activation unknown to the table the measured one.

    Raises:
        UsageError: On an unknown name without a function.
        GraphError: Where the measurement contradicts the table, or random elements the measurement.
    """
    if function is None:
        if activation not in ACTIVATIONS:
            raise UsageError(
                f"unknown activation {activation!r}: give its function to have it measured"
                + nearest(activation, ACTIVATIONS)
            )
        constants = {"omega": 1.0, "exponent": exponent or 2}
        operation = Operation(activation, ("x",), ("y",), tuple(constants.items()))
        compute = ACTIVATIONS[activation][0]

        def function(x: Tensor) -> Tensor:
            return compute(operation, x)

    measured = measure_intertwiners(function)
    stated = ACTIVATIONS[activation][1] if activation in ACTIVATIONS else measured.action
    if measured.action is not stated:
        raise GraphError(f"activation {activation!r}: the table says {stated}, the measurement {measured.action}")
    _try_out(activation, function, measured.group(5))
    return stated


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
