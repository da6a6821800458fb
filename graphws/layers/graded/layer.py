"""A layer in which weights act: features of neurons travel along weights, and every step keeps their grades.

For every space s, with invariants r (what neurons are, whatever their sign, scale or basis) and graded features o:

1. **Carry.** Along every route, m = W · mix(o · tanh(gate(r))): graded features go gated by invariants, so that a layer
   can send nothing where nothing is to be sent; invariants go as they are.
2. **Contract.** Products of grades that cancel are invariants: |A o + B m| where the grade is a sign; for a linear
   space (A o₊ + B m₊) · (A' o₋ + B' m₋) summed over the space, a vector against a covector.
3. **Update invariants** by a perceptron of all that is invariant at s: its own, what arrived, the contractions, those
   of the spaces above and below it, and those of the network. Norms are over channels of invariants.
4. **Update graded features** by maps without bias, gated by the new invariants.

Nothing else is allowed to touch a graded feature: a bias or a ReLU would break its sign.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from graphws.layers.acting.routes import Route, carry
from graphws.layers.graded.owners import Modules
from graphws.layers.graded.plan import Plan
from graphws.layers.graded.state import Spot, State, Sum, down, signed_log, up


class ActingLayer(nn.Module):
    """One layer.

    Args:
        plans: One for each graph that may come; what is learned goes by their owners.
        channels: Channels of every feature.
        dropout: Share of invariants set to zero in training.
        network: Whether all neurons meet in features of the network.
        alive: For each plan the spots with graded features that come in; all where None.
        last: Whether only invariants are read after it, so that graded features need not change.

    Shapes:
        State -> State.
    """

    def __init__(
        self,
        plans: Sequence[Plan],
        channels: int,
        dropout: float = 0.0,
        network: bool = True,
        alive: Sequence[frozenset[Spot]] | None = None,
        last: bool = False,
    ) -> None:
        super().__init__()
        self.channels, self.dropout, self.network, self.last = channels, dropout, network, last
        self.mixes, self.gates, self.keeps = Modules(), Modules(), Modules()
        self.contracts, self.updates, self.reads, self.writes, self.norms = (Modules() for _ in range(5))
        for plan, spots in zip(plans, alive or [frozenset(plan.graded) for plan in plans], strict=True):
            self._build(plan, spots)

    def _build(self, plan: Plan, alive: frozenset[Spot]) -> None:
        """Makes what is learned on a graph, and nothing that would never be used."""
        wide = self.channels

        def linear(width: int = wide, bias: bool = True) -> nn.Linear:
            return nn.Linear(wide, width, bias=bias)

        carrying = plan.carrying(alive)
        met = {(route.target.space, route.writes) for route in carrying if route.writes}
        for route in carrying:
            self.mixes.make(plan.route(route), partial(linear, route.free * wide, bias=False))
            if route.reads:
                self.gates.make(plan.spot(route.source.space, route.reads), linear)
        for spot in plan.graded:
            name, (space, grade) = plan.spot(*spot), spot
            for what in [what for what, there in (("own", alive), ("met", met)) if spot in there]:
                if not plan.grades.linear(space) or (space, -grade) in alive | met:
                    self.contracts.make(f"{name}:{what}", partial(linear, bias=False))
                if not self.last:
                    self.updates.make(f"{name}:{what}", partial(linear, bias=False))
                    self.keeps.make(name, linear)
        for site in plan.sites:
            for name in self._inputs(plan, site, alive | met, carrying):
                self.reads.make(name, linear)
            self.writes.make(plan.owners.space(site), linear)
            self.norms.make(plan.owners.space(site), partial(nn.LayerNorm, wide))

    def _inputs(self, plan: Plan, site: str | None, there: frozenset[Spot], carrying: Sequence[Route]) -> Iterator[str]:
        """Names of what arrives at a site."""
        own = plan.owners.space(site)
        yield f"{own}:own"
        for name, squared in (("carried", False), ("squared", True)):
            if any(r.target.space == site and not r.writes and r.squared == squared for r in carrying):
                yield f"{own}:{name}"
        for space, grade in plan.graded:
            if space == site and (space, grade) in there:
                yield f"{own}:{grade}"
        below = plan.children(site) if self.network or site is not None else []
        below += [space for space in plan.pairs(site) if {(space, 1), (space, -1)} <= there]
        for space in below:
            yield f"{own}<{plan.owners.space(space)}"
        if self._has_above(plan, site):
            yield f"{own}>"

    def _has_above(self, plan: Plan, site: str | None) -> bool:
        """Whether a site reads what stands above it: its parent, or the network where all meet there."""
        if site is None:
            return False
        parent = plan.grades.graph.space(site).parent
        return self.network or (parent is not None and plan.grades.site(parent) is not None)

    def forward(self, state: State, plan: Plan) -> State:
        """Applies the layer."""
        sent = self._sent(state, plan)
        carried, squared = Sum(), Sum()
        for route in plan.routes:
            spot = sent.get((route.source.space, route.reads))
            if spot is not None:
                x = self.mixes.map(plan.route(route), spot)
                weight = state.weights[route.parameter]
                moved = carry(route, weight.square() if route.squared else weight, _split(x, route.free))
                total = squared if route.squared else carried
                total.add(route.target.space, route.writes, moved)
        invariants = self._invariants(state, carried, squared, plan)
        return state.with_({**invariants, **self._graded(state, carried, invariants, plan)})

    def _sent(self, state: State, plan: Plan) -> dict[tuple[str | None, int], Tensor]:
        """What neurons send: invariants activated, graded features gated by them."""
        sent = {(space, 0): functional.relu(x) for space, x in state.invariants}
        for space, grade, x in state.graded:
            site, name = plan.grades.site(space), plan.spot(space, grade)
            if not self.gates.has(name):
                continue  # no weight reads them
            gate = torch.tanh(self.gates.map(name, sent[site, 0]))
            sent[space, grade] = x * down(plan.grades, gate, site, space)
        return sent

    def _joined(self, modules: Modules, name: str, own: Tensor | None, met: Tensor | None) -> Tensor | None:
        """A o + B m, of what is there."""
        there = ((f"{name}:{what}", x) for what, x in (("own", own), ("met", met)) if x is not None)
        parts = [modules.map(each, x) for each, x in there if modules.has(each)]
        return parts[0] if len(parts) == 1 else parts[0] + parts[1] if parts else None

    def _contracted(self, state: State, carried: Sum, plan: Plan) -> dict[tuple[str, int], Tensor]:
        found = {}
        for space, grade in plan.graded:
            x = self._joined(
                self.contracts, plan.spot(space, grade), state.get(space, grade), carried.tensors.get((space, grade))
            )
            if x is not None:
                found[space, grade] = x
        return found

    def _invariants(self, state: State, carried: Sum, squared: Sum, plan: Plan) -> dict[tuple[str | None, int], Tensor]:
        grades, owners = plan.grades, plan.owners
        contracted = self._contracted(state, carried, plan)
        found: dict[tuple[str | None, int], Tensor] = {}
        for site in plan.sites:
            own, old = owners.space(site), state.get(site)
            assert old is not None
            arriving = [(f"{own}:own", functional.relu(old))]
            for name, x in (("carried", carried.tensors.get((site, 0))), ("squared", squared.tensors.get((site, 0)))):
                if x is not None:
                    arriving.append((f"{own}:{name}", x))
            for (space, grade), x in contracted.items():
                if space == site:
                    arriving.append((f"{own}:{grade}", x.abs()))
            for space in plan.pairs(site):
                if (space, 1) in contracted and (space, -1) in contracted:
                    product = contracted[space, 1] * contracted[space, -1]
                    arriving.append((f"{own}<{owners.space(space)}", signed_log(up(grades, product, space, site))))
            for space in plan.children(site) if self.network or site is not None else ():
                below = state.get(space)
                assert below is not None
                arriving.append((f"{own}<{owners.space(space)}", up(grades, functional.relu(below), space, site)))
            if site is not None and self._has_above(plan, site):
                parent = grades.graph.space(site).parent
                above = None if parent is None else grades.site(parent)
                x = state.get(above)
                assert x is not None
                arriving.append((f"{own}>", down(grades, functional.relu(x), above, site)))
            hidden = functional.relu(self._added(arriving))
            x = old + self.writes.map(own, functional.dropout(hidden, self.dropout, self.training))
            found[site, 0] = self.norms.map(own, x)
        return found

    def _added(self, arriving: Sequence[tuple[str, Tensor]]) -> Tensor:
        """The first map of a perceptron on all that arrives; what goes by one name is averaged."""
        counts: dict[str, int] = {}
        for name, _ in arriving:
            counts[name] = counts.get(name, 0) + 1
        parts = [self.reads.map(name, x) / counts[name] for name, x in arriving]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    def _graded(
        self, state: State, carried: Sum, invariants: Mapping[tuple[str | None, int], Tensor], plan: Plan
    ) -> dict[tuple[str | None, int], Tensor]:
        found: dict[tuple[str | None, int], Tensor] = {}
        for space, grade in () if self.last else plan.graded:
            name, old = plan.spot(space, grade), state.get(space, grade)
            new = self._joined(self.updates, name, old, carried.tensors.get((space, grade)))
            if new is None:
                continue
            site = plan.grades.site(space)
            gate = torch.sigmoid(self.keeps.map(name, invariants[site, 0]))
            new = new * down(plan.grades, gate, site, space)
            found[space, grade] = new if old is None else old + new
        return found


def _split(x: Tensor, free: int) -> Tensor:
    """(…, free · channels) to (…, free, channels)."""
    return x.reshape(*x.shape[:-1], free, x.shape[-1] // free)
