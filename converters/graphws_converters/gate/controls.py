"""Controls: would the gate have seen a wrong claim?  Asked of the network, and of each space on its own.

An element is applied with one parameter left behind.  If that does not change the outputs, the check has shown nothing:
neurons that are never on, a branch multiplied by 1e-12, numbers that are all rounding agree with every claim.

Spaces are many and runs are dear.  One backward pass tells, to first order, how far the outputs move when any parameter
is left behind; only where that is next to nothing the network is run.  And that every space may move without the others
is tried on halves of them.  A wrong claim hides where two spaces happen to move in step, which a few random elements of
few neurons do: any two such spaces are parted by a half, log2(spaces) runs; thousands of neurons do not.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.graph import GroupElement, Parameter, Space, Weights
from graphws.operations.verify import changed, left_behind
from graphws_converters.gate.outputs import Outputs, Run, change, scales_of

LEAST_CONTROL = 1e-6
MOST_CONTROLS = 12
"""How many parameters are left behind, spread over the network, in search for one that moves the outputs."""
MOST_SPACES = 40
"""How many spaces that gradients do not see are run on their own, spread over the network."""
LARGE = 0.1
"""The share of a network's numbers from which on a parameter is large."""
FEW = 6
"""Spaces of so many elements may move in step by chance: of 720 permutations each draw takes one."""
LEAST_HALVES = 2
"""Halves that are tried of any spaces."""
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
    for half in halves([weights.graph.extent(space.name) <= FEW for space in spaces]):
        some = [spaces[k] for k in half]
        found = change(before, run(element.alone(*(space.name for space in some)).act(weights)))
        if not found <= tolerance:
            return Sight(_blamed(element, weights, before, run, some, found, tolerance))
        error = max(error, found)
    least = max(RATIO * error, LEAST_CONTROL)  # the error may be 0, and gradients are rounding, too
    parts = {space.name: element.alone(space.name) for space in spaces}
    sloping = _sloping(parts, weights, before, run, least)
    unseen = [space for space in spaces if space.name not in sloping]
    dead = []
    for space in unseen[:: max(1, -(-len(unseen) // MOST_SPACES))]:
        here, control = _by_runs(parts[space.name], weights, before, run, error)
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


def halves(few: Sequence[bool]) -> list[list[int]]:
    """Subsets of the places of a list, such that of any two that are marked one lies in a subset without the other.

    Those marked are numbered, and each subset is one digit of the numbers: log2(count) many, but `LEAST_HALVES` where
    there are so many places.  The others fill the subsets by turns.
    """
    places = sorted(range(len(few)), key=lambda k: not few[k])
    digits = max(max(0, sum(few) - 1).bit_length(), min(LEAST_HALVES, max(0, len(few) - 1).bit_length()))
    return [sorted(k for number, k in enumerate(places) if number >> digit & 1) for digit in range(digits)]


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


def _sloping(
    parts: Mapping[str, GroupElement], weights: Weights, before: Outputs, run: Run, least: float
) -> set[str]:  # fmt: skip
    """Where the outputs move, to first order, when one parameter follows a part of an element and the others stay.

    The gradient is that of a random mix of the outputs, each by its scale: along a change of the weights it is, in the
    mean, as large as the relative change of the outputs.  It is looked at parameter by parameter as it comes, because
    that of a whole network is another copy of it.

    Args:
        parts: The parts of an element, by name.
        weights: Where it acts.
        before: The outputs there.
        run: The source.
        least: The change from which on the outputs move.

    Returns:
        The names of those parts; none where a source is not differentiable.
    """
    found: set[str] = set()

    def look(parameter: Parameter, leaf: Tensor) -> None:
        slope, leaf.grad = leaf.grad, None
        assert slope is not None
        x = weights[parameter.name]
        for name, part in parts.items():
            if name in found or (moved := part.move(parameter, x)) is x:
                continue
            away = torch.vdot(slope.flatten(), moved.flatten()) - torch.vdot(slope.flatten(), x.flatten())
            if abs(complex(away)) > least:
                found.add(name)

    leaves: dict[str, Tensor] = {}
    for parameter in _worth_a_slope(weights, parts):
        leaves[parameter.name] = weights[parameter.name].detach().requires_grad_()
        leaves[parameter.name].register_post_accumulate_grad_hook(functools.partial(look, parameter))
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
            torch.stack(mixed).sum().backward(inputs=list(leaves.values()))
    except Exception:  # the module is the user's: what has no gradient is run instead
        return set()
    return found


def _worth_a_slope(weights: Weights, spaces: Container[str]) -> list[Parameter]:
    """The parameters that have gradients, without those that take much memory and whose spaces others have as well."""
    smooth = [p for p in weights.graph.parameters if (x := weights[p.name]).is_floating_point() or x.is_complex()]
    named = Counter(space for p in smooth if p.kind == "weight" for space in {axis.space for axis in p.axes})

    def alone(parameter: Parameter) -> bool:
        return any(axis.space in spaces and named[axis.space] < 2 for axis in parameter.axes)

    return [p for p in smooth if weights[p.name].numel() <= LARGE * weights.graph.numel or alone(p)]


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
