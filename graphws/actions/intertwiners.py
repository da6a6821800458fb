"""Intertwiner groups: the linear maps that an activation lets through.

The intertwiners of an activation σ on ℝⁿ are the invertible A for which there is a B with σ ∘ A = B ∘ σ (paper I,
section 5.1).  They are what may act on a layer's neurons without changing the function, and so where latent group
actions have to be looked for:

=============  ==========================================  ===========================
action         A                                           activations
=============  ==========================================  ===========================
permutation    permutations                                any
signed         permutations with signs                     odd ones: tanh, sine
scaling        permutations with positive scales           ReLU, leaky ReLU
monomial       permutations with non-zero scales           powers t^m, where B = A^m
linear         GL(n)                                       none
=============  ==========================================  ===========================

Inside attention heads the group is a wreath product, GL(d) wr S_h: heads are permuted, each with its own matrix.

The table is a claim about functions, so `measure_intertwiners` puts it to the test, and says which group an activation
has that no table knows.

>>> import torch
>>> measure_intertwiners(torch.nn.functional.hardtanh).action
<Action.SIGNED: 'signed'>
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from graphws.errors import GraphError, UsageError, nearest
from graphws.graph import ACTIVATIONS, Action, GroupElement, LinearMap, Monomial, NetworkGraph, Operation, Space
from graphws.graph.element import SpaceElement, compose

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Intertwiners:
    """The intertwiner group of one space.

    Args:
        action: Which maps belong to it.
        size: Number of neurons; inside heads, dimensions of a head.
        heads: Number of heads, for the wreath product; None for a plain layer.
        exponent: m of a power activation, where B = A^m; 1 otherwise.

    Raises:
        UsageError: On a size below 1.
    """

    action: Action
    size: int
    heads: int | None = None
    exponent: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "action", Action(self.action))
        if self.size < 1 or (self.heads is not None and self.heads < 1):
            raise UsageError(f"an intertwiner group needs at least one neuron, got {self.size} in {self.heads} heads")

    @staticmethod
    def of(activation: str, size: int, exponent: int | None = None) -> Intertwiners:
        """The group of a named activation.

        Raises:
            UsageError: On a name that is not in `graphws.graph.ACTIVATIONS`.
        """
        if activation not in ACTIVATIONS:
            raise UsageError(f"unknown activation {activation!r}" + nearest(activation, ACTIVATIONS))
        return Intertwiners(ACTIVATIONS[activation][1], size, exponent=(exponent or 2) if activation == "power" else 1)

    @cached_property
    def _graph(self) -> NetworkGraph:
        if self.heads is None:
            return NetworkGraph((Space("neurons", self.size, action=self.action),), ())
        heads = Space("heads", self.heads)
        return NetworkGraph((heads, Space("neurons", self.size, "nested", "heads", action=self.action)), ())

    @property
    def extent(self) -> int:
        """Number of coordinates that the group acts on."""
        return self._graph.extent("neurons")

    def sample(self, generator: torch.Generator, dtype: torch.dtype = torch.float64) -> SpaceElement:
        """A random element: permutations are uniform, scales within e^±1, matrices of condition number below e."""
        return self._graph.group().random(generator, actions="rich", dtype=dtype).maps["neurons"]

    def identity(self) -> SpaceElement:
        """The element that moves nothing."""
        return Monomial(torch.arange(self.extent))

    def act(self, element: SpaceElement, values: Tensor) -> Tensor:
        """A x for every row x of (points, extent) values."""
        return element.apply(values.unsqueeze(0), values.ndim, 1).squeeze(0)

    def compose(self, first: SpaceElement, second: SpaceElement) -> SpaceElement:
        """`first` after `second`."""
        return compose(first, second)

    def inverse(self, element: SpaceElement) -> SpaceElement:
        """The element that undoes another."""
        return element.inverse()

    def partner(self, element: SpaceElement) -> SpaceElement:
        """B with σ ∘ A = B ∘ σ: A itself, but for a power t^m the same permutation with scales to the m."""
        if self.exponent == 1 or isinstance(element, LinearMap) or element.scale is None:
            return element
        return Monomial(element.perm, element.scale**self.exponent)

    def contains(self, element: SpaceElement) -> bool:
        """Whether an element belongs to the group; heads are read off where its blocks stand."""
        if element.size != self.extent:
            return False
        maps = {"neurons": element}
        if self.heads is not None:
            blocks = element.matrix().abs().reshape(self.heads, self.size, self.heads, self.size).sum((1, 3))
            perm = blocks.argmax(1)
            if perm.unique().numel() != self.heads:
                return False
            maps["heads"] = Monomial(perm)
        return self._graph.group().contains(GroupElement(self._graph, maps))

    def defect(self, function: Function, element: SpaceElement, values: Tensor) -> float:
        """‖σ(A x) - B σ(x)‖ / ‖σ(A x)‖ over (points, extent) values: 0 for an intertwiner of σ."""
        moved = function(self.act(element, values))
        gap = moved - self.act(self.partner(element), function(values))
        return float(gap.norm() / moved.norm().clamp_min(torch.finfo(values.dtype).tiny))


@dataclass(frozen=True)
class MeasuredIntertwiners:
    """Which maps an activation was found to let through.

    Attributes:
        action: The largest group of the table that it has.
        even: Whether a change of sign is swallowed (B = 1) rather than passed on (B = -1).
        residuals: For each candidate, ‖σ ∘ A - B ∘ σ‖ / ‖σ ∘ A‖ with the best B: ``sign``, ``positive scale``,
            ``negative scale``, ``matrix``.
    """

    action: Action
    even: bool
    residuals: dict[str, float]


def measure_intertwiners(function: Function, *, tolerance: float = 1e-6) -> MeasuredIntertwiners:
    """Finds the intertwiners of an activation by trying them.

    Coordinates are independent, so scales are tried on one coordinate: σ(a t) = b σ(t) with the best b, for t from -4
    to 4.  Matrices are tried on three coordinates, with the best B.

    Args:
        function: σ, pointwise, on float64 tensors.
        tolerance: Largest relative residual that counts as none.

    Raises:
        UsageError: Where σ is constant or gives values that are not finite.
    """
    t = torch.linspace(-4.0, 4.0, 801, dtype=torch.float64)
    values = function(t)
    if values.shape != t.shape:
        raise UsageError(f"the activation turns {len(t)} values into shape {tuple(values.shape)}: it is not pointwise")
    if not bool(torch.isfinite(values).all()) or float((values - values.mean()).norm()) == 0:
        raise UsageError("the activation is constant or not finite between -4 and 4: it has no intertwiners to find")
    sign, factor = _scale_residual(function, t, -1.0)
    positive = max(_scale_residual(function, t, scale)[0] for scale in (0.3, 0.7, 2.1, 3.9))
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
    return MeasuredIntertwiners(action, fits["sign"] and factor > 0, residuals)


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
        activation: Its name; it must be in `graphws.graph.ACTIVATIONS` unless `function` is given.
        function: σ, where the table does not know it (or to test the table's entry with another function).
        exponent: m of a power.

    Returns:
        Action: The table's action; for an activation unknown to the table the measured one.

    Raises:
        UsageError: On an unknown name without a function.
        GraphError: Where the measurement contradicts the table.
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

    measured = measure_intertwiners(function).action
    if activation not in ACTIVATIONS:
        return measured
    stated = ACTIVATIONS[activation][1]
    if measured is not stated:
        raise GraphError(f"activation {activation!r}: the table says {stated}, the measurement {measured}")
    return stated
