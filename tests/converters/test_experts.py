"""Experts have neurons of their own: what is nested in experts stays so where an index chooses them, and only there.

Each network says its group; the neurons of one expert alone are permuted by hand, which is the independent reference.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from graphws.checkpoints.conversion import Conversion
from graphws.graph import Action
from graphws_converters.algebra.choices import Choice
from graphws_converters.modules.conversion import convert_module
from graphws_converters.primitives.arranging import groups

NEURONS, COUNT = 5, 3
Mixing = Callable[["Gated", Tensor, Tensor, Tensor], Tensor]


class Gated(nn.Module):
    """Gated experts in stacked tensors; `mixing` says how they are run."""

    def __init__(self, mixing: Mixing) -> None:
        super().__init__()
        self.embed, self.router, self.head = nn.Linear(6, 4), nn.Linear(4, COUNT, bias=False), nn.Linear(4, 3)
        self.gate, self.up = (nn.Parameter(torch.randn(COUNT, 4, NEURONS)) for _ in range(2))
        self.down, self.mixing = nn.Parameter(torch.randn(COUNT, NEURONS, 4)), mixing

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        best, which = self.router(x).softmax(-1).topk(2, -1)
        return self.head(self.mixing(self, x, best, which))

    def hidden(self, x: Tensor, which: Tensor) -> Tensor:
        """What the neurons of chosen experts hold, (tokens, chosen, neurons)."""
        gate = torch.einsum("bd,bkdh->bkh", x, self.gate[which])
        return functional.silu(gate) * torch.einsum("bd,bkdh->bkh", x, self.up[which])

    def out(self, h: Tensor, best: Tensor, which: Tensor) -> Tensor:
        """What they write, weighed, (tokens, width)."""
        return (best.unsqueeze(-1) * torch.einsum("bkh,bkhd->bkd", h, self.down[which])).sum(1)


def _chosen(m: Gated, x: Tensor, best: Tensor, which: Tensor) -> Tensor:
    return m.out(m.hidden(x, which), best, which)


def _flat(m: Gated, x: Tensor, best: Tensor, which: Tensor) -> Tensor:
    """A batch of products over one long index, and reshapes of it made twice."""
    tokens, first, again = x.repeat_interleave(2, 0).unsqueeze(1), which.reshape(-1), which.flatten()
    h = functional.silu(tokens @ m.gate[first]) * (tokens @ m.up[again])
    return (best.unsqueeze(-1) * (h @ m.down[first]).view(-1, 2, 4)).sum(1)


def _halves(m: Gated, x: Tensor, best: Tensor, which: Tensor) -> Tensor:
    """Gate and up side by side in one tensor, cut after the product."""
    both = torch.cat([m.gate, m.up], -1)[which]
    gate, up = torch.einsum("bd,bkdh->bkh", x, both).chunk(2, -1)
    return m.out(functional.silu(gate) * up, best, which)


def _selected(m: Gated, x: Tensor, best: Tensor, which: Tensor) -> Tensor:
    first = which[:, 0]
    gate, up = (torch.einsum("bd,bdh->bh", x, w.index_select(0, first)) for w in (m.gate, m.up))
    return best[:, :1] * torch.einsum("bh,bhd->bd", functional.silu(gate) * up, m.down.index_select(0, first))


def _embedded(m: Gated, x: Tensor, best: Tensor, which: Tensor) -> Tensor:
    first = which[:, 0]
    gate, up = (functional.embedding(first, w.flatten(1)).view(-1, 4, NEURONS) for w in (m.gate, m.up))
    h = functional.silu(torch.einsum("bd,bdh->bh", x, gate)) * torch.einsum("bd,bdh->bh", x, up)
    return best[:, :1] * torch.einsum("bh,bhd->bd", h, m.down[first])


def _gathered(m: Gated, x: Tensor, best: Tensor, which: Tensor) -> Tensor:
    """All experts run, then the chosen ones are gathered."""
    gate, up = (torch.einsum("bd,edh->beh", x, w) for w in (m.gate, m.up))
    h = (functional.silu(gate) * up).gather(1, which.unsqueeze(-1).expand(-1, -1, NEURONS))
    return m.out(h, best, which)


def _listed(m: Gated, x: Tensor, best: Tensor, which: Tensor) -> Tensor:
    """The index is put together from two."""
    return _chosen(m, x, best, torch.cat([which[:, :1], which[:, 1:]], 1))


def _picked(m: Gated, x: Tensor, best: Tensor, which: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    for k, (gate, down) in enumerate(zip(m.gate.unbind(0), m.down.unbind(0), strict=True)):
        y = y + m.router(x).softmax(-1)[:, k : k + 1] * ((functional.silu(x @ gate) * (x @ m.up[k])) @ down)
    return y


NESTED = {"chosen": _chosen, "flat": _flat, "halves": _halves, "selected": _selected, "embedded": _embedded,
          "gathered": _gathered, "listed": _listed}  # fmt: skip


def _other(m: Gated, x: Tensor, best: Tensor, which: Tensor) -> Tensor:
    """What the first expert's neurons hold is read by the second."""
    return m.out(m.hidden(x, which[:, :1]), best[:, 1:], which[:, 1:])


