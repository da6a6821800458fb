"""Deep models and their submodels (paper I, definitions 3.1 and 3.2), as functions that can be put to the test.

A model is a sequence of layers f_i(x; θ_i).  A submodel is a model of the same depth with maps

* α_i from its latent space to the model's, α*_i back with α*_i ∘ α_i = 1, both the identity at the ends;
* β_i from its parameters to the model's, such that the diagram commutes:
  f_i(x; β_i(θ̃)) = α_i( f̃_i(α*_{i-1}(x); θ̃) );
* γ_i, an injective homomorphism from its latent symmetries to the model's, such that α_i and α*_i are equivariant
  (equation 2); the ends have no symmetries.

`check_submodel` evaluates all of it at random points.  Two things follow and are measured or left out: functions are
equal (measured all the same), and γ is injective where symmetries that act alike are the same, because α* ∘ γ(k̃) ∘ α is
k̃.  That a parameter comes from a submodel, and from none that is smaller still, is what makes a network's symmetry
visible in its layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from graphws.errors import UsageError
from graphws.shown import Shown

Map = Callable[[Tensor], Tensor]
Layer = Callable[[Tensor, Any], Tensor]
Symmetry = Any
"""An element of a latent symmetry group, whatever the submodel's `act` understands."""


@dataclass(frozen=True, repr=False)
class Model(Shown):
    """A deep model: layers f_i(x; θ_i), applied in order (definition 3.1).

    Args:
        layers: f_1, …, f_L; each takes (points, …) values and the parameters of its layer.
    """

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers:
            raise UsageError("a model needs at least one layer")

    def __call__(self, x: Tensor, theta: Sequence[Any]) -> Tensor:
        """f_L(… f_1(x; θ_1) …; θ_L)."""
        for layer, parameters in zip(self.layers, theta, strict=True):
            x = layer(x, parameters)
        return x


@dataclass(frozen=True, repr=False)
class Submodel(Shown):
    """A submodel of a model, with its maps (definition 3.2).

    Args:
        model: The model.
        sub: The submodel, of the same depth.
        alpha: α_0, …, α_L.
        alpha_star: α*_0, …, α*_L.
        beta: β_1, …, β_L.
        gamma: γ_0, …, γ_L, from symmetries of the submodel's latent spaces to the model's; None where a space has none.
        act: (i, k, x) -> k · x on the model's i-th latent space.
        act_sub: The same on the submodel's.
        compose: (k, l) -> k after l, for symmetries of the submodel.

    Raises:
        UsageError: Where the numbers of layers and maps do not fit, or γ comes without a way to apply it.
    """

    model: Model
    sub: Model
    alpha: tuple[Map, ...]
    alpha_star: tuple[Map, ...]
    beta: tuple[Callable[[Any], Any], ...]
    gamma: tuple[Callable[[Symmetry], Symmetry] | None, ...] = ()
    act: Callable[[int, Symmetry, Tensor], Tensor] | None = None
    act_sub: Callable[[int, Symmetry, Tensor], Tensor] | None = None
    compose: Callable[[Symmetry, Symmetry], Symmetry] | None = None

    def __post_init__(self) -> None:
        depth = len(self.model.layers)
        counts = {
            "layers of the submodel": (len(self.sub.layers), depth),
            "maps alpha": (len(self.alpha), depth + 1),
            "maps alpha_star": (len(self.alpha_star), depth + 1),
            "maps beta": (len(self.beta), depth),
            "maps gamma": (len(self.gamma) or depth + 1, depth + 1),
        }
        for what, (got, wanted) in counts.items():
            if got != wanted:
                raise UsageError(f"a model of depth {depth} needs {wanted} {what}, got {got}")
        if self.gamma and (self.act is None or self.act_sub is None or self.compose is None):
            raise UsageError("maps gamma need act, act_sub and compose: how symmetries act on the latent spaces")

    def lifted(self, theta: Sequence[Any]) -> list[Any]:
        """β(θ̃): the model's parameters that compute the submodel's function."""
        return [beta(part) for beta, part in zip(self.beta, theta, strict=True)]


@dataclass(frozen=True)
class SubmodelCheck:
    """Largest relative errors of the conditions of definition 3.2 and equation 2, over layers and random points.

    An error is infinite where shapes differ or values are not finite.

    Attributes:
        retraction: Of α* ∘ α = 1.
        ends: Of α_0, α*_0, α_L, α*_L being the identity.
        diagram: Of f_i(x; β(θ̃)) = α_i(f̃_i(α*_{i-1}(x); θ̃)).
        function: Of f(x; β(θ̃)) = f̃(x; θ̃), which follows.
        equivariance: Of α(k̃·x̃) = γ(k̃)·α(x̃) and k̃·α*(x) = α*(γ(k̃)·x); None where no symmetry was tried.
        homomorphism: Of γ(k̃ l̃)·x = γ(k̃)·γ(l̃)·x, over neighbours in the list of symmetries; None where none was tried.
    """

    retraction: float
    ends: float
    diagram: float
    function: float
    equivariance: float | None
    homomorphism: float | None

    @property
    def largest(self) -> float:
        """The worst of them."""
        return max(self.retraction, self.ends, self.diagram, self.function, self.equivariance or 0.0,
                   self.homomorphism or 0.0)  # fmt: skip

    def holds(self, tolerance: float = 1e-9) -> bool:
        """Whether all conditions that were tried hold."""
        return self.largest <= tolerance


