"""Networks in which weights act: features of neurons travel along the weights that are read, and keep their grades.

Everything is derived from the graph: where features live, how they answer to each space's action, along which weights
they travel (`graphws.layers.graded`).  So one model reads MLPs, convolutions, attention, low-rank adapters and mixtures
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
from graphws.layers.graded.entry import Entry
from graphws.layers.graded.exit import Exit
from graphws.layers.graded.layer import ActingLayer
from graphws.layers.graded.operands import operands
from graphws.layers.graded.plan import Plan, make_plan
from graphws.layers.graded.state import Answers, State
from graphws.layers.graded.units import Measure, Units
from graphws.models.given import given_networks
from graphws.models.probes import Probes
from graphws.models.readout import BatchNorm, MakeReadout, readout_of

_TINY = 1e-6  # of a variance: its root has a slope at 0


class GradedNet(nn.Module):
    """A network on weight spaces in which weights act.

    It reads weights in units (`graphws.layers.graded.units`).

    Args:
        graph: Graph of the networks that come, or several with ``share="role"``.
        outputs: Length of the answer, or what makes the module that reads the invariants, from their number; None:
            networks of the same graph.
        layers: Layers.
        channels: Channels of every feature.
        symmetry: ``rich`` or ``permutation``.
        acts: Whether features travel along weights; without, neurons of different spaces meet in the network only.
        network: Whether all neurons meet in features of the network.
        dropout: Share of invariants set to zero in training.
        share: ``none`` or ``role``.
        probes: At how many inputs the networks are run; 0: not at all, weights only.
        learned: Whether these inputs are learned.
        networks: How many networks are returned for one, where networks are.
        init_scale: Factor on what a new model adds to the networks that it returns.

    Attributes:
        idle: Whether some parameters may have nothing to do on some graphs, as those of the network where no parameter
            of an answer reads it.

    Shapes:
        Weights (batch) -> (batch, outputs), or Weights (batch · networks), those for one network next to each other.  A
        list of Weights of different graphs gives one result, in the order of the list.
    """

    def __init__(
        self,
        graph: NetworkGraph | Sequence[NetworkGraph],
        outputs: int | MakeReadout | None,
        layers: int = 3,
        channels: int = 64,
        symmetry: Symmetry = "rich",
        acts: bool = True,
        network: bool = True,
        dropout: float = 0.0,
        share: str = "none",
        probes: int = 0,
        learned: bool = True,
        networks: int = 1,
        init_scale: float = 1.0,
    ) -> None:
        super().__init__()
        if layers < 1 or channels < 1:
            raise UsageError(f"a model needs at least one layer and one channel, got {layers} and {channels}")
        graphs = [graph] if isinstance(graph, NetworkGraph) else list(graph)
        self.idle = outputs is None or bool(probes)
        self.symmetry, self.share, self.acts, self.channels = symmetry, share, acts, channels
        self._plans: dict[NetworkGraph, Plan] = {}
        plans = [self.plan(each) for each in graphs]
        self.probes = Probes(graphs, probes, learned) if probes else None
        self.units = Units([plan.owners for plan in plans]) if probes else None
        spoken = 0 if self.probes is None else self.probes.width
        self.entry = Entry(plans, channels, probes, spoken)
        starts = [self.entry.starts(plan) for plan in plans]
        self.layers = nn.ModuleList(
            ActingLayer(
                plans,
                channels,
                dropout,
                network,
                alive=[plan.alive(start, k) for plan, start in zip(plans, starts, strict=True)],
                last=outputs is not None and k == layers - 1,
            )
            for k in range(layers)
        )
        self.sites = tuple(dict.fromkeys(plan.owners.space(site) for plan in plans for site in plan.sites))
        width = channels * (3 * len(self.sites) - 2) + spoken
        self.exit: Exit | None = None
        if outputs is None:
            self.exit = Exit(plans, channels, networks, init_scale)
        else:
            self.norm = BatchNorm(width)
            self.readout = readout_of(outputs)(width)

    def plan(self, graph: NetworkGraph) -> Plan:
        """What the layers do on a graph."""
        if graph not in self._plans:
            self._plans[graph] = make_plan(graph, self.symmetry, self.share, self.acts)
        return self._plans[graph]

    def calibrate(self, measure: Measure) -> None:
        """Learns the units of the training networks, which probes need."""
        if self.units is not None:
            self.units.calibrate(measure)

    def features(self, weights: Weights) -> tuple[State, Answers | None]:
        """Features of neurons after all layers, and what the networks say at the probes."""
        plan = self.plan(weights.graph)
        acting, answers = operands(weights, plan.grades), None
        if self.probes is not None and self.units is not None:
            answers = self.probes(self.units(weights, plan.owners), acting)
        state: State = self.entry(acting, plan, answers)
        for layer in self.layers:
            state = layer(state, plan)
        return state, answers

    def invariants(self, weights: Weights) -> Tensor:
        """(batch, width): mean, maximum and deviation of the invariants of every site, the network's, and answers."""
        owners = self.plan(weights.graph).owners
        state, answers = self.features(weights)
        found: dict[str, list[Tensor]] = {}
        for site, x in state.invariants:
            rows = functional.relu(x)
            if site is not None:
                rows = rows.flatten(1, -2)
                deviation = (rows.var(1, correction=0) + _TINY).sqrt()
                rows = torch.cat([rows.mean(1), rows.amax(1), deviation], -1)
            found.setdefault(owners.space(site), []).append(rows)
        like = next(iter(state.tensors.values()))
        missing = {
            site: like.new_zeros(len(like), self.channels * (1 if site == "network" else 3)) for site in self.sites
        }
        parts = [torch.stack(found[site]).mean(0) if site in found else missing[site] for site in self.sites]
        return torch.cat(parts if answers is None else [*parts, answers.outputs], -1)

    def forward(self, weights: Weights | Sequence[Weights]) -> Tensor | Weights | list[Weights]:
        """Applies the network."""
        batches = given_networks(self, weights)
        if self.exit is not None:
            found = [self.exit(self.features(batch)[0], batch, self.plan(batch.graph)) for batch in batches]
            return found[0] if isinstance(weights, Weights) else found
        rows = torch.cat([self.invariants(batch) for batch in batches])
        result: Tensor = self.readout(self.norm(rows))
        return result
