"""Two front ends, one network: what torch.export showed is held against what the recorder saw.

They share the rules but neither the tracer nor its view of views, writes in place and composite operations.  Where both
give the same spaces and axes, a mistake would have to be in both.  Where they differ nothing is wrong yet, since an
operation that one of them cannot follow frees what it touches; the difference is noted, and the exported program is
kept, because it does not depend on the numbers in the example inputs.  Where the recorder finds the larger group, that
one is tried as well, and kept if it passes the gate and runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from graphws.checkpoints.conversion import Conversion
from graphws.errors import GraphwsError
from graphws.graph import NetworkGraph
from graphws_converters.analysis.interpreter import analyse
from graphws_converters.assembly.assembly import Stored, assemble
from graphws_converters.fronts.errors import TraceFailure
from graphws_converters.fronts.recorder import record_program
from graphws_converters.gate.reasons import reason_of

LEAST_GAIN = 1e-6
"""By how much the logarithm of an order has to be larger to be called so."""


@dataclass(frozen=True)
class Comparison:
    """What the recorder says about a graph.

    Attributes:
        note: In words.
        larger: Whether it finds a larger group.
    """

    note: str
    larger: bool = False


def cross_check(
    graph: NetworkGraph,
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    state: Mapping[str, Stored],
) -> Comparison:
    """What the recorder says about a graph that was read from an exported program.

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
        return Comparison(f"not cross-checked: {failure}")
    except Exception as error:  # a second test that fails says nothing of the first
        return Comparison(f"not cross-checked: the recorder's program cannot be read ({reason_of(error)})")
    if _plain(other) == _plain(graph) and other.parameters == graph.parameters:
        return Comparison("cross-checked: the recorder finds the same spaces and actions")
    theirs = {parameter.name: _described(other, parameter.name) for parameter in other.parameters}
    ours = {parameter.name: _described(graph, parameter.name) for parameter in graph.parameters}
    first = next((name for name in ours if theirs.get(name) != ours[name]), next(iter(ours)))
    note = (
        f"cross-check: the recorder finds 10^{other.log10_order():.1f} relabellings instead of "
        f"10^{graph.log10_order():.1f}; they differ first at {first!r}: "
        f"{theirs.get(first, 'cut into other blocks')} instead of {ours[first]}"
    )
    return Comparison(note, other.log10_order() > graph.log10_order() + LEAST_GAIN)


def larger_of(exported: Conversion, recorded: Callable[[], Conversion]) -> Conversion:
    """The recorder's conversion where it passed the gate as the exported one did, has a larger group and runs as well.

    Args:
        exported: The conversion by ``torch.export``; kept in every other case, with the reason.
        recorded: Makes the other one; refused by the gate where a rule claims too much.
    """
    try:
        other = recorded()
    except GraphwsError as error:
        return replace(exported, notes=(*exported.notes, f"the recorder's larger group was refused: {error}"))
    orders = [found.graph.log10_order() for found in (exported, other)]
    if not other.verified:
        why = other.verdict
    elif not orders[1] > orders[0] + LEAST_GAIN:
        why = "it is not larger at the gate"
    elif _running(other) < _running(exported):
        why = f"the file would run less well: {other.runs}"
    else:
        text = (
            f"torch.export alone finds 10^{orders[0]:.1f} relabellings, the recorder 10^{orders[1]:.1f}: these passed"
        )
        return replace(other, notes=(*other.notes, text))
    return replace(exported, notes=(*exported.notes, f"the recorder's larger group was not taken: {why}"))


def _running(found: Conversion) -> int:
    """How well a file runs by itself: not at all, for one length of the batch, for any."""
    if found.runs is None or found.runs.error is None:
        return 0
    return 2 if found.runs.batch == "any" else 1


def _plain(graph: NetworkGraph) -> tuple[object, ...]:
    """Spaces without their reasons, whose words depend on the front end."""
    return tuple(replace(space, reason="") for space in graph.spaces)


def _described(graph: NetworkGraph, name: str) -> str:
    """A parameter's axes by what acts on them, not by names."""
    spaces = [graph.space(axis.space) for axis in graph.parameter(name).axes]
    texts = [f"{space.kind} {space.size}" + (f" {space.action}" if space.moves else "") for space in spaces]
    return "(" + ", ".join(texts) + ")"
