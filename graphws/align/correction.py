"""What is done to a mean of networks before it is used, and what is to be said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphws.align.repair import repair, repairable_layers
from graphws.align.statistics import other_buffers, remeasure, running_norms
from graphws.graph import NetworkGraph, Weights
from graphws.operations import why_not
from graphws.operations.runner import Inputs


@dataclass(frozen=True, eq=False)
class Remeasured:
    """The statistics of a mean's norms measured anew; on demand also its neurons rescaled.

    Attributes:
        inputs: Over which: points, as for `graphws.operations.forward`.
        rescale: Whether layers without statistics are rescaled as `graphws.align.repair` does.
    """

    inputs: Inputs
    rescale: bool = False

    def __call__(self, merged: Weights, parts: Sequence[Weights], shares: Sequence[float]) -> Weights:
        """The mean, corrected: see `graphws.align.remeasure` and `graphws.align.repair`."""
        return repair(merged, parts, shares, self.inputs) if self.rescale else remeasure(merged, self.inputs)


def is_needed(graph: NetworkGraph) -> bool:
    """Whether a mean of such networks keeps statistics that are no network's."""
    return not why_not(graph) and bool(running_norms(graph))


def sentences(graph: NetworkGraph, correction: Remeasured | None) -> list[str]:
    """What is to be said of the statistics of a mean: what was done to them, or that nothing was."""
    if why_not(graph):
        buffers = [p.name for p in graph.parameters if p.kind == "buffer" and p.axes]
        return [f"{_count(len(buffers), 'stored tensor')} that {_are(len(buffers))} no weights ({buffers[0]}, ...) "
                f"{_are(len(buffers))} averaged in the merged network; this graph cannot be run, so statistics were not "
                "measured anew"] if buffers else []  # fmt: skip
    norms = running_norms(graph)
    said = []
    if norms and correction is None:
        said.append(
            f"the statistics of {_count(len(norms), 'norm')} in the merged network are means of the networks' own, which "
            "belong to neither: measure them anew over some inputs (--statistics FILE) before it is used"
        )
    elif norms:
        said.append(f"the statistics of {_count(len(norms), 'norm')} in the merged network were measured anew")
    if correction is not None and correction.rescale:
        layers = repairable_layers(graph)
        said.append(
            f"the neurons of {_count(len(layers), 'layer')} in the merged network were rescaled to the mean and spread "
            "that they have in the networks"
        )
    others = other_buffers(graph)
    if others:
        said.append(f"{others[0]}{f' and {len(others) - 1} more' if others[1:] else ''}: stored, no weights and no "
                    "statistics of a norm that is known; averaged as they are")  # fmt: skip
    return said


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"
