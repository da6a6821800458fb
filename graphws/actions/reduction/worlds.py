"""What a network computes whatever its input: the entries of its values that are the same for any.

Every step is run by itself, in several *worlds*.  The entries that are known to be the same for any input are the same
in all worlds; every other entry is a random number of its own in each, large and small, and with the other sign in
every second world.  An entry of the result that differs between worlds may vary; one that does not is a constant.  So a
zero weight, a γ of 0, a product with 0 and a mask cut what varies off, whatever kind of step they are in, and the value
of a constant is what the step itself makes of it: at the border of a padded map another one than inside.

Law: an entry called constant is the same for all inputs.  A step is tried on more than the values that can reach it,
never on less; that two varying entries belong together is not seen, which calls some constants varying.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from graphws.actions.reduction.slices import Tensors
from graphws.errors import GraphError
from graphws.graph import NetworkGraph
from graphws.operations.plan import Context, Environment, Step, constants_on, steps_to
from graphws.operations.sampling import random_inputs

SIZES = (1.0, 30.0, 1e4)
"""Sizes of the numbers that stand for what varies; each in two worlds, of either sign."""
POINTS, FEW = 16, 2
"""Length of the batch, where a point has few numbers and where it has many."""
MANY = 1024
"""More numbers than this in a point are many."""
EQUAL = 1e-12
"""How far entries may differ, relative to their own size, and be called the same."""


class Worlds:
    """The values of one network in every world.

    Args:
        graph: A graph that runs.
        tensors: Its parameters, in double precision.

    Attributes:
        context: What constants of steps depend on.
        steps: The steps of the computation, in order.
        known: For each world, parameters, constants and values by name.
        varies: For each value that varies anywhere, which of its entries do.

    Raises:
        GraphError: Where the graph does not say the shape of its inputs, or a step fails on arbitrary numbers.
    """

    def __init__(self, graph: NetworkGraph, tensors: Tensors) -> None:
        self.graph, self._rng = graph, torch.Generator().manual_seed(0)
        one = random_inputs(graph, 1, self._rng)
        points = POINTS if sum(x.numel() for x in one.values()) <= MANY else FEW
        self.context = Context(points, torch.float64, torch.device("cpu"))
        self.steps = steps_to(graph, frozenset(graph.outputs), frozenset(graph.inputs))
        first = constants_on(graph, self.context) | dict(tensors) | random_inputs(graph, points, self._rng)
        self.known: list[Environment] = [dict(first) for _ in range(2 * len(SIZES))]
        self.varies: dict[str, Tensor] = {}
        for name in graph.inputs:
            self._keep(name, [first[name]] * len(self.known), torch.ones(first[name].shape, dtype=torch.bool))
        for step in self.steps:
            self._follow(step)

    def run(self, step: Step, world: int, changed: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """What a step writes in a world where some of what it reads is changed."""
        return step.run(self.known[world] | dict(changed), self.context)

    def fixed(self, names: Iterable[str]) -> bool:
        """Whether all of these are the same for any input."""
        return not any(name in self.varies for name in names)

    @torch.no_grad()
    def _follow(self, step: Step) -> None:
        operation = step.operation
        if self.fixed(operation.numbers):
            for name, value in zip(operation.outputs, step.run(self.known[0], self.context), strict=False):
                for world in self.known:
                    world[name] = value
            return
        # arbitrary whole numbers and truth values cannot be drawn, so all that reads some varies
        everything = any(
            name in self.varies and not self.known[0][name].is_floating_point() for name in operation.numbers
        )
        results = [step.run(world, self.context) for world in self.known]
        for place, name in enumerate(operation.outputs):
            found = [result[place] for result in results]
            if len({x.shape for x in found}) > 1:
                raise GraphError(f"the shape of {name!r} depends on the inputs")
            self._keep(name, found, torch.ones_like(found[0], dtype=torch.bool) if everything else _differ(found))

    def _keep(self, name: str, found: list[Tensor], varies: Tensor) -> None:
        """Stores a value, with numbers drawn anew wherever it varies."""
        if bool(varies.any()):
            self.varies[name] = varies
        for k, world in enumerate(self.known):
            value = torch.where(varies, found[k], found[0])
            if value.is_floating_point():
                value = torch.where(varies, self._drawn(k, value), value)
            world[name] = value

    def _drawn(self, world: int, value: Tensor) -> Tensor:
        """Numbers that are neither near 0 nor of one sign; every second world has those of the one before, negated."""
        if world % 2 == 0:
            noise = torch.rand(value.shape, generator=self._rng, dtype=torch.float64)
            sign = torch.rand(value.shape, generator=self._rng, dtype=torch.float64) - 0.5
            self._last = SIZES[world // 2] * (0.5 + noise) * torch.where(sign < 0, -1.0, 1.0)
        return (self._last if world % 2 == 0 else -self._last).to(value.dtype)


def _differ(found: list[Tensor]) -> Tensor:
    """Where one of several tensors differs from the first by more than rounding; NaN differs from everything."""
    first = found[0]
    different = torch.zeros(first.shape, dtype=torch.bool)
    for other in found[1:]:
        if first.is_floating_point() or first.is_complex():
            near = (other - first).abs() <= EQUAL * torch.maximum(first.abs(), other.abs())
            different |= ~((other == first) | near)
        else:
            different |= other != first
    return different
