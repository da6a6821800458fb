"""Patterns, keys and slots: a basis of all equivariant linear maps, for any graph.

G permutes index sets, so the equivariant linear maps from a tensor U to a tensor T have one basis map for each orbit of
G on pairs (entry of U, entry of T) (paper D, lemma E.1).  Such an orbit is told by which indices are equal.  It splits
into three parts:

1. a *pattern* of U: which of its own index axes coincide (a diagonal), if a space labels several of them;
2. a pattern of T, likewise;
3. which index axes of U equal which of T: the *key*, a set of shared summary indices.

The map is then: restrict U to its pattern, pool everything but the key, broadcast along T's other axes, write to T's
pattern.  A `Slot` is one side of it: (tensor, pattern, which blocks of equal axes stand at the key, in which order).
A nested space's index can only be shared where its parent's is, so a key is a forest of spaces.  Where no space repeats
there is one pattern a tensor and one key for each set of shared spaces: 2 to the number of shared spaces.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, permutations

from graphws.graph import Layout

Node = tuple[str, int | None]
"""A node of a key: its space, and the position of its parent's node in the key."""
Key = tuple[Node, ...]
"""The spaces that index a summary, parents first, in canonical order: equal forests give equal keys."""


@dataclass(frozen=True)
class Slot:
    """One side of a basis map: how a tensor meets a key.

    Args:
        parameter: The tensor.
        pattern: For each index axis of the tensor, the number of the block of equal axes that it is in.
        kept: The blocks that stand at the key's nodes, in the key's order.
        key: The key.
    """

    parameter: str
    pattern: tuple[int, ...]
    kept: tuple[int, ...]
    key: Key

    @cached_property
    def pooled(self) -> tuple[int, ...]:
        """Blocks that do not stand at the key: pooled at a source, broadcast along at a target."""
        return tuple(sorted(set(self.pattern) - set(self.kept)))

    @property
    def merges(self) -> bool:
        """Whether some axes are equal, so that the slot is about a diagonal."""
        return len(set(self.pattern)) < len(self.pattern)

    @property
    def signature(self) -> str:
        """The slot without names: which axes are equal and which stand at the key; for sharing across spaces."""
        return f"{','.join(map(str, self.pattern))}@{','.join(map(str, self.kept))}"


def patterns(layout: Layout) -> Iterator[tuple[int, ...]]:
    """Every way in which index axes of one tensor can coincide; first the one in which none do.

    Only axes of the same space can, and those of a nested space only where their parents do.
    """

    def extend(blocks: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        position = len(blocks)
        if position == len(layout.index):
            yield blocks
            return
        axis = layout.index[position]
        yield from extend((*blocks, max(blocks, default=-1) + 1))
        for block in sorted(set(blocks)):
            other = layout.index[blocks.index(block)]
            above = None if axis.parent is None else blocks[axis.parent]
            other_above = None if other.parent is None else blocks[other.parent]
            if other.space == axis.space and above == other_above:
                yield from extend((*blocks, block))

    return extend(())


def _parents(layout: Layout, blocks: tuple[int, ...]) -> dict[int, int | None]:
    """For each block the block of its parent."""
    above = {}
    for position, block in enumerate(blocks):
        parent = layout.index[position].parent
        above[block] = None if parent is None else blocks[parent]
    return above


def _orders(layout: Layout, blocks: tuple[int, ...], kept: tuple[int, ...]) -> tuple[Key, list[tuple[int, ...]]]:
    """The canonical key of the kept blocks, and every order of them that reads as that key."""
    above = _parents(layout, blocks)
    found: dict[Key, list[tuple[int, ...]]] = {}
    for order in permutations(kept):
        place = {block: k for k, block in enumerate(order)}
        parents = [None if above[b] is None else place[above[b]] for b in order]  # type: ignore[index]
        if all(p is None or p < k for k, p in enumerate(parents)):
            key = tuple((layout.index[blocks.index(b)].space, p) for b, p in zip(order, parents, strict=True))
            found.setdefault(key, []).append(order)
    key = min(found, key=lambda nodes: [(space, -1 if p is None else p) for space, p in nodes])
    return key, found[key]


def slots(layout: Layout) -> Iterator[list[Slot]]:
    """Every way for a tensor to meet a key, in groups that differ only in the order of like nodes.

    All of a group are needed on one side of a map; on the other side one of them is enough, since reordering both
    sides alike gives the same map.
    """
    for blocks in patterns(layout):
        distinct = sorted(set(blocks))
        above = _parents(layout, blocks)
        for count in range(len(distinct) + 1):
            for kept in combinations(distinct, count):
                if all(above[b] is None or above[b] in kept for b in kept):
                    key, orders = _orders(layout, blocks, kept)
                    yield [Slot(layout.parameter, blocks, order, key) for order in orders]


def fits(source: Slot, source_layout: Layout, target: Slot, target_layout: Layout) -> bool:
    """Whether the indices of the pair can all differ where the slots keep them apart.

    A space of size d cannot hold more than d different indices; a pair of slots that asks for more repeats a map that
    coarser pairs span already.
    """
    needed: dict[tuple[str, object], int] = {}
    sizes: dict[str, int] = {}
    for slot, layout, side in ((source, source_layout, 0), (target, target_layout, 1)):
        above = _parents(layout, slot.pattern)

        def name(block: int | None, slot: Slot = slot, side: int = side) -> object:
            if block is None:
                return None
            return ("key", slot.kept.index(block)) if block in slot.kept else (side, block)

        for block, parent in above.items():
            axis = layout.index[slot.pattern.index(block)]
            sizes[axis.space] = axis.size
            if side == 0 or block not in slot.kept:
                family = (axis.space, name(parent))
                needed[family] = needed.get(family, 0) + 1
    return all(count <= sizes[space] for (space, _), count in needed.items())


def orbit_slots(layout: Layout, exact: bool) -> list[Slot]:
    """One slot for each orbit of the entries: every pattern with nothing at the key (paper D, table 9).

    With ``exact``, patterns that a small space cannot fill are left out.
    """
    sizes = {axis.space: axis.size for axis in layout.index}
    found = []
    for group in slots(layout):
        slot = group[0]
        if slot.key:
            continue
        families: dict[tuple[str, int | None], set[int]] = {}
        for axis, block in zip(layout.index, slot.pattern, strict=True):
            above = None if axis.parent is None else slot.pattern[axis.parent]
            families.setdefault((axis.space, above), set()).add(block)
        if not exact or all(len(blocks) <= sizes[space] for (space, _), blocks in families.items()):
            found.append(slot)
    return found
