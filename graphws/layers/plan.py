"""The plan of a layer: which slots meet at which key, and in which matrix.

All basis maps with the same key become one matrix product: the summaries of every source slot at that key, side by
side, times a matrix, gives what every target slot at that key receives.  Where a preset or a message leaves out pairs,
targets with the same set of sources share a product, so that no parameter is wasted on a pair that is switched off.

With ``share="role"`` slots and keys go by roles (`weight.hidden`, `bias.hidden`, …) instead of names, so that one set
of matrices serves every layer of the input network and networks of any depth; sources that look alike are averaged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from graphws.errors import GraphError, nearest
from graphws.graph import NetworkGraph
from graphws.layers.keys import matrix_key
from graphws.layers.pattern import Key, Slot, fits, slots
from graphws.messages import LEVELS, Level, Message
from graphws.pooling import Pooling, pooling_named
from graphws.shown import Shown


@dataclass(frozen=True)
class PooledSlot:
    """A source slot and the word of its pooling (see `graphws.pooling`), None where nothing is pooled."""

    slot: Slot
    pool: str | None

    @cached_property
    def pooling(self) -> Pooling | None:
        """What the word stands for; looked up once, so that running a layer does not."""
        return None if self.pool is None else pooling_named(self.pool)


@dataclass(frozen=True)
class Product:
    """One matrix product: every source of a key that reaches the same targets.

    Args:
        key: The key.
        matrix: Name of the matrix.
        sources: Rows, in order; each entry is the sources that are averaged into one group of rows (one, unless
            roles are shared).
        targets: Columns, in order; each entry is the targets that receive the same columns.
        rows: Position of each group of rows in the full matrix, and of how many groups; None where it is the whole.
        columns: The same for columns.
    """

    key: Key
    matrix: str
    sources: tuple[tuple[PooledSlot, ...], ...]
    targets: tuple[tuple[Slot, ...], ...]
    rows: tuple[int, ...] | None = None
    columns: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Pair:
    """One basis map: source slot, target slot, pooling."""

    source: PooledSlot
    target: Slot


def level(key: Key) -> Level:
    """The level of a key: none, one or several spaces (nested ones count with their parent)."""
    roots = sum(parent is None for _, parent in key)
    return "network" if roots == 0 else "neuron" if roots == 1 else "edge"


def sharing(graph: NetworkGraph, source: str, target: str) -> bool:
    """Whether two parameters share a moving space."""
    spaces = {axis.space for axis in graph.layout(source).index}
    return not spaces.isdisjoint(axis.space for axis in graph.layout(target).index)


def basis(graph: NetworkGraph, messages: Sequence[Message], exact: bool = True) -> Iterator[Pair]:
    """Every basis map that the messages switch on.

    Args:
        graph: The graph.
        messages: The messages.
        exact: Leaves out maps that are redundant because a space is too small (see `graphws.layers.pattern.fits`).
    """
    targets: dict[Key, list[Slot]] = {}
    for parameter in graph.parameters:
        for group in slots(graph.layout(parameter.name)):
            targets.setdefault(group[0].key, []).append(group[0])
    for parameter in graph.parameters:
        for group in slots(graph.layout(parameter.name)):
            for source in group:
                for target in targets.get(source.key, ()):
                    yield from _switched(graph, messages, source, target, exact)


def _switched(
    graph: NetworkGraph, messages: Sequence[Message], source: Slot, target: Slot, exact: bool
) -> Iterator[Pair]:
    """The pair once for each pooling that some message asks for.

    A pair that does not fit is redundant only where the coarser pairs that span it are on, so only where messages take
    all levels: a message via the network still arrives where the only hidden layer has one neuron.
    """
    kinds = graph.parameter(source.parameter).kind, graph.parameter(target.parameter).kind
    pools: dict[str | None, None] = {}
    levels: set[str] = set()
    for message in messages:
        if not (message.sends(kinds[0]) and message.reaches(kinds[1])):
            continue
        if message.pairs == "sharing" and not sharing(graph, source.parameter, target.parameter):
            continue
        levels.add(message.via)
        if message.via == level(source.key):
            pools[message.pool if source.pooled else None] = None
    layouts = graph.layout(source.parameter), graph.layout(target.parameter)
    redundant = exact and len(levels) == len(LEVELS) and not fits(source, layouts[0], target, layouts[1])
    if pools and not redundant:
        yield from (Pair(PooledSlot(source, pool), target) for pool in pools)


@dataclass(frozen=True, repr=False)
class Plan(Shown):
    """The products of a layer on one graph.

    Args:
        graph: The graph.
        products: One for each key (and set of sources), coarser keys first.
    """

    graph: NetworkGraph
    products: tuple[Product, ...]

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """Every basis map of the plan."""
        return tuple(
            Pair(source, target)
            for product in self.products
            for row in product.sources
            for source in row
            for column in product.targets
            for target in column
        )

    def count(self, source: str, target: str) -> int:
        """How many basis maps lead from one parameter to another: free channels of both count."""
        free = self.graph.layout(source).free * self.graph.layout(target).free
        met = [p for p in self.pairs if p.source.slot.parameter == source and p.target.parameter == target]
        return free * len(met)


def plan_by_name(graph: NetworkGraph, messages: Sequence[Message]) -> Plan:
    """Every key of the graph with matrices of its own."""
    columns: dict[Slot, dict[PooledSlot, None]] = {}
    for pair in basis(graph, messages):
        columns.setdefault(pair.target, {})[pair.source] = None
    grouped: dict[tuple[Key, tuple[PooledSlot, ...]], list[Slot]] = {}
    for target, met in columns.items():
        grouped.setdefault((target.key, tuple(met)), []).append(target)
    products, parts = [], dict[Key, int]()
    for (key, sources), targets in sorted(grouped.items(), key=lambda item: len(item[0][0])):
        part = parts.setdefault(key, 0)
        parts[key] += 1
        name = matrix_key(key, str(part or ""))
        products.append(Product(key, name, tuple((s,) for s in sources), tuple((t,) for t in targets)))
    return Plan(graph, tuple(products))


def role(graph: NetworkGraph, parameter: str) -> str:
    """What the parameter goes by when weights are shared: its role, or its name."""
    return graph.role_of(parameter)


Junction = tuple[tuple[tuple[str, int | None], ...], tuple[int, ...]]
"""Where shared products happen: a key of roles, and which messages reach the targets there."""
Row = tuple[str, str, str | None]
"""A group of rows of a shared matrix: role, slot signature, pooling."""
Column = tuple[str, str]
"""A group of columns of a shared matrix: role, slot signature."""


@dataclass(frozen=True)
class RoleTable:
    """Rows and columns of the shared matrices, collected over one or several graphs.

    Args:
        rows: For each junction its groups of rows, with their free channels.
        columns: For each junction its groups of columns, with their free channels.
    """

    rows: dict[Junction, dict[Row, int]]
    columns: dict[Junction, dict[Column, int]]

    def matrix(self, junction: Junction) -> str:
        """Name of the junction's matrix."""
        key, audience = junction
        return matrix_key(key, ",".join(map(str, audience)))