def _turned(m: Gated, x: Tensor, best: Tensor, which: Tensor) -> Tensor:
    """As many tokens as experts for each: an index and its transpose have one shape."""
    return m.out(m.hidden(x, which), best, which.T)


def _added(m: Gated, x: Tensor, best: Tensor, which: Tensor) -> Tensor:
    """Neurons of the experts of all tokens are added up."""
    h = m.hidden(x, which)
    return m.out(h + h.mean(0, keepdim=True), best, which)


def _flipped(m: Gated, x: Tensor, best: Tensor, which: Tensor) -> Tensor:
    return m.out(m.hidden(x, which).flip(1), best, which)


def _compared(m: Gated, x: Tensor, best: Tensor, which: Tensor) -> Tensor:
    """Neurons of the same number are compared across experts."""
    return m.out(m.hidden(x, which).softmax(1), best, which)


def _shared(m: Gated, x: Tensor, best: Tensor, which: Tensor) -> Tensor:
    """The neurons of the chosen expert multiply those of every expert."""
    h = torch.einsum("bd,bdh->bh", x, m.up[which[:, 0]])
    return torch.einsum("beh,ehd->bd", torch.tanh(torch.einsum("bd,edh->beh", x, m.gate) * h.unsqueeze(1)), m.down)


def _crossed(m: Gated, x: Tensor, best: Tensor, which: Tensor) -> Tensor:
    """Every expert meets every other: the experts are two axes of one tensor."""
    h = torch.einsum("bd,edh->beh", x, m.gate)
    pairs = torch.tanh(h.unsqueeze(1) * h.unsqueeze(2)).sum((1, 2, 3)).unsqueeze(-1)
    return pairs * _chosen(m, x, best, which)


MIXED = {"other": _other, "turned": _turned, "added": _added, "flipped": _flipped, "compared": _compared,
         "shared": _shared, "crossed": _crossed}  # fmt: skip


