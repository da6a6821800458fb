"""Which networks of a mixed batch run together.

Graphs with many networks run as they would alone: per number that is the fastest way, and what each graph costs beside
does not show.  All others join in unions, on processors of a size that stays in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from graphws.layers.features import Features

ALONE = {"cpu": 24_000}
"""Numbers of all its networks from which on a graph runs alone, by the type of device; on others it never does."""
TOGETHER = {"cpu": 96_000}
"""Numbers in a union, at most, by the type of device; on others there is one."""


def arrange(states: Sequence[Features]) -> list[list[int]]:
    """Positions of the graphs that run together, each position once; one by itself runs alone."""
    kind = _device(states[0]).type
    alone, together = ALONE.get(kind, float("inf")), TOGETHER.get(kind, float("inf"))
    groups: list[list[int]] = []
    union: list[int] = []
    size = 0
    for position, state in enumerate(states):
        numbers = state.graph.numel * state.batch
        if numbers >= alone:
            groups.append([position])
            continue
        if union and size + numbers > together:
            groups.append(union)
            union, size = [], 0
        union.append(position)
        size += numbers
    return [*groups, union] if union else groups


def _device(state: Features) -> torch.device:
    return next(iter(state.tensors.values())).device
