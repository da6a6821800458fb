"""Coverage: what was lost lowers it; what no group could move does not."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch
from torch import Tensor, nn

from graphws.checkpoints.conversion import Conversion
from graphws.checkpoints.coverage import coverage, stored_axes
from graphws.graph import NetworkGraph, Operation, Parameter, Space, Storage
from graphws_converters.modules.conversion import convert_module


def _graph(spaces: Iterable[Space], parameters: Iterable[Parameter], unread: str = "") -> NetworkGraph:
    kept = tuple(parameters)
    steps = [Operation("abs", (p.name,), (f"y{k}",)) for k, p in enumerate(kept) if p.name != unread]
    return NetworkGraph(tuple(spaces), kept, tuple(steps))


def _free(name: str, size: int, role: str) -> Space:
    return Space(name, size, "free", role=role)


def _converted(module: nn.Module, *inputs: Tensor) -> Conversion:
    return convert_module(module, inputs, generator=torch.Generator().manual_seed(0))


INPUT, OUTPUT, FIXED, HIDDEN = (_free("in", 3, "input"), _free("out", 2, "output"), _free("fixed4", 4, "fixed"),
                                Space("h", 4, "set"))  # fmt: skip


def test_ends_do_not_count_and_what_is_fixed_counts_half_a_matrix() -> None:
    whole = _graph([INPUT, OUTPUT, HIDDEN], [Parameter("a", "h in*"), Parameter("b", "out h*")])
    assert coverage(whole) == 1.0
    lost = _graph([INPUT, FIXED, HIDDEN], [Parameter("a", "h in*"), Parameter("b", "fixed4 h*")])
    assert coverage(lost) == pytest.approx((12 + 16 / 2) / (12 + 16))
    ends = _graph([INPUT, OUTPUT, HIDDEN], [Parameter("a", "h in*"), Parameter("bias", "out")])
    assert coverage(ends) == pytest.approx(12 / 14), "outputs depend on the last bias, and nothing moves it"


def test_unused_parameters_and_constants_do_not_count() -> None:
    used = Parameter("a", "h in*")
    unused = _graph([INPUT, FIXED, HIDDEN], [used, Parameter("pooler", "fixed4 in*")], unread="pooler")
    assert coverage(unused) == 1.0
    prior = _graph([INPUT, FIXED, HIDDEN], [used, Parameter("prior", "fixed4 in*", "buffer")])
    assert coverage(prior) == 1.0
    read = _graph([INPUT, FIXED, HIDDEN], [used, Parameter("pooler", "fixed4 in*")])
    assert coverage(read) == pytest.approx(0.5), "the same tensor where it is read"
    mean = _graph([INPUT, HIDDEN], [used, Parameter("mean", "h", "buffer")])
    assert coverage(mean) == 1.0
    assert coverage(_graph([FIXED], [Parameter("prior", "fixed4", "buffer")])) == 1.0, "nothing that could follow"


def test_heads_and_their_dimensions_share_a_stored_axis() -> None:
    heads, inside = Space("heads", 3, "set"), _free("fixed4", 4, "fixed")
    rows = Parameter("q", "heads fixed4 in*", storage=Storage("q", (12, 3)))
    graph = _graph([heads, inside, INPUT], [rows])
    assert list(stored_axes(graph, rows)) == [[0, 1], [2]]
    assert coverage(graph) == 1.0, "positions turn the dimensions, the heads still follow"
    lost = Parameter("q", "fixed12 h*", storage=Storage("q", (12, 4)))
    assert coverage(_graph([_free("fixed12", 12, "fixed"), HIDDEN], [lost])) == 0.5


def test_a_stored_tensor_without_elements_does_not_count() -> None:
    """MobileBERT's head has one where two of its sizes are equal."""
    none = _free("none", 0, "fixed")
    empty = Parameter("extra", "none h*", storage=Storage("extra", (0, 4)))
    assert coverage(_graph([none, INPUT, HIDDEN], [Parameter("a", "h in*"), empty])) == 1.0


class Pooled(nn.Module):
    """Two layers, a third that nothing reads, and a prior that is added to the hidden values."""

    def __init__(self, sorts: bool = False) -> None:
        super().__init__()
        self.first, self.second, self.pooler = nn.Linear(3, 8), nn.Linear(8, 6), nn.Linear(8, 8)
        self.last, self.sorts = nn.Linear(6, 2, bias=False), sorts
        self.register_buffer("prior", torch.linspace(0, 1, 3))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.first(x + self.prior))
        h = torch.cumsum(h, -1) if self.sorts else h
        return self.last(torch.tanh(self.second(h)))


def test_a_converted_network_says_what_was_lost() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = _converted(Pooled(), torch.randn(5, 3))
        lost = _converted(Pooled(sorts=True), torch.randn(5, 3))
    assert found.coverage == 1.0, "neither the pooler nor the prior counts"
    assert lost.coverage == pytest.approx((48 / 2 + 6 + 12) / 98), "the first layer is lost, and half of the second"


def test_lost_heads_lower_it() -> None:
    class Heads(nn.Module):
        def __init__(self, told: bool) -> None:
            super().__init__()
            self.embed, self.into, self.out = nn.Linear(5, 12), nn.Linear(12, 12), nn.Linear(12, 3, bias=False)
            self.told = told

        def forward(self, x: Tensor) -> Tensor:
            h = self.into(self.embed(x)).view(-1, 3, 4)
            h = torch.cumsum(h.flatten(1), -1).view(-1, 3, 4) if self.told else h
            return self.out(torch.tanh(h).flatten(1))

    with torch.random.fork_rng():
        torch.manual_seed(0)
        kept, lost = (_converted(Heads(told), torch.randn(4, 5)).coverage for told in (False, True))
    assert kept == 1.0
    assert lost < 0.75
