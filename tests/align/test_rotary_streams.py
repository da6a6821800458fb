"""Queries and keys under rotary positions: turned pair by pair they come back; what is no such turn is refused."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from graphws.align import align
from graphws.align.orthogonal import match_streams, refine
from graphws.converting import convert
from graphws.errors import GraphError
from graphws.graph import GroupElement, LinearMap, Weights
from graphws.operations import outputs_of
from graphws.operations.rms_form import rms_form
from graphws.operations.rotary_pairs import _Trial, rotary_pairs
from graphws.operations.sampling import random_weights
from tests.align.cases import distance
from tests.align.transformers import ViT


class Turned(nn.Module):
    """Blocks of rotary attention: neighbours or halves as pairs, of all dimensions or the first, grouped or not."""

    def __init__(
        self,
        layout: str = "halves",
        groups: int = 4,
        part: int = 4,
        bias: bool = False,
        size: int = 4,
        bent: bool = False,
    ) -> None:
        super().__init__()
        self.layout, self.groups, self.part, self.size, self.bent = layout, groups, part, size, bent
        self.embed, self.last, self.head = nn.Linear(3, 16), nn.RMSNorm(16), nn.Linear(16, 2)
        self.norms = nn.ModuleList(nn.RMSNorm(16) for _ in range(2))
        self.q, self.o = (nn.ModuleList(nn.Linear(16, 16, bias=bias) for _ in range(2)) for _ in range(2))
        self.k, self.v = (nn.ModuleList(nn.Linear(16, size * groups, bias=bias) for _ in range(2)) for _ in range(2))
        self.register_buffer("speed", 10.0 ** -torch.arange(part // 2), persistent=False)

    def turn(self, x: Tensor) -> Tensor:
        angle = torch.arange(x.shape[2])[:, None] * self.speed
        cos, sin = angle.cos(), angle.sin()
        x, rest = x[..., : self.part], x[..., self.part :]
        if self.layout == "halves":
            a, b = x.chunk(2, -1)
            x = torch.cat([a * cos - b * sin, a * sin + b * cos], -1)
        else:
            a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
            x = torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)
        return torch.cat([x, rest], -1) if self.part < self.size else x

    def attend(self, k: int, y: Tensor) -> Tensor:
        q = self.q[k](y).unflatten(-1, (-1, self.size)).transpose(1, 2)
        key, value = (f[k](y).unflatten(-1, (self.groups, self.size)).transpose(1, 2) for f in (self.k, self.v))
        key = self.turn(key)
        if self.bent:  # entry by entry: no pair may be turned
            key = torch.tanh(key)
        key, value = (x.repeat_interleave(q.shape[1] // self.groups, 1) for x in (key, value))
        out: Tensor = functional.scaled_dot_product_attention(self.turn(q), key, value).transpose(1, 2).flatten(2)
        return out

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        for k, norm in enumerate(self.norms):
            x = x + self.o[k](self.attend(k, norm(x)))
        out: Tensor = self.head(self.last(x))
        return out


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@lru_cache(maxsize=8)
def network(
    layout: str = "halves", groups: int = 4, part: int = 4, bias: bool = False, size: int = 4, bent: bool = False
) -> Weights:
    torch.manual_seed(0)
    graph = convert(Turned(layout, groups, part, bias, size, bent).eval(), torch.randn(4, 5, 3)).graph
    return random_weights(graph, 1, rng(1)).map(lambda t: t + 0.2 * torch.randn(t.shape, generator=rng(2)).to(t))


def points() -> Tensor:
    return torch.randn(20, 5, 3, generator=rng(5), dtype=torch.float64)


def planted(first: Weights, seed: int) -> Weights:
    """The same function: heads, values, stream moved, and every pair of queries and keys turned and scaled."""
    form = rms_form(first)
    graph = form.weights.graph
    maps = dict(graph.group().random(rng(seed), actions="rich").maps)
    for name in form.streams:
        size = graph.extent(name)
        maps[name] = LinearMap(torch.linalg.qr(torch.randn(size, size, generator=rng(4), dtype=torch.float64))[0])
    moved = GroupElement(graph, maps).act(form.weights)
    for k, pairs in enumerate(rotary_pairs(graph)):
        shape = pairs.heads, len(pairs.first)
        angles, logs = (torch.randn(shape, generator=rng(seed + 9 * k + n), dtype=torch.float64) for n in (1, 2))
        moved = pairs.turn(moved, torch.polar(torch.exp(0.5 * logs), 3 * angles))
    return form.restored(moved)


HALVES, NEIGHBOURS = ((0, 1), (2, 3)), ((0, 2), (1, 3))
CASES = {
    "halves": (("halves",), HALVES),
    "neighbours": (("neighbours",), NEIGHBOURS),
    "grouped halves with biases": (("halves", 2, 4, True), HALVES),
    "grouped neighbours": (("neighbours", 2), NEIGHBOURS),
    "one head of keys": (("halves", 1), HALVES),
    "halves of the first part": (("halves", 2, 4, False, 8), HALVES),
}


@pytest.mark.parametrize("name", CASES)
def test_turned_pairs_come_back(name: str) -> None:
    options, pairs = CASES[name]
    first, x = network(*options), points()  # type: ignore[arg-type]
    second = planted(first, 3)
    found = match_streams(first, second)
    assert [(each.first, each.second) for each in found.turned] == [pairs, pairs]
    assert distance(first, second) > 0.1
    assert distance(found.met, found.aligned) < 1e-6
    assert torch.allclose(*(outputs_of(w.graph, w, x) for w in (first, second)), rtol=0, atol=1e-10)
    assert torch.allclose(*(outputs_of(w.graph, w, x) for w in (second, found.aligned)), rtol=0, atol=1e-9)
    assert distance(found.aligned, found.with_element(found.element).aligned) < 1e-12


def test_without_turns_the_pairs_do_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    first = network()
    monkeypatch.setattr("graphws.align.orthogonal.matching.rotary_pairs", lambda graph: ())
    found = match_streams(first, planted(first, 3))
    assert found.turned == ()
    assert distance(found.met, found.aligned) > 0.1


def test_align_takes_turns_and_gives_the_graph_back() -> None:
    first, x = network("halves", 2), points()
    second = planted(first, 4)
    found = align(first, second)
    assert found.candidates[found.kept].matching == "streams"
    assert found.met is not None
    assert distance(found.met, found.aligned) < 1e-6
    assert torch.allclose(*(outputs_of(w.graph, w, x) for w in (second, found.aligned)), rtol=0, atol=1e-9)


def test_noise_is_met_as_nearly_as_by_the_planted_turns() -> None:
    first = network()
    noisy = first.map(lambda t: t + 0.05 * torch.randn(t.shape, generator=rng(8), dtype=t.dtype))
    second = planted(noisy, 3)
    found = match_streams(first, second)
    assert distance(found.met, found.aligned) < 1.05 * distance(rms_form(first).weights, rms_form(noisy).weights)
    assert torch.allclose(*(outputs_of(w.graph, w, points()) for w in (second, found.aligned)), rtol=0, atol=1e-9)


def test_refining_goes_on_from_turned_pairs() -> None:
    first, x = network(), points()
    second = planted(first, 3).map(lambda t: t + 0.1 * torch.randn(t.shape, generator=rng(8), dtype=t.dtype))
    found = refine(match_streams(first, second), x, generator=rng(), steps=10, batch=20)
    assert found.match.turned
    assert found.losses[found.kept] <= found.losses[0]
    assert torch.allclose(*(outputs_of(w.graph, w, x) for w in (second, found.match.aligned)), rtol=0, atol=1e-9)


@pytest.mark.parametrize("layout", ["halves", "neighbours"])
def test_turns_across_pairs_are_refused(layout: str) -> None:
    form = rms_form(network(layout))
    right = rotary_pairs(form.weights.graph)[0]
    others = {"halves": NEIGHBOURS, "neighbours": HALVES}[layout]
    wrong = replace(right, first=others[0], second=others[1])
    crossed = replace(right, second=right.second[::-1])
    factors = torch.polar(torch.ones(4, 2), torch.randn(4, 2, generator=rng(3))).to(torch.complex128)
    x = points()
    before = outputs_of(form.weights.graph, form.weights, x)
    trial = _Trial.of(form.weights.graph, rng())
    for pairs, stays in ((right, True), (wrong, False), (crossed, False)):
        moved = pairs.turn(form.weights, factors)
        gap = float((outputs_of(moved.graph, moved, x) - before).abs().max())
        assert (gap < 1e-10) == stays
        assert (gap > 1e-4) != stays
        assert trial.accepts(pairs, rng()) == stays


def test_what_is_no_rotary_attention_has_no_pairs() -> None:
    assert rotary_pairs(rms_form(network(bent=True)).weights.graph) == ()
    assert rotary_pairs(rms_form(convert(ViT().eval(), torch.randn(4, 1, 8, 8)).weights).weights.graph) == ()
    one = convert(Turned().eval(), torch.randn(4, 1, 3)).graph  # one place: nothing that is tried makes a difference
    assert all(not _Trial.of(one, rng()).accepts(pairs, rng()) for pairs in rotary_pairs(network().graph))
    assert rotary_pairs(one) == ()


def test_a_turn_needs_a_number_for_each_pair() -> None:
    (pairs, _) = rotary_pairs(network().graph)
    with pytest.raises(GraphError, match="numbers for 4 heads with 2 pairs each"):
        pairs.turn(network(), torch.ones(4, 3, dtype=torch.complex128))
