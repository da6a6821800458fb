"""What elements add to the values that read them, and which parameter can take it over.

An element may go where, for any input, it adds the same to every value outside of its space: nothing, or a constant
that a bias takes over.  To see it, the slices of the parameters that read the elements are put to zero, and the change
is followed from step to step through the worlds of `graphws.actions.reduction.worlds`.  A change that is the same in
every world goes on to the next step, until it is gone, or until a parameter of a step can undo it: a bias, the shift or
the running mean of a norm, a table of positions.  Which parameter that is is tried, not looked up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from graphws.actions.computation.features import is_reached
from graphws.actions.reduction.worlds import Worlds
from graphws.errors import GraphError
from graphws.operations.plan import Step

WORLDS = 4
"""Changes are followed in the first worlds, whose numbers are of moderate size."""
NOTHING = 1e-12
"""A change below this share of a value's largest entry is none."""
SAME = 1e-9
"""How far a change may differ between worlds, relative to itself and the value's rounding."""


class Stays(GraphError):
    """Elements cannot go: what they add depends on the input (`active`), or has nowhere to go."""

    def __init__(self, reason: str, active: bool = False) -> None:
        super().__init__(reason)
        self.active = active


@torch.no_grad()
def absorbed(worlds: Worlds, edits: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parameters that make up for `edits`, so that no output changes for any input.

    Args:
        worlds: The network before.
        edits: Parameters in which the slices that read some elements are zero.

    Returns:
        dict[str, Tensor]: The edits and the parameters changed because of them.

    Raises:
        Stays: Where the outputs would change; the reason says where.
    """
    return _Changes(worlds, edits).parameters()


class _Changes:
    def __init__(self, worlds: Worlds, edits: Mapping[str, Tensor]) -> None:
        self.worlds, self.edits = worlds, dict(edits)
        self.new: list[dict[str, Tensor]] = [dict(edits) for _ in range(WORLDS)]

    def parameters(self) -> dict[str, Tensor]:
        graph = self.worlds.graph
        for step in self.worlds.steps:
            if any(name in self.new[0] for name in step.operation.numbers):
                self._follow(step)
        reached = [name for name in graph.outputs if name in self.new[0]]
        if reached:
            raise Stays(f"they add a constant to the output {reached[0]!r}, and no bias takes it over")
        return self.edits

    def _follow(self, step: Step) -> None:
        graph, outputs = self.worlds.graph, step.operation.outputs
        found = [self.worlds.run(step, k, self.new[k]) for k in range(WORLDS)]
        if not any(is_reached(graph, name) for name in outputs):  # made of weights alone
            for k, values in enumerate(found):
                self.new[k].update(zip(outputs, values, strict=False))
            return
        before = [self.worlds.run(step, k, {}) for k in range(WORLDS)]
        changes = [
            self._change(name, [values[i] for values in before], [values[i] for values in found])
            for i, name in enumerate(outputs)
        ]
        if all(change is None for change in changes) or self._taken_over(step, before, changes):
            return
        for name, change in zip(outputs, changes, strict=True):
            if change is not None:
                for k in range(WORLDS):
                    self.new[k][name] = self.worlds.known[k][name] + change

    def _change(self, name: str, before: list[Tensor], found: list[Tensor]) -> Tensor | None:
        """By how much a value changes, the same in every world; None where it does not."""
        first: Tensor | None = None
        nothing = True
        for old, value in zip(before, found, strict=True):
            if not (old.is_floating_point() and old.shape == value.shape):
                if not torch.equal(old, value):
                    raise Stays(f"they decide about {name!r}, which is no number that a bias could shift")
                return None
            change = torch.where(old == value, 0.0, value - old)
            size = float(old.abs().nan_to_num(0.0, 0.0, 0.0).max()) if old.numel() else 0.0
            if bool((change.abs() > NOTHING * size).any()) or bool(change.isnan().any()):
                nothing = False
            first = change if first is None else first
            apart = (change - first).abs()
            if not bool((apart <= SAME * first.abs() + NOTHING * 10 * size).all()):
                raise self._why(name)
        return None if nothing else first

    def _why(self, name: str) -> Stays:
        """Why a change of a value is another one for other inputs."""
        graph = self.worlds.graph
        moved = [read for read in graph.writers[name].reads if read in self.new[0] and is_reached(graph, read)]
        uneven = next((read for read in moved if not _even(self._shift(read))), None)
        if uneven is not None:
            return Stays(
                f"they add other amounts to {uneven!r} at the border of a padded map than inside, "
                "which no bias takes over"
            )
        if moved:
            return Stays(f"they add a constant to {moved[0]!r}, and no bias takes it over")
        return Stays(f"what they add to {name!r} depends on the input", active=True)

    def _shift(self, name: str) -> Tensor:
        return self.new[0][name] - self.worlds.known[0][name]

    def _taken_over(self, step: Step, before: list[tuple[Tensor, ...]], changes: list[Tensor | None]) -> bool:
        """Whether a parameter of the step undoes its changes; it is edited then."""
        for parameter, tensor in self._candidates(step, changes):
            if all(self._undone(step, k, before[k], parameter, tensor) for k in range(WORLDS)):
                self.edits[parameter] = tensor
                for world in self.new:
                    world[parameter] = tensor
                return True
        return False

    def _candidates(self, step: Step, changes: list[Tensor | None]) -> Iterator[tuple[str, Tensor]]:
        """Parameters read by this step alone, shifted by what changes behind it, or before it."""
        graph, operation = self.worlds.graph, step.operation
        known = self.worlds.known[0]
        shifts = [-change for change in changes if change is not None]
        shifts += [self._shift(read) for read in operation.numbers if read in self.new[0] and is_reached(graph, read)]
        own = {parameter.name for parameter in graph.parameters}
        for read in operation.numbers:
            if read in own and read not in self.edits and len(graph.readers(read)) == 1:
                for shift in shifts:
                    for fitted in _fitted(shift, known[read].shape):
                        yield read, known[read] + fitted

    def _undone(self, step: Step, world: int, before: tuple[Tensor, ...], parameter: str, tensor: Tensor) -> bool:
        found = self.worlds.run(step, world, self.new[world] | {parameter: tensor})
        for old, value in zip(before, found, strict=True):
            size = old.abs().nan_to_num(0.0, 0.0, 0.0).max()
            if not bool(((value == old) | ((value - old).abs() <= NOTHING * 10 * size)).all()):
                return False
        return True


def _fitted(shift: Tensor, shape: torch.Size) -> Iterator[Tensor]:
    """A shift as a tensor of a parameter's shape: its mean over what the parameter has not."""
    if not shift.is_floating_point() or len(shape) > shift.ndim:
        return
    for start in range(shift.ndim - len(shape), -1, -1):
        if shift.shape[start : start + len(shape)] == shape:
            others = [k for k in range(shift.ndim) if not start <= k < start + len(shape)]
            yield shift.mean(others) if others else shift


def _even(shift: Tensor) -> bool:
    """Whether a shift is the same at every place, along all axes but one at most."""
    size = NOTHING * 100 + 1e-9 * float(shift.abs().max())
    return any(
        bool((rows - rows[:, :1]).abs().max() <= size)
        for rows in (shift.movedim(k, 0).flatten(1) for k in range(shift.ndim))
    )
