"""A graph's computation: written from a program, for any length of the batch where that can be told, and tried.

A trace knows one length of the batch.  The module is traced again with another; sizes that differ follow the batch, and
the result is tried on a third.  Where the second trace fails or takes other steps, the first stands as it is, and the
file says which length it is for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from graphws.checkpoints.conversion import SelfRun
from graphws.errors import GraphError, UsageError
from graphws.graph import NetworkGraph, Parameter, Weights
from graphws.operations.labels import measure_labels
from graphws_converters.analysis.interpreter import needed
from graphws_converters.analysis.ir import Program
from graphws_converters.assembly.operations import Batch, Fixed, Written, written
from graphws_converters.fronts import trace
from graphws_converters.gate.self_run import (
    Arguments,
    Trial,
    batch_of,
    first_at_fault,
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
    """

    graph: NetworkGraph
    leaves: Sequence[str]
    program: Program | None = None
    written: Written | None = None
    batches: tuple[int, ...] = ()

    def tried(
        self, module: nn.Module, weights: Weights, arguments: Arguments, types: set[torch.dtype],
        generator: torch.Generator,
    ) -> SelfRun:  # fmt: skip
        """The gate's second figure."""
        trial = Trial(module, self.graph, weights, self.leaves, arguments, tolerance_of(types))
        found = self_run(trial, self.batches, generator)
        if found.error is None and self.program is not None and self.written is not None:
            fault = first_at_fault(trial, self.program, self.written)
            return replace(
                found, reason=f"{found.reason}; {fault}" if fault and fault != found.reason else found.reason
            )
        return found

    def labelled(self, weights: Weights, arguments: Arguments, generator: torch.Generator) -> NetworkGraph:
        """The graph with the spaces that label the axes of its values, as measured on some weights."""
        if self.written is None or self.graph.numel > MOST_LABELLED:
            return self.graph
        inputs = dict(zip(self.graph.inputs, tensors_in(arguments), strict=True))
        try:
            found = measure_labels(self.graph, weights, inputs, generator)
        except GraphError:
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


def compute(
    graph: NetworkGraph, program: Program, module: nn.Module, arguments: Arguments, generator: torch.Generator
) -> Computation:
    """A graph with the operations of a program.

    Args:
        graph: Spaces and parameters.
        program: What the module computes on the example inputs.
        module: The module, in eval mode.
        arguments: The example inputs.
        generator: Source of the rows of other batches.
    """
    parameters: dict[str, list[Parameter]] = {}
    for parameter in graph.parameters:
        parameters.setdefault(parameter.storage.key if parameter.storage else parameter.name, []).append(parameter)
    types = [tensor.dtype for tensor in module.state_dict().values() if tensor.is_floating_point()]
    dtype = types[0] if types else torch.float32
    first = batch_of(arguments)
    plain = written(program, parameters, graph, dtype)
    if first is None:
        return _computation(graph, program, plain, arguments, ())
    second = first + 1
    try:
        other = trace(module, *with_batch(arguments, second, generator), program.front)  # type: ignore[arg-type]
        found = written(program, parameters, graph, dtype, Batch(first, second, other))
    except (Fixed, UsageError):
        return _computation(graph, program, plain, arguments, ())
    return _computation(graph, program, found, arguments, (second, 2 * first + 3))


def _computation(
    graph: NetworkGraph, program: Program, found: Written, arguments: Arguments, batches: tuple[int, ...]
) -> Computation:
    inputs = zip(found.inputs, tensors_in(arguments), strict=True)
    values = {value.name: value for value in found.values}
    for name, tensor in inputs:
        if not tensor.is_floating_point() and not tensor.is_complex() and not tensor.is_meta and tensor.numel():
            values[name] = replace(values[name], highest=max(int(tensor.max()), _rows(program, found, name)))
    whole = replace(
        graph,
        operations=found.operations,
        inputs=found.inputs,
        outputs=found.outputs,
        constants=found.constants,
        values=tuple(values.values()),
    )
    return Computation(whole, found.leaves, program, found, batches)


def _rows(program: Program, found: Written, name: str) -> int:
    """The last row of the smallest table that an input looks up in; 0 where it looks up in none."""
    tables = [
        node.arguments["weight"].shape[0] - 1
        for node in needed(program)
        if node.op == "embedding" and found.names.get(node.arguments["indices"]) == name
    ]
    return min(tables, default=0)
