"""A computation made ready to run: each step with its function, its operands and what may be forgotten after it.

Plans know one network; batches of networks are `graphws.operations.runner`'s affair.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from graphws.errors import GraphError
from graphws.graph.network import NetworkGraph
from graphws.graph.operation import Operation
from graphws.kinds import Kind
from graphws.kinds.attributes import WEIGHTS, follows_batch, resolved

Environment = dict[str, Tensor]
"""Tensors by name: parameters, constants and values."""


@dataclass(frozen=True)
class Context:
    """What constants of operations may depend on.

    Attributes:
        n: Length of the first axis of the first input.
        dtype: Type of the weights.
        device: Where to compute.
    """

    n: int
    dtype: torch.dtype
    device: torch.device


@dataclass(frozen=True, eq=False)
class Step:
    """One operation, ready to run.

    Attributes:
        operation: What it is.
        row: Its row of the table of kinds.
        operands: For each operand a name, a list of names, or None.
        constants: Its attributes.
        varying: Whether a constant depends on the context.
        forget: Values that no later step reads.
    """

    operation: Operation
    row: Kind
    operands: tuple[Any, ...]
    constants: dict[str, Any]
    varying: bool
    forget: tuple[str, ...]

    def run(self, known: Mapping[str, Tensor], context: Context) -> tuple[Tensor, ...]:
        """The values that it writes.

        Raises:
            GraphError: Where its function fails on these tensors; operation and shapes are named.
        """
        given = [
            [None if x is None else known[x] for x in name] if isinstance(name, list) else name and known[name]
            for name in self.operands
        ]
        try:
            result = self.row(*given, **self.constants_in(context))
        except GraphError:
            raise
        except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError) as error:
            text = next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
            shapes = ", ".join(str(tuple(known[name].shape)) for name in self.operation.reads)
            raise GraphError(f"operation {self.operation} on shapes {shapes}: {text}") from error
        found = result if isinstance(result, tuple | list) else (result,)
        return tuple(x for x in found if isinstance(x, Tensor))

    def constants_in(self, context: Context) -> dict[str, Any]:
        """The attributes, with sizes and types worked out."""
        constants = self.constants
        if self.varying:
            constants = {k: _in_context(v, context) for k, v in constants.items()}
        return {**constants, "device": context.device} if "device" in self.row.context else constants

    def check(self, results: tuple[Tensor, ...]) -> None:
        """Whether there is a tensor for every value that the operation writes; `GraphError` where not."""
        if len(results) < len(self.operation.outputs):
            raise GraphError(f"operation {self.operation} gives {len(results)} tensors")


def _in_context(value: Any, context: Context) -> Any:
    if value == WEIGHTS:
        return str(context.dtype).removeprefix("torch.")
    return resolved(value, context.n)


@lru_cache(maxsize=128)
def steps_to(graph: NetworkGraph, wanted: frozenset[str], given: frozenset[str]) -> tuple[Step, ...]:
    """The steps that lead from given values to wanted ones, in order.

    Args:
        graph: The graph.
        wanted: Values to compute.
        given: Values that are known, besides parameters and constants.

    Raises:
        GraphError: On a value that nothing writes, or an operation that cannot be run.
    """
    needed, chosen = set(wanted - given), []
    for operation in reversed(graph.operations):
        if needed & set(operation.outputs):
            chosen.append(operation)
            needed |= set(operation.reads) - given
    known = given | graph.named | {name for operation in chosen for name in operation.outputs}
    lost = sorted(needed - known)
    if lost:
        raise GraphError(f"no operation writes {lost[0]!r}, and it is not given")
    last: dict[str, Operation] = {}
    for operation in chosen:  # last one first
        for name in (*operation.reads, *operation.outputs):
            last.setdefault(name, operation)
    keep = wanted | given | graph.named
    forget: dict[int, list[str]] = {}
    for name, reader in last.items():
        if name not in keep:
            forget.setdefault(id(reader), []).append(name)
    return tuple(step_of(operation, forget.get(id(operation), ())) for operation in reversed(chosen))


def step_of(operation: Operation, forget: Iterable[str] = ()) -> Step:
    """One operation, ready to run.

    Raises:
        GraphError: Where it cannot be run.
    """
    row = operation.row
    if row.function is None:
        what = operation.attribute("name", "") or operation.kind
        why = operation.attribute("why", "")
        raise GraphError(f"{what} cannot be run from the graph" + (f": {why}" if why else ""))
    named = operation.operands
    operands = tuple(named.get(operand.name) for operand in row.operands)
    constants: dict[str, Any] = dict(operation.attributes)
    varying = any(follows_batch(value) or value == WEIGHTS for value in constants.values())
    return Step(operation, row, operands, constants, varying, tuple(forget))


def execute(
    graph: NetworkGraph, known: Environment, wanted: Iterable[str], given: Iterable[str], context: Context
) -> dict[str, Tensor]:
    """Values of one network.

    Args:
        graph: The graph.
        known: Tensors by name: parameters, constants, and the given values.
        wanted: Values to compute; those that are known come back as they are.
        given: Which of `known` are values.
        context: See `Context`.
    """
    names, values = frozenset(wanted), dict(known)
    for _ in walk(graph, values, names, given, context):
        pass
    return {name: values[name] for name in names}


def walk(
    graph: NetworkGraph, values: Environment, wanted: Iterable[str], given: Iterable[str], context: Context
) -> Iterator[Step]:
    """Runs step by step: after each step `values` holds what it wrote; what no later step reads is dropped then."""
    for step in steps_to(graph, frozenset(wanted), frozenset(given)):
        results = step.run(values, context)
        step.check(results)
        values.update(zip(step.operation.outputs, results, strict=False))
        yield step
        for name in step.forget:
            values.pop(name, None)


def constants_on(graph: NetworkGraph, context: Context) -> Environment:
    """The graph's constants, where and as the weights are."""
    return {
        constant.name: constant.tensor.to(
            context.device, context.dtype if constant.follows and constant.tensor.is_floating_point() else None
        )
        for constant in graph.constants
    }


def why_not(graph: NetworkGraph) -> str:
    """Why a graph cannot be run by itself; empty where it can."""
    if not graph.operations:
        return "the graph holds no operations"
    if not graph.inputs or not graph.outputs:
        return "the graph names no inputs and outputs"
    try:
        steps_to(graph, frozenset(graph.outputs), frozenset(graph.inputs))
    except GraphError as error:
        return str(error)
    return ""
