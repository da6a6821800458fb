"""The identifiability report: theorem, conditions, verdict, what follows, and how linear the network is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from graphws.actions.computation.features import run_network, why_not_followed
from graphws.actions.computation.latent_values import latent_values
from graphws.actions.identifiability.bypass import bypass_constant, negated_share, nonlinearity
from graphws.actions.identifiability.conditions import Condition, conditions
from graphws.actions.identifiability.standing import Standing, idle_neuron, standing_of
from graphws.actions.identifiability.theorems import UNKNOWN, Theorem, theorem_for
from graphws.actions.pictures.joined_axes import picture_view
from graphws.actions.reduction.chain import chain_of
from graphws.actions.reduction.constants import layer_of
from graphws.actions.reduction.reduce import reduce
from graphws.actions.reduction.tolerance import Choice, choose
from graphws.errors import GraphwsError, UsageError
from graphws.graph import NetworkGraph, Operation, Weights
from graphws.shown import Shown

NEARLY_LINEAR = 0.02
"""A neuron with ν below it is called nearly linear."""


@dataclass(frozen=True, repr=False)
class LayerNonlinearity(Shown):
    """What was measured in one layer with an activation.

    Args:
        space: Its name.
        activation: Its activation.
        bypass: c with σ(x) - σ(-x) = c x, or None.
        negated: Share of neurons with a negated copy, where there is a bypass.
        nu: Smallest, median and largest ν of the neurons, where probe data were given.
        nearly_linear: Share of neurons with ν below `NEARLY_LINEAR`.
        neurons: ν of every neuron.
    """

    space: str
    activation: str
    bypass: float | None
    negated: float | None
    nu: tuple[float, float, float] | None
    nearly_linear: float | None
    neurons: tuple[float, ...] | None = None


@dataclass(frozen=True, repr=False)
class IdentifiabilityReport(Shown):
    """What is known, and measured, about the identifiability of one network.

    Args:
        theorem: The theorem or conjecture.
        conditions: Its conditions at this θ.
        layers: Figures of every hidden layer.
        standing: Whether this θ is identifiable, or weakly so.
    """

    theorem: Theorem
    conditions: tuple[Condition, ...]
    layers: tuple[LayerNonlinearity, ...]
    standing: Standing

    @property
    def holds(self) -> bool | None:
        """Whether all conditions hold; None where there are none to measure."""
        return all(condition.holds for condition in self.conditions) if self.conditions else None

    @property
    def licence(self) -> str:
        """What follows for a symmetry of the function (theorem 4.1, corollary 5.3)."""
        failing = sorted({c.space for c in self.conditions if not c.holds})
        bypassed = [x.space for x in self.layers if (x.negated or 0) > 0]
        linear = [x.space for x in self.layers if (x.nearly_linear or 0) > 0]
        if self.theorem.proven and (self.holds or self.standing.word == "weakly identifiable"):
            text = (
                (f"if {self.theorem.unchecked}, " if self.theorem.unchecked else "")
                + "an exact symmetry of this function acts on every layer, by " + self.theorem.symmetries
                + "; how well an approximate one does must be measured"
            )  # fmt: skip
        elif failing:
            text = (
                f"not at this θ, which is not minimal ({', '.join(failing)}): reduce it first; then "
                + ("the theorem speaks" if self.theorem.proven else "it is still a conjecture")
                + " about the reduced network"
            )
        else:
            text = "nothing is proven: a latent action may or may not exist, and only measuring it can tell"
        if bypassed:
            text += f"; negated copies in {', '.join(bypassed)} may carry other matrices than permutations"
        if linear:
            text += f"; nearly linear neurons in {', '.join(linear)} are only nearly identifiable"
        return text

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        plain = asdict(self)
        for entry, condition in zip(plain["conditions"], self.conditions, strict=True):
            entry["holds"] = condition.holds
        return {**plain, "holds": self.holds, "licence": self.licence}

    def __str__(self) -> str:
        known = "proven" if self.theorem.proven else "not proven"
        lines = [f"{self.theorem.name}: {known} ({self.theorem.source})"]
        if self.theorem.remark:
            lines.append(f"  {self.theorem.remark}")
        for c in self.conditions:
            verdict = "holds" if c.holds else f"fails for {c.failing}"
            lines.append(f"  {c.space}, {c.name}: {verdict} (least {c.figure:.1e}, threshold {c.threshold:.1e})")
        for x in self.layers:
            parts = [] if x.negated is None else [f"{x.negated:.0%} of the neurons have a negated copy (bypass)"]
            if x.nu is not None and x.nearly_linear is not None:
                low, middle, high = x.nu
                parts.append(f"ν from {low:.3f} over {middle:.3f} to {high:.3f}, {x.nearly_linear:.0%} nearly linear")
            lines += [f"  {x.space}, {x.activation}: {'; '.join(parts)}"] if parts else []
        return "\n".join([*lines, f"verdict: {self.standing}", f"licence: {self.licence}"])


def identifiability(
    weights: Weights, probe: Tensor | None = None, *, tolerance: Choice = "dtype"
) -> IdentifiabilityReport:
    """Reports on one network.

    Args:
        weights: A batch of one.
        probe: Inputs from the data, on which ν is measured: as `graphws.operations.forward` reads them, pictures
            (points, channels, rows, columns) for convolutional networks.
        tolerance: What counts as zero in the conditions: ``dtype`` or a number.

    Raises:
        UsageError: On a batch of several networks, tolerance ``gap``, which only a reduction can use, or probes for a
            network that cannot be run from its graph.
    """
    if weights.batch != 1:
        raise UsageError(f"one network is reported on at a time: got a batch of {weights.batch}")
    if tolerance == "gap":
        raise UsageError("a report needs a tolerance that does not depend on the weights: 'dtype' or a number")
    weights = picture_view(weights.to(device="cpu"))
    graph = weights.graph
    tensors = {name: x[0].detach().double() for name, x in weights.items()}
    threshold = choose(tolerance, weights.dtype, torch.zeros(0)).value
    activations = _activations(graph)
    layers = _figures(graph, tensors, activations, _values(graph, tensors, probe))
    widths = [graph.space(name).size for name, _ in chain_of(graph)]
    theorem = theorem_for(
        graph, [operation for _, operation in activations], widths, any(x.bypass is not None for x in layers)
    )
    found = [] if theorem is UNKNOWN else conditions(graph, tensors, threshold)
    holds = all(condition.holds for condition in found) if found else None
    passing = [operation for _, operation in activations] if widths else []
    standing = _standing(weights, theorem, holds, passing, tolerance, threshold)
    return IdentifiabilityReport(theorem, tuple(found), layers, standing)


def _standing(
    weights: Weights,
    theorem: Theorem,
    holds: bool | None,
    activations: Sequence[Operation],
    tolerance: Choice,
    threshold: float,
) -> Standing:
    """The verdict.

    Args:
        weights: θ.
        theorem: What is known of its architecture.
        holds: Whether all conditions hold; None where there are none.
        activations: Those of an MLP; empty for other networks.
        tolerance: What counts as zero in a reduction.
        threshold: The same as a number.
    """
    if theorem.proven and holds:
        return Standing("identifiable", f"if {theorem.unchecked}" if theorem.unchecked else "")
    if activations and not holds:
        idle = idle_neuron(weights, activations, threshold)
        if idle is not None:
            return idle
    if not theorem.proven or holds is None:
        return Standing("open", "no theorem says that networks of this kind are identifiable")
    try:
        small = reduce(weights, tolerance=tolerance)
        if small.weights.graph == weights.graph:
            return Standing("open", "conditions fail, and reduction takes nothing out")
        inner = identifiability(small.weights, tolerance=tolerance)
    except GraphwsError as error:
        return Standing("open", f"the network could not be reduced: {error}")
    if inner.standing.word != "identifiable":
        return Standing("open", "the reduced network is not known to be identifiable")
    found = standing_of(weights, small, threshold)
    return replace(found, reason=f"{found.reason}; {inner.standing.reason}") if inner.standing.reason else found


def _activations(graph: NetworkGraph) -> list[tuple[str, Operation]]:
    """The activation of every space that has one, as far as the steps say it."""
    if why_not_followed(graph) is None:
        made = [
            (latent.space, latent.activation) for latent in latent_values(graph) if latent.value not in graph.outputs
        ]
    else:
        simple = [(space.name, layer_of(graph, space.name)) for space in graph.spaces if space.moves]
        made = [(name, layer.activation) for name, layer in simple if layer is not None]
    return [(name, operation) for name, operation in made if operation is not None]


def _values(graph: NetworkGraph, tensors: Mapping[str, Tensor], probe: Tensor | None) -> Mapping[str, Tensor] | None:
    if probe is None:
        return None
    why = why_not_followed(graph)
    if why is not None:
        raise UsageError(f"probes cannot be used: {why}")
    weights = Weights(graph, {name: x.unsqueeze(0) for name, x in tensors.items()})
    return run_network(graph, weights, probe.detach().cpu().double())


def _figures(
    graph: NetworkGraph,
    tensors: Mapping[str, Tensor],
    activations: Sequence[tuple[str, Operation]],
    values: Mapping[str, Tensor] | None,
) -> tuple[LayerNonlinearity, ...]:
    found = []
    for space, operation in activations:
        bypass = None if operation.kind == "identity" else bypass_constant(operation)
        rows = _rows(graph, tensors, space)
        negated = None if bypass is None or rows is None else negated_share(rows)
        nu = None
        if values is not None and operation.kind != "identity":
            before, after = values[operation.inputs[0]][0], values[operation.outputs[0]][0]
            nu = nonlinearity(before.flatten(0, -2), after.flatten(0, -2))
        found.append(
            LayerNonlinearity(
                space,
                operation.kind,
                bypass,
                negated,
                None if nu is None else (float(nu.min()), float(nu.median()), float(nu.max())),
                None if nu is None else float((nu < NEARLY_LINEAR).double().mean()),
                None if nu is None else tuple(nu.tolist()),
            )
        )
    return tuple(found)


def _rows(graph: NetworkGraph, tensors: Mapping[str, Tensor], space: str) -> Tensor | None:
    """The rows of weights that make a space's neurons or channels; None where no weight alone does."""
    makers = [p for p in graph.parameters if p.kind == "weight" and p.axes[0].space == space and p.axes[0].power >= 0
              and len(p.axes) > 1]  # fmt: skip
    return tensors[makers[0].name].flatten(1) if len(makers) == 1 else None
