"""Two front ends, one network: what torch.export showed is held against what the recorder saw.

They share the rules but neither the tracer nor its view of views, writes in place and composite operations.  Where both
give the same spaces and axes, a mistake would have to be in both.  Where they differ nothing is wrong yet, since an
operation that one of them cannot follow frees what it touches; the difference is noted, the exported program is kept,
because it does not depend on the numbers in the example inputs, and the gate decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from graphws.graph import NetworkGraph
from graphws_converters.analysis.interpreter import analyse
from graphws_converters.assembly.assembly import Stored, assemble
from graphws_converters.fronts.errors import TraceFailure
from graphws_converters.fronts.recorder import record_program
from graphws_converters.gate.reasons import reason_of


def cross_check(
    graph: NetworkGraph,
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    state: Mapping[str, Stored],
) -> str:
    """What the recorder says about a graph that was read from an exported program, as a note.

    Args:
        graph: The graph.
        module: The module, in eval mode and with numbers.
        args: Positional inputs.
        kwargs: Inputs by name.
        state: The tensors of its state dict.
    """
    try:
        other = assemble(analyse(record_program(module, args, kwargs)), state).graph
    except TraceFailure as failure:
        return f"not cross-checked: {failure}"
    except Exception as error:  # a second test that fails says nothing of the first
        return f"not cross-checked: the recorder's program cannot be read ({reason_of(error)})"
    if _plain(other) == _plain(graph) and other.parameters == graph.parameters:
        return "cross-checked: the recorder finds the same spaces and actions"
    theirs = {parameter.name: _described(other, parameter.name) for parameter in other.parameters}
    ours = {parameter.name: _described(graph, parameter.name) for parameter in graph.parameters}
    first = next((name for name in ours if theirs.get(name) != ours[name]), next(iter(ours)))
    return (
        f"cross-check: the recorder finds 10^{other.log10_order():.1f} relabellings instead of "
        f"10^{graph.log10_order():.1f}; they differ first at {first!r}: "
        f"{theirs.get(first, 'cut into other blocks')} instead of {ours[first]}"
    )


def _plain(graph: NetworkGraph) -> tuple[object, ...]:
    """Spaces without their reasons, whose words depend on the front end."""
    return tuple(replace(space, reason="") for space in graph.spaces)


def _described(graph: NetworkGraph, name: str) -> str:
    """A parameter's axes by what acts on them, not by names."""
    spaces = [graph.space(axis.space) for axis in graph.parameter(name).axes]
    texts = [f"{space.kind} {space.size}" + (f" {space.action}" if space.moves else "") for space in spaces]
    return "(" + ", ".join(texts) + ")"
