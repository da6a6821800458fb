"""Figures of merit: how far the layers are from equivariant, in weights and on probes.

All errors are relative and are the largest over the elements of the group.  They are also divided by how far the
element moves what the layer reads (`graphws.actions.measures.reach`), and those of the whole function by how far it
moves the inputs: what hardly moves them cannot be far from equivariant, whatever the network does.

* *weight error* of a layer: ‖ρ(g)θ_i - θ_i‖ / (√2 ‖θ_i‖), from the tensors that write a space; 1 for unrelated ones.
  Of a norm's scales and statistics ‖θ_i‖ holds what differs from channel to channel;
* *layer error* on probes: see `graphws.actions.computation.latent_values`;
* *end-to-end error*: ‖f(g x) - ρ_L(g) f(x)‖ / ‖f - mean‖.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from graphws.actions.computation.features import features_of
from graphws.actions.computation.latent_values import LatentValue, centred_norm, recompute
from graphws.actions.measures.probes import shares_of_reach
from graphws.actions.measures.reach import bounded, reach_of_values, squared_reach
from graphws.actions.problem import Maps, Problem
from graphws.graph import NetworkGraph, Parameter
from graphws.matching.metric import telling, written_spaces

_CONSTANT = 1e-9
"""The relative spread below which outputs are one."""


def layer_of_parameter(graph: NetworkGraph) -> dict[str, str]:
    """For each parameter the space by whose name its layer goes: the first that it writes, or else reads.

    Numbers without a space (a counter) belong to no layer.
    """
    names = {}
    for parameter in graph.parameters:
        if not parameter.axes:
            continue
        written = written_spaces(graph, parameter)
        ordered = [axis.space for axis in parameter.axes if axis.space in written]
        read = [axis.space for axis in parameter.axes if graph.lineage(axis.space)[0].moves]
        names[parameter.name] = [*ordered, *read, parameter.name][0]
    return names


def stays_inside(graph: NetworkGraph, parameter: Parameter) -> bool:
    """Whether a weight leads from a space to itself and writes no other, as the kernels of a depthwise convolution."""
    return len(parameter.axes) > 1 and not written_spaces(graph, parameter)


def weight_errors(problem: Problem, maps: Sequence[Maps]) -> dict[str, float]:
    """The weight error of each layer, by the name of the space that it writes.

    What leads from the space to itself is measured apart, and the larger error counts: a scale of neurons that leaves
    the function alone makes such a weight as small as it makes the others large.
    """
    graph = problem.view.graph
    gaps: dict[tuple[str, str], list[float]] = {}
    reaches: dict[tuple[str, str], list[float]] = {}
    norms: dict[tuple[str, str], float] = {}
    for name, layer in layer_of_parameter(graph).items():
        tensor, parameter = problem.view[name], graph.parameter(name)
        energy = float(telling(parameter, tensor).square().sum())
        key = (layer, name if stays_inside(graph, parameter) else "")
        norms[key] = norms.get(key, 0.0) + energy
        gaps.setdefault(key, [0.0] * problem.order)
        reaches.setdefault(key, [0.0] * problem.order)
        for g in range(1, problem.order):
            moved = tensor
            for k, axis in enumerate(parameter.axes):
                if axis.space in maps[g]:
                    moved = maps[g][axis.space].apply(moved, k + 1, axis.power)
            gaps[key][g] += float((moved - tensor).square().sum())
            reaches[key][g] += energy * squared_reach(parameter, maps[g], {})
    errors: dict[str, float] = {}
    for key, norm in norms.items():
        each = zip(gaps[key], reaches[key], strict=True)
        error = max((gap / 2 / norm) ** 0.5 / bounded(r / norm) for gap, r in each) if norm else 0.0
        errors[key[0]] = max(errors.get(key[0], 0.0), error)
    return errors


def layer_errors(problem: Problem, maps: Sequence[Maps], *, held: bool = False) -> dict[str, float]:
    """The error of each layer on probes, by the name of the space that it writes (the largest, where several do).

    Args:
        problem: With probes.
        maps: For each element of the group the maps of all spaces.
        held: Whether to use the half of the probes that the search has not seen.
    """
    runs = problem.held if held else problem.runs
    errors: dict[str, float] = {}
    for latent in problem.layers:
        base, found = runs[0][latent.value], [0.0]
        for g in range(1, problem.order):

            def source(name: str, g: int = g) -> Tensor:
                return moved_value(problem, runs, name, g, maps[g])

            got = recompute(latent, problem.weights, source, problem.points(held=held))
            wanted = apply_features(problem, g, latent, base, maps[g])
            reach = reach_of_values((runs[0][name], source(name)) for name in latent.starts)
            found.append(float(distance(got, wanted) / centred_norm(base)) / reach)
        errors[latent.space] = max(errors.get(latent.space, 0.0), largest(found))
    return errors


def errors_of_layers(problem: Problem, maps: Sequence[Maps], *, held: bool = False) -> dict[str, float]:
    """Layer errors on probes, and weight errors of the layers that no latent value shows; weight errors without probes.

    Heads of queries that share keys, or a learned query, are on no latent value.
    """
    in_weights = weight_errors(problem, maps)
    if not problem.runs:
        return in_weights
    return {**in_weights, **layer_errors(problem, maps, held=held)}


def cumulative_errors(problem: Problem, maps: Sequence[Maps]) -> dict[str, float]:
    """‖h_i(g x) - ρ_i(g) h_i(x)‖ / ‖h_i - mean‖ on the held-out probes: errors of all layers so far together."""
    errors: dict[str, float] = {}
    for latent in problem.layers:
        base = problem.held[0][latent.value]
        for g in range(1, problem.order):
            wanted = apply_features(problem, g, latent, base, maps[g])
            gap = float(distance(problem.held[g][latent.value], wanted) / centred_norm(base)) / problem.reaches[g]
            errors[latent.space] = largest([errors.get(latent.space, 0.0), gap])
    return errors


def end_to_end_error(problem: Problem) -> float | None:
    """How far the network's function is from equivariant, on the held-out probes; None without them."""
    if problem.outputs:
        return _error_of_outputs(problem, problem.outputs, problem.reaches)
    if not problem.held or not problem.layers:
        return None
    return _error_of_runs(problem, problem.held, problem.reaches)


