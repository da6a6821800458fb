"""What noise alone would do: how far a perfect action is from equivariant once its weights are a little off.

A function amplifies what is wrong in its weights, layer after layer: noise of 10 % that leaves every neuron in its
place may change the outputs of a deep network by half of their spread.  So errors on inputs are read beside those of a
*perfect* action with as much noise.  The weights are averaged over the group, θ̄ = mean_g ρ(g) θ, which the action
leaves alone exactly; what is left, θ - θ̄, comes back with random signs, number by number:

    θ' = θ̄ + (m / (m - 1))^½ s ⊙ (θ - θ̄),   s = ±1 at random,

m being the group's order: random signs put a share of 1/m of their squared norm into what the action leaves alone.  The
size of what is wrong stays that of each weight; what goes is anything that it has to do with the function.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from graphws.actions.computation.features import run_network, turned_back
from graphws.actions.measures.equivariance import end_to_end_error, error_on_random_inputs, layer_errors
from graphws.actions.problem import Maps, Problem
from graphws.graph import GroupElement, Weights

DRAWS = 5
"""How often the noise is drawn."""


@dataclass(frozen=True)
class NoiseFigures:
    """Errors of a perfect action with noise as large as what is wrong in the network: the mean over draws.

    Attributes:
        layers: The error of each layer on probes, by space; none without probes.
        end_to_end: That of the function on probes; None without any.
        on_random: The same on random inputs; None where the network does not run.
        perfect: The larger of the two without noise: 0 where the group gets through the network's steps.
    """

    layers: Mapping[str, float] = field(default_factory=dict)
    end_to_end: float | None = None
    on_random: float | None = None
    perfect: float | None = None


def noise_figures(
    problem: Problem, maps: Sequence[Maps], *, generator: torch.Generator, draws: int = DRAWS
) -> NoiseFigures:
    """The figures of a network's action; nothing where its graph does not run, or for a group of one element.

    Args:
        problem: The problem.
        maps: For each element of the group the maps of all spaces.
        generator: Source of the signs.
        draws: How many.
    """
    if not problem.layers or problem.outputs or problem.random_outputs or problem.order == 1:
        return NoiseFigures()
    graph, weights = problem.graph, problem.weights
    moved = [GroupElement(graph, dict(each)).act(weights) for each in maps]
    mean = {p.name: torch.stack([each[p.name] for each in moved]).mean(0) for p in graph.parameters}
    size = (problem.order / (problem.order - 1)) ** 0.5
    perfect = _with(problem, Weights(graph, mean))
    clean = [error for error in (end_to_end_error(perfect), error_on_random_inputs(perfect)) if error is not None]
    every: list[tuple[dict[str, float], float | None, float | None]] = []
    for _ in range(draws):
        tensors = {
            name: tensor + size * _signs(tensor, generator) * (weights[name] - tensor) for name, tensor in mean.items()
        }
        drawn = _with(problem, Weights(graph, tensors))
        layers = layer_errors(drawn, maps, held=True) if drawn.held else {}
        every.append((layers, end_to_end_error(drawn), error_on_random_inputs(drawn)))
    return NoiseFigures(
        {name: sum(each[0][name] for each in every) / draws for name in every[0][0]},
        _mean([each[1] for each in every]),
        _mean([each[2] for each in every]),
        max(clean, default=None),
    )


def _with(problem: Problem, weights: Weights) -> Problem:
    """The same problem for other weights: the held-out probes run through these."""
    held = []
    for run in problem.held:
        given = {name: turned_back(problem.graph, name, run[name]).squeeze(0) for name in problem.graph.inputs}
        held.append(run_network(problem.graph, weights, given))
    return replace(problem, weights=weights, held=tuple(held))


def _signs(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    drawn = torch.randint(0, 2, like.shape, generator=generator)
    return (2 * drawn - 1).to(like)


def _mean(errors: Sequence[float | None]) -> float | None:
    known = [error for error in errors if error is not None]
    return sum(known) / len(known) if known else None