def check_submodel(
    submodel: Submodel,
    theta: Sequence[Any],
    points: Sequence[Tensor],
    points_sub: Sequence[Tensor],
    symmetries: Sequence[Sequence[Symmetry]] = (),
) -> SubmodelCheck:
    """Evaluates every condition at given points.

    Args:
        submodel: The claim.
        theta: Parameters θ̃ of the submodel.
        points: For each of the model's latent spaces V_0, …, V_L a batch of points.
        points_sub: The same for the submodel's.
        symmetries: For each latent space of the submodel, symmetries k̃ to try; none where empty.

    Raises:
        UsageError: Where there are too few or too many points, parameters or symmetries, or symmetries for a space
            without a map gamma.
    """
    depth = len(submodel.model.layers)
    _check_counts(submodel, theta, points, points_sub, symmetries)
    retraction, ends, diagram = [], [], []
    for i in range(depth + 1):
        small, large = points_sub[i], points[i]
        retraction.append(_gap(submodel.alpha_star[i](submodel.alpha[i](small)), small))
        if i in (0, depth):
            ends += [_gap(submodel.alpha[i](small), small), _gap(submodel.alpha_star[i](large), large)]
    for i in range(1, depth + 1):
        ours = submodel.model.layers[i - 1](points[i - 1], submodel.beta[i - 1](theta[i - 1]))
        inner = submodel.sub.layers[i - 1](submodel.alpha_star[i - 1](points[i - 1]), theta[i - 1])
        diagram.append(_gap(ours, submodel.alpha[i](inner)))
    whole = _gap(submodel.model(points[0], submodel.lifted(theta)), submodel.sub(points[0], theta))
    equivariance, homomorphism = _symmetry_gaps(submodel, points, points_sub, symmetries)
    return SubmodelCheck(
        max(retraction),
        max(ends),
        max(diagram),
        whole,
        max(equivariance, default=None),
        max(homomorphism, default=None),
    )


def _check_counts(
    submodel: Submodel,
    theta: Sequence[Any],
    points: Sequence[Tensor],
    points_sub: Sequence[Tensor],
    symmetries: Sequence[Sequence[Symmetry]],
) -> None:
    depth = len(submodel.model.layers)
    given = {
        "parameters theta": (len(theta), depth),
        "batches of points": (len(points), depth + 1),
        "batches of points of the submodel": (len(points_sub), depth + 1),
        "lists of symmetries": (len(symmetries) or depth + 1, depth + 1),
    }
    for what, (got, wanted) in given.items():
        if got != wanted:
            raise UsageError(f"a model of depth {depth} needs {wanted} {what}, got {got}")
    for i, tried in enumerate(symmetries):
        if len(tried) and (not submodel.gamma or submodel.gamma[i] is None):
            raise UsageError(f"latent space {i} has no map gamma, so its symmetries cannot be tried")


def _symmetry_gaps(
    submodel: Submodel,
    points: Sequence[Tensor],
    points_sub: Sequence[Tensor],
    symmetries: Sequence[Sequence[Symmetry]],
) -> tuple[list[float], list[float]]:
    """Gaps of equation 2, and of γ being a homomorphism."""
    equivariance: list[float] = []
    homomorphism: list[float] = []
    for i, tried in enumerate(symmetries):
        gamma = submodel.gamma[i] if submodel.gamma else None
        if gamma is None:
            continue
        assert submodel.act is not None
        assert submodel.act_sub is not None
        assert submodel.compose is not None
        alpha, alpha_star = submodel.alpha[i], submodel.alpha_star[i]
        for k, other in zip(tried, [*tried[1:], *tried[:1]], strict=True):
            lifted, small, large = gamma(k), points_sub[i], points[i]
            forth = _gap(alpha(submodel.act_sub(i, k, small)), submodel.act(i, lifted, alpha(small)))
            back = _gap(alpha_star(submodel.act(i, lifted, large)), submodel.act_sub(i, k, alpha_star(large)))
            equivariance += [forth, back]
            apart = submodel.act(i, lifted, submodel.act(i, gamma(other), large))
            homomorphism.append(_gap(submodel.act(i, gamma(submodel.compose(k, other)), large), apart))
    return equivariance, homomorphism


def _gap(first: Tensor, second: Tensor) -> float:
    """‖first - second‖ relative to the larger of the two; infinite where shapes differ or values are not finite."""
    if first.shape != second.shape:
        return float("inf")
    scale, gap = max(float(first.norm()), float(second.norm())), float((first - second).norm())
    if not math.isfinite(scale) or not math.isfinite(gap):
        return float("inf")
    return gap / scale if scale > 0 else 0.0


def identity(x: Tensor) -> Tensor:
    """x: the map at the ends of a submodel."""
    return x


def linear(matrix: Tensor) -> Map:
    """x -> A x on the rows of (points, n) values."""
    return lambda x: torch.matmul(x, matrix.to(x.dtype).mT)