def error_on_random_inputs(problem: Problem) -> float | None:
    """The same on random inputs, whatever probes there are; None where the network gives no numbers on them."""
    reaches = shares_of_reach(problem.placed.symmetry, problem.random_inputs)
    if problem.random_outputs:
        error = _error_of_outputs(problem, problem.random_outputs, reaches)
    elif problem.layers:
        names, symmetry = problem.graph.outputs, problem.placed.symmetry
        runs = [problem.run(symmetry.on_inputs(g, problem.random_inputs), names) for g in range(problem.order)]
        error = _error_of_runs(problem, runs, reaches)
    else:
        return None
    return error if math.isfinite(error) else None


def _error_of_runs(problem: Problem, runs: Sequence[Mapping[str, Tensor]], reaches: Sequence[float]) -> float:
    """From the values of the outputs on inputs that each element has moved; of several outputs the largest error."""
    found = [0.0]
    for out in (latent for latent in problem.layers if latent.value in problem.graph.outputs):
        base = runs[0][out.value]
        for g in range(1, problem.order):
            gap = distance(runs[g][out.value], apply_features(problem, g, out, base, problem.fixed[g]))
            found.append(float(gap / centred_norm(base)) / reaches[g])
    return largest(found)


def distance(first: Tensor, second: Tensor) -> Tensor:
    """‖a - b‖, of whole numbers and truth values too."""
    if not first.is_floating_point():
        first, second = first.double(), second.double()
    gap: Tensor = (first - second).norm()
    return gap


