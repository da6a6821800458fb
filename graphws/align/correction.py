"""What is done to a mean of networks before it is used, and what is to be said of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from graphws.align.repair import repair, repairable_layers
from graphws.align.statistics import other_buffers, remeasure, running_norms, stored_buffers, unknown_norms
from graphws.errors import UsageError
from graphws.graph import NetworkGraph, Weights
from graphws.operations import why_not
from graphws.operations.runner import Inputs
from graphws.shown import Shown

UNMEASURED = "whether the merged network is worse than the networks was not measured: there are no data"
_EQUAL = 1e-9
"""Losses that differ by less are equal."""


@dataclass(frozen=True, eq=False, repr=False)
class Remeasured(Shown):
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


def sentences(networks: Sequence[Weights], correction: Remeasured | None, asked: bool = False) -> list[str]:
    """What is to be said of the statistics of a mean of networks: what was done to them, or that nothing was.

    Args:
        networks: The networks.
        correction: What was done to the mean.
        asked: Whether statistics were to be measured anew, in so many words.
    """
    graph = networks[0].graph
    runs = not why_not(graph)
    norms, unknown = (running_norms(graph), unknown_norms(graph)) if runs else ({}, 0)
    said = []
    if norms and correction is None:
        said.append(
            f"the statistics of {_count(len(norms), 'norm')} in the merged network are means of the networks' own, "
            "which belong to none of them: measure them anew over some inputs (--statistics FILE) before it is used"
        )
    elif norms:
        said.append(f"the statistics of {_count(len(norms), 'norm')} in the merged network were measured anew")
    elif asked and not unknown:
        said.append("no norm of these networks is known to hold statistics: none were measured anew")
    if unknown:
        said.append(
            f"the statistics of {_count(unknown, 'norm')} are stored together with other numbers: they are averaged as "
            "they are"
        )
    if correction is not None and correction.rescale and runs:
        said.append(
            f"the neurons of {_count(len(repairable_layers(graph)), 'layer')} in the merged network were rescaled to "
            "the mean and spread that they have in the networks"
        )
    others = [name for name in (other_buffers(graph) if runs else stored_buffers(graph)) if _differ(networks, name)]
    if others:
        more = f" and {len(others) - 1} more" if others[1:] else ""
        why = "no statistics of a known norm" if runs else "the graph cannot be run to measure them anew"
        said.append(f"{others[0]}{more}: stored, not trained, averaged as they are; {why}")
    return said


def comparison_with_parts(merged: float, parts: Sequence[float], uncorrected: float | None = None) -> list[str]:
    """What is to be said of the loss of a merged network.

    Args:
        merged: Its loss.
        parts: Those of the networks that were merged.
        uncorrected: Its loss before its correction, if there was one.
    """
    least, largest = min(parts), max(parts)
    said = []
    if uncorrected is not None and merged > uncorrected + _EQUAL * (1 + abs(uncorrected)):
        said.append(f"that raised its loss, from {uncorrected:.4g} to {merged:.4g}")
    elif uncorrected is not None:
        said.append(f"before that its loss was {uncorrected:.4g}; now it is {merged:.4g}")
    against = f"loss {merged:.4g} against {least:.4g}"
    if not all(math.isfinite(loss) for loss in (merged, *parts)):
        said.append("the loss of the merged network, or of one of the networks, is not finite")
    elif merged > largest + _EQUAL * (1 + abs(largest)):
        whom = "both" if len(parts) == 2 else f"all {len(parts)}"
        said.append(f"the merged network is worse than {whom} networks: {against} to {largest:.4g}")
    elif merged > least + _EQUAL * (1 + abs(least)):
        said.append(f"the merged network is worse than the best of the networks: {against}")
    return said


def correction_of(graph: NetworkGraph, inputs: Inputs | None, rescale: bool) -> Remeasured | None:
    """What is done to a mean of networks, given inputs to do it with; None where nothing is to be done, or can be.

    Raises:
        UsageError: On rescaling without inputs, or of a graph that cannot be run.
    """
    reason = why_not(graph)
    if rescale and inputs is None:
        raise UsageError("neurons are rescaled to what they carry on some inputs: give inputs")
    if rescale and reason:
        raise UsageError(f"neurons of this network cannot be rescaled: {reason}")
    if inputs is None or reason or not (rescale or running_norms(graph)):
        return None
    return Remeasured(inputs, rescale)


def _differ(networks: Sequence[Weights], name: str) -> bool:
    return any(not bool(torch.equal(networks[0][name], other[name])) for other in networks[1:])


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
