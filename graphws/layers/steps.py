"""A plan made ready to run: everything about a layer on one graph that does not depend on numbers, found once.

Besides names, widths and the split of shared matrices this finds the tensors that the kernels of
`graphws.layers.kernels` can take: those with two index axes whose summaries are of one kind, and that meet other
tensors through summaries only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from graphws.graph import Layout, NetworkGraph
from graphws.layers.pattern import Slot
from graphws.layers.plan import Plan, Product, Source
from graphws.messages import Pool

Place = tuple[str, tuple[int, ...], frozenset[int], Pool]
"""A summary: of which tensor, on which pattern, with which blocks kept, by which pooling."""


@dataclass(frozen=True)
class EdgeReading:
    """How an edge-level tensor is read by a kernel.

    Args:
        pool: The kind of its summaries.
        axes: Whether summaries that keep the first and the second index axis are wanted.
    """

    pool: Pool
    axes: tuple[bool, bool]


@dataclass(frozen=True)
class Step:
    """One product, ready to run.

    Args:
        product: The product.
        sources: For each group of rows its sources, with the names of their attention poolings.
        rows: Channels of each group of rows of the full matrix.
        columns: Channels of each group of columns of the full matrix.
        widths: Channels of each group of columns that this graph uses.
        entrywise: The only target, if the product goes to all entries of one tensor; None otherwise.
        summary: How its rows are pooled over the key to summaries that the network level needs; None if not at all.
        provides: For each group of rows the summary that this gives.
    """

    product: Product
    sources: tuple[tuple[tuple[Source, str | None], ...], ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    widths: tuple[int, ...]
    entrywise: Slot | None
    summary: Pool | None = None
    provides: tuple[Place | None, ...] = ()


@dataclass(frozen=True)
class Steps:
    """A layer on one graph, ready to run.

    Args:
        plan: Its plan.
        steps: One for each product.
        layouts: For each parameter its layout.
        channels: For each parameter the folded channels that come out.
        biases: For each parameter the slots and names of its biases.
        readings: The tensors that kernels can take.
    """

    plan: Plan
    steps: tuple[Step, ...]
    layouts: dict[str, Layout]
    channels: dict[str, int]
    biases: dict[str, tuple[tuple[Slot, str], ...]]
    readings: dict[str, EdgeReading]


def make_steps(
    plan: Plan,
    channels: int,
    attention_name: Callable[[Source], str | None],
    sizes: Callable[[Product], tuple[tuple[int, ...], tuple[int, ...]]],
    biases: dict[str, tuple[tuple[Slot, str], ...]],
) -> Steps:
    """Makes a plan ready to run.

    Args:
        plan: The plan.
        channels: Channels per entry that come out.
        attention_name: Names the attention pooling of a source, if it has one.
        sizes: Channels of each group of rows and of columns of the product's full matrix.
        biases: For each parameter the slots and names of its biases.
    """
    graph = plan.graph
    layouts = {p.name: graph.layout(p.name) for p in graph.parameters}
    out = {name: layout.free * channels for name, layout in layouts.items()}
    steps = []
    for product in plan.products:
        target = product.targets[0][0]
        alone = len(product.targets) == len(product.targets[0]) == 1 and len(target.kept) == len(target.blocks) > 0
        rows, columns = sizes(product)
        steps.append(
            Step(
                product,
                tuple(tuple((s, attention_name(s)) for s in row) for row in product.sources),
                rows,
                columns,
                tuple(out[column[0].parameter] for column in product.targets),
                target if alone else None,
            )
        )
    return Steps(plan, with_summaries(steps), layouts, out, biases, edge_readings(graph, steps))


def with_summaries(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps, with each summary at the network level provided by one finer step that has its rows, if there is one.

    A summary over everything is one over what was kept, of a summary that keeps it; so pooling the stacked rows of a
    neuron-level key gives those of all its tensors at once.
    """
    wanted: set[Place] = set()
    for step in steps:
        for row in step.sources if not step.product.key else ():
            wanted |= {
                (s.slot.parameter, s.slot.blocks, frozenset(), s.pool) for s, name in row if s.slot.pooled and not name
            }
    found = []
    for step in reversed(steps):
        places: list[Place | None] = []
        for row in step.sources:
            source, attention = row[0]
            slot = source.slot
            pools = [source.pool] if slot.pooled else ["mean", "max", "sum"]
            known = [p for p in wanted if p[:2] == (slot.parameter, slot.blocks) and p[3] in pools]
            usable = len(row) == len(step.product.key) == 1 and not attention and len(known) == 1
            places.append(known[0] if usable else None)
        kinds = {place[3] for place in places if place is not None}
        if len(kinds) == 1:
            wanted -= set(places)  # type: ignore[arg-type]
            step = replace(step, summary=kinds.pop(), provides=tuple(places))
        found.append(step)
    return tuple(reversed(found))


def edge_readings(graph: NetworkGraph, steps: Iterable[Step]) -> dict[str, EdgeReading]:
    """The tensors that kernels can take."""
    readings: dict[str, EdgeReading | None] = {}
    for step in steps:
        for row in step.sources:
            for source, _ in row:
                name, slot = source.slot.parameter, source.slot
                whole = not slot.pooled
                own = step.entrywise == slot and len(step.sources) == len(row) == 1
                fits = len(slot.blocks) == 2 and not slot.merges and source.pool != "attention" and (own or not whole)
                _merge(readings, name, source, fits)
    return {name: reading for name, reading in readings.items() if reading is not None}


def summary_readings(sources: Iterable[Source]) -> dict[str, EdgeReading]:
    """The tensors that kernels can take where nothing but summaries is asked for."""
    readings: dict[str, EdgeReading | None] = {}
    for source in sources:
        slot = source.slot
        fits = len(slot.blocks) == 2 and not slot.merges and source.pool != "attention" and bool(slot.pooled)
        _merge(readings, slot.parameter, source, fits)
    return {name: reading for name, reading in readings.items() if reading is not None}


def _merge(readings: dict[str, EdgeReading | None], name: str, source: Source, fits: bool) -> None:
    """Adds one use of a tensor; None where its uses are not a kernel's."""
    kept = source.slot.kept
    # Summaries over everything are taken from one that keeps the first axis.
    axes = (0 in kept or not kept, kept == (1,)) if len(kept) < 2 else (False, False)
    known = readings.get(name, EdgeReading(source.pool, (False, False)))
    if known is None or not fits:
        readings[name] = None
        return
    if len(kept) == 2:  # an entry by itself is pooled by any kind
        readings[name] = known if name in readings else EdgeReading("mean", (False, False))
        return
    if known.pool != source.pool and any(known.axes):
        readings[name] = None
        return
    readings[name] = EdgeReading(source.pool, (known.axes[0] or axes[0], known.axes[1] or axes[1]))
