"""Summaries of stacks: each computed once, coarse ones from finer ones where the pooling nests."""

from __future__ import annotations

from torch import Tensor, nn

from graphws.layers.union.features import UnionFeatures
from graphws.layers.union.junctions import Source
from graphws.layers.union.segments import Segments
from graphws.layers.union.union import Kept, StackName
from graphws.pooling import FixedPooling


class UnionSummaries:
    """Every summary of one set of features.

    Args:
        features: The features.
    """

    def __init__(self, features: UnionFeatures) -> None:
        self.features = features
        self._settled: dict[StackName, Tensor] = {}
        self._known: dict[tuple[StackName, Kept, Kept, str | None], Tensor] = {}

    def get(self, source: Source, learned: nn.Module | None = None) -> Tensor:
        """The rows of a level, (elements, channels); by a module where the pooling is learned."""
        if learned is None:
            return self._pooled(source, source.kept)
        whole = tuple(sorted(set(source.pattern)))
        pooled: Tensor = learned(self._restricted(source), self._segments(source, whole, source.kept))
        return pooled

    def _segments(self, source: Source, fine: Kept, coarse: Kept) -> Segments:
        return self.features.union.stacks[source.stack].segments(source.pattern, fine, coarse)

    def _restricted(self, source: Source) -> Tensor:
        """The entries on the source's pattern."""
        if source.stack not in self._settled:
            self._settled[source.stack] = self.features[source.stack]
        tensor = self._settled[source.stack]
        if len(set(source.pattern)) == len(source.pattern):
            return tensor
        return tensor.index_select(0, self.features.union.stacks[source.stack].diagonal(source.pattern))

    def _pooled(self, source: Source, kept: Kept) -> Tensor:
        whole = tuple(sorted(set(source.pattern)))
        if kept == whole:
            return self._restricted(source)
        name = (source.stack, source.pattern, kept, source.pool.pool)
        if name not in self._known:
            pooling = source.pool.pooling
            assert isinstance(pooling, FixedPooling), "a learned one has a module"
            gone = [block for block in whole if block not in kept]
            # where it nests, axis by axis, the last first, as dense summaries do
            finer = tuple(sorted((*kept, gone[0]))) if pooling.nests and len(gone) > 1 else whole
            self._known[name] = pooling.over(self._pooled(source, finer), self._segments(source, finer, kept))
        return self._known[name]
