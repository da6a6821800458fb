"""The adjunction property of paper I, put to numbers: theorem 4.1 asks for it.

The group moves the inputs and the outputs of a network, and therefore must act on its first and its last parameters,

    f_1(g x; θ_1) = f_1(x; g⁻¹ θ_1),    g f_L(x; θ_L) = f_L(x; g θ_L)                                   (5),

or, where it moves positions (tokens, pixels) in every latent space too, on those of every layer,

    g⁻¹ f_i(g x; θ_i) = f_i(x; g⁻¹ θ_i)                                                                 (6).

On an MLP, (6) with an action that leaves the latent spaces alone is (5).  The actions are those of `place`: on inputs
and outputs as stated, on kernels' taps, positional encodings and latent positions as measured.  The property is one of
the architecture: it is tried at random points, at the network's own parameters and at random ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from graphws.actions.computation.features import features_of, turned, turned_back, why_not_analysed
from graphws.actions.groups.placing import Placed
from graphws.actions.pictures.joined_axes import picture_view
from graphws.actions.reduction.diagram import latent_layers, latent_shapes, layer_parameters
from graphws.errors import GraphwsError
from graphws.graph import Axis, GroupElement, NetworkGraph, Weights
from graphws.kinds.attributes import DTYPES, WEIGHTS
from graphws.operations.sampling import random_weights
from graphws.shown import Shown

HOLDS = 1e-6
"""Relative error up to which the property holds: what rounding in double precision can do through a layer."""


@dataclass(frozen=True, repr=False)
class Adjunction(Shown):
    """What was measured.

    Attributes:
        equation: 5 where the group leaves all latent spaces alone, 6 where it moves positions there.
        errors: For each layer, by the value that it makes, the largest relative error over generators, parameters and
            points.
        reason: Why nothing was measured, or why some layer was not; else empty.
    """

    equation: int
    errors: Mapping[str, float]
    reason: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether it holds for every layer; None where that was not measured."""
        if any(error > HOLDS for error in self.errors.values()):
            return False
        return None if self.reason or not self.errors else True

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "errors": dict(self.errors), "holds": self.holds}

    def __str__(self) -> str:
        if not self.errors:
            return f"Adjunction not measured: {self.reason.removeprefix('not measured ')}."
        listed = [f"{name} {error:.0e}" for name, error in self.errors.items()]
        shown = listed if len(listed) <= 6 else [*listed[:3], "…", *listed[-2:]]
        name = "Adjunction (5)" if self.equation == 5 else "Generalised adjunction (6)"
        status = {True: "holds", False: "fails", None: "holds where it was measured"}[self.holds]
        rest = f"; {self.reason}" if self.reason else ""
        return f"{name} {status}, errors by layer: {', '.join(shown)}{rest}."


def adjunction(
    weights: Weights, placed: Placed, *, points: int = 8, generator: torch.Generator | None = None
) -> Adjunction:
    """Measures equations 5 and 6, in double precision on the CPU.

    Args:
        weights: A network, or its picture view; a batch of one.
        placed: How the group acts on its graph.
        points: Random points of each latent space.
        generator: Of the points and of the random parameters; seeded with 0 where None.
    """
    rng = generator or torch.Generator().manual_seed(0)
    weights = picture_view(weights.to(device="cpu", dtype=torch.float64))
    graph = weights.graph
    reason = why_not_analysed(graph) or _why_not(graph, placed)
    if reason:
        return Adjunction(5, {}, reason)
    try:
        return _measured(graph, weights, placed, points, rng)
    except GraphwsError as error:
        return Adjunction(5, {}, str(error))


def _why_not(graph: NetworkGraph, placed: Placed) -> str:
    """Why a network's layers cannot be fed with normal numbers that the group moves; empty where they can."""
    value = graph.value(graph.inputs[0])
    if value is not None and value.dtype != WEIGHTS and not DTYPES[value.dtype].is_floating_point:
        return "inputs are whole numbers"
    return "" if placed.moves else "how positions move is not known"


def _measured(graph: NetworkGraph, weights: Weights, placed: Placed, points: int, rng: torch.Generator) -> Adjunction:
    source, layers = graph.inputs[0], latent_layers(graph)
    inputs = turned(graph, source, torch.randn(1, points, *placed.shape, generator=rng, dtype=torch.float64))[0]
    shapes = latent_shapes(weights, inputs)
    names = [source, *(name for name, _ in layers)]
    known = {name for name in names if name in (source, graph.outputs[0]) or name not in placed.lost}
    errors: dict[str, float] = {}
    wild = set()
    for theta in (weights, random_weights(graph, 1, rng).to(dtype=torch.float64)):
        for g in placed.symmetry.generators.values():
            element = GroupElement(graph, dict(placed.maps[g]))
            ours, theirs = layer_parameters(theta), layer_parameters(element.inverse().act(theta))
            for i, (name, layer) in enumerate(layers):
                if names[i] not in known or name not in known:
                    continue
                x = torch.randn(shapes[i], generator=rng, dtype=torch.float64)
                one = layer(_acted(graph, placed, g, names[i], x), ours[i])
                other = _acted(graph, placed, g, name, layer(x, theirs[i]))
                if not bool(one.isfinite().all() & other.isfinite().all()):
                    wild.add(name)
                    continue
                errors[name] = max(errors.get(name, 0.0), _gap(one, other))
    moved = any(_moves(graph, placed, g, name) for name in names[1:-1] for g in range(placed.symmetry.order))
    missing = [name for name in names[1:] if name not in errors or name in wild]
    why = f"behind {placed.stopped}" if placed.stopped else "where normal numbers give no finite ones"
    return Adjunction(6 if moved else 5, errors, f"not measured at {', '.join(missing)}, {why}" if missing else "")


def _moves(graph: NetworkGraph, placed: Placed, g: int, name: str) -> bool:
    """Whether an element acts on a latent value: on its positions, or on a free space that labels them."""
    move = placed.moves[g].get(name)
    labelled = any(label.space in placed.maps[g] for _, label in _labels(graph, name, 0))
    return labelled or (move is not None and (bool(move.perms) or move.grid is not None))


def _acted(graph: NetworkGraph, placed: Placed, g: int, name: str, x: Tensor) -> Tensor:
    """g · x on the latent space of a value, (points, *positions, features): features by a map, positions by a move."""
    if name == graph.inputs[0]:
        native = turned_back(graph, name, x.unsqueeze(0))[0]
        moved = placed.symmetry.on_inputs(g, native.reshape(len(native), *placed.shape)).reshape(native.shape)
        return turned(graph, name, moved.unsqueeze(0))[0]
    found = x.unsqueeze(0)
    for place, label in _labels(graph, name, found.ndim):
        if label.space in placed.maps[g]:
            found = placed.maps[g][label.space].apply(found, place, label.power)
    return placed.move_positions(g, name, found)[0]


def _labels(graph: NetworkGraph, name: str, axes: int) -> list[tuple[int, Axis]]:
    """The spaces that label a value (1, points, *positions, features), each with its axis; that of features first."""
    features = features_of(graph).get(name)
    if features is None:
        return []
    others = [(features.place(axis + 1), label) for axis, label in features.others]
    return [(axes - 1, Axis(features.space, features.power)), *others]


def _gap(one: Tensor, other: Tensor) -> float:
    """‖one - other‖ relative to the larger of the two."""
    one, other = one.double(), other.double()  # places that a network chooses are whole numbers
    scale = max(float(one.norm()), float(other.norm()))
    return float((one - other).norm()) / scale if scale > 0 else 0.0
