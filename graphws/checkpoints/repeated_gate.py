"""The numeric gate once more, on a network that came out of a file.

The figures in a network file are a claim of whoever wrote it.  Where the graph runs by itself the claim can be tried
again: on random inputs, with random elements of the group that the file claims.  What that shows is that the group
leaves the function of *this* graph and *these* weights alone; that the graph computes what some source once computed
cannot be seen from the file.

A file may claim any graph, so the work is counted before it is done: the computation is first gone through without
numbers (on PyTorch's meta device), which tells how many numbers it would make.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from graphws.errors import GraphError, GraphwsError, VerificationError
from graphws.graph.network import NetworkGraph
from graphws.graph.weights import Weights
from graphws.kinds.attributes import DTYPES, WEIGHTS, resolved
from graphws.operations.plan import why_not
from graphws.operations.runner import outputs_of
from graphws.operations.sampling import random_inputs
from graphws.operations.verify import Verification, verify

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
        runs = DRAWS * (min(len(graph.parameters), CONTROLS) + 1) + 1
        if numbers * runs > effort:
            return Repetition(None, f"trying it again would make {numbers * runs:.0e} numbers", tried=False)
        inputs = random_inputs(graph, points, generator)
        found = verify(
            graph,
            weights.to(device="cpu", dtype=torch.float64),
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
    except (GraphwsError, RuntimeError, ValueError, TypeError, LookupError, NotImplementedError) as error:
        text = next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
        return Repetition(None, f"it does not run on random inputs: {text}", tried=False)
    return judge(found)


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
