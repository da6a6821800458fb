"""Controls: would the gate have seen a wrong claim?  Asked of the network, and of each space on its own.

An element is applied with one parameter left behind.  If that does not change the outputs, the check has shown nothing:
neurons that are never on, a branch multiplied by 1e-12, numbers that are all rounding agree with every claim.

Spaces are many and runs are dear.  One backward pass tells, to first order, how far the outputs move when any parameter
is left behind; only where that is next to nothing the network is run.  And that every space may move without the others
is tried on halves of them, such that any two are parted by one: log2(spaces) runs.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.graph import GroupElement, Space, Weights
from graphws.operations.verify import changed, left_behind
from graphws_converters.gate.outputs import Outputs, Run, change, scales_of

LEAST_CONTROL = 1e-6
MOST_CONTROLS = 12
"""How many parameters are left behind, spread over the network, in search for one that moves the outputs."""
MOST_SPACES = 40
"""How many spaces that gradients do not see are run on their own, spread over the network."""
RATIO = 100
"""How many times the change under an element a control has to be."""


def control_of(weights: Weights, moved: Weights, before: Outputs, run: Run) -> float:
    """The largest change with one weight left behind, over weights spread through the network.

    Other parameters stand in only where an element moves no weight: a bias left behind says nothing of the weights.
    """
    every = changed(weights, moved)
    names = [name for name in every if weights.graph.parameter(name).kind == "weight"] or every
    largest = 0.0
    for name in names[:: max(1, len(names) // MOST_CONTROLS)]:
        largest = max(largest, change(before, run(left_behind(weights, moved, name))))
        if largest >= 1e-3:
            break
    return largest


@dataclass(frozen=True)
class Sight:
    """What the controls of single spaces show.

    Attributes:
        blind: Of the first space whose control does not rise above its error, the figures; empty where all do.
        dead: Spaces on which the outputs do not depend at all: neither element nor control changes a digit.
    """

    blind: str = ""
    dead: tuple[str, ...] = ()


def sight(element: GroupElement, weights: Weights, before: Outputs, run: Run, error: float, tolerance: float) -> Sight:
    """Whether each space would have been seen if its claim were wrong.

    Args:
        element: On every space at once.
        weights: Where it acts.
        before: The outputs there.
        run: The source.
        error: The largest change under elements of all spaces.
        tolerance: What some spaces without the others may change: several together can hide a wrong claim.
    """
    spaces = [space for space in weights.graph.spaces if space.name in element.maps]
    blind = ""
    for half in halves(len(spaces)):
        some = [spaces[k] for k in half]
        found = change(before, run(element.alone(*(space.name for space in some)).act(weights)))
        if not found <= tolerance:
            return Sight(_blamed(element, weights, before, run, some, found, tolerance))
        error = max(error, found)
    slopes = _slopes(weights, before, run)
    least = max(RATIO * error, LEAST_CONTROL)  # the error may be 0, and gradients are rounding, too
    unseen = [space for space in spaces if not _sloping(element.alone(space.name), weights, slopes, least)]
    dead = []
    for space in unseen[:: max(1, -(-len(unseen) // MOST_SPACES))]:
        here, control = _by_runs(element.alone(space.name), weights, before, run, error)
        if control > RATIO * max(error, here):
            continue
        if here == control == 0:
            dead += [space.name]
        elif not control >= RATIO * here:
            blind = blind or (
                f"space {space.name!r} alone changes the outputs by {here:.1e}, leaving a parameter of it behind "
                f"by {control:.1e}"
            )
    return Sight(blind, tuple(dead))


def halves(count: int) -> list[list[int]]:
    """Subsets of range(count) such that of any two numbers one lies in a subset without the other: log2(count) many."""
    return [[k for k in range(count) if k >> bit & 1] for bit in range(max(0, count - 1).bit_length())]


def _blamed(
    element: GroupElement, weights: Weights, before: Outputs, run: Run, spaces: Sequence[Space], found: float,
    tolerance: float,
) -> str:  # fmt: skip
    """Which of some spaces changes the outputs, where all spaces at once do not."""
    for space in spaces:
        alone = change(before, run(element.alone(space.name).act(weights)))
        if not alone <= tolerance:
            return f"space {space.name!r} alone changes the outputs by {alone:.1e}, all spaces at once do not"
    names = ", ".join(repr(space.name) for space in spaces)
    return f"spaces {names} without the others change the outputs by {found:.1e}, all spaces at once do not"


def _slopes(weights: Weights, before: Outputs, run: Run) -> dict[str, Tensor]:
    """The gradient of a random mix of the outputs, each by its scale; empty where a source is not differentiable.

    Along a change of the weights it is, in the mean, as large as the relative change of the outputs.
    """
    leaves = {
        name: x.detach().requires_grad_() for name, x in weights.items() if x.is_floating_point() or x.is_complex()
    }
    rng = torch.Generator().manual_seed(0)
    try:
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of modules that look at the gradients of their weights
            outputs = run(Weights(weights.graph, {**weights.tensors, **leaves}))
            mixed = [
                (x * torch.randn(x.shape, generator=rng, dtype=torch.float64).to(x)).sum().abs() / scale
                for x, scale in zip(
                    (outputs,) if isinstance(outputs, Tensor) else outputs, scales_of(before), strict=True
                )
                if x.requires_grad and scale
            ]
            slopes = torch.autograd.grad(torch.stack(mixed).sum(), list(leaves.values()), allow_unused=True)
    except Exception:  # the module is the user's: what has no gradient is run instead
        return {}
    return {name: slope for name, slope in zip(leaves, slopes, strict=True) if slope is not None}


def _sloping(part: GroupElement, weights: Weights, slopes: Mapping[str, Tensor], least: float) -> bool:
    """Whether the outputs move, to first order, when one parameter follows a part of an element and the others stay."""
    parameters = [parameter for parameter in weights.graph.parameters if parameter.name in slopes]
    for parameter in sorted(parameters, key=lambda p: p.kind != "weight"):
        x, moved = weights[parameter.name], part.move(parameter, weights[parameter.name])
        if moved is not x and abs(complex(torch.vdot(slopes[parameter.name].flatten(), (moved - x).flatten()))) > least:
            return True
    return False


def _by_runs(part: GroupElement, weights: Weights, before: Outputs, run: Run, error: float) -> tuple[float, float]:
    """The change under one part of an element, and the largest with a parameter left behind.

    What lies in one parameter only has nothing to leave it behind of: there the control is that other numbers in this
    parameter change the outputs.
    """
    moved = part.act(weights)
    names, control = changed(weights, moved), 0.0
    if not names:
        return 0.0, math.inf
    here = change(before, run(moved))
    if len(names) == 1:  # to leave it behind is to do nothing: another change of the same size stands in
        control = change(before, run(_scrambled(weights, moved, names[0])))
    names.sort(key=lambda name: weights.graph.parameter(name).kind != "weight")
    for name in names:
        control = max(control, change(before, run(left_behind(weights, moved, name))))
        if control > RATIO * max(error, here):
            break
    return here, control


def _scrambled(weights: Weights, moved: Weights, name: str) -> Weights:
    """The weights with one parameter changed as much as an element changes it, its differences in another sequence."""
    difference = moved[name] - weights[name]
    order = torch.randperm(difference[0].numel(), generator=torch.Generator().manual_seed(0))
    other = difference.flatten(1)[:, order.to(difference.device)].reshape(difference.shape)
    return Weights(weights.graph, {**dict(weights.items()), name: weights[name] + other})
