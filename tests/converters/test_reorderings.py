"""Constants that reorder hidden neurons hide nothing: the group is the one that enumeration finds, and no larger.

Each network is Linear 3 -> 6, tanh, a reordering, Linear.  The oracle knows the reordering as a function only: it
counts the pairs (p, q) of a permutation of the 6 neurons and one of the reader's columns that leave the function alone.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from graphws.checkpoints.conversion import Conversion
from graphws.errors import VerificationError
from graphws.graph import NetworkGraph, Weights
from graphws_converters.algebra.dims import Dim
from graphws_converters.modules.conversion import convert_module
from graphws_converters.primitives import arranging
from tests.graph import samples

WIDTH = 6
Reordering = Callable[[Tensor], Tensor]
WHOLE: dict[str, Reordering] = {
    "index by a list": lambda h: h[..., [3, 5, 0, 1, 4, 2]],
    "index_select": lambda h: h.index_select(1, torch.tensor([1, 0, 3, 2, 5, 4])),
    "computed positions": lambda h: h[:, (torch.arange(6) * 5 + 1) % 6],
    "embedding": lambda h: functional.embedding(torch.tensor([5, 3, 1, 0, 2, 4]), h.T).T,
    "gather": lambda h: h.gather(1, torch.tensor([2, 0, 1, 5, 4, 3]).expand(h.shape[0], 6)),
    "take_along_dim": lambda h: h.take_along_dim(torch.tensor([[4, 0, 1, 5, 2, 3]]), 1),
    "flip": lambda h: h.flip(1),
    "roll": lambda h: h.roll(-2, 1),
    "rot90": lambda h: torch.rot90(h.view(-1, 3, 2), 1, (1, 2)).flatten(1),
    "halves exchanged": lambda h: torch.cat([h[:, 2:], h[:, :2]], 1),
    "strided slices": lambda h: torch.cat([h[:, ::2], h[:, 1::2]], 1),
    "interleaved": lambda h: torch.stack(h.chunk(2, 1), 2).flatten(1),
    "channel shuffle": lambda h: functional.channel_shuffle(h[:, :, None, None], 2)[:, :, 0, 0],
    "windows": lambda h: h.unfold(1, 3, 3).transpose(1, 2).flatten(1),
    "two in a row": lambda h: h[:, [1, 2, 0, 3, 5, 4]].sin()[:, [5, 0, 1, 4, 3, 2]],
}
PARTIAL: dict[str, Reordering] = {
    "some": lambda h: h[:, [4, 0, 2]],
    "a mask": lambda h: h[:, torch.tensor([True, False, True, True, False, False])],
    "every third": lambda h: h[:, ::3],
    "two of them twice": lambda h: h[:, [0, 1, 2, 3, 4, 5, 0, 1]],
    "each of them twice": lambda h: h.repeat_interleave(2, 1),
    "a shuffle cut off": lambda h: h.view(-1, 2, 3).transpose(1, 2).reshape(-1, 6)[:, :2],
    "halves treated apart": lambda h: torch.cat([h[:, ::2].exp(), h[:, 1::2]], 1),
}


class Reader(nn.Module):
    """A layer that reads what a reordering made of another."""

    def __init__(self, reorder: Reordering) -> None:
        super().__init__()
        self.reorder = reorder
        self.into = nn.Linear(3, WIDTH)
        self.out = nn.Linear(reorder(torch.zeros(2, WIDTH)).shape[1], 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.reorder(torch.tanh(self.into(x))))


def _found(reorder: Reordering) -> tuple[nn.Module, Conversion]:
    torch.manual_seed(0)
    module = Reader(reorder).double()
    inputs = torch.randn(5, 3, dtype=torch.float64)
    return module, convert_module(module, inputs, generator=torch.Generator().manual_seed(1))


def _counted(reorder: Reordering) -> int:
    """How many pairs of permutations, of neurons and of columns, no reader can notice."""
    hidden = torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def columns(x: Tensor) -> Counter[tuple[float, ...]]:
        return Counter(tuple(column) for column in reorder(x).T.tolist())

    before = columns(hidden)
    same = math.prod(math.factorial(n) for n in before.values())
    return same * sum(columns(hidden[:, p]) == before for p in itertools.permutations(range(WIDTH)))


@pytest.mark.parametrize("name", [*WHOLE, *PARTIAL])
def test_the_group_is_the_one_that_enumeration_finds(name: str) -> None:
    reorder = {**WHOLE, **PARTIAL}[name]
    module, found = _found(reorder)
    assert found.verification is not None, found.verdict
    assert found.verification.error < 1e-12
    assert found.verification.control > 1e-3
    order = round(10 ** found.graph.log10_order())
    assert order == _counted(reorder)
    assert (order == math.factorial(WIDTH)) == (name in WHOLE)
    assert found.runs is not None
    assert found.runs.error is not None, found.runs.reason
    assert found.runs.error < 1e-12
    assert isinstance(found.weights, Weights)
    state, back = module.state_dict(), found.weights.to_state_dict()
    assert all(samples.bits(back[key], value) for key, value in state.items())
    assert NetworkGraph.from_json(found.graph.to_json()) == found.graph


SMALLER: dict[str, tuple[Reordering, int]] = {
    "beside itself in pairs": (lambda h: h + h[:, [1, 0, 3, 2, 5, 4]], 6),
    "beside itself in one cycle": (lambda h: h + h.roll(1, 1), 1),
}


@pytest.mark.parametrize("name", ["beside itself in pairs", "beside itself in one cycle"])
def test_neurons_that_meet_each_other_in_another_order_are_tied(name: str) -> None:
    """Whole cycles may change places, and single neurons may not: S_6 would be refused."""
    reorder, order = SMALLER[name]
    _, found = _found(reorder)
    assert round(10 ** found.graph.log10_order()) == order
    assert _counted(reorder) % order == 0


def test_the_gate_refuses_a_rule_that_forgets_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader whose columns were taken to follow the neurons as they stand."""
    monkeypatch.setattr(arranging, "pick", lambda dim, order: dim if len(order) == dim.size else Dim(len(order)))
    with pytest.raises(VerificationError, match="a random element changes the outputs"):
        _found(WHOLE["index by a list"])


