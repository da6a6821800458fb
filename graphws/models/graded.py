"""Networks in which weights act: features of neurons travel along the weights that are read, and keep their grades.

Everything is derived from the graph: where features live, how they answer to each space's action, along which weights
they travel (`graphws.layers.acting`).  So one model reads MLPs, convolutions, attention, low-rank adapters and mixtures
of experts alike, and is equivariant to the whole group that the converter found: permutations, signs, scales, matrices.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from graphws.errors import UsageError
from graphws.graph import NetworkGraph, Weights
from graphws.layers.acting.grades import Symmetry
from graphws.layers.acting.inlets import inlets
from graphws.layers.acting.layer import ActingLayer, Plan, make_plan
from graphws.layers.acting.operands import Operands, operands
from graphws.layers.acting.owners import Modules
from graphws.layers.acting.state import State, Sum
from graphws.models.readout import BatchNorm, MakeReadout, readout_of


class Entry(nn.Module):
    """First features of neurons, from the weights (`graphws.layers.acting.inlets`).

    Args:
        plans: One for each graph that may come.
        channels: Channels of every feature.

    Shapes:
        Operands -> State.
    """

    def __init__(self, plans: Sequence[Plan], channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.reads, self.evens, self.starts = Modules(), Modules(), nn.ParameterDict()
        for plan in plans:
            for inlet in inlets(plan.grades):
                name = f"{plan.owners.parameter(inlet.parameter)}:{inlet.name}"
                self.reads.make(name, lambda inlet=inlet: nn.Linear(inlet.free, channels, bias=not inlet.grade))
            for space, grade in plan.graded:
                if not plan.grades.linear(space):
                    self.evens.make(plan.spot(space, grade), lambda: nn.Linear(channels, channels))

    def forward(self, weights: Operands, plan: Plan) -> State:
        """The features."""
        total = Sum()
        for inlet in inlets(plan.grades):
            if inlet.parameter in weights.tensors:
                name = f"{plan.owners.parameter(inlet.parameter)}:{inlet.name}"
                total.add(inlet.space, inlet.grade, self.reads.find(name)(inlet.read(weights[inlet.parameter])))
        for space, grade in plan.graded:
            x = total.tensors.get((space, grade))
            if x is not None and not plan.grades.linear(space):
                total.add(space, 0, self.evens.find(plan.spot(space, grade))(x.abs()))
        like = next(iter(weights.tensors.values()))
        for site in plan.sites:
            sizes = () if site is None else plan.grades.sizes(site)
            if (site, 0) not in total.tensors:
                total.add(site, 0, like.new_zeros(weights.batch, *sizes, self.channels))
        return State(plan.grades, total.tensors)


class GradedNet(nn.Module):
    """A network on weight spaces in which weights act.

    Args:
        graph: Graph of the networks that come, or several with ``share="role"``.
        outputs: Length of the answer, or what makes the module that reads the invariants, from their number.
        layers: Layers.
        channels: Channels of every feature.
        symmetry: ``rich`` or ``permutation``.
        acts: Whether features travel along weights; without, neurons of different spaces meet in the network only.
        network: Whether all neurons meet in features of the network.
        dropout: Share of invariants set to zero in training.
        share: ``none`` or ``role``.

    Shapes:
        Weights (batch) -> (batch, outputs); a list of Weights of different graphs gives their rows one after another.
    """

    def __init__(
        self,
        graph: NetworkGraph | Sequence[NetworkGraph],
        outputs: int | MakeReadout,
        layers: int = 3,
        channels: int = 64,
        symmetry: Symmetry = "rich",
        acts: bool = True,
        network: bool = True,
        dropout: float = 0.0,
        share: str = "none",
    ) -> None:
        super().__init__()
        if layers < 1 or channels < 1:
            raise UsageError(f"a model needs at least one layer and one channel, got {layers} and {channels}")
        graphs = [graph] if isinstance(graph, NetworkGraph) else list(graph)
        self.symmetry, self.share, self.acts, self.channels = symmetry, share, acts, channels
        self._plans: dict[NetworkGraph, Plan] = {}
        plans = [self.plan(each) for each in graphs]
        self.entry = Entry(plans, channels)
        self.layers = nn.ModuleList(ActingLayer(plans, channels, dropout, network) for _ in range(layers))
        self.sites = tuple(dict.fromkeys(plan.owners.space(site) for plan in plans for site in plan.sites))
        width = channels * (2 * len(self.sites) - 1)
        self.norm = BatchNorm(width)
        self.readout = readout_of(outputs)(width)

    def plan(self, graph: NetworkGraph) -> Plan:
        """What the layers do on a graph."""
        if graph not in self._plans:
            self._plans[graph] = make_plan(graph, self.symmetry, self.share, self.acts)
        return self._plans[graph]

    def invariants(self, weights: Weights) -> Tensor:
        """(batch, width): mean and maximum of the features of every site, and those of the network."""
        plan = self.plan(weights.graph)
        acting = operands(weights, plan.grades)
        state = self.entry(acting, plan)
        for layer in self.layers:
            state = layer(state, acting, plan)
        found: dict[str, list[Tensor]] = {}
        for site, x in state.invariants:
            rows = functional.relu(x).flatten(1, -2) if site is not None else functional.relu(x)
            pooled = rows if site is None else torch.cat([rows.mean(1), rows.amax(1)], -1)
            found.setdefault(plan.owners.space(site), []).append(pooled)
        parts = []
        for name in self.sites:
            width = self.channels * (1 if name == "network" else 2)
            values = found.get(name)
            parts.append(
                torch.stack(values).mean(0) if values else weights_like(weights).new_zeros(weights.batch, width)
            )
        return torch.cat(parts, -1)

    def forward(self, weights: Weights | Sequence[Weights]) -> Tensor:
        """Applies the network."""
        batches = [weights] if isinstance(weights, Weights) else list(weights)
        rows = torch.cat([self.invariants(batch) for batch in batches])
        result: Tensor = self.readout(self.norm(rows))
        return result


def weights_like(weights: Weights) -> Tensor:
    """A floating tensor of the weights."""
    return next(x for _, x in weights.items() if x.is_floating_point())