def _error_of_outputs(problem: Problem, given: Sequence[Tensor], reaches: Sequence[float]) -> float:
    """The same from the outputs of the module."""
    symmetry, outputs = problem.placed.symmetry, [each.flatten(1) for each in given]
    moves = symmetry.output[0].size == outputs[0].shape[1]
    found, spread = [0.0], centred_norm(outputs[0])
    for g in range(1, problem.order):
        wanted = symmetry.on_outputs(g, outputs[0]) if moves else outputs[0]
        found.append(float((outputs[g] - wanted).norm() / spread) / reaches[g])
    return largest(found)


def largest(errors: Sequence[float]) -> float:
    """The largest of some errors; infinite where one is no number, which `max` would pass over."""
    return math.inf if any(math.isnan(error) for error in errors) else max(errors)


def is_constant(problem: Problem) -> bool:
    """Whether the network's outputs never change, on probes or else on random inputs; False where it cannot be run."""
    if problem.outputs or problem.random_outputs:
        outputs = torch.cat([each.flatten(1) for each in problem.outputs or problem.random_outputs])
    elif not problem.layers:
        return False
    elif problem.runs:
        outputs = torch.cat([_side_by_side(problem, run) for run in (*problem.runs, *problem.held)], 1)
    else:
        outputs = _side_by_side(problem, problem.run(problem.random_inputs))
    size = float(outputs.abs().max())
    if size == 0 or not math.isfinite(size):
        return size == 0
    return float(centred_norm(outputs / size)) <= _CONSTANT * float((outputs / size).norm())


def _side_by_side(problem: Problem, run: Mapping[str, Tensor]) -> Tensor:
    """All outputs of a run; one of them where there is no other, several as (1, points, numbers)."""
    values = [run[name].to(problem.weights.floating) for name in problem.graph.outputs]
    return values[0] if len(values) == 1 else torch.cat([value.flatten(2) for value in values], 2)


def moved_value(problem: Problem, runs: Sequence[Mapping[str, Tensor]], name: str, g: int, maps: Maps) -> Tensor:
    """ρ(g)·h for a value that a layer starts from: the input's own image, or a latent value's features moved."""
    if name in problem.graph.inputs:
        return runs[g][name]
    latent = _latent_value(problem, name)
    return apply_features(problem, g, latent, runs[0][name], maps)


def apply_features(problem: Problem, g: int, latent: LatentValue, value: Tensor, maps: Maps) -> Tensor:
    """A latent value (1, points, *positions, features) with its positions and its features moved."""
    value = problem.placed.move_positions(g, latent.value, value)
    features = features_of(problem.graph).get(latent.value)
    if features is None:  # an output of no one space, which the group leaves alone
        return value
    if latent.space in maps:
        value = maps[latent.space].apply(value, value.ndim - 1, features.power)
    for axis, label in features.others:
        if label.space in maps:
            value = maps[label.space].apply(value, features.place(axis + 1), label.power)
    return value


def _latent_value(problem: Problem, name: str) -> LatentValue:
    return next(latent for latent in problem.layers if latent.value == name)


def linearity(problem: Problem) -> dict[str, Tensor]:
    """ν of every neuron behind an activation: 1 - corr(z, σ(z))² over the probes, 0 for a neuron that acts linearly.

    A neuron near 0 is not identifiable: σ is no constraint on it, and the layer may carry an action of GL there.
    """
    found: dict[str, Tensor] = {}
    for latent in problem.layers:
        if latent.activation is None:
            continue
        halves = (problem.runs[0], problem.held[0])
        before = torch.cat([run[latent.activation.inputs[0]].flatten(0, -2) for run in halves])
        after = torch.cat([run[latent.activation.outputs[0]].flatten(0, -2) for run in halves])
        z, h = before - before.mean(0), after - after.mean(0)
        scale = z.norm(dim=0) * h.norm(dim=0)
        corr = (z * h).sum(0) / scale.clamp_min(torch.finfo(z.dtype).tiny)  # 0 where a neuron is constant
        found[latent.space] = (1 - corr.square()).clamp_min(0)
    return found
