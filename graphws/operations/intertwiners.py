"""Which changes of neurons pass through a pointwise function?  Asked of the function, never of its name.

A change A of a layer's neurons *passes through* σ where some B has σ ∘ A = B ∘ σ (paper I, section 5.1: intertwiners).
Permutations always do; signs pass through odd and even functions, positive scales through homogeneous ones, every
matrix through linear ones.

>>> import torch
>>> measure_intertwiners(torch.nn.functional.hardtanh).action
<Action.SIGNED: 'signed'>
>>> from graphws.graph import Operation
>>> action_of(Operation("leaky_relu", ("z",), ("x",), {"negative_slope": 0.2}))
<Action.SCALING: 'scaling'>
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from graphws.errors import UsageError
from graphws.graph.operation import Operation
from graphws.graph.space import Action

Function = Callable[[Tensor], Tensor]
_FAR = (-1e6, -3e3, -60.0, 60.0, 3e3, 1e6)
"""Where a bound that no sample near 0 reaches would show."""


@dataclass(frozen=True)
class MeasuredIntertwiners:
    """Which maps a pointwise function was found to let through.

    Attributes:
        action: The largest group that it has.
        even: Whether a change of sign is swallowed (B = 1) rather than passed on (B = -1).
        exponent: m, where a positive scale a of A is a scale a^m of B; 1 where no scales are let through.
        residuals: For each candidate, ‖σ ∘ A - B ∘ σ‖ / ‖σ ∘ A‖ with the best B: ``sign``, ``positive scale``,
            ``negative scale``, ``matrix``.
    """

    action: Action
    even: bool
    exponent: float
    residuals: dict[str, float]


@lru_cache(maxsize=1024)
def action_of(operation: Operation) -> Action:
    """The largest group that passes through a pointwise operation with its constants; permutations for any other."""
    if not operation.row.pointwise or len(operation.reads) != 1:  # an exponent may be a tensor
        return Action.PERMUTATION
    try:
        return measure_intertwiners(operation).action
    except UsageError:  # constant, or not defined on all numbers
        return Action.PERMUTATION


def measure_intertwiners(function: Function, *, tolerance: float = 1e-6) -> MeasuredIntertwiners:
    """Finds the intertwiners of an activation by trying them.

    Coordinates are independent, so scales are tried on one coordinate: σ(a t) = b σ(t) with the best b, for t from -4
    to 4, and again with points far from 0, where a function may be bounded.  Matrices are tried on three coordinates,
    with the best B.

    Args:
        function: σ, pointwise, on float64 tensors.
        tolerance: Largest relative residual that counts as none.

    Raises:
        UsageError: Where σ is not pointwise, is constant or gives values that are not finite.
    """
    t = torch.linspace(-4.0, 4.0, 801, dtype=torch.float64)
    far = torch.tensor(_FAR, dtype=torch.float64)
    values = function(t)
    if values.shape != t.shape:
        raise UsageError(f"the activation turns {len(t)} values into shape {tuple(values.shape)}: it is not pointwise")
    if not torch.allclose(function(t[::7]), values[::7], rtol=1e-6, atol=1e-9, equal_nan=True):
        raise UsageError("the activation gives a value that depends on the others or on chance: it is not pointwise")
    if not bool(torch.isfinite(values).all()) or float((values - values.mean()).norm()) == 0:
        raise UsageError("the activation is constant or not finite between -4 and 4: it has no intertwiners to find")
    sign, factor = _scale_residual(function, t, -1.0)
    sign = max(sign, _scale_residual(function, far, -1.0)[0])
    scales = (0.3, 0.7, 2.1, 3.9)
    positive = max(_scale_residual(function, x, scale)[0] for scale in scales for x in (t, far))
    stretch = _scale_residual(function, t, 2.1)[1]
    negative = max(_scale_residual(function, x, -scale)[0] for scale in scales for x in (t, far))
    residuals = {
        "sign": sign,
        "positive scale": positive,
        "negative scale": negative,
        "matrix": _matrix_residual(function),
    }
    fits = {name: value <= tolerance for name, value in residuals.items()}
    if fits["matrix"] and fits["positive scale"] and fits["negative scale"]:
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
    residual = float((scaled - factor * values).norm() / scaled.norm())
    return (residual if math.isfinite(residual) else math.inf), factor


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
