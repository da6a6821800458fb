"""The equivariant linear layer of any graph.

Law: for every group element g, ``layer(g x) = g layer(x)``; and with linear pooling (mean or sum) and all messages on,
every linear map with that law is one of the layer's (theorem 5.1 of paper D for MLPs; here for any graph, by the two
rules of `graphws.layers.pattern`).

The layer computes every pooled summary once, then one matrix product a key, then adds what the keys send to each
tensor.  That takes a number of kernels proportional to the depth of the input network, where the paper's blocks, run
one by one, need the square of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import overload

import torch
from torch import Tensor, nn

from graphws.errors import UsageError
from graphws.graph import NetworkGraph
from graphws.layers.acting.neurons import restricted
from graphws.layers.assembly import Assembly
from graphws.layers.differences import difference
from graphws.layers.execution import run_fused, run_plain
from graphws.layers.features import Features
from graphws.layers.fused import edges
from graphws.layers.keys import state_key
from graphws.layers.pattern import Slot, orbit_slots
from graphws.layers.plan import Plan, PooledSlot, Product, RoleTable, plan_by_name, plan_by_role, role, role_table
from graphws.layers.schedule import Schedule, ScheduledProduct, make_schedule
from graphws.layers.union.features import UnionFeatures
from graphws.layers.union.junctions import Recipe, Source, junctions_of, recipe
from graphws.layers.union.running import UnionAssembly, run_union
from graphws.messages import Message, expand_blocks
from graphws.pooling import LearnedPooling


class EquivariantLinear(nn.Module):
    """Affine map between weight spaces that commutes with the group.

    Args:
        graph: The graph of the networks, or several graphs if weights are shared by role.
        in_channels: Channels per entry that come in.
        out_channels: Channels per entry that go out.
        messages: What the layer is made of; paper D's full layer with max pooling where None.
        bias: Adds an equivariant bias: one vector for each orbit (paper D, table 9).
        share: ``none``: every key has its own matrix; ``role``: keys of like spaces share theirs, and the layer takes
            networks of any depth and width whose roles it has seen.
        heads: Heads of learned poolings.
        init_scale: μ, a factor on the initial weights: 1, or 1e-3 where the output is a network (paper D, appendix J).
        kinds: Kinds of parameters that come out; None: all.

    Attributes:
        fused: Lets the kernels of `graphws.layers.fused.edges` run where they can; the values are the same without.

    Shapes:
        Features with ``in_channels`` -> Features with ``out_channels`` of the same graph, or of the parameters of some
        kinds.  Parameters that send nothing may be missing from what comes in.

    Raises:
        UsageError: On channels below 1, heads that do not divide channels, or a message via ``weight``, which is not
            linear (see `graphws.layers.acting.acting`).
        GraphError: Where roles cannot be shared; see `graphws.layers.plan.role_table`.
    """

    def __init__(
        self,
        graph: NetworkGraph | Sequence[NetworkGraph],
        in_channels: int,
        out_channels: int,
        messages: Sequence[Message] | None = None,
        bias: bool = True,
        share: str = "none",
        heads: int = 1,
        init_scale: float = 1.0,
        kinds: frozenset[str] | None = None,
    ) -> None:
        super().__init__()
        if in_channels < 1 or out_channels < 1:
            raise UsageError(f"channels must be at least 1, got {in_channels} in and {out_channels} out")
        graphs = [graph] if isinstance(graph, NetworkGraph) else list(graph)
        if share not in ("none", "role") or (share == "none" and len(graphs) != 1):
            raise UsageError(f"share must be 'none' (one graph) or 'role'; got {share!r} for {len(graphs)} graphs")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.messages = tuple(expand_blocks() if messages is None else messages)
        if any(message.acts for message in self.messages):
            raise UsageError("a message via weight is not linear; a DWSNet takes it, an EquivariantLinear does not")
        self.share, self.kinds = share, kinds
        self.table: RoleTable | None = role_table(graphs, self.messages) if share == "role" else None
        self.fused = True
        self._plans: dict[NetworkGraph, Plan] = {}
        self._schedules: dict[NetworkGraph, Schedule] = {}
        self._recipes: dict[NetworkGraph, Recipe] = {}
        self._recent: tuple[NetworkGraph, Schedule] | None = None
        self.matrices = nn.ParameterDict()
        self.biases = nn.ParameterDict()
        self.attentions = nn.ModuleDict()
        for each in graphs:
            self._add_parameters(each, heads, init_scale, bias)

    def plan(self, graph: NetworkGraph) -> Plan:
        """The layer's plan on a graph, made once for all graphs of its structure.

        Raises:
            UsageError: Where weights are not shared, and the graph's structure is another than the layer's.
            GraphError: Where weights are shared, and the graph has roles that the layer does not know.
        """
        structure, table = graph.structure, self.table
        if structure not in self._plans:
            if self._plans and table is None:
                what = difference(next(iter(self._plans)), structure)
                raise UsageError(
                    f"this layer was built for another graph: {what}; build it with share='role' to take several"
                )
            planned = (
                plan_by_name(structure, self.messages)
                if table is None
                else plan_by_role(structure, self.messages, table)
            )
            self._plans[structure] = planned
        return self._plans[structure]

    def schedule(self, graph: NetworkGraph) -> Schedule:
        """The plan made ready to run, once."""
        if self._recent is None or self._recent[0] is not graph:  # spares a comparison of equal graphs
            if graph.structure not in self._schedules:
                self._schedules[graph.structure] = self._make_schedule(graph.structure)
            self._recent = (graph, self._schedules[graph.structure])
        return self._recent[1]

    def _make_schedule(self, graph: NetworkGraph) -> Schedule:
        plan = self.plan(graph)
        return make_schedule(
            plan,
            self.out_channels,
            lambda source: self._learned_name(graph, source),
            lambda product: (tuple(self._row_sizes(plan, product)), tuple(self._column_sizes(plan, product))),
            {
                p.name: tuple(
                    (slot, self._bias_name(graph, slot))
                    for slot in orbit_slots(graph.layout(p.name), exact=self.table is None)
                    if self.biases
                )
                for p in self._received(graph).parameters
            },
        )

    def _received(self, graph: NetworkGraph) -> NetworkGraph:
        """The graph of what comes out."""
        return graph if self.kinds is None else restricted(graph, self.kinds)

    def _add_parameters(self, graph: NetworkGraph, heads: int, init_scale: float, bias: bool) -> None:
        plan = self.plan(graph)
        largest = {
            slot.key for product in plan.products for column in product.targets for slot in column if not slot.pooled
        }
        for product in plan.products:
            if product.matrix not in self.matrices:
                rows, columns = self._row_sizes(plan, product), self._column_sizes(plan, product)
                gain = 1.0 if product.key in largest and product.key else 0.5
                matrix = torch.randn(sum(rows), sum(columns)) * (init_scale * math.sqrt(gain / sum(rows)))
                self.matrices[product.matrix] = nn.Parameter(matrix)
            for row in product.sources:
                for source in row:
                    name = self._learned_name(graph, source)
                    learned = source.pooling
                    if isinstance(learned, LearnedPooling) and name is not None and name not in self.attentions:
                        if self.in_channels % heads:
                            raise UsageError(
                                f"{source.pool} pooling: {heads} heads do not divide {self.in_channels} channels"
                            )
                        free = graph.layout(source.slot.parameter).free
                        self.attentions[name] = learned.module(free * self.in_channels, heads)
            self._scale_rows(plan, product)
        for parameter in self._received(graph).parameters if bias else ():
            layout = graph.layout(parameter.name)
            for slot in orbit_slots(graph.layout(parameter.name), exact=self.table is None):
                name = self._bias_name(graph, slot)
                if name not in self.biases:
                    self.biases[name] = nn.Parameter(torch.zeros(layout.free * self.out_channels))

    def _row_sizes(self, plan: Plan, product: Product) -> list[int]:
        if self.table is None:
            return [plan.graph.layout(row[0].slot.parameter).free * self.in_channels for row in product.sources]
        junction = next(j for j in self.table.rows if self.table.matrix(j) == product.matrix)
        return [free * self.in_channels for free in self.table.rows[junction].values()]

    def _column_sizes(self, plan: Plan, product: Product) -> list[int]:
        if self.table is None:
            return [plan.graph.layout(column[0].parameter).free * self.out_channels for column in product.targets]
        junction = next(j for j in self.table.columns if self.table.matrix(j) == product.matrix)
        return [free * self.out_channels for free in self.table.columns[junction].values()]

    @torch.no_grad()
    def _scale_rows(self, plan: Plan, product: Product) -> None:
        """Initial rows start as if they read means, so that depth does not make values explode."""
        if self.table is not None:
            return
        start = 0
        for row, size in zip(product.sources, self._row_sizes(plan, product), strict=True):
            layout, source = plan.graph.layout(row[0].slot.parameter), row[0]
            if source.pooling is not None:
                sizes = [layout.index[source.slot.pattern.index(block)].size for block in source.slot.pooled]
                self.matrices[product.matrix][start : start + size] *= source.pooling.gain(math.prod(sizes))
            start += size

    def _learned_name(self, graph: NetworkGraph, source: PooledSlot) -> str | None:
        if not isinstance(source.pooling, LearnedPooling):
            return None
        owner = source.slot.parameter if self.table is None else role(graph, source.slot.parameter)
        return state_key(f"{owner}:{source.slot.signature}")

    def _bias_name(self, graph: NetworkGraph, slot: Slot) -> str:
        owner = slot.parameter if self.table is None else role(graph, slot.parameter)
        return state_key(f"{owner}:{slot.signature}")

    def _matrix(self, scheduled: ScheduledProduct) -> Tensor:
        """The product's part of its matrix: all of it, unless roles are shared and this graph lacks some."""
        matrix: Tensor = self.matrices[scheduled.product.matrix]
        for axis, chosen, sizes in (
            (0, scheduled.product.rows, scheduled.rows),
            (1, scheduled.product.columns, scheduled.columns),
        ):
            if chosen is not None:
                parts = matrix.split(sizes, dim=axis)
                matrix = torch.cat([parts[k] for k in chosen], dim=axis)
        return matrix

    @overload
    def forward(self, features: Features, moments: bool = False) -> Features: ...
    @overload
    def forward(self, features: UnionFeatures, moments: bool = False) -> UnionFeatures: ...

    def forward(self, features: Features | UnionFeatures, moments: bool = False) -> Features | UnionFeatures:
        """Applies the map; see the class for shapes.

        With ``moments`` the result comes with the moments of those tensors for which they cost next to nothing.
        """
        if features.channels != self.in_channels:
            raise UsageError(f"this layer takes {self.in_channels} channels, got {features.channels}")
        if isinstance(features, UnionFeatures):
            return self._on_union(features)
        schedule = self.schedule(features.graph)
        fused = self.fused and edges.supported(*features.tensors.values())
        received = self._received(features.graph)
        assemblies = {
            p.name: Assembly(schedule.layouts[p.name], schedule.channels[p.name]) for p in received.parameters
        }
        for name, biases in schedule.biases.items():
            for slot, bias in biases:
                assemblies[name].add(slot, self.biases[bias].unsqueeze(0))
        matrices = [self._matrix(scheduled) for scheduled in schedule.products]
        if fused:
            run_fused(features, schedule, matrices, self.attentions, assemblies, moments)
        else:
            run_plain(features, schedule, matrices, self.attentions, assemblies)
        like = next(iter(features.tensors.values()))
        tensors = {name: a.result(features.tensors.get(name, like), moments) for name, a in assemblies.items()}
        taken = {name: a.moments for name, a in assemblies.items() if a.moments is not None}
        return Features(received, tensors, self.out_channels, moments=taken)

    def _on_union(self, features: UnionFeatures) -> UnionFeatures:
        assert self.kinds is None, "features of neurons go graph by graph"
        union, table = features.union, self.table
        if table is None:
            raise UsageError("networks of several graphs need weights that are shared; build with share='role'")
        shapes, sizes = {}, {}
        for junction, rows in table.rows.items():
            columns = table.columns[junction]
            matrix = table.matrix(junction)
            shapes[matrix] = len(rows), len(columns)
            sizes[matrix] = (
                [free * self.in_channels for free in rows.values()],
                [free * self.out_channels for free in columns.values()],
            )
        junctions = junctions_of(union, self.messages, [self._recipe(graph) for graph in union.graphs], shapes)
        assemblies = {name: UnionAssembly(s, name.free * self.out_channels) for name, s in union.stacks.items()}
        if self.biases:
            for stack in union.stacks.values():
                graph, parameter = union.graphs[stack.members[0].graph], stack.members[0].parameter
                for slot in orbit_slots(graph.layout(parameter), exact=False):
                    bias = self.biases[self._bias_name(graph, slot)]
                    assemblies[stack.name].add_constant(slot.pattern, bias)
        run_union(features, junctions, self.matrices, sizes, self._module_of, assemblies)
        tensors = {name: assembly.result(features.tensors[name]) for name, assembly in assemblies.items()}
        return UnionFeatures(union, tensors, self.out_channels)

    def _recipe(self, graph: NetworkGraph) -> Recipe:
        if graph not in self._recipes:
            self._recipes[graph] = recipe(self.plan(graph))
        return self._recipes[graph]

    def _module_of(self, source: Source) -> nn.Module | None:
        """The module of a source on a union, if its pooling is learned."""
        if not isinstance(source.pool.pooling, LearnedPooling):
            return None
        return self.attentions[state_key(f"{source.stack.role}:{source.pool.slot.signature}")]

    def extra_repr(self) -> str:
        """Channels and messages."""
        return f"{self.in_channels} -> {self.out_channels}, " + "; ".join(map(str, self.messages))
