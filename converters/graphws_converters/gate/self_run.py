"""The gate's second figure: does the network file run by itself, and compute what its source computes?

The graph is run from its operations, constants and weights alone: on the example inputs, with its own weights and with
disturbed ones, on fresh inputs (the same numbers in another order, also with the other sign) and, where no size was
fixed by the trace, on other lengths of the batch.  Where the figures differ, every operation is compared with PyTorch's
own on the same tensors, and the first that differs is named; where none does, the trace is not the whole of the
network, which takes another path on other inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
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
from graphws_converters.gate.gate import disturb

OTHER_INPUTS = "on other inputs "
LEAST_OF_A_PATH = 1e-8
"""Differences up to this may be rounding of many operations, each within its tolerance."""
ONE_PATH = "the trace is one path of several"
"""How the reason ends where every operation is right and the network is not."""
Arguments = tuple[tuple[Any, ...], dict[str, Any]]
MOST_DISTURBED = 50_000_000
"""Numbers of networks that are tried at other weights too: it takes a copy."""


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
        program: What was read off the source, and how it was written: to name operations at fault.
    """

    module: nn.Module
    graph: NetworkGraph
    weights: Weights
    leaves: Sequence[str]
    arguments: Arguments
    tolerance: float
    program: tuple[ir.Program, Written] | None = None

    def error(self, arguments: Arguments, weights: Weights | None = None) -> float:
        """The largest relative difference of an output between source and graph.

        Args:
            arguments: The inputs.
            weights: Other weights than the source's own.

        Raises:
            GraphError: Where the graph cannot be run on these inputs.
            SourceFailure: Where the source cannot.
        """
        expected = source_outputs(self.module, arguments, weights)
        if len(expected) != len(self.leaves):
            raise GraphError(f"the source gives {len(expected)} tensors, its trace {len(self.leaves)}")
        used = self.weights if weights is None else weights
        found = run_values(self.graph, used, tensors_in(arguments), self.leaves)
        return max((difference(x, found[name][0]) for x, name in zip(expected, self.leaves, strict=True)), default=0.0)


class SourceFailure(Exception):
    """The source cannot be run on these inputs; what it says."""


def self_run(trial: Trial, batches: Sequence[int], generator: torch.Generator) -> SelfRun:
    """Whether the graph runs by itself, and how well.

    Weights are disturbed for a second comparison: fresh batch norms have trivial statistics and fresh biases are zero,
    which hides mistakes.

    Args:
        trial: What to compare.
        batches: Other lengths of the batch to try; none where the trace fixed it.
        generator: Source of fresh inputs and disturbances.
    """
    reason = why_not(trial.graph)
    if reason:
        return SelfRun(None, reason)
    plans: list[tuple[str, Arguments, bool]] = [("", trial.arguments, False)]
    plans += [(OTHER_INPUTS, _fresh(trial.arguments, sign, generator), False) for sign in (1, -1)]
    if trial.graph.numel <= MOST_DISTURBED and not isinstance(trial.module, torch.jit.ScriptModule):
        plans.insert(1, ("at other weights ", trial.arguments, True))
    errors = []
    for where, arguments, moved in plans:
        weights = _disturbed(trial.weights, generator) if moved else None
        try:
            error = trial.error(arguments, weights)
        except SourceFailure:
            continue
        except GraphError as failure:
            return SelfRun(None, where + str(failure))
        if not error <= trial.tolerance:
            return SelfRun(None, _differs(trial, where, error, arguments, weights))
        errors.append(error)
    for n in batches:
        try:
            error = trial.error(with_batch(trial.arguments, n, generator))
        except SourceFailure:
            continue
        except GraphError as failure:
            return SelfRun(None, f"for a batch of {n}: {failure}")
        if not error <= trial.tolerance:
            return SelfRun(None, f"for a batch of {n} its outputs differ by {error:.1e} from the source's")
        errors.append(error)
    if not errors:
        return SelfRun(None, "its source cannot be run")
    first = batch_of(trial.arguments)
    return SelfRun(max(errors), "", "any" if batches or first is None else str(first))


def _disturbed(weights: Weights, generator: torch.Generator) -> Weights:
    other = weights.map(torch.clone)
    disturb(other, generator)
    return other


def _differs(trial: Trial, where: str, error: float, arguments: Arguments, weights: Weights | None) -> str:
    """What to say of a difference: the first operation at fault, or that none is."""
    said = f"{where}its outputs differ by {error:.1e} from the source's"
    if trial.program is None:
        return said
    fault = first_at_fault(trial, arguments, weights)
    if fault:
        return f"{said}: {fault}"
    adds_up = error <= LEAST_OF_A_PATH
    return f"{said}, and no operation does: {'rounding adds up' if adds_up else ONE_PATH}"


def first_at_fault(trial: Trial, arguments: Arguments, weights: Weights | None = None) -> str:
    """The first operation that differs from PyTorch's own on the same tensors; empty where none does."""
    assert trial.program is not None
    program, written = trial.program
    used, known = trial.weights if weights is None else weights, trial.graph.named
    names = [name for name in dict.fromkeys(written.names.values()) if name not in known]
    tensors = {name: x[0] for name, x in run_values(trial.graph, used, tensors_in(arguments), names).items()}
    tensors |= {name: x[0] for name, x in used.items()} | {c.name: c.tensor for c in trial.graph.constants}
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


def source_outputs(module: nn.Module, arguments: Arguments, weights: Weights | None = None) -> list[Tensor]:
    """Every tensor that a module gives, with weights other than its own where there are any.

    Raises:
        SourceFailure: Where it cannot be run.
    """
    module.train().eval()  # empties what some modules keep from their last run
    args, kwargs = pytree.tree_map_only(Tensor, torch.clone, arguments)
    try:
        with torch.no_grad():
            if weights is None:
                result = module(*args, **kwargs)
            else:
                own = {name for name, _ in [*module.named_parameters(), *module.named_buffers()]}
                state = {name: x for name, x in weights.to_state_dict(copy=False).items() if name in own}
                result = functional_call(module, state, args, kwargs)
    except Exception as error:  # the module is the user's, and may not be made for such inputs
        raise SourceFailure(str(error)) from error
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


def _fresh(arguments: Arguments, sign: int, generator: torch.Generator) -> Arguments:
    """Other inputs: the numbers of each in another order, floating ones with a sign; truth values stay."""

    def shuffled(x: Tensor) -> Tensor:
        if x.dtype == torch.bool:
            return x
        moved = x.flatten()[torch.randperm(x.numel(), generator=generator)].reshape(x.shape)
        return sign * moved if x.is_floating_point() else moved

    found: Arguments = pytree.tree_map_only(Tensor, shuffled, arguments)
    return found
