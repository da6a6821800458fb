"""What a spec tells about the networks that are read, before any of them is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphws.shown import Shown


@dataclass(frozen=True, repr=False)
class SpaceSketch(Shown):
    """A space by name: how wide it is (None: only the data tell) and whether it is free or permuted."""

    name: str
    size: int | None
    free: bool


def mlp_spaces(widths: Sequence[int | None] | None) -> tuple[SpaceSketch, ...]:
    """The spaces of multilayer perceptrons as `graphws.graph.mlp_graph` names them; none where widths are not known."""
    if widths is None:
        return ()
    last = len(widths) - 1
    names = ["input", *(f"hidden{i}" for i in range(1, last)), "output"]
    return tuple(SpaceSketch(names[i], size, i in (0, last)) for i, size in enumerate(widths))
