"""Constants of operations that count elements: what they must be once a set is smaller.

A traced network may say ``reshape(x, shape=n,4,5,4)``: four heads of four dimensions, five tokens.  Which 4 becomes a 3
when a head goes no name tells.  The large network, in which nothing reads the head any more, and the small one are
therefore run side by side, and each step of the small one is tried with its numbers as they are and scaled down with
the set, until what it writes is what the large one writes without the head's entries.

Law: every value of the refitted network is that of the large one without the entries of the elements that went.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from graphws.actions.reduction.slices import Tensors
from graphws.errors import GraphError
from graphws.graph import NetworkGraph, Operation
from graphws.kinds import Attribute
from graphws.operations.plan import Context, constants_on, step_of, steps_to
from graphws.operations.sampling import random_inputs

POINTS = 3
"""Length of the batch."""
NEAR = 1e-6
"""How far values of both networks may be apart, relative to the largest: rounding of smaller types on the way."""
MOST = 256
"""How many combinations of numbers are tried for one step."""
_SIZE = re.compile(r"(?:(?P<times>[0-9]+)\*)?n(?P<plus>[+-][0-9]+)?")
_WHOLE = ("int", "ints", "ints or text")


@dataclass(frozen=True)
class Kept:
    """What stayed of a set.

    Args:
        size: Elements before.
        keep: Those that stayed.
    """

    size: int
    keep: tuple[int, ...]

    def along(self, before: int, after: int) -> Iterator[Tensor]:
        """The entries that may have stayed of an axis that has lost some: it is a product, the set one of its parts."""
        count = len(self.keep)
        if before % self.size or after * self.size != before * count:
            return
        rest = before // self.size
        for inner in (k for k in range(1, rest + 1) if rest % k == 0):
            outer = torch.arange(rest // inner).view(-1, 1, 1) * self.size * inner
            middle = torch.tensor(self.keep).view(1, -1, 1) * inner
            yield (outer + middle + torch.arange(inner)).flatten()


@torch.no_grad()
def refitted(
    large: NetworkGraph, tensors: Tensors, small: NetworkGraph, smaller: Tensors, kept: Kept
) -> tuple[Operation, ...]:
    """The small network's operations, with numbers that fit it.

    Args:
        large: A graph that runs.
        tensors: Its parameters, in which nothing reads the elements that go.
        small: The graph without them; its operations are those of the large one, with other parameters.
        smaller: Its parameters.
        kept: The elements that stay.

    Raises:
        GraphError: Where no numbers make a step do on the small network what it does on the large one.
    """
    rng = torch.Generator().manual_seed(0)
    inputs = random_inputs(large, POINTS, rng)
    context = Context(POINTS, torch.float64, torch.device("cpu"))
    known = constants_on(large, context) | dict(tensors) | inputs
    here = constants_on(small, context) | dict(smaller) | inputs
    steps = steps_to(large, frozenset(large.outputs), frozenset(large.inputs))
    for step in steps:
        known.update(zip(step.operation.outputs, step.run(known, context), strict=False))
    made = [small.writers[step.operation.outputs[0]] for step in steps]
    fitting: dict[Operation, Operation] = {}
    open_steps: list[tuple[int, Iterator[Operation]]] = []
    at, tried, stuck = 0, 0, -1
    while at < len(steps):  # forward, and back to the last step that another number would do for as well
        if not open_steps or open_steps[-1][0] != at:
            open_steps.append((at, _fitting(made[at], known, here, kept, context)))
        operation = next(open_steps[-1][1], None)
        if operation is not None:
            fitting[made[at]], at = operation, at + 1
            continue
        stuck, tried = max(stuck, at), tried + 1
        open_steps.pop()
        if not open_steps or tried > MOST:
            raise GraphError(f"operation {made[stuck]} does something else with fewer of them")
        at = open_steps[-1][0]
    return tuple(fitting.get(operation, operation) for operation in small.operations)


def _fitting(
    made: Operation, known: dict[str, Tensor], here: dict[str, Tensor], kept: Kept, context: Context
) -> Iterator[Operation]:
    """The operations that write what is wanted, one after the other; the values of the last are in `here`."""
    wanted = [known[name] for name in made.outputs]
    for operation in _variants(made, known, kept):
        results = _results(operation, here, context)
        if results is None or len(results) < len(wanted):
            continue
        if all(_agree(x, y, kept) for x, y in zip(wanted, results, strict=False)):
            here.update(zip(operation.outputs, results, strict=False))
            yield operation


def _results(operation: Operation, known: dict[str, Tensor], context: Context) -> tuple[Tensor, ...] | None:
    """What an operation writes; None where it cannot."""
    try:
        return step_of(operation).run(known, context)
    except GraphError:
        return None


def _variants(operation: Operation, known: dict[str, Tensor], kept: Kept) -> Iterator[Operation]:
    """The operation with some of its whole numbers scaled down with the set, fewest first."""
    yield operation
    fields = operation.row.attributes
    if "scale" in fields and "query" in operation.operands and operation.attribute("scale") is None:
        scale = known[operation.operands["query"]].shape[-1] ** -0.5  # it is made of the number of dimensions
        yield replace(operation, attributes={**dict(operation.attributes), "scale": scale})  # type: ignore[arg-type]
    slots: list[tuple[str, int, int | str]] = []
    for name, value in operation.attributes:
        if fields[name].type in _WHOLE:
            parts = value if isinstance(value, tuple) else (value,)
            slots += [(name, k, less) for k, part in enumerate(parts) if (less := _scaled(part, kept)) is not None]
    tried = 0
    for count in range(1, len(slots) + 1):
        for chosen in itertools.combinations(slots, count):
            tried += 1
            if tried > MOST:
                return
            yield replace(operation, attributes=_with(operation, chosen))  # type: ignore[arg-type]


def _with(operation: Operation, chosen: Sequence[tuple[str, int, int | str]]) -> dict[str, Attribute]:
    made: dict[str, Attribute] = dict(operation.attributes)
    for name, k, less in chosen:
        value = made[name]
        made[name] = (*value[:k], less, *value[k + 1 :]) if isinstance(value, tuple) else less
    return made


def _scaled(part: object, kept: Kept) -> int | str | None:
    """A number, or the factor of a size, times the share of the set that stayed; None where that is no number."""
    count = len(kept.keep)
    if isinstance(part, str) and (match := _SIZE.fullmatch(part)):
        times = int(match["times"] or 1)
        if times % kept.size:
            return None
        return f"{times * count // kept.size}*n{match['plus'] or ''}"
    if isinstance(part, int) and not isinstance(part, bool) and part > 0 and part % kept.size == 0:
        return part * count // kept.size
    return None


def _agree(large: Tensor, small: Tensor, kept: Kept) -> bool:
    """Whether a value of the small network is one of the large, without the entries of what went."""
    if large.ndim != small.ndim or large.dtype != small.dtype:
        return False
    axes = [k for k in range(large.ndim) if large.shape[k] != small.shape[k]]
    options = [list(kept.along(large.shape[k], small.shape[k])) for k in axes]
    for chosen in itertools.product(*options):
        part = large
        for axis, index in zip(axes, chosen, strict=True):
            part = part.index_select(axis, index)
        if _near(part, small):
            return True
    return False


def _near(first: Tensor, second: Tensor) -> bool:
    if not (first.is_floating_point() or first.is_complex()):
        return torch.equal(first, second)
    size = float(first.abs().nan_to_num(0.0, 0.0, 0.0).max()) if first.numel() else 0.0
    return torch.allclose(first, second, rtol=0.0, atol=NEAR * size, equal_nan=True)
