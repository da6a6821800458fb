"""Steps before the first layer of a network, or behind its last one, that theorems about layers do not speak of.

The theorems are about chains of linear maps and activations that begin and end in a linear map.  A softmax behind the
last one forgets what all logits share, so the function no longer determines them; a sigmoid forgets nothing.  Which it
is, is not decided here: such steps are named, and nothing is called proven behind them.
"""

from __future__ import annotations

from collections.abc import Collection

from graphws.graph import NetworkGraph, Operation

_WHOLE = frozenset(
    {"identity", "stored", "flatten", "unflatten", "reshape", "squeeze", "unsqueeze", "permute", "transpose"}
)
"""Kinds that give all numbers on, as they are."""


def steps_at_ends(graph: NetworkGraph, inside: Collection[Operation]) -> list[str]:
    """The kinds of the steps of a network that are no part of its layers, in order.

    Args:
        graph: The graph.
        inside: Steps that are part of layers, as activations and attention are.
    """
    inputs = set(graph.inputs)
    found = []
    for step in graph.operations:
        reached = [name for name in step.reads if name in inputs or graph.sources(name) & inputs]
        shifts = step.kind == "add" and len(reached) == 1
        if reached and step.kind not in _WHOLE and step.kind != "linear" and not shifts and step not in inside:
            found.append(step.kind)
    return list(dict.fromkeys(found))


def last_step(graph: NetworkGraph) -> Operation | None:
    """The step that makes the numbers of a network's only output; None where it does not say."""
    step = graph.writers.get(graph.outputs[0]) if len(graph.outputs) == 1 else None
    while step is not None and step.kind in _WHOLE:
        step = graph.writers.get(step.reads[0])
    return step
