"""The gate's second figure: does the network file run by itself, and compute what its source computes?

The graph is run from its operations, constants and weights alone: on the example inputs, on fresh ones (the same
numbers in another order) and, where no size was fixed by the trace, on another length of the batch.  Where the figures
differ, every operation is compared with PyTorch's own on the same tensors, and the first that differs is named; where
none does, the trace is not the whole of the network, which takes another path on other inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from graphws.checkpoints.conversion import SelfRun
from graphws.errors import GraphError
from graphws.graph import NetworkGraph, Weights
from graphws.kinds.declare import aten
from graphws.operations import run_values, why_not
from graphws.operations.verify import relative_change
from graphws_converters.analysis import ir
from graphws_converters.analysis.interpreter import needed
from graphws_converters.assembly.operations import Written

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def tolerance_of(dtypes: set[torch.dtype]) -> float:
    """The largest relative difference that counts as rounding, by the coarsest floating type that takes part."""
    coarsest = max((torch.finfo(dtype).eps for dtype in dtypes if dtype.is_floating_point), default=0.0)
    return 1e-12 if coarsest < 1e-15 else 1e-6 if coarsest < 1e-6 else 1e-2


@dataclass(frozen=True, eq=False)
class Trial:
    """A source, the graph that was read off it, and the inputs to compare them on.

    Attributes:
        module: The source, in eval mode.
        graph: With its operations.
        weights: The source's own, a batch of one.
        leaves: For each tensor that the source gives the name of its value.
        arguments: The example inputs, by position and by name.
        tolerance: Largest difference that counts as none.
    """

    module: nn.Module
    graph: NetworkGraph
    weights: Weights
    leaves: Sequence[str]
    arguments: Arguments
    tolerance: float

    def error(self, arguments: Arguments) -> float:
        """The largest relative difference of an output between source and graph.

        Raises:
            GraphError: Where the graph cannot be run on these inputs.
        """
        expected = source_outputs(self.module, arguments)
        found = run_values(self.graph, self.weights, tensors_in(arguments), self.leaves)
        return max((difference(x, found[name][0]) for x, name in zip(expected, self.leaves, strict=True)), default=0.0)


def self_run(trial: Trial, batches: Sequence[int], generator: torch.Generator) -> SelfRun:
    """Whether the graph runs by itself, and how well.

    Args:
        trial: What to compare.
        batches: Other lengths of the batch to try; none where the trace fixed it.
        generator: Source of fresh inputs.
    """
    reason = why_not(trial.graph)
    if reason:
        return SelfRun(None, reason)
    first = batch_of(trial.arguments)
    fixed = "any" if batches or first is None else str(first)
    try:
        error = trial.error(trial.arguments)
        if not error <= trial.tolerance:
            return SelfRun(None, f"its outputs differ by {error:.1e} from the source's")
        fresh = trial.error(_reordered(trial.arguments, generator))
        if not fresh <= trial.tolerance:
            return SelfRun(None, f"on other inputs its outputs differ by {fresh:.1e}: the trace is one path of several")
        others = [trial.error(with_batch(trial.arguments, n, generator)) for n in batches]
    except GraphError as failure:
        return SelfRun(None, str(failure))
    if any(not other <= trial.tolerance for other in others):
        return SelfRun(None, f"at another length of the batch its outputs differ by {max(others):.1e}")
    return SelfRun(max(error, fresh, *others), "", fixed)


def first_at_fault(trial: Trial, program: ir.Program, written: Written) -> str:
    """The first operation that differs from PyTorch's own on the same tensors; empty where none does."""
    names = list(dict.fromkeys(written.names.values()))
    known = trial.graph.named
    try:
        values = run_values(
            trial.graph, trial.weights, tensors_in(trial.arguments), [x for x in names if x not in known]
        )
    except GraphError as failure:
        return str(failure)
    tensors = {name: x[0] for name, x in values.items()}
    tensors |= {name: x[0] for name, x in trial.weights.items()} | {c.name: c.tensor for c in trial.graph.constants}
    for node in needed(program):
        given = pytree.tree_map_only(ir.Value, lambda v: tensors[written.names[v]], dict(node.arguments))
        try:
            result = aten(node.op, given)
        except (GraphError, RuntimeError, AttributeError):
            continue
        found = [x for x in (result if isinstance(result, tuple | list) else [result]) if isinstance(x, Tensor)]
        outputs = [value for value in node.outputs if value is not None]
        for value, expected in zip(outputs, found, strict=False):
            name = written.names[value]
            if name in tensors and not difference(expected, tensors[name]) <= trial.tolerance:
                operation = trial.graph.writers.get(name)
                return f"operation {operation} differs by {difference(expected, tensors[name]):.1e} from {node.op}"
    return ""


def difference(expected: Tensor, found: Tensor) -> float:
    """The relative difference of two tensors; infinite where their shapes differ."""
    if expected.shape != found.shape:
        return float("inf")
    if not expected.numel():
        return 0.0
    if expected.is_complex() or found.is_complex():
        return max(difference(expected.real, found.real), difference(expected.imag, found.imag))
    same = torch.isfinite(expected) == torch.isfinite(found)
    if not bool(same.all()):
        return float("inf")
    finite = torch.isfinite(expected)
    if not bool(finite.any()):
        return 0.0
    return relative_change(expected[finite], found[finite].to(expected.dtype))


def source_outputs(module: nn.Module, arguments: Arguments) -> list[Tensor]:
    """Every tensor that a module gives."""
    module.train().eval()  # empties what some modules keep from their last run
    with torch.no_grad():
        result = module(*pytree.tree_map_only(Tensor, torch.clone, arguments[0]), **arguments[1])
    return [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor)]


def tensors_in(arguments: Arguments) -> list[Tensor]:
    """The tensors among inputs, in the order in which programs read them."""
    return [leaf for leaf in pytree.tree_leaves(arguments) if isinstance(leaf, Tensor)]


def batch_of(arguments: Arguments) -> int | None:
    """The length of the first axis of the first input; None where there is no such axis."""
    first = next(iter(tensors_in(arguments)), None)
    return None if first is None or not first.ndim else int(first.shape[0])


def with_batch(arguments: Arguments, n: int, generator: torch.Generator) -> Arguments:
    """The inputs with another length of the batch: rows drawn from those given."""
    first = batch_of(arguments)

    def resized(x: Tensor) -> Tensor:
        if not x.ndim or x.shape[0] != first:
            return x
        return x[torch.randint(0, int(x.shape[0]), (n,), generator=generator)].clone()

    found: Arguments = pytree.tree_map_only(Tensor, resized, arguments)
    return found


def _reordered(arguments: Arguments, generator: torch.Generator) -> Arguments:
    """Fresh inputs: the numbers of each in another order; truth values stay."""

    def shuffled(x: Tensor) -> Tensor:
        if x.dtype == torch.bool:
            return x
        return x.flatten()[torch.randperm(x.numel(), generator=generator)].reshape(x.shape)

    found: Arguments = pytree.tree_map_only(Tensor, shuffled, arguments)
    return found
