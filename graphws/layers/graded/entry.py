"""The first features of neurons: from the weights, and from what the networks say at probes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import nn

from graphws.layers.graded.inlets import Inlet, inlets
from graphws.layers.graded.operands import Operands
from graphws.layers.graded.owners import Modules
from graphws.layers.graded.plan import Plan
from graphws.layers.graded.state import Answers, Spot, State, Sum

MOST_PRODUCTS = 256
"""Numbers a neuron of products of what it says with what reads it, at most; more are not made."""


class Entry(nn.Module):
    """First features of neurons.

    Weights become features as `graphws.layers.graded.inlets` says.  Activations at probes join those of their grade; an
    activation times the weights that read it, a neuron's part in what comes next, is an invariant.

    Args:
        plans: One for each graph that may come.
        channels: Channels of every feature.
        probes: How many activations each neuron has.
        outputs: How many numbers all probes' outputs have together.

    Shapes:
        Operands, Answers -> State.
    """

    def __init__(self, plans: Sequence[Plan], channels: int, probes: int = 0, outputs: int = 0) -> None:
        super().__init__()
        self.channels, self.probes = channels, probes
        self.reads, self.evens, self.activations, self.products = (Modules() for _ in range(4))
        if outputs:
            self.outputs = nn.Linear(outputs, channels)
        for plan in plans:
            for inlet in inlets(plan.grades):
                read = partial(nn.Linear, inlet.free, channels, bias=not inlet.grade)
                self.reads.make(plan.inlet(inlet), read)
                if probes and self._multiplies(inlet, plan):
                    self.products.make(plan.inlet(inlet), partial(nn.Linear, inlet.free * probes, channels))
            for space, grade in self.starts(plan):
                if space is not None and not plan.grades.linear(space):
                    self.evens.make(plan.spot(space, grade), partial(nn.Linear, channels, channels))
            for space in plan.moving if probes else ():
                grade = plan.grades.grade(space, 1)
                read = partial(nn.Linear, probes, channels, bias=not grade)
                self.activations.make(plan.spot(space, grade), read)

    def starts(self, plan: Plan) -> frozenset[Spot]:
        """The spots with graded features that networks of a plan start with."""
        found: set[Spot] = {(inlet.space, inlet.grade) for inlet in inlets(plan.grades) if inlet.grade}
        said = ((space, plan.grades.grade(space, 1)) for space in (plan.moving if self.probes else ()))
        return frozenset(found | {spot for spot in said if spot[1]})

    def _multiplies(self, inlet: Inlet, plan: Plan) -> bool:
        """Whether an inlet's entries read the activations of their neurons."""
        if inlet.way != "entries" or inlet.space is None or plan.grades.linear(inlet.space):
            return False
        (place,) = plan.grades.places(inlet.parameter)
        return place.power < 0 and inlet.free * self.probes <= MOST_PRODUCTS

    def forward(self, weights: Operands, plan: Plan, answers: Answers | None = None) -> State:
        """The features."""
        total = Sum()
        for inlet in inlets(plan.grades):
            if inlet.parameter in weights.tensors:  # whole numbers are counters and masks
                x = inlet.read(weights[inlet.parameter])
                total.add(inlet.space, inlet.grade, self.reads.map(plan.inlet(inlet), x))
                if answers is not None and self._multiplies(inlet, plan):
                    spoken = answers.neurons.get((inlet.space, plan.grades.grade(str(inlet.space), 1)))
                    if spoken is not None:
                        products = (x.unsqueeze(-1) * spoken.unsqueeze(-2)).flatten(-2)
                        total.add(inlet.space, 0, self.products.map(plan.inlet(inlet), products))
        for (space, grade), x in answers.neurons.items() if answers is not None else ():
            total.add(space, grade, self.activations.map(plan.spot(str(space), grade), x))
        if answers is not None:
            total.add(None, 0, self.outputs(answers.outputs))
        self._invariants(total, plan)
        like = next(iter(weights.tensors.values()))
        for site in plan.sites:
            sizes = () if site is None else plan.grades.sizes(site)
            if (site, 0) not in total.tensors:
                total.add(site, 0, like.new_zeros(weights.batch, *sizes, self.channels))
        return State(weights, total.tensors)

    def _invariants(self, total: Sum, plan: Plan) -> None:
        """The size of odd features is an invariant from the start."""
        for space, grade in plan.graded:
            x = total.tensors.get((space, grade))
            if x is not None and not plan.grades.linear(space):
                total.add(space, 0, self.evens.map(plan.spot(space, grade), x.abs()))
