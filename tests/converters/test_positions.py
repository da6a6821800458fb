"""Positions do not move with neurons: tables of them, and ties that are decided by them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from graphws.checkpoints.conversion import Conversion
from graphws_converters.modules.conversion import convert_module
from tests.converters.networks import seeded


def _table(h: Tensor) -> Tensor:
    return torch.arange(8, dtype=h.dtype)


LOOK_UPS: dict[str, Callable[[Tensor], Tensor]] = {
    "gather": lambda h: _table(h).expand_as(h).gather(-1, h.argmax(-1, keepdim=True)),
    "take_along_dim": lambda h: torch.take_along_dim(_table(h).expand_as(h), h.argmax(-1, keepdim=True), -1),
    "embedding": lambda h: functional.embedding(h.argmax(-1), _table(h)[:, None]),
    "index": lambda h: _table(h)[h.argmax(-1)][:, None],
    "index_select": lambda h: _table(h).index_select(0, h.argmax(-1))[:, None],
    "one_hot": lambda h: (functional.one_hot(h.argmax(-1), 8) * _table(h)).sum(-1, keepdim=True),
    "a table of tables": lambda h: _table(h)[torch.arange(8)[h.argmax(-1)]][:, None],
    "topk": lambda h: h.topk(1, -1).indices.to(h.dtype),
}


class Net(nn.Module):
    """Two layers; something is read off the hidden one and added to the outputs."""

    def __init__(self, extra: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.extra = nn.Linear(5, 8), nn.Linear(8, 3), extra

    def forward(self, x: Tensor) -> Tensor:
        h = torch.sigmoid(self.a(x))
        return self.b(h) + (h.amax(-1, keepdim=True) > 2) * self.extra(h)


def _convert(extra: Callable[[Tensor], Tensor], front: str = "auto") -> Conversion:
    x = torch.randn(4, 5, generator=torch.Generator().manual_seed(3)).double()
    module = seeded(lambda: Net(extra)).double()
    return convert_module(module, x, generator=torch.Generator().manual_seed(0), front=front)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", LOOK_UPS)
def test_a_position_as_a_number_gives_the_order_away(name: str) -> None:
    for front in ("export", "recorder"):
        assert not any(space.moves for space in _convert(LOOK_UPS[name], front).graph.spaces)


def test_values_of_neurons_by_their_positions_do_not() -> None:
    found = _convert(lambda h: h.gather(-1, h.argmax(-1, keepdim=True)))
    assert found.verified
    assert [space.size for space in found.graph.spaces if space.moves] == [8]


@pytest.mark.parametrize("choice", ["topk", "argmax", "sort", "max"])
def test_a_choice_among_neurons_says_that_ties_break_it(choice: str) -> None:
    chosen: dict[str, Callable[[Tensor], Tensor]] = {
        "topk": lambda h: h.topk(2, -1).indices,
        "argmax": lambda h: h.argmax(-1, keepdim=True),
        "sort": lambda h: h.sort(-1).indices[:, :1],
        "max": lambda h: h.max(-1, keepdim=True).indices,
    }
    found = _convert(lambda h: (2 * h).gather(-1, chosen[choice](h)).sum(-1, keepdim=True))
    assert found.verified
    text = f"a tie in {choice} (1 times) is decided by position: relabellings hold where no two chosen from are equal"
    assert text in found.notes
    assert not any("a tie" in note for note in _convert(lambda h: h.sort(-1).values[:, :1]).notes)
