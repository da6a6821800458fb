"""The numeric gate once more, on a network that came out of a file.

The figures in a network file are a claim of whoever wrote it.  Where the graph runs by itself the claim can be tried
again: on random inputs, with random elements of the group that the file claims.  What that shows is that the group
leaves the function of *this* graph and *these* weights alone; that the graph computes what some source once computed
cannot be seen from the file.

The writer may have built the file for the check.  So every output and every slice of it is compared on its own, where a
large one would hide a small one; inputs of other sizes and disturbed weights wake neurons that are off on the first
ones; and each space must show a change when a parameter of it is left behind.  What fails one of these is unverified.

A file may claim any graph, so the work is counted before it is done: the computation is first gone through without
numbers (on PyTorch's meta device), which tells how many numbers it would make.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from graphws.errors import GraphError, GraphwsError, VerificationError
from graphws.graph.group import GroupElement
from graphws.graph.network import NetworkGraph
from graphws.graph.weights import Weights
from graphws.kinds.attributes import DTYPES, WEIGHTS, resolved
from graphws.operations.plan import why_not
from graphws.operations.runner import forward, outputs_of
from graphws.operations.sampling import OTHER_SIZES, random_inputs
from graphws.operations.verify import Verification, change_of_slices, relative_change, verify

TOLERANCE = 1e-6
"""Largest relative change of the outputs, computed in float64, that counts as none."""
LEAST_CONTROL = 1e-6
"""Smallest relative change that counts as one."""
SHARE = 1e-2
"""Of the control: a change below it is rounding or a small mistake, one above it refutes the group."""
MOST_NUMBERS = 1 << 27
"""Numbers that the inputs of a graph, or one run of it, may have."""
STEP = 5000
"""Numbers that could be made in the time that an operation takes however few it makes."""
DRAWS = 3
CONTROLS = 16
"""Parameters that are left behind in turn for each element: one that shows a change is enough."""
POINTS = 4
MOST_SPACES = 40
"""Spaces, spread over the network, of which each must show a change."""
LEAST_OF_SLICES = 1e-5
"""Slices of an output smaller than this share of it are compared with that share."""


FAILURES = (GraphwsError, RuntimeError, ValueError, TypeError, LookupError, NotImplementedError)
"""What running the graph of a stranger may raise."""


@dataclass(frozen=True)
class Repetition:
    """What came of trying again.

    Attributes:
        verification: Figures of a passed check.
        reason: Why there are none; empty where there are.
        tried: Whether the network was run: where it was not, its writer's figures are all that there is.
    """

    verification: Verification | None
    reason: str = ""
    tried: bool = True


def repeat_gate(
    graph: NetworkGraph, weights: Weights, *, generator: torch.Generator, effort: float, points: int = POINTS
) -> Repetition:
    """Tries the group of a graph on its own network.

    Args:
        graph: The graph, with its operations.
        weights: Its numbers, a batch of one.
        generator: Source of inputs and elements.
        effort: Most numbers that all runs together may make.
        points: Length of the batch of inputs.

    Raises:
        VerificationError: Where the group changes the outputs.
    """
    failure = why_not(graph)
    if failure:
        return Repetition(None, f"the graph does not run by itself: {failure}", tried=False)
    try:
        numbers = numbers_of_a_run(graph, weights, points)
        numbers += STEP * len(graph.operations)
        spaces = min(MOST_SPACES, sum(space.moves for space in graph.spaces))
        runs = DRAWS * (min(len(graph.parameters), CONTROLS) + 1) + 2 * len(OTHER_SIZES) + 3 * spaces + 4
        if numbers * runs > effort:
            return Repetition(None, f"trying it again would make {numbers * runs:.0e} numbers", tried=False)
        inputs = random_inputs(graph, points, generator)
        own = weights.to(device="cpu", dtype=torch.float64)
        found = verify(
            graph,
            own,
            generator=generator,
            run=lambda candidate: outputs_of(graph, candidate, inputs).detach(),
            actions="rich",
            draws=DRAWS,
            tolerance=math.inf,
            least_control=0.0,
            most_controls=CONTROLS,
        )
    except VerificationError:  # with these bounds: outputs that are not numbers
        return Repetition(None, "the outputs are not finite numbers on random inputs")
    except FAILURES as error:
        return Repetition(None, f"it does not run on random inputs: {_first_line(error)}", tried=False)
    judged = judge(found)
    if judged.reason:
        return judged
    try:
        reason = _hidden(graph, own, inputs, generator)
    except FAILURES as error:
        reason = f"tried again, it does not run on other inputs: {_first_line(error)}"
    return Repetition(None, reason) if reason else judged


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]


def _hidden(graph: NetworkGraph, weights: Weights, inputs: Mapping[str, Tensor], generator: torch.Generator) -> str:
    """What a claim that is wrong could hide behind; empty where nothing is found."""
    for size, factor in {"": 1.0, **OTHER_SIZES}.items():
        given = {name: factor * x if x.is_floating_point() or x.is_complex() else x for name, x in inputs.items()}
        element = graph.group().random(generator, actions="rich", dtype=weights.dtype)
        before, after = _outputs(graph, weights, given), _outputs(graph, element.act(weights), given)
        if _finite(before) and not (change := _change(before, after)) <= TOLERANCE:
            return f"tried again, some outputs{' on ' * bool(size)}{size} change by {change:.1e}"
    disturbed = _disturbed(weights, generator)
    element = graph.group().random(generator, actions="rich", dtype=weights.dtype)
    before, after = _outputs(graph, disturbed, inputs), _outputs(graph, element.act(disturbed), inputs)
    if not _finite(before):
        return ""
    if not (change := _change(before, after)) <= TOLERANCE:
        return f"tried again, the group of its graph changes outputs of disturbed weights by {change:.1e}"
    return _blind(element, disturbed, before, inputs)


def _blind(element: GroupElement, weights: Weights, before: tuple[Tensor, ...], inputs: Mapping[str, Tensor]) -> str:
    """A space of which no wrong claim would be seen, in words; empty where there is none among those tried."""
    graph = weights.graph
    spaces = [space for space in graph.spaces if space.moves and space.size > 1]
    for space in spaces[:: max(1, -(-len(spaces) // MOST_SPACES))]:
        moved = element.alone(space.name).act(weights)
        changed = [name for name, x in moved.items() if not torch.equal(x, weights[name])]
        parts = (Weights(graph, {**moved.tensors, name: weights[name]}) for name in changed[:3])
        if changed and not any(_change(before, _outputs(graph, part, inputs)) >= LEAST_CONTROL for part in parts):
            return f"tried again, nothing depends on the claim for space {space.name!r}"
    return ""


def _outputs(graph: NetworkGraph, weights: Weights, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    with torch.no_grad():
        found = forward(graph, weights, inputs)
    return (found,) if isinstance(found, Tensor) else found


def _finite(outputs: tuple[Tensor, ...]) -> bool:
    return all(bool(x.isfinite().all()) for x in outputs)


def _change(before: tuple[Tensor, ...], after: tuple[Tensor, ...]) -> float:
    """The largest relative change of an output, or of a slice of one."""
    pairs = [(x[0], y[0]) for x, y in zip(before, after, strict=True) if x.numel()]
    if any(x.shape != y.shape for x, y in pairs):
        return math.inf
    found = [part for x, y in pairs for part in (relative_change(x, y), change_of_slices(x, y, LEAST_OF_SLICES))]
    return next((each for each in found if math.isnan(each)), max(found, default=0.0))


def _disturbed(weights: Weights, generator: torch.Generator) -> Weights:
    """Other numbers of the same sizes: weights and biases moved, everything else multiplied, so that signs stay."""
    tensors = {}
    for parameter in weights.graph.parameters:
        x = weights[parameter.name]
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype) if x.is_floating_point() else None
        if noise is None:
            tensors[parameter.name] = x
        elif parameter.kind in ("weight", "bias"):
            size = float(x.square().mean().sqrt()) if x.numel() else 0.0
            tensors[parameter.name] = 0.5 * x + (0.5 * size or 0.5) * noise
        else:
            tensors[parameter.name] = x * torch.exp(0.1 * noise)
    return Weights(weights.graph, tensors)


def judge(found: Verification) -> Repetition:
    """What figures say that were measured in float64.

    Raises:
        VerificationError: Where the error is of the size of the control.
    """
    figures = f"error {found.error:.1e}, control {found.control:.1e}"
    if found.error <= TOLERANCE and found.error <= SHARE * found.control and found.control >= LEAST_CONTROL:
        return Repetition(found)
    if found.control < LEAST_CONTROL and found.error <= TOLERANCE:
        return Repetition(None, f"tried again, nothing could be told apart: {figures}")
    if found.error <= SHARE * found.control:
        return Repetition(None, f"tried again, the outputs change by more than rounding: {figures}")
    raise VerificationError(f"tried again, its group changes the outputs by {found.error:.1e}: it is not its network's")


def numbers_of_a_run(graph: NetworkGraph, weights: Weights, points: int) -> int:
    """How many numbers one run makes, inputs and weights included, found without making them.

    Raises:
        GraphwsError: Where the graph does not fit itself, or makes more than `MOST_NUMBERS`.
    """
    counted, inputs = _Counted(), {}
    for name in graph.inputs:
        value = graph.value(name)
        if value is None:
            raise GraphError(f"the graph does not say which shape its input {name!r} has")
        shape = [POINTS if size == "?" else resolved(size, points) for size in value.shape]
        counted.add(math.prod(shape))
        kind = torch.float64 if value.dtype == WEIGHTS else DTYPES[value.dtype]
        inputs[name] = torch.empty(shape, dtype=kind, device="meta")
    with counted:
        outputs_of(graph, weights.to(device="meta", dtype=torch.float64), inputs)
    return counted.total


class _Counted(TorchDispatchMode):
    """Counts the numbers that operations make."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def add(self, numbers: int) -> None:
        self.total += numbers
        if self.total > MOST_NUMBERS:
            raise GraphError(f"a run makes more than {MOST_NUMBERS} numbers")

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        self.add(sum(x.numel() for x in pytree.tree_leaves(made) if isinstance(x, Tensor)))
        return made
