"""The problem of extraction: one network in its gauge, a group on its ends, and probes that have run through it.

Everything is prepared once: the network is moved to the gauge for matching (unit neurons, orthonormal bases), inputs
and outputs to a basis in which the group is orthogonal, and, where the graph can be run, the probes are run for every
element of the group.  What extraction finds in the gauge is conjugated back at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import torch
from torch import Tensor

from graphws.actions.computation.features import features_of, run_network, why_not_followed
from graphws.actions.computation.latent_values import LatentValue, covariances, latent_values
from graphws.actions.groups.placing import Placed, place
from graphws.actions.groups.symmetry import DataSymmetry, is_identity
from graphws.actions.measures.probes import shares_of_reach
from graphws.actions.pictures.joined_axes import picture_view
from graphws.errors import DataError, UsageError
from graphws.graph import GroupElement, LinearMap, NetworkGraph, Weights
from graphws.graph.element import SpaceElement, compose
from graphws.kinds.attributes import DTYPES, WEIGHTS
from graphws.matching import Metric, balanced_metric, matching_gauge, matching_view

_NOTED = 0.9
"""Share of the reach of unrelated inputs below which the note says that errors are divided by it."""
RANDOM = 64
"""How many random inputs the network is run on."""
Maps = dict[str, SpaceElement]
Module = Callable[[Weights, Tensor], Tensor]
"""Runs a network's module with weights on inputs; see `graphws.checkpoints.conversion.Conversion.run`."""