def _built(mixing: Mixing) -> tuple[Gated, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Gated(mixing).double(), torch.randn(2 if mixing is _turned else 7, 6, dtype=torch.float64)


def _own_permutation(module: Gated, x: Tensor, expert: int) -> float:
    """The change of the outputs where the neurons of one expert alone are permuted, by hand."""
    with torch.no_grad():
        before = module(x)
        order = torch.arange(NEURONS).roll(1)
        for weight in (module.gate, module.up):
            weight[expert] = weight[expert][:, order]
        module.down[expert] = module.down[expert][order]
        return float((module(x) - before).norm() / before.norm())


def _verified(module: Gated, x: Tensor, front: str) -> Conversion:
    found = convert_module(module, x, generator=torch.Generator().manual_seed(1), front=front)  # type: ignore[arg-type]
    assert found.verification is not None, found.verdict
    return found


@pytest.mark.parametrize("front", ["export", "recorder"])
@pytest.mark.parametrize("name", NESTED)
def test_each_expert_permutes_its_own_neurons(name: str, front: str) -> None:
    module, x = _built(NESTED[name])
    found = _verified(module, x, front)
    assert f"S_{NEURONS} wr S_{COUNT}" in found.graph.group().factors
    assert not any(check.verdict == "refuted" for check in found.actions)
    (space,) = (space for space in found.graph.spaces if space.parent is not None)
    assert space.action is Action.MONOMIAL, "what `up` is multiplied by, `down` is divided by"
    assert max(_own_permutation(module, x, k) for k in range(COUNT)) < 1e-12


@pytest.mark.parametrize("front", ["export", "recorder"])
@pytest.mark.parametrize("name", MIXED)
def test_neurons_of_different_experts_that_meet_share_one_permutation(name: str, front: str) -> None:
    module, x = _built(MIXED[name])
    found = _verified(module, x, front)
    factors = found.graph.group().factors
    assert f"S_{NEURONS}" in factors
    assert not any(" wr " in factor for factor in factors)
    assert max(_own_permutation(module, x, k) for k in range(COUNT)) > 1e-3, "the larger group would be wrong"


def test_experts_that_are_picked_by_their_numbers_have_sets_of_their_own() -> None:
    module, x = _built(_picked)
    found = convert_module(module, x, generator=torch.Generator().manual_seed(1))
    assert found.verification is not None, found.verdict
    assert found.graph.group().factors.count(f"S_{NEURONS}") == COUNT
    assert max(_own_permutation(module, x, k) for k in range(COUNT)) < 1e-12


def test_neurons_of_picked_experts_that_are_added_share_one_set() -> None:
    def added(m: Gated, x: Tensor, best: Tensor, which: Tensor) -> Tensor:
        h = sum(functional.silu(x @ m.gate[k]) * (x @ m.up[k]) for k in range(COUNT))
        return torch.as_tensor(h) @ m.down[0] + torch.as_tensor(h) @ m.down[1]

    module, x = _built(added)
    found = convert_module(module, x, generator=torch.Generator().manual_seed(1))
    assert found.verification is not None, found.verdict
    assert found.graph.group().factors.count(f"S_{NEURONS}") == 1
    assert _own_permutation(module, x, 0) > 1e-3


def test_tasks_that_the_caller_names_have_neurons_of_their_own() -> None:
    class Tasks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.down = nn.Parameter(torch.randn(3, 6, 5)), nn.Parameter(torch.randn(3, 5, 2))

        def forward(self, x: Tensor, task: Tensor) -> Tensor:
            return torch.einsum("bh,bhd->bd", torch.tanh(torch.einsum("bi,bih->bh", x, self.up[task])), self.down[task])

    with torch.random.fork_rng():
        torch.manual_seed(0)
        inputs = torch.randn(8, 6), torch.arange(8) % 3
        found = convert_module(Tasks(), inputs, generator=torch.Generator().manual_seed(1))
    assert found.verification is not None, found.verdict
    assert found.graph.group().factors == ("S_5", "S_5", "S_5")


def test_a_choice_follows_views_and_nothing_else() -> None:
    index = Choice.of((4, 3))
    table = index.arranged([0, 1, None])
    assert table is not None
    long = table.reshaped(groups((4, 3, 5), (12, 5)), (12, 5))
    assert long is not None
    back = long.reshaped(groups((12, 5), (4, 3, 5)), (4, 3, 5))
    assert back is not None
    assert back.same(table)
    turned = table.arranged([1, 0, 2])
    assert turned is not None
    assert not turned.same(table)
    assert not Choice.of((4, 3)).same(index), "two indices of one shape are two"
    assert table.arranged([0, 2]) is None, "an axis that it varies along is gone"
    assert table.arranged([0, 0, 1]) is None, "or there twice"
    assert table.reshaped(groups((4, 3, 5), (4, 15)), (4, 15)) is None, "or merged with what it knows nothing of"