def _order_by_role(graph: NetworkGraph, places: Mapping[str, int], key: Key) -> tuple[int, ...]:
    """The nodes of a key by their roles, parents first: an order that does not depend on the names of spaces.

    Nodes of one role come as their spaces stand in the graph.
    """

    def path(node: int) -> tuple[tuple[str, int, int], ...]:
        space, parent = key[node]
        above = () if parent is None else path(parent)
        return (*above, (graph.space(space).role or space, places[space], node))

    return tuple(sorted(range(len(key)), key=path))


def _reordered(slot: Slot, order: tuple[int, ...]) -> Slot:
    """The slot with the nodes of its key in another order."""
    nodes = (slot.key[node] for node in order)
    key = tuple((space, None if parent is None else order.index(parent)) for space, parent in nodes)
    return Slot(slot.parameter, slot.pattern, tuple(slot.kept[node] for node in order), key)


def _by_role(graph: NetworkGraph, messages: Sequence[Message]) -> Iterator[tuple[Junction, Row, Column, Pair]]:
    """Every basis map with its place in the shared matrices."""
    places = {space.name: k for k, space in enumerate(graph.spaces)}
    for found in basis(graph, messages, exact=False):
        source, target = found.source, found.target
        order = _order_by_role(graph, places, target.key)
        source, target = PooledSlot(_reordered(source.slot, order), source.pool), _reordered(target, order)
        pair = Pair(source, target)
        key = tuple((graph.space(space).role or space, parent) for space, parent in target.key)
        kind, via = graph.parameter(target.parameter).kind, level(target.key)
        audience = tuple(k for k, m in enumerate(messages) if m.via == via and m.reaches(kind))
        row = (role(graph, source.slot.parameter), source.slot.signature, source.pool)
        yield (key, audience), row, (role(graph, target.parameter), target.signature), pair


