"""The figures of one layer, and those of decoys beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from graphws.shown import Shown


@dataclass(frozen=True, repr=False)
class DecoyFigures(Shown):
    """A decoy's figures on one layer.

    Attributes:
        k_error: Its layer error.
        matched: Its share of matched elements.
        carried: The share of what readers of the layer get that matched elements carry.
        weights: Whether it acts on weights alone, so that its error is one of weights, probes or not.
    """

    k_error: float
    matched: float
    carried: float
    weights: bool = False


@dataclass(frozen=True, repr=False)
class Relabelled(Shown):
    """A layer's error in weights beside those of relabelled decoys; see `graphws.actions.decoys.relabelled`.

    Attributes:
        error: That of the action found; the largest over generators.
        decoys: The decoys' errors, the smallest first; fewer than `RELABELLINGS`, or none, where there are not so many.
    """

    error: float
    decoys: tuple[float, ...]

    @property
    def least(self) -> float:
        """The smallest error of a decoy; infinite without any."""
        return self.decoys[0] if self.decoys else math.inf

    @property
    def p_value(self) -> float:
        """The share of decoys, the action found among them, whose error is as small."""
        return (1 + sum(decoy <= self.error for decoy in self.decoys)) / (1 + len(self.decoys))


@dataclass(frozen=True, eq=False, repr=False)
class LayerFigures(Shown):
    """How a group acts on one space, and how well that explains the layer that writes it.

    Attributes:
        space: The space.
        size: Elements of its root: neurons or heads.
        action: The intertwiners that were searched.
        k_error: Layer error of ρ on held-out probes (weight error where there are none), the largest over the group.
        weight_error: ‖ρ(g)θ - θ‖ / (√2 ‖θ‖) of the tensors that write the space.
        cumulative: ‖h(g x) - ρ h(x)‖ / ‖h - mean‖; None without probes.
        gl_error: Layer error of the best linear action; None without probes.
        gl_defect: How far that fit was from a homomorphism.
        nu: Median of 1 - corr(z, σ(z))² over neurons; None without probes or activation.
        nu_low: Its 10 % quantile.
        defect: How far ρ is from a homomorphism: share of neurons, or relative for matrices.
        matched: Share of elements with a cosine of at least 0.9 under every element of the group.
        carried: Share of what readers of the layer get that matched elements carry; see
            `graphws.actions.measures.needs`.
        unmatched: Share that no consistent action was found for (they stay).
        negated: Share of neurons with a negated copy: σ(x) - σ(-x) = x of ReLU and GELU lets pairs bypass σ.
        categories: For each generator the number of elements in each category.
        kinds: For each generator the category of every element, an index into
            `graphws.actions.measures.categories.CATEGORIES`.
        rivals: The decoys' figures.
        relabelled: The layer's error beside those under relabellings of what it reads; None where it reads nothing
            that is moved.
        backward: The same for a layer that outputs explain, under relabellings of what it writes; None where the inputs
            explain it.
        noise: The layer error of a perfect action with as much noise; None without probes.
        trivial: Whether every element stays where it is, under every element of the group.
    """

    space: str
    size: int
    action: str
    k_error: float
    weight_error: float
    cumulative: float | None
    gl_error: float | None
    gl_defect: float | None
    nu: float | None
    nu_low: float | None
    defect: float
    matched: float
    carried: float
    unmatched: float
    negated: float
    categories: Mapping[str, Mapping[str, int]]
    kinds: Mapping[str, Tensor]
    rivals: Mapping[str, DecoyFigures]
    relabelled: Relabelled | None = None
    backward: Relabelled | None = None
    noise: float | None = None
    trivial: bool = False

    def __str__(self) -> str:
        rival = self.best_rival
        beside = f", of decoys {rival.k_error:.3g}" if rival else ""
        return f"{self.space}: {self.size} elements, {self.matched:.0%} matched, K-error {self.k_error:.3g}{beside}"

    @property
    def unexplained(self) -> float:
        """Share of elements without a match."""
        return 1.0 - self.matched

    @property
    def best_rival(self) -> DecoyFigures | None:
        """The lowest error and the highest shares that any decoy reached."""
        if not self.rivals:
            return None
        every = self.rivals.values()
        return DecoyFigures(
            min(r.k_error for r in every),
            max(r.matched for r in every),
            max(r.carried for r in every),
            any(r.weights for r in every),
        )
