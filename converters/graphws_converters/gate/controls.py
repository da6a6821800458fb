"""Controls: would the gate have seen a wrong claim?  Asked of the network, and of each space on its own.

An element is applied with one parameter left behind.  If that does not change the outputs, the check has shown nothing:
neurons that are never on, a branch multiplied by 1e-12, numbers that are all rounding agree with every claim.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from graphws.graph import GroupElement, Weights
from graphws.operations.verify import changed, left_behind
from graphws_converters.gate.outputs import Outputs, Run, change

LEAST_CONTROL = 1e-6
MOST_CONTROLS = 12
"""How many parameters are left behind, spread over the network, in search for one that moves the outputs."""
MOST_SPACES = 40
"""How many spaces have a control of their own, spread over the network: each takes a run."""
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


def _scrambled(weights: Weights, moved: Weights, name: str) -> Weights:
    """The weights with one parameter changed as much as an element changes it, its differences in another sequence."""
    difference = moved[name] - weights[name]
    order = torch.randperm(difference[0].numel(), generator=torch.Generator().manual_seed(0))
    other = difference.flatten(1)[:, order.to(difference.device)].reshape(difference.shape)
    return Weights(weights.graph, {**dict(weights.items()), name: weights[name] + other})


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

    A space that lies in one parameter only has nothing to leave it behind of: there the control is that other numbers
    in this parameter change the outputs.

    Args:
        element: On every space at once.
        weights: Where it acts.
        before: The outputs there.
        run: The source.
        error: The largest change under elements of all spaces.
        tolerance: What one space alone may change: several together can hide a wrong claim.
    """
    spaces = [space for space in weights.graph.spaces if space.name in element.maps]
    blind, dead = "", []
    for space in spaces[:: max(1, -(-len(spaces) // MOST_SPACES))]:
        part = element.alone(space.name)
        moved = part.act(weights)
        names, control = changed(weights, moved), 0.0
        here = change(before, run(moved)) if names else 0.0
        if not here <= tolerance:
            blind = blind or f"space {space.name!r} alone changes the outputs by {here:.1e}, all spaces at once do not"
        if len(names) == 1:  # to leave it behind is to do nothing: another change of the same size stands in
            control = change(before, run(_scrambled(weights, moved, names[0])))
        names.sort(key=lambda name: weights.graph.parameter(name).kind != "weight")
        for name in names:
            control = max(control, change(before, run(left_behind(weights, moved, name))))
            if control > RATIO * error:
                break
        else:
            if here == control == 0:
                dead += [space.name] if names else []
            elif not control >= RATIO * here:
                blind = blind or (
                    f"space {space.name!r} alone changes the outputs by {here:.1e}, leaving a parameter of it behind "
                    f"by {control:.1e}"
                )
    return Sight(blind, tuple(dead))