def test_scales_follow_through_another_order() -> None:
    class Rectified(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.into, self.inner, self.out = nn.Linear(3, 6), nn.Linear(6, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            hidden = torch.relu(self.into(x)).roll(2, 1)
            return self.out(torch.relu(self.inner(torch.cat([hidden[:, 3:], hidden[:, :3]], 1))))

    torch.manual_seed(0)
    found = convert_module(
        Rectified().double(), torch.randn(20, 3).double(), generator=torch.Generator().manual_seed(1)
    )
    assert found.verified
    assert [(str(s.action), s.size) for s in found.graph.spaces if s.moves] == [("scaling", 6), ("scaling", 4)]
    assert {check.verdict for check in found.actions} == {"confirmed"}
    storage = found.graph.parameter("inner.weight").storage
    assert storage is not None
    assert storage.orders[0] == ()
    assert sorted(storage.orders[1]) == list(range(6))
    assert storage.orders[1] != tuple(range(6))


class FusedHeads(nn.Module):
    """Attention of four queries that share one key and one value, from one projection that constants take apart."""

    def __init__(self) -> None:
        super().__init__()
        self.fused, self.out = nn.Linear(8, 6 * 4), nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        fused = self.fused(x).view(batch, length, 6, 4)
        query, key, value = (part.transpose(1, 2) for part in (fused[:, :, :-2], fused[:, :, [-2]], fused[:, :, [-1]]))
        mixed = torch.softmax(query @ key.transpose(2, 3) * torch.arange(1.0, 5.0, dtype=x.dtype), -1) @ value
        return self.out(mixed.transpose(1, 2).reshape(batch, length, 16))


def test_a_fused_projection_is_taken_apart_by_constants() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 4, 8, dtype=torch.float64)
    found = convert_module(FusedHeads().double(), x, generator=torch.Generator().manual_seed(1))
    assert found.verified
    assert found.graph.group().factors == ("S_4", "S_4", "S_4")  # heads, what queries and keys share, what values hold
    assert [p.name for p in found.graph.parameters if p.name.startswith("fused.weight")] == [
        "fused.weight[0]", "fused.weight[1]", "fused.weight[2]"
    ]  # fmt: skip


LOOK_ALIKES: dict[str, Reordering] = {
    "constants beside neurons": lambda h: torch.cat([h[:, 3:], torch.arange(3.0, dtype=h.dtype).expand(len(h), 3)], 1),
    "places told by numbers": lambda h: h.gather(1, h.argsort(1).argsort(1).flip(1)),
}


@pytest.mark.parametrize("name", LOOK_ALIKES)
def test_what_only_looks_like_a_reordering_is_none(name: str) -> None:
    _, found = _found(LOOK_ALIKES[name])
    assert found.graph.log10_order() <= math.log10(math.factorial(3) ** 2) + 1e-9
