"""The way back: weights of the same graph from features of neurons, where the answer is a network.

A weight that joins two neurons answers to both.  So does a product of their features of its grades: Σ_c o_i^c o_j^c,
and so does the weight itself times any invariant of the two.  An entry is the sum of both; the scales that were divided
out before the layers are multiplied back after them.  Nothing the size of (entries × channels) is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from graphws.graph import Weights
from graphws.layers.acting.grades import Place
from graphws.layers.graded.operands import rescaled
from graphws.layers.graded.owners import Modules
from graphws.layers.graded.plan import Plan
from graphws.layers.graded.state import State


class Exit(nn.Module):
    """Networks from features.

    Args:
        plans: One for each graph that may come.
        channels: Channels of every feature.
        networks: How many networks are returned for one.
        init_scale: Factor on what is added to the networks that came, which are the answer where it is 0.

    Shapes:
        State, Weights (batch) -> Weights (batch · networks), those for one network next to each other.
    """

    def __init__(self, plans: Sequence[Plan], channels: int, networks: int = 1, init_scale: float = 1.0) -> None:
        super().__init__()
        self.networks, self.rank = networks, channels
        self.adds, self.multiplies = Modules(), Modules()
        for plan in plans:
            for parameter in plan.grades.graph.parameters:
                free = plan.grades.graph.layout(parameter.name).free * networks
                for kind, modules in (("add", self.adds), ("multiply", self.multiplies)):
                    names = list(self._names(plan, parameter.name, kind))
                    for k, (name, graded) in enumerate(names):
                        last = k + 1 == len(names)
                        width = self.rank * (free if last else 1)
                        modules.make(name, partial(_linear, channels, width, not graded, init_scale if last else 1.0))

    def _names(self, plan: Plan, parameter: str, kind: str) -> Iterator[tuple[str, bool]]:
        """For each place of a parameter the name of its map, and whether what it reads has a grade."""
        owner, places = plan.owners.parameter(parameter), plan.grades.places(parameter)
        for k, place in enumerate(places):
            yield f"{owner}:{k}", bool(place.grade) and kind == "add"
        if not places:
            yield f"{owner}:0", False

    def forward(self, state: State, weights: Weights, plan: Plan) -> Weights:
        """The networks."""
        found = {}
        sizes = {space: size.repeat_interleave(self.networks, 0) for space, size in state.weights.sizes.items()}
        for name, x in weights.items():
            if name not in state.weights.tensors:  # whole numbers stay as they are
                found[name] = x.repeat_interleave(self.networks, 0)
                continue
            layout = plan.grades.graph.layout(name)
            whole = state.weights[name].unsqueeze(-2)  # (batch, *index axes, 1, free)
            factor = self._product(state, plan, name, self.multiplies, graded=False)
            added = self._product(state, plan, name, self.adds, graded=True)
            new = whole if factor is None else whole * (1 + factor)
            new = (new if added is None else new + added).movedim(-2, 1)
            new = new.expand(len(x), self.networks, *new.shape[2:]).flatten(0, 1)
            found[name] = layout.unfold(rescaled(plan.grades, new, name, sizes, 1), plan.grades.graph.shape(name))
        return Weights(weights.graph, found)

    def _product(self, state: State, plan: Plan, name: str, modules: Modules, graded: bool) -> Tensor | None:
        """Products of features of all places of a parameter, (batch, *index axes, networks, free)."""
        letters, places = plan.grades.letters(name), plan.grades.places(name)
        owner, free = plan.owners.parameter(name), plan.grades.graph.layout(name).free
        if not places:
            feature = state.get(None)
            assert feature is not None
            x = modules.map(f"{owner}:0", feature).unflatten(-1, (self.rank, self.networks, free))
            total: Tensor = x.sum(1)
            return total
        factors = [self._feature(state, plan, place, graded) for place in places]
        terms, operands = [], []
        for k, (kept, x) in enumerate(factors):
            if x is None:
                return None
            mixed = modules.map(f"{owner}:{k}", x)
            last = k + 1 == len(factors)
            terms.append(f"z{kept}r" + ("xy" if last else ""))
            operands.append(mixed.unflatten(-1, (self.rank, self.networks, free)) if last else mixed)
        missing = [k for k, letter in enumerate(letters) if not any(letter in kept for kept, _ in factors)]
        kept = "".join(letter for k, letter in enumerate(letters) if k not in missing)
        product = torch.einsum(f"{','.join(terms)}->z{kept}xy", *operands) / self.rank**0.5
        for k in missing:
            product = product.unsqueeze(k + 1)
        result: Tensor = product
        return result

    def _feature(self, state: State, plan: Plan, place: Place, graded: bool) -> tuple[str, Tensor | None]:
        """What stands at a place: features of its grade, or the invariants there or above."""
        grades = plan.grades
        if graded and place.grade:
            return place.letters, state.get(place.space, place.grade)
        site = grades.site(place.space)
        count = 0 if site is None else len(grades.sizes(site))
        return place.letters[:count], state.get(site)


def _linear(inputs: int, outputs: int, bias: bool, scale: float) -> nn.Linear:
    made = nn.Linear(inputs, outputs, bias=bias)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(scale)
    return made
