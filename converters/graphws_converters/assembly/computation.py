"""A graph's computation: written from a program, for any length of the batch where that can be told, and tried.

A trace knows one length of the batch.  The module is traced again with another; sizes that differ follow the batch, and
the result is tried on a third.  Where no second trace has the same steps, the first stands as it is, and the file says
which length it is for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from graphws.checkpoints.conversion import SelfRun
from graphws.graph import NetworkGraph, Parameter, Weights
from graphws.operations import why_not
from graphws.operations.labels import measure_labels
from graphws_converters.analysis.interpreter import needed
from graphws_converters.analysis.ir import Program
from graphws_converters.assembly.assembly import Assembled
from graphws_converters.assembly.operations import Batch, Written, written
from graphws_converters.assembly.roles import with_roles
from graphws_converters.fronts import trace
from graphws_converters.gate.reasons import reason_of
from graphws_converters.gate.self_run import (
    Arguments,
    Trial,
    batch_of,
    self_run,
    tensors_in,
    tolerance_of,
    with_batch,
)

MOST_LABELLED = 50_000_000
"""Numbers of networks whose values are labelled: it takes two runs more."""


@dataclass(frozen=True, eq=False)
class Computation:
    """A graph with its operations, and how they came about.

    Attributes:
        graph: The graph.
        leaves: For each tensor that the source gives the name of its value.
        program: What was read; None for a chain of linear layers.
        written: How it was written.
        batches: Other lengths of the batch to try; none where the trace fixed it.
        failure: Why it could not be written down; the graph has no operations then.
    """

    graph: NetworkGraph
    leaves: Sequence[str]
    program: Program | None = None
    written: Written | None = None
    batches: tuple[int, ...] = ()
    failure: str = ""

    def trial(self, module: nn.Module, weights: Weights, arguments: Arguments, types: set[torch.dtype]) -> Trial:
        """Source and graph, to be compared."""
        program = None if self.program is None or self.written is None else (self.program, self.written)
        return Trial(module, self.graph, weights, self.leaves, arguments, tolerance_of(types), program)

    def labelled(self, weights: Weights, arguments: Arguments, generator: torch.Generator) -> NetworkGraph:
        """The graph with the spaces that label the axes of its values, as measured on some weights."""
        if self.written is None or self.graph.numel > MOST_LABELLED:
            return self.graph
        inputs = dict(zip(self.graph.inputs, tensors_in(arguments), strict=True))
        try:
            found = measure_labels(self.graph, weights, inputs, generator)
        except Exception:  # labels are for readers: a network without them is as good
            return self.graph
        stated = {value.name: value for value in self.graph.values}
        described = {value.name: value for value in self.written.described}
        values = [
            replace(stated.get(name, described[name]), axes=axes)
            for name, axes in found.items()
            if name in described and (any(axes) or name in stated)
        ]
        missing = [value for name, value in stated.items() if name not in {v.name for v in values}]
        return replace(self.graph, values=(*missing, *values))


def of_chain(graph: NetworkGraph) -> Computation:
    """The computation of a chain of linear layers, which its graph holds already."""
    return Computation(graph, graph.outputs, batches=(5,))


def computations(
    assembled: Assembled, program: Program, module: nn.Module, arguments: Arguments, generator: torch.Generator
) -> Iterator[Computation]:
    """A graph with the operations of a program, as it may be written: for any length of the batch, then for one.

    Two traces are compared, the given one with one of a longer batch; where steps differ, as they do where a batch of 1
    is special, two of longer batches.

    Args:
        assembled: Spaces and parameters.
        program: What the module computes on the example inputs.
        module: The module, in eval mode.
        arguments: The example inputs.
        generator: Source of the rows of other batches.
    """
    graph, parameters = assembled.graph, dict[str, list[Parameter]]()
    for parameter in graph.parameters:
        parameters.setdefault(parameter.storage.key if parameter.storage else parameter.name, []).append(parameter)
    types = [tensor.dtype for tensor in module.state_dict().values() if tensor.is_floating_point()]
    dtype = types[0] if types else torch.float32
    length = batch_of(arguments)
    traced = {} if length is None else {length: program}

    def at(n: int) -> Program:
        if n not in traced:
            traced[n] = trace(module, *with_batch(arguments, n, generator), program.front)  # type: ignore[arg-type]
        return traced[n]

    for first, second in (
        () if length is None else ((length, length + 1), (length, 2 * length), (length + 1, length + 2))
    ):
        try:
            one, other = at(first), at(second)
            found = written(one, parameters, graph, dtype, Batch(first, second, other))
        except Exception:  # not all that is traced at one length can be traced or written at another
            continue
        yield _computation(assembled, one, found, arguments, (second, 2 * first + 3, 3 * first))
    try:
        last = _computation(assembled, program, written(program, parameters, graph, dtype), arguments, ())
    except Exception as error:  # whatever it stumbles on, spaces and parameters are there and can be tried
        last = Computation(graph, (), failure=f"its computation cannot be written down: {reason_of(error)}")
    yield last


def chosen(
    candidates: Iterable[Computation], module: nn.Module, weights: Weights, arguments: Arguments,
    types: set[torch.dtype], generator: torch.Generator,
) -> tuple[Computation, SelfRun]:  # fmt: skip
    """The first way of writing a computation in which it runs by itself, and the gate's second figure.

    Where none is, the last one, with the reason.
    """
    for candidate in candidates:
        try:
            runs = (
                SelfRun(None, candidate.failure)
                if candidate.failure
                else self_run(candidate.trial(module, weights, arguments, types), candidate.batches, generator)
            )
        except Exception as error:  # a second test that fails says nothing of the gate
            runs = SelfRun(None, f"it could not be tried: {reason_of(error)}")
        if runs.error is not None or why_not(candidate.graph):
            break
    return candidate, runs


def _computation(
    assembled: Assembled, program: Program, found: Written, arguments: Arguments, batches: tuple[int, ...]
) -> Computation:
    inputs = zip(found.inputs, tensors_in(arguments), strict=True)
    values = {value.name: value for value in found.values}
    for name, tensor in inputs:
        if not tensor.is_floating_point() and not tensor.is_complex() and not tensor.is_meta and tensor.numel():
            values[name] = replace(values[name], highest=max(int(tensor.max()), _rows(program, found, name)))
    whole = replace(
        assembled.graph,
        operations=found.operations,
        inputs=found.inputs,
        outputs=found.outputs,
        constants=found.constants,
        values=tuple(values.values()),
    )
    return Computation(with_roles(whole, assembled.reads), found.leaves, program, found, batches)


def _rows(program: Program, found: Written, name: str) -> int:
    """The last row of the smallest table that an input looks up in; 0 where it looks up in none."""
    tables = [
        node.arguments["weight"].shape[0] - 1
        for node in needed(program)
        if node.op == "embedding" and found.names.get(node.arguments["indices"]) == name
    ]
    return min(tables, default=0)
