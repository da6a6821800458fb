"""A plan made ready to run: everything about a layer on one graph that does not depend on numbers, found once.

Besides names, widths and the split of shared matrices this finds the tensors that the kernels of
`graphws.layers.fused.edges` can take: those with two index axes whose summaries are of one kind, and that meet other
tensors through summaries only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from graphws.graph import Layout
from graphws.layers.pattern import Slot
from graphws.layers.plan import Plan, PooledSlot, Product
from graphws.pooling import FixedPooling, LearnedPooling

KEPT = (frozenset({0}), frozenset({1}), frozenset[int]())
"""Which index axes the summaries of an edge-level tensor keep, in the order of `EdgeReading.keeps`."""


class SummaryName(NamedTuple):
    """A summary: of which tensor, on which pattern, with which blocks kept, by which pooling."""

    parameter: str
    pattern: tuple[int, ...]
    kept: frozenset[int]
    pool: str | None


@dataclass(frozen=True)
class EdgeReading:
    """How an edge-level tensor is read by a kernel.

    Args:
        pool: The word of the fixed pooling of its summaries; None where there are none.
        keeps: Whether summaries that keep the first index axis, the second, and neither are wanted.
    """

    pool: str | None
    keeps: tuple[bool, bool, bool]


@dataclass(frozen=True)
class ScheduledProduct:
    """One product, ready to run.

    Args:
        product: The product.
        sources: For each group of rows its sources, with the names of the modules of learned poolings.
        rows: Channels of each group of rows of the full matrix.
        columns: Channels of each group of columns of the full matrix.
        widths: Channels of each group of columns that this graph uses.
        entrywise: The only target, if the product goes to all entries of one tensor; None otherwise.
        summary: How its rows are pooled over the key to summaries that the network level needs; None if not at all.
        provides: For each group of rows the summary that this gives.
    """

    product: Product
    sources: tuple[tuple[tuple[PooledSlot, str | None], ...], ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    widths: tuple[int, ...]
    entrywise: Slot | None
    summary: str | None = None
    provides: tuple[SummaryName | None, ...] = ()


@dataclass(frozen=True)
class Schedule:
    """A layer on one graph, ready to run.

    Args:
        plan: Its plan.
        products: One for each product.
        layouts: For each parameter its layout.
        channels: For each parameter the folded channels that come out.
        biases: For each parameter the slots and names of its biases.
        readings: The tensors that kernels can take.
    """

    plan: Plan
    products: tuple[ScheduledProduct, ...]
    layouts: dict[str, Layout]
    channels: dict[str, int]
    biases: dict[str, tuple[tuple[Slot, str], ...]]
    readings: dict[str, EdgeReading]


def make_schedule(
    plan: Plan,
    channels: int,
    learned_name: Callable[[PooledSlot], str | None],
    sizes: Callable[[Product], tuple[tuple[int, ...], tuple[int, ...]]],
    biases: dict[str, tuple[tuple[Slot, str], ...]],
) -> Schedule:
    """Makes a plan ready to run.

    Args:
        plan: The plan.
        channels: Channels per entry that come out.
        learned_name: Names the module of a source, if its pooling is learned.
        sizes: Channels of each group of rows and of columns of the product's full matrix.
        biases: For each parameter the slots and names of its biases.
    """
    graph = plan.graph
    layouts = {p.name: graph.layout(p.name) for p in graph.parameters}
    out = {name: layout.free * channels for name, layout in layouts.items()}
    products = []
    for product in plan.products:
        target = product.targets[0][0]
        alone = len(product.targets) == len(product.targets[0]) == 1 and len(target.kept) == len(target.pattern) > 0
        rows, columns = sizes(product)
        products.append(
            ScheduledProduct(
                product,
                tuple(tuple((s, learned_name(s)) for s in row) for row in product.sources),
                rows,
                columns,
                tuple(out[column[0].parameter] for column in product.targets),
                target if alone else None,
            )
        )
    return Schedule(plan, with_summaries(products), layouts, out, biases, edge_readings(products))


def with_summaries(products: Sequence[ScheduledProduct]) -> tuple[ScheduledProduct, ...]:
    """The products, with each summary at the network level provided by a finer one that has its rows, if there is one.

    Where a pooling nests, a summary over everything is one over what was kept, of a summary that keeps it; so pooling
    the stacked rows of a neuron-level key gives those of all its tensors at once.  Rows in which nothing is pooled yet
    serve any pooling.
    """
    wanted: set[SummaryName] = set()
    for scheduled in products:
        for row in scheduled.sources if not scheduled.product.key else ():
            wanted |= {
                SummaryName(s.slot.parameter, s.slot.pattern, frozenset(), s.pool)
                for s, name in row
                if s.slot.pooled and not name
            }
    found = []
    for scheduled in reversed(products):
        names: list[SummaryName | None] = []
        for row in scheduled.sources:
            source, learned = row[0]
            slot = source.slot
            known = [
                p for p in wanted if (p.parameter, p.pattern) == (slot.parameter, slot.pattern) and _serves(source, p)
            ]
            usable = len(row) == len(scheduled.product.key) == 1 and not learned and len(known) == 1
            names.append(known[0] if usable else None)
        pools = {name.pool for name in names if name is not None}
        if len(pools) == 1:
            wanted -= set(names)  # type: ignore[arg-type]
            scheduled = replace(scheduled, summary=pools.pop(), provides=tuple(names))
        found.append(scheduled)
    return tuple(reversed(found))


def _serves(source: PooledSlot, wanted: SummaryName) -> bool:
    """Whether a summary of a source's rows is the wanted one."""
    if not source.slot.pooled:
        return True
    pooling = source.pooling
    return source.pool == wanted.pool and isinstance(pooling, FixedPooling) and pooling.nests


def edge_readings(products: Iterable[ScheduledProduct]) -> dict[str, EdgeReading]:
    """The tensors that kernels can take."""
    readings: dict[str, EdgeReading | None] = {}
    for scheduled in products:
        for row in scheduled.sources:
            for source, _ in row:
                own = scheduled.entrywise == source.slot and len(scheduled.sources) == len(row) == 1
                _merge(readings, source, own or bool(source.slot.pooled))
    return {name: reading for name, reading in readings.items() if reading is not None}


def summary_readings(sources: Iterable[PooledSlot]) -> dict[str, EdgeReading]:
    """The tensors that kernels can take where nothing but summaries is asked for."""
    readings: dict[str, EdgeReading | None] = {}
    for source in sources:
        _merge(readings, source, bool(source.slot.pooled))
    return {name: reading for name, reading in readings.items() if reading is not None}


def _merge(readings: dict[str, EdgeReading | None], source: PooledSlot, fits: bool) -> None:
    """Adds one use of a tensor; None where its uses are not a kernel's."""
    slot, name = source.slot, source.slot.parameter
    known = readings.get(name, EdgeReading(None, (False, False, False)))
    fits = fits and len(slot.pattern) == 2 and not slot.merges and not isinstance(source.pooling, LearnedPooling)
    if known is None or not fits or (slot.pooled and known.pool not in (None, source.pool)):
        readings[name] = None
    elif slot.pooled:
        # Where the pooling nests, the summary over everything is taken from one that keeps the first axis.
        nests = isinstance(source.pooling, FixedPooling) and source.pooling.nests
        kept = KEPT[0] if nests and not slot.kept else frozenset(slot.kept)
        first, second, neither = (old or kept == new for old, new in zip(known.keeps, KEPT, strict=True))
        readings[name] = EdgeReading(source.pool, (first, second, neither))
    else:  # entries by themselves
        readings[name] = known
