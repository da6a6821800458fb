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

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from graphws.layers.acting.routes import carry
from graphws.layers.graded.owners import Modules
from graphws.layers.graded.plan import Plan
from graphws.layers.graded.state import State, Sum, down, signed_log, up


class ActingLayer(nn.Module):
    """One layer.

    Args:
        plans: One for each graph that may come; what is learned goes by their owners.
        channels: Channels of every feature.
        dropout: Share of invariants set to zero in training.
        network: Whether all neurons meet in features of the network.

    Shapes:
        State -> State.
    """

    def __init__(self, plans: Sequence[Plan], channels: int, dropout: float = 0.0, network: bool = True) -> None:
        super().__init__()
        self.channels, self.dropout, self.network = channels, dropout, network
        self.mixes, self.gates, self.keeps = Modules(), Modules(), Modules()
        self.contracts, self.updates, self.reads, self.writes, self.norms = (Modules() for _ in range(5))
        for plan in plans:
            self._build(plan)

    def _build(self, plan: Plan) -> None:
        wide = self.channels

        def linear(width: int = wide, bias: bool = True) -> nn.Linear:
            return nn.Linear(wide, width, bias=bias)

        for route in plan.routes:
            self.mixes.make(plan.route(route), partial(linear, route.free * wide, bias=False))
        for space, grade in plan.graded:
            name = plan.spot(space, grade)
            self.gates.make(name, linear)
            self.keeps.make(name, linear)
            for what in ("own", "met"):
                self.contracts.make(f"{name}:{what}", partial(linear, bias=False))
                self.updates.make(f"{name}:{what}", partial(linear, bias=False))
        for site in plan.sites:
            for name in self._inputs(plan, site):
                self.reads.make(name, linear)
            self.writes.make(plan.owners.space(site), linear)
            self.norms.make(plan.owners.space(site), partial(nn.LayerNorm, wide))

    def _inputs(self, plan: Plan, site: str | None) -> list[str]:
        """Names of what may arrive at a site."""
        own = plan.owners.space(site)
        names = [f"{own}:own", f"{own}:carried", f"{own}:squared"]
        names += [f"{own}:{grade}" for space, grade in plan.graded if space == site]
        names += [f"{own}<{plan.owners.space(space)}" for space in (*plan.children(site), *plan.pairs(site))]
        if site is not None:
            names.append(f"{own}>")
        return names

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
            site = plan.grades.site(space)
            gate = torch.tanh(self.gates.map(plan.spot(space, grade), sent[site, 0]))
            sent[space, grade] = x * down(plan.grades, gate, site, space)
        return sent

    def _joined(self, modules: Modules, name: str, own: Tensor | None, met: Tensor | None) -> Tensor | None:
        """A o + B m, of what is there."""
        parts = [modules.map(f"{name}:{what}", x) for what, x in (("own", own), ("met", met)) if x is not None]
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
            if site is not None and (self.network or grades.graph.space(site).parent is not None):
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
        for space, grade in plan.graded:
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