def role_table(graphs: Sequence[NetworkGraph], messages: Sequence[Message]) -> RoleTable:
    """The shared matrices' rows and columns.

    Raises:
        GraphError: Where one role has different numbers of free channels in different places, or where a message asks
            for sharing pairs only via the network (roles cannot tell neighbours apart).
    """
    if any(m.via == "network" and m.pairs == "sharing" for m in messages):
        raise GraphError(
            "weights shared by role cannot keep to sharing pairs via the network, where all layers of a role look "
            "alike; use 'full' or 'none' blocks, or write messages via edge and neuron"
        )
    table = RoleTable({}, {})
    for graph in graphs:
        for junction, row, column, pair in _by_role(graph, messages):
            for name, parameter, known in (
                (row, pair.source.slot.parameter, table.rows.setdefault(junction, {})),
                (column, pair.target.parameter, table.columns.setdefault(junction, {})),
            ):
                free = graph.layout(parameter).free
                before = known.setdefault(name, free)  # type: ignore[arg-type, attr-defined]
                if free != before:
                    raise GraphError(
                        f"role {name[0]!r} has {before} and {free} free entries in different places; reduce its free "
                        "axes to one size before weights are shared by role"
                    )
    return table


def _unknown_role(table: RoleTable, parameter: str, name: str) -> GraphError:
    """What is new about a parameter for a model whose weights are shared by role."""
    roles = sorted({row[0] for rows in table.rows.values() for row in rows})
    if name in roles:
        return GraphError(
            f"parameter {parameter!r} of role {name!r} meets other roles than in the networks that this model was "
            "built for; build it for such a network too"
        )
    return GraphError(
        f"parameter {parameter!r} has the role {name!r}, which this model was not built for; it knows "
        f"{', '.join(roles)}" + nearest(name, roles)
    )


def plan_by_role(graph: NetworkGraph, messages: Sequence[Message], table: RoleTable) -> Plan:
    """The products of a graph on the shared matrices of `role_table`.

    Raises:
        GraphError: Where the graph has a role or a connection that the table does not know.
    """
    met: dict[tuple[Key, Junction], tuple[dict[Row, dict[PooledSlot, None]], dict[Column, dict[Slot, None]]]] = {}
    for junction, row, column, pair in _by_role(graph, messages):
        rows, columns = met.setdefault((pair.target.key, junction), ({}, {}))
        rows.setdefault(row, {})[pair.source] = None
        columns.setdefault(column, {})[pair.target] = None
        for name, parameter, known in (
            (row, pair.source.slot.parameter, table.rows.get(junction, {})),
            (column, pair.target.parameter, table.columns.get(junction, {})),
        ):
            if name not in known:
                raise _unknown_role(table, parameter, name[0])
            free = graph.layout(parameter).free
            if free != known[name]:  # type: ignore[index]
                raise GraphError(
                    f"parameter {parameter!r} of role {name[0]!r} has {free} free entries, those that this model was "
                    f"built for have {known[name]}"  # type: ignore[index]
                )
    products = []
    for (key, junction), (rows, columns) in sorted(met.items(), key=lambda item: len(item[0][0])):
        all_rows, all_columns = list(table.rows[junction]), list(table.columns[junction])
        row_index = tuple(k for k, row in enumerate(all_rows) if row in rows)
        column_index = tuple(k for k, column in enumerate(all_columns) if column in columns)
        products.append(
            Product(
                key,
                table.matrix(junction),
                tuple(tuple(rows[all_rows[k]]) for k in row_index),
                tuple(tuple(columns[all_columns[k]]) for k in column_index),
                None if len(row_index) == len(all_rows) else row_index,
                None if len(column_index) == len(all_columns) else column_index,
            )
        )
    return Plan(graph, tuple(products))
