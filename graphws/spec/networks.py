"""What a spec tells about the networks that are read, before any of them is there."""

from __future__ import annotations

from dataclasses import dataclass

from graphws.spec.inputs import MlpInput, ZooInput
from graphws.spec.schema import Spec
from graphws.spec.sources import SourceSection


@dataclass(frozen=True)
class SpaceSketch:
    """A space by name: how wide it is (None: only the data tell) and whether it is free or permuted."""

    name: str
    size: int | None
    free: bool


def widths(spec: Spec) -> tuple[int | None, ...] | None:
    """Neurons of every layer of the networks, None where the spec does not say."""
    if isinstance(spec.input, MlpInput):
        return spec.input.widths
    if isinstance(spec.input, ZooInput) and spec.input.path is None and spec.zoo is not None:
        source = spec.zoo.source
        if isinstance(source, SourceSection):
            return (source.coordinates, *spec.zoo.network.hidden, source.values)
    return None


def coordinates(spec: Spec) -> int | None:
    """Inputs of the networks, None where the spec does not say."""
    known = widths(spec)
    return known[0] if known else None


def spaces(spec: Spec) -> tuple[SpaceSketch, ...]:
    """The spaces of the networks as `graphws.operations.mlp_graph` names them; none where the spec does not say."""
    known = widths(spec)
    if known is None:
        return ()
    last = len(known) - 1
    names = ["input", *(f"hidden{i}" for i in range(1, last)), "output"]
    return tuple(SpaceSketch(names[i], size, i in (0, last)) for i, size in enumerate(known))
