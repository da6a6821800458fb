"""What a layer is made of, in words and numbers: the block matrix of paper D (figure 2), for any graph and messages.

Nothing is hidden in a class name: every block (source tensor, target tensor) lists its basis maps, each of them with
the key through which it goes and a sentence that says what it does, and how many parameters that takes.  Free channels
are always mixed densely and are not mentioned.  What weights carry (rule 3) is listed beside the basis maps.  Where a
space labels several axes of a tensor, ``d[1]`` is the first.

    >>> from graphws.operations import mlp_graph
    >>> explanation = explain(mlp_graph([2, 8, 8, 1]))
    >>> explanation.block("W1", "W2").parameters
    4
    >>> print(explanation.block("W1", "W2").rule)
    max over hidden1, broadcast over hidden2 and hidden1; for each hidden1: broadcast over hidden2
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from graphws.errors import UsageError
from graphws.graph import NetworkGraph
from graphws.layers.acting.explain import ActingMap
from graphws.layers.pattern import Key, Slot, orbit_slots
from graphws.layers.plan import Pair, Plan, PooledSlot, RoleTable, level, plan_by_name, plan_by_role, role, role_table
from graphws.messages import LEVELS, Level, Message, expand_blocks
from graphws.pooling import LearnedPooling
from graphws.shown import Shown


@dataclass(frozen=True, repr=False)
class BasisMap(Shown):
    """One rule of a block.

    Attributes:
        via: The level of its key.
        key: The key's spaces as text: ``network``, ``hidden1``, ``hidden1 × hidden2``, ``k in h``.
        words: What it does.
        parameters: How many parameters it takes: free channels and channels of both sides.
    """

    via: Level
    key: str
    words: str
    parameters: int


@dataclass(frozen=True, repr=False)
class LinearBlock(Shown):
    """Everything that leads from one tensor to another.

    Attributes:
        source: Name of the tensor that sends.
        target: Name of the tensor that receives.
        maps: Its basis maps, coarse keys first; none where no message switches the block on.
        free: Free channels of source and target, which each map mixes densely.
    """

    source: str
    target: str
    maps: tuple[BasisMap, ...]
    free: tuple[int, int]

    @property
    def parameters(self) -> int:
        """How many parameters the block has."""
        return sum(one.parameters for one in self.maps)

    @property
    def rule(self) -> str:
        """What the block does, in words."""
        return "; ".join(one.words for one in self.maps) or "nothing"

    @property
    def finest(self) -> Level | None:
        """The finest level that the block reaches; None where it is switched off."""
        reached = {one.via for one in self.maps}
        return next((via for via in LEVELS if via in reached), None)


@dataclass(frozen=True)
class ProductShape:
    """One matrix product of the layer.

    Attributes:
        key: The key's spaces as text.
        matrix: Name of the matrix; products of like keys have the same one where weights are shared by role.
        rows: What it reads: summaries times their channels.
        columns: What it writes.
    """

    key: str
    matrix: str
    rows: int
    columns: int


@dataclass(frozen=True, repr=False)
class Explanation(Shown):
    """A layer, explained.

    Attributes:
        graph: The graph that it works on.
        messages: The messages, presets written out.
        channels: Channels that come in and go out.
        tensors: Names of the tensors in the graph's order: both rows (targets) and columns (sources).
        blocks: Every ordered pair of tensors, also those that are switched off.
        products: The matrix products that do the work.
        biases: For each tensor its equivariant bias parameters.
        matrix_parameters: Parameters in all matrices; the sum over blocks, unless weights are shared by role.
        bias_parameters: Parameters in all biases.
        pooling_parameters: Parameters of learned poolings.
        share: ``none`` or ``role``.
        acts: What weights carry, by rule 3; not linear, so no part of the blocks.
        acting_parameters: Parameters of these.
        set_parameters: Parameters of set layers, in layers as published.
        free_parameters: Parameters of maps of free axes inside the layer, in layers as published.
    """

    graph: NetworkGraph
    messages: tuple[Message, ...]
    channels: tuple[int, int]
    tensors: tuple[str, ...]
    blocks: tuple[LinearBlock, ...]
    products: tuple[ProductShape, ...]
    biases: tuple[int, ...]
    matrix_parameters: int
    bias_parameters: int
    pooling_parameters: int
    share: str = "none"
    acts: tuple[ActingMap, ...] = ()
    acting_parameters: int = 0
    set_parameters: int = 0
    free_parameters: int = 0

    @cached_property
    def _blocks(self) -> dict[tuple[str, str], LinearBlock]:
        return {(block.source, block.target): block for block in self.blocks}

    def block(self, source: str, target: str) -> LinearBlock:
        """The block from one tensor to another; GraphError on an unknown name."""
        self.graph.parameter(source)
        self.graph.parameter(target)
        return self._blocks[source, target]

    def acting(self, source: str, target: str) -> tuple[ActingMap, ...]:
        """What weights carry from neurons to neurons or entries; nothing where they carry nothing."""
        return tuple(one for one in self.acts if (one.source, one.target) == (source, target))

    @property
    def parameters(self) -> int:
        """Parameters of the whole layer: those of `graphws.layers.EquivariantLinear` with the same arguments, and of
        `graphws.layers.acting.acting.Acting`; or those of a layer as published."""
        linear = self.matrix_parameters + self.bias_parameters + self.pooling_parameters
        return linear + self.acting_parameters + self.set_parameters + self.free_parameters

    def lines(self) -> Iterator[str]:
        """The explanation as plain text."""
        yield f"layer: {self.channels[0]} -> {self.channels[1]} channels, {self.parameters:,} parameters"
        learned = f", {self.pooling_parameters:,} in poolings" if self.pooling_parameters else ""
        shared = ", shared by role" if self.share == "role" else ""
        acting = f", {self.acting_parameters:,} in what weights carry" if self.acts else ""
        sets = f", {self.set_parameters:,} in set layers" if self.set_parameters else ""
        free = f", {self.free_parameters:,} in maps of free axes" if self.free_parameters else ""
        most = f"{self.matrix_parameters:,} in matrices{shared}, {self.bias_parameters:,} in biases"
        yield f"  {most}{learned}{acting}{sets}{free}"
        if self.messages:
            yield "messages:"
        yield from (f"  {message}" for message in self.messages)
        if self.products:
            yield "products (key: rows x columns):"
        width = max((len(product.key) for product in self.products), default=0)
        yield from (f"  {p.key:<{width}}  {p.rows:,} x {p.columns:,}  [{p.matrix}]" for p in self.products)
        yield "parameters of each block (from across, to down):"
        yield from self._table()
        yield "blocks:"
        arrow = max(len(f"{b.source} -> {b.target}") for b in self.blocks)
        for block in self.blocks:
            for place, one in enumerate(block.maps):
                pair = "" if place else f"{block.source} -> {block.target}"
                yield f"  {pair:<{arrow}}  {one.parameters:>6,}  {one.words}"
        if self.acts:
            yield "weights act:"
        for act in self.acts:
            yield f"  {f'{act.source} -> {act.target}':<{arrow}}  {act.parameters:>6,}  {act.words}"

    def _table(self) -> Iterator[str]:
        carried: dict[tuple[str, str], int] = {}
        for act in self.acts:
            carried[act.source, act.target] = carried.get((act.source, act.target), 0) + act.parameters
        counts = ((self.block(s, t).parameters + carried.get((s, t), 0) for s in self.tensors) for t in self.tensors)
        cells = [[f"{count or '.'}" for count in row] for row in counts]
        cells = [[*row, f"+{bias}" if bias else "."] for row, bias in zip(cells, self.biases, strict=True)]
        rows = [["", *self.tensors, "bias"], *([t, *row] for t, row in zip(self.tensors, cells, strict=True))]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            yield "  " + "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))

    def __str__(self) -> str:
        return "\n".join(self.lines())


@dataclass(frozen=True)
class RoleUse:
    """A role among the graphs that a model with shared weights is built for.

    Attributes:
        role: The role.
        free: Free entries of its parameters.
        graphs: How many of the graphs have it.
    """

    role: str
    free: int
    graphs: int


def roles_of(graphs: Sequence[NetworkGraph]) -> tuple[RoleUse, ...]:
    """The roles of all graphs, those of the first graph first."""
    found: dict[tuple[str, int], int] = {}
    for graph in graphs:
        for each in dict.fromkeys((role(graph, p.name), graph.layout(p.name).free) for p in graph.parameters):
            found[each] = found.get(each, 0) + 1
    return tuple(RoleUse(name, free, count) for (name, free), count in found.items())


def explain(
    graph: NetworkGraph,
    messages: Sequence[Message] | None = None,
    channels_in: int = 1,
    channels_out: int = 1,
    *,
    bias: bool = True,
    share: str = "none",
    heads: int = 1,
    others: Sequence[NetworkGraph] = (),
    kinds: frozenset[str] | None = None,
) -> Explanation:
    """Explains the layer that `graphws.layers.EquivariantLinear` builds from the same arguments.

    Args:
        graph: The graph that it is explained on.
        messages: The messages; paper D's full layer where None.
        channels_in: Channels that come in.
        channels_out: Channels that go out.
        bias: Whether there are biases.
        share: ``none`` or ``role``.
        heads: Heads of learned poolings.
        others: Further graphs that the layer is built for, with which its shared weights are counted.
        kinds: Kinds of parameters that come out; None: all.

    Raises:
        UsageError: On an unknown `share`.
        GraphError: Where roles cannot be shared.
    """
    used = tuple(expand_blocks() if messages is None else messages)
    if share not in ("none", "role"):
        raise UsageError(f"share must be 'none' or 'role'; got {share!r}")
    table = role_table([graph, *others], used) if share == "role" else None
    plan = plan_by_name(graph, used) if table is None else plan_by_role(graph, used, table)
    channels = (channels_in, channels_out)
    names = tuple(parameter.name for parameter in graph.parameters)
    pairs: dict[tuple[str, str], list[Pair]] = {}
    for pair in plan.pairs:
        pairs.setdefault((pair.source.slot.parameter, pair.target.parameter), []).append(pair)
    blocks = tuple(_block(graph, s, t, pairs.get((s, t), []), channels) for t in names for s in names)
    products = tuple(_shapes(plan, channels))
    biases = dict.fromkeys(names, 0)
    biases |= _bias_counts(graph, channels_out, table is None, kinds) if bias else {}
    owners = dict(biases)
    if table is not None:
        owners = {}
        for each in (graph, *others):
            counts = _bias_counts(each, channels_out, False, kinds) if bias else {}
            owners |= {role(each, name): number for name, number in counts.items()}
    return Explanation(
        graph,
        used,
        channels,
        names,
        blocks,
        products,
        tuple(biases[name] for name in names),
        sum(p.rows * p.columns for p in products) if table is None else _shared(table, channels),
        sum(owners.values()),
        _learned(plan, channels_in, heads, table is not None),
        share,
    )


def _block(
    graph: NetworkGraph, source: str, target: str, pairs: Sequence[Pair], channels: tuple[int, int]
) -> LinearBlock:
    free = graph.layout(source).free, graph.layout(target).free
    size = free[0] * free[1] * channels[0] * channels[1]
    maps = [BasisMap(level(p.target.key), key_text(p.target.key), map_words(graph, p), size) for p in pairs]
    return LinearBlock(source, target, tuple(sorted(maps, key=lambda one: -LEVELS.index(one.via))), free)


def _shapes(plan: Plan, channels: tuple[int, int]) -> Iterator[ProductShape]:
    for product in plan.products:
        rows = sum(plan.graph.layout(row[0].slot.parameter).free for row in product.sources) * channels[0]
        columns = sum(plan.graph.layout(column[0].parameter).free for column in product.targets) * channels[1]
        yield ProductShape(key_text(product.key), product.matrix, rows, columns)


def _shared(table: RoleTable, channels: tuple[int, int]) -> int:
    """Entries of all shared matrices, whole, whether or not a product of this graph uses all of a matrix."""
    sizes = ((sum(table.rows[j].values()), sum(table.columns[j].values())) for j in table.rows)
    return sum(rows * columns for rows, columns in sizes) * channels[0] * channels[1]


def _bias_counts(graph: NetworkGraph, channels: int, exact: bool, kinds: frozenset[str] | None) -> dict[str, int]:
    layouts = [graph.layout(p.name) for p in graph.parameters if kinds is None or p.kind in kinds]
    return {x.parameter: x.free * len(orbit_slots(x, exact)) * channels for x in layouts}


def _learned(plan: Plan, channels: int, heads: int, by_role: bool) -> int:
    """Parameters of learned poolings: a module for every slot that is pooled so."""
    found: dict[tuple[str, str], int] = {}
    for source in {pair.source for pair in plan.pairs}:
        learned = source.pooling
        if isinstance(learned, LearnedPooling):
            name = source.slot.parameter
            owner = role(plan.graph, name) if by_role else name
            found[owner, source.slot.signature] = learned.parameters(plan.graph.layout(name).free * channels, heads)
    return sum(found.values())


def key_text(key: Key) -> str:
    """A key for readers: ``network``, ``hidden1``, ``hidden1 × hidden2``, ``k in h``."""

    def node(position: int) -> str:
        space = key[position][0]
        children = [node(k) for k, (_, parent) in enumerate(key) if parent == position]
        if not children:
            return space
        return f"{children[0]} in {space}" if len(children) == 1 else f"({' × '.join(children)}) in {space}"

    return " × ".join(node(k) for k, (_, parent) in enumerate(key) if parent is None) or "network"


def map_words(graph: NetworkGraph, pair: Pair) -> str:
    """What one basis map does, in words."""
    source, target = pair.source, pair.target
    steps = [*_reading(graph, source), *_writing(graph, target)]
    if _exchanged(source.slot, target):
        steps.insert(0, "exchange axes")
    if not target.key:
        return ", ".join(steps) or "as it is"
    return f"for each {key_text(target.key)}: {', '.join(steps) or 'as it is'}"


def _reading(graph: NetworkGraph, source: PooledSlot) -> Iterator[str]:
    if source.slot.merges:
        yield f"take the entries with equal {_and(_equal(graph, source.slot))}"
    if source.slot.pooled:
        yield f"{source.pool} over {_and(_spaces(graph, source.slot))}"


def _writing(graph: NetworkGraph, target: Slot) -> Iterator[str]:
    if target.pooled:
        yield f"broadcast over {_and(_spaces(graph, target))}"
    if target.merges:
        yield f"write to the entries with equal {_and(_equal(graph, target))}"


def _spaces(graph: NetworkGraph, slot: Slot) -> list[str]:
    """Index axes that do not stand at the key: by their space, and by their number where a space labels several."""
    index = graph.layout(slot.parameter).index
    names = []
    for block in slot.pooled:
        position = slot.pattern.index(block)
        alike = [k for k, axis in enumerate(index) if axis.space == index[position].space]
        several = len(alike) > 1 and slot.pattern.count(block) == 1
        names.append(f"{index[position].space}[{alike.index(position) + 1}]" if several else index[position].space)
    return names


def _equal(graph: NetworkGraph, slot: Slot) -> list[str]:
    """Spaces of which several axes are equal."""
    index = graph.layout(slot.parameter).index
    return [index[slot.pattern.index(b)].space for b in sorted(set(slot.pattern)) if slot.pattern.count(b) > 1]


def _and(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _exchanged(source: Slot, target: Slot) -> bool:
    """Whether like axes meet in another order than they stand in: a transpose."""
    return any(
        source.key[i] == source.key[j] and (source.kept[i] < source.kept[j]) != (target.kept[i] < target.kept[j])
        for i in range(len(source.key))
        for j in range(i)
    )
