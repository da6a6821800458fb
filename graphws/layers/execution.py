"""Running a layer's schedule: by plain operations, which every device has, or by the kernels for CPUs.

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
from graphws.layers.fused.products import Rows, send, stack
from graphws.layers.plan import PooledSlot
from graphws.layers.schedule import Schedule
from graphws.layers.summaries import Summaries, module_for


def run_plain(
    features: Features,
    schedule: Schedule,
    matrices: Sequence[Tensor],
    learned: nn.ModuleDict,
    assemblies: Mapping[str, Assembly],
) -> None:
    """Every product by plain operations.

    Args:
        features: What comes in.
        schedule: The layer on the features' graph.
        matrices: The matrix of each product.
        learned: Modules of learned poolings by name.
        assemblies: What receives the results.
    """
    summaries = Summaries(features)
    for scheduled, matrix in zip(schedule.products, matrices, strict=True):
        rows = [_row(summaries, row, learned) for row in scheduled.sources]
        stacked = rows[0] if len(rows) == 1 else torch.cat(rows, dim=-1)
        if scheduled.entrywise is not None:
            assemblies[scheduled.entrywise.parameter].add_entrywise(scheduled.entrywise, stacked, matrix)
            continue
        received = stacked @ matrix
        for targets, value in zip(scheduled.product.targets, received.split(scheduled.widths, dim=-1), strict=True):
            for target in targets:
                assemblies[target.parameter].add(target, value)


def run_fused(
    features: Features,
    schedule: Schedule,
    matrices: Sequence[Tensor],
    learned: nn.ModuleDict,
    assemblies: Mapping[str, Assembly],
    moments: bool = False,
) -> None:
    """As `run_plain`, by kernels, which also take the moments of what they write if they are wanted."""
    summaries = Summaries(features, schedule.readings)
    activation = features.prologue.activation if features.prologue else "identity"
    stacked: dict[int, Tensor] = {}
    for k, scheduled in reversed(list(enumerate(schedule.products))):
        handle = summaries.handle(scheduled.entrywise.parameter) if scheduled.entrywise else None
        if scheduled.entrywise and handle:
            assemblies[scheduled.entrywise.parameter].write_by_kernel(handle, matrices[k])
            continue
        groups = [_awaiting(summaries, row, learned) for row in scheduled.sources]
        stacked[k], summary = stack(groups, activation, scheduled.summary)
        if summary is not None:
            parts = summary.split_with_sizes([group.tensor.shape[-1] for group in groups], -1)
            for name, part in zip(scheduled.provides, parts, strict=True):
                if name is not None:
                    summaries.provide(name, part)
    for k, rows in reversed(stacked.items()):
        widths, columns = schedule.products[k].widths, schedule.products[k].product.targets
        coarse = [assemblies[each[0].parameter].take(each[0]) if len(each) == 1 else None for each in columns]
        received, taken = send(rows, matrices[k], _side_by_side(coarse, widths), moments)
        values = zip(columns, received.split_with_sizes(widths, -1), _split(taken, widths), strict=True)
        for targets, value, known in values:
            for target in targets:
                assemblies[target.parameter].add(target, value, known)


Row = tuple[tuple[PooledSlot, str | None], ...]


def _row(summaries: Summaries, row: Row, learned: nn.ModuleDict) -> Tensor:
    """One group of rows: a summary, or the mean of the summaries that share a role."""
    values = [summaries.get(source, module_for(learned, name)) for source, name in row]
    return values[0] if len(values) == 1 else torch.stack(values).mean(0)


def _awaiting(summaries: Summaries, row: Row, learned: nn.ModuleDict) -> Rows:
    """The same, with the prologue left to whoever stacks it wherever that can wait."""
    raw = summaries.rows(row[0][0]) if len(row) == 1 else None
    return raw or Rows(_row(summaries, row, learned))


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
