"""What decoys reach on the same network: the null against which every figure of an action is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from graphws.actions.decoys.moves import picture_decoys
from graphws.actions.decoys.shuffled import decoys
from graphws.actions.decoys.taps import scrambled_layers, tap_decoys
from graphws.actions.groups.ends import patch_side
from graphws.actions.measures.categories import MATCHED, similarity
from graphws.actions.measures.equivariance import end_to_end_error, errors_of_layers
from graphws.actions.measures.layer_errors import DecoyFigures
from graphws.actions.measures.needs import needed_shares
from graphws.actions.measures.probes import LEAST, moved_share
from graphws.actions.pictures.joined_axes import convolves
from graphws.actions.problem import Module, Problem, pose
from graphws.actions.search.search import Candidate, search
from graphws.graph import Weights
from graphws.matching import Family, families
from graphws.reporter import Progress


@dataclass(frozen=True, eq=False)
class NullFigures:
    """The decoys' figures.

    Attributes:
        figures: For each decoy those of each layer, by space.
        end_to_end: Each decoy's end-to-end error; of those that have one.
    """

    figures: Mapping[str, Mapping[str, DecoyFigures]] = field(default_factory=dict)
    end_to_end: Mapping[str, float] = field(default_factory=dict)


def find_null_figures(
    problem: Problem,
    weights: Weights,
    shape: tuple[int, ...],
    data: Tensor | None,
    *,
    count: int,
    generator: torch.Generator,
    sweeps: int,
    module: Module | None = None,
    progress: Progress | None = None,
) -> NullFigures:
    """Searches for decoys of a problem's group in its network, exactly as for the group.

    Where every move of pictures is in the group, decoys scramble the taps of kernels instead, on weights alone.

    Args:
        problem: The problem.
        weights: Its network, as it was before the gauge.
        shape: Shape of one input as the user gives it.
        data: Probes, or None.
        count: How many decoys.
        generator: Source of decoys, and order of the refinement.
        sweeps: At most so many rounds of each refinement.
        module: Runs the network in place of a graph that does not run.
        progress: Counts the decoys that were searched for.
    """
    group = problem.placed.symmetry
    figures: dict[str, dict[str, DecoyFigures]] = {}
    end_to_end: dict[str, float] = {}
    if convolves(problem.graph):
        chosen = picture_decoys(problem.graph, group, shape, count=count, generator=generator)
    else:
        chosen = decoys(group, shape, count=count, generator=generator, patch=patch_side(problem.graph) or 1)
    if data is not None:  # what leaves the probes as they are is no rival on them
        chosen = [decoy for decoy in chosen if moved_share(decoy, data) >= LEAST]
    for decoy in chosen:
        other = pose(weights, decoy, shape, data, module=module)
        if progress is not None:
            progress.advance()
        if not other.finite:  # it moves probes to where the network gives no numbers
            continue
        figures[decoy.name] = _figures(other, search(other, generator=generator, sweeps=sweeps))
        whole = end_to_end_error(other)
        if whole is not None:
            end_to_end[decoy.name] = whole
    if chosen or not convolves(problem.graph):
        return NullFigures(figures, end_to_end)
    reached = scrambled_layers(problem.graph)
    for number, placed in enumerate(tap_decoys(problem.graph, problem.placed, count=count, generator=generator), 1):
        other = pose(weights, group, shape, placed=placed)
        found = _figures(other, search(other, generator=generator, sweeps=sweeps), weights=True)
        name = f"{group.name}, taps shuffled" + (f" ({number})" if number > 1 else "")
        figures[name] = {space: rival for space, rival in found.items() if space in reached}
    return NullFigures(figures, end_to_end)


def _figures(problem: Problem, best: Candidate, *, weights: bool = False) -> dict[str, DecoyFigures]:
    """K-error and matched shares of each layer; where the map is given, as that of outputs, all counts as matched."""
    shares: dict[str, tuple[float, float]] = {}
    for family in families(problem.graph):
        good = matched(problem, best, family)
        both = float(good.double().mean()), carried(problem, family, good)
        shares.update(dict.fromkeys(family.spaces, both))
    errors = errors_of_layers(problem, best.maps, held=True)
    return {space: DecoyFigures(error, *shares.get(space, (1.0, 1.0)), weights) for space, error in errors.items()}


def cosine(problem: Problem, best: Candidate, family: Family, g: int) -> Tensor:
    """The cosine of every element of a family's root with its image under an element g, weighed by probes if any."""
    metric = problem.metrics.get("probes", problem.metrics["weights"])
    return similarity(problem, family, best.maps[g], metric)


def matched(problem: Problem, best: Candidate, family: Family) -> Tensor:
    """Which elements of a family's root are matched under every element of the group, (size,) of bool, on the CPU."""
    good = ~best.unmatched[family.root].clone()
    for g in range(1, problem.order):
        good &= cosine(problem, best, family, g).cpu() >= MATCHED
    return good


def carried(problem: Problem, family: Family, good: Tensor) -> float:
    """The share of what readers of a family get that some of its elements carry."""
    return float(needed_shares(problem, family, problem.moments)[good].sum().clamp(max=1.0))
