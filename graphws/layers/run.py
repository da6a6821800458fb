"""Running a layer's steps: by plain operations, which every device has, or by the kernels for CPUs.

Both take summaries to products and what comes out to the assemblies of the tensors that receive it, and give the same
values.  The plain way goes from product to product.  The fused way goes up and down: from the finest key to the
coarsest it stacks rows, each level giving the next its summaries; from the coarsest to the finest it sends results,
each level taking along what the network level has for its tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from graphws.layers.assembly import Assembly
from graphws.layers.features import Features, Moments
from graphws.layers.plan import Source
from graphws.layers.pooling import Summaries, attention_for
from graphws.layers.stacks import Piece, send, stack
from graphws.layers.steps import Steps


def run_plain(
    features: Features,
    steps: Steps,
    matrices: Sequence[Tensor],
    attentions: nn.ModuleDict,
    assemblies: Mapping[str, Assembly],
) -> None:
    """Every product by plain operations.

    Args:
        features: What comes in.
        steps: The layer on the features' graph.
        matrices: The matrix of each step.
        attentions: Attention poolings by name.
        assemblies: What receives the results.
    """
    summaries = Summaries(features)
    for step, matrix in zip(steps.steps, matrices, strict=True):
        rows = [_row(summaries, row, attentions) for row in step.sources]
        stacked = rows[0] if len(rows) == 1 else torch.cat(rows, dim=-1)
        if step.entrywise is not None:
            assemblies[step.entrywise.parameter].add_entrywise(step.entrywise, stacked, matrix)
            continue
        received = stacked @ matrix
        for targets, value in zip(step.product.targets, received.split(step.widths, dim=-1), strict=True):
            for target in targets:
                assemblies[target.parameter].add(target, value)


def run_fused(
    features: Features,
    steps: Steps,
    matrices: Sequence[Tensor],
    attentions: nn.ModuleDict,
    assemblies: Mapping[str, Assembly],
    moments: bool = False,
) -> None:
    """As `run_plain`, by kernels, which also take the moments of what they write if they are wanted."""
    summaries = Summaries(features, steps.readings)
    activation = features.prologue.activation if features.prologue else "identity"
    stacked: dict[int, Tensor] = {}
    for k, step in reversed(list(enumerate(steps.steps))):
        handle = summaries.handle(step.entrywise.parameter) if step.entrywise else None
        if step.entrywise and handle:
            assemblies[step.entrywise.parameter].write_by_kernel(handle, matrices[k])
            continue
        pieces = [_piece(summaries, row, attentions) for row in step.sources]
        stacked[k], summary = stack(pieces, activation, step.summary)
        if summary is not None:
            parts = summary.split_with_sizes([piece.tensor.shape[-1] for piece in pieces], -1)
            for place, part in zip(step.provides, parts, strict=True):
                if place is not None:
                    summaries.provide(place, part)
    for k, rows in reversed(stacked.items()):
        widths, columns = steps.steps[k].widths, steps.steps[k].product.targets
        coarse = [assemblies[each[0].parameter].take(each[0]) if len(each) == 1 else None for each in columns]
        received, taken = send(rows, matrices[k], _side_by_side(coarse, widths), moments)
        values = zip(columns, received.split_with_sizes(widths, -1), _split(taken, widths), strict=True)
        for targets, value, known in values:
            for target in targets:
                assemblies[target.parameter].add(target, value, known)


Row = tuple[tuple[Source, str | None], ...]


def _row(summaries: Summaries, row: Row, attentions: nn.ModuleDict) -> Tensor:
    """One group of rows: a summary, or the mean of the summaries that share a role."""
    values = [summaries.get(source, attention_for(attentions, name)) for source, name in row]
    return values[0] if len(values) == 1 else torch.stack(values).mean(0)


def _piece(summaries: Summaries, row: Row, attentions: nn.ModuleDict) -> Piece:
    """The same, with the prologue left to whoever stacks it wherever that can wait."""
    raw = summaries.piece(row[0][0]) if len(row) == 1 else None
    return raw or Piece(_row(summaries, row, attentions))


def _side_by_side(parts: Sequence[Tensor | None], widths: Sequence[int]) -> Tensor | None:
    """(batch or 1, width) each, in one; zeros where there is none, None where there are none at all."""
    given = [part for part in parts if part is not None]
    if not given:
        return None
    batch = max(part.shape[0] for part in given)
    filled = (
        given[0].new_zeros(batch, width) if part is None else part.expand(batch, width)
        for part, width in zip(parts, widths, strict=True)
    )
    return torch.cat(list(filled), -1)


def _split(moments: Moments | None, widths: Sequence[int]) -> list[Moments | None]:
    """The moments of each part."""
    if moments is None:
        return [None] * len(widths)
    means, variances = moments.mean.split_with_sizes(widths), moments.variance.split_with_sizes(widths)
    return [Moments(mean, variance, moments.count) for mean, variance in zip(means, variances, strict=True)]