@dataclass(frozen=True, eq=False)
class Problem:
    """A network, a group and probes, in the gauge.

    Attributes:
        weights: The network, moved to the gauge.
        view: The same in parameters that can be scored; see `graphws.matching.scored_parameters`.
        gauge: The element that moved it, with the change of basis at its ends.
        placed: The group on the free spaces, before the change of basis.
        fixed: The same after it: for each element of the group, maps of the free spaces.
        metrics: ``weights``, and with probes ``probes``, which weighs by covariances.
        runs: For each element g every value of the computation on the first half of the probes, moved by g.
        held: The same on the second half, which errors are measured on.
        layers: The latent values that the group reaches, and the output; none where the graph cannot be run.
        note: Why probes that were given are not used, which layers the group does not reach, or how little it moves the
            probes.
        ends: The change of basis at the ends, in which the group is orthogonal.
        reaches: How far each element moves the probes; see `graphws.actions.measures.probes.shares_of_reach`.
        outputs: For each element the network's outputs on the second half, (points, …), where its module was run in
            place of the graph.
        random_inputs: (points, *shape): inputs that are no probes, on which the network is run whenever it runs.
        random_outputs: For each element the module's outputs on these, where it was run in place of the graph.
    """

    weights: Weights
    view: Weights
    gauge: GroupElement
    placed: Placed
    fixed: tuple[Maps, ...]
    metrics: Mapping[str, Metric]
    runs: tuple[dict[str, Tensor], ...] = ()
    held: tuple[dict[str, Tensor], ...] = ()
    layers: tuple[LatentValue, ...] = field(default=())
    note: str = ""
    ends: Mapping[str, SpaceElement] = field(default_factory=dict)
    reaches: tuple[float, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    random_inputs: Tensor = field(default_factory=lambda: torch.zeros(0))
    random_outputs: tuple[Tensor, ...] = ()

    @property
    def graph(self) -> NetworkGraph:
        """The network's graph."""
        return self.weights.graph

    @property
    def table(self) -> Tensor:
        """The group's multiplication table."""
        return self.placed.symmetry.table

    @property
    def order(self) -> int:
        """Number of elements of the group."""
        return self.placed.symmetry.order

    def points(self, *, held: bool) -> int:
        """How many probes `held` or `runs` are of."""
        return len((self.held if held else self.runs)[0][self.graph.inputs[0]][0])

    def based(self, inputs: Tensor) -> Tensor:
        """Inputs, as the group moves them, in the basis and on the device of the weights."""
        x = inputs.to(self.weights.device, self.weights.dtype if inputs.is_floating_point() else inputs.dtype)
        return _rebase(self.graph, x, self.ends)

    def run(self, inputs: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Values of the network on inputs as the group moves them; all where `names` is None."""
        return run_network(self.graph, self.weights, self.based(inputs), names)

    @property
    def finite(self) -> bool:
        """Whether the network gives numbers on the probes, moved by every element: no NaN and no infinity."""
        values = [run[latent.value] for run in (*self.runs, *self.held) for latent in self.layers]
        return all(bool(torch.isfinite(value).all()) for value in (*values, *self.outputs))

    @cached_property
    def moments(self) -> Mapping[str, Tensor]:
        """The covariance of what is read from each space: on probes, else on random inputs; none without a run."""
        if "probes" in self.metrics:
            return self.metrics["probes"].moments
        found = covariances(self.graph, self.run(self.random_inputs)) if self.layers else {}
        return {space: moment for space, moment in found.items() if bool(torch.isfinite(moment).all())}

    def original(self, maps: Mapping[str, SpaceElement]) -> GroupElement:
        """A family of maps found in the gauge, as an element for the network as it was given."""
        found = self.gauge.inverse() @ GroupElement(self.graph, dict(maps)) @ self.gauge
        return GroupElement(self.graph, {name: found.maps[name] for name in maps})


def pose(
    weights: Weights,
    symmetry: DataSymmetry,
    shape: tuple[int, ...],
    data: Tensor | None = None,
    *,
    placed: Placed | None = None,
    module: Module | None = None,
) -> Problem:
    """The problem of finding how `symmetry` acts inside a network.

    Args:
        weights: The network, a batch of one.
        symmetry: The group on its inputs and outputs.
        shape: Shape of one input as the user gives it.
        data: Probes (points, …), each of `shape` or flattened; None for weights alone.
        placed: Where the group acts, if it is not where `place` says; for weights alone.
        module: Runs the network in place of a graph that does not run.

    Raises:
        UsageError: On several networks at once, too few probes, or a group that does not fit.
        DataError: On probes of another shape, or with numbers that are not finite.
        WeightsError: Where weights are not finite.
    """
    if weights.batch != 1:
        raise UsageError(f"actions are looked for in one network at a time, got {weights.batch}")
    weights.check_finite()
    given, weights = weights, picture_view(weights)
    graph = weights.graph
    placed = placed or place(graph, symmetry, shape)
    ends = _orthogonal_ends(placed, weights)
    based = GroupElement(graph, ends).act(weights)
    found = matching_gauge(matching_view(based)).maps
    gauge = GroupElement(graph, found) @ GroupElement(graph, ends)
    moved = gauge.act(weights)
    view = matching_view(moved)
    fixed = tuple(_based(maps, ends, weights.device) for maps in placed.maps)
    metrics = {"weights": balanced_metric(view)}
    drawn = _random_inputs(graph, placed.shape)
    posed = partial(Problem, moved, view, gauge, placed, fixed, metrics, random_inputs=drawn)
    unable = why_not_followed(graph)
    if unable is not None:
        probes = None if data is None else _checked(data, placed)
        outputs = () if module is None or probes is None else _outputs_of(module, given, placed, _second_half(probes))
        on_random = () if module is None else _on_random(module, given, placed, drawn)
        note = f"Probes were not used: {unable}." if data is not None else ""
        if on_random:
            ran_on = "probes and on random inputs" if outputs else "random inputs"
            note = f"The module was run on {ran_on}, its layers were looked at by their weights alone: {unable}."
        return posed(
            note=note,
            outputs=outputs,
            reaches=() if data is None else shares_of_reach(symmetry, data),
            random_outputs=on_random,
        )
    layers = latent_values(graph, placed.lost)
    note = f"The group's move of positions does not get through {placed.stopped}." if placed.stopped else ""
    if data is None:
        return posed(layers=layers, note=note, ends=ends)
    points = _checked(data, placed).to(weights.dtype)
    halves = []
    for part in (points[: len(points) // 2], _second_half(points)):
        inputs = (symmetry.on_inputs(g, part).to(weights.device) for g in range(symmetry.order))
        halves.append(tuple(run_network(graph, moved, _rebase(graph, x, ends)) for x in inputs))
    reaches = shares_of_reach(symmetry, data)
    if min(reaches) < _NOTED:
        said = f"The group moves the probes by {min(reaches):.0%} of what parts unrelated ones; "
        said += "errors are divided by that."
        note = f"{note} {said}".strip()
    moments = covariances(graph, *halves[0])
    metrics["probes"] = balanced_metric(view, moments)
    return posed(runs=halves[0], held=halves[1], layers=layers, note=note, ends=ends, reaches=reaches)


def _random_inputs(graph: NetworkGraph, shape: tuple[int, ...]) -> Tensor:
    """Inputs that are no probes: normal numbers, or whole ones where the network reads those."""
    rng = torch.Generator().manual_seed(0)
    value = graph.value(graph.inputs[0])
    if value is None or value.dtype == WEIGHTS or DTYPES[value.dtype].is_floating_point:
        return torch.randn(RANDOM, *shape, generator=rng, dtype=torch.float64)
    return torch.randint(0, (value.highest or 1) + 1, (RANDOM, *shape), generator=rng)


def _second_half(points: Tensor) -> Tensor:
    return points[len(points) // 2 :]


def _checked(data: Tensor, placed: Placed) -> Tensor:
    """Probes where the group's maps are, on the CPU."""
    if len(data) < 4:
        raise UsageError(f"probes are split in two halves: give at least 4, got {len(data)}")
    return read_probes(data, placed.shape).cpu()


def _outputs_of(module: Module, weights: Weights, placed: Placed, points: Tensor) -> tuple[Tensor, ...]:
    """What a module gives for points moved by each element; nothing where it has other ends."""
    graph, symmetry = weights.graph, placed.symmetry
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        return ()
    moved = [symmetry.on_inputs(g, points) for g in range(symmetry.order)]
    with torch.no_grad():
        found = [module(weights, native_inputs(graph, x)).detach().cpu() for x in moved]
    known = symmetry.output[0].size == found[0][0].numel() or all(is_identity(each) for each in symmetry.output)
    return tuple(found) if len(found[0]) == len(points) and known else ()


def _on_random(module: Module, weights: Weights, placed: Placed, points: Tensor) -> tuple[Tensor, ...]:
    """The same on random inputs; nothing where the module does not take them, since nobody said that it would."""
    try:
        return _outputs_of(module, weights, placed, points)
    except Exception:  # a stranger's code
        return ()


def native_inputs(graph: NetworkGraph, points: Tensor) -> Tensor:
    """Points in the shape in which the network's module reads them, where the graph states it."""
    value = graph.value(graph.inputs[0])
    sizes = () if value is None else value.shape[1:]
    if not sizes or math.prod(n if isinstance(n, int) else 0 for n in sizes) != points[0].numel():
        return points
    return points.reshape(len(points), *(int(n) for n in sizes))


def read_probes(data: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Probes as the network reads them: (points, *shape).

    Raises:
        DataError: Where they have another shape, or numbers that are not finite.
    """
    if data.ndim < 2 or data[0].numel() != math.prod(shape):
        raise DataError(
            f"probes have the shape (points, {', '.join(map(str, shape))}), flattened or not; got {tuple(data.shape)}"
        )
    if not bool(torch.isfinite(data).all()):
        raise DataError("the probes hold NaN or infinity")
    return data.reshape(len(data), *shape)


def _orthogonal_ends(placed: Placed, weights: Weights) -> Maps:
    """A change of basis of each free space in which the group is orthogonal; none where it is already."""
    ends: Maps = {}
    for name in placed.maps[0]:
        linear = [maps[name] for maps in placed.maps if not _isometric(maps[name])]
        if linear:
            gram = torch.stack([m[name].matrix().mT @ m[name].matrix() for m in placed.maps]).mean(0)
            ends[name] = LinearMap(torch.linalg.cholesky(gram).mT.to(weights.device, weights.dtype))
    return ends


def _isometric(element: SpaceElement) -> bool:
    if isinstance(element, LinearMap):
        eye = torch.eye(element.size, dtype=element.weight.dtype)
        return torch.allclose(element.weight @ element.weight.mT, eye, atol=1e-9)
    return element.scale is None or bool((element.scale.abs() == 1).all())


def _based(maps: Mapping[str, SpaceElement], ends: Maps, device: torch.device) -> Maps:
    result: Maps = {}
    for name, element in maps.items():
        moved = on_device(element, device)
        if name in ends:
            moved = compose(compose(ends[name], moved), ends[name].inverse())
        result[name] = moved
    return result


def _rebase(graph: NetworkGraph, x: Tensor, ends: Mapping[str, SpaceElement]) -> Tensor:
    """Inputs in the basis in which the group is orthogonal."""
    features = features_of(graph).get(graph.inputs[0])
    if features is None or features.space not in ends:
        return x
    return ends[features.space].apply(x.unsqueeze(0), features.axis + 1, 1).squeeze(0)


def on_device(element: SpaceElement, device: torch.device) -> SpaceElement:
    """The map on another device."""
    if isinstance(element, LinearMap):
        return LinearMap(element.weight.to(device))
    return type(element)(element.perm.to(device), None if element.scale is None else element.scale.to(device))
