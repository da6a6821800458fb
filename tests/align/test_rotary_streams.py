"""Queries and keys under rotary positions: turned pair by pair they come back; what is no such turn is refused."""

from __future__ import annotations

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
from graphws.operations.rotary_pairs import rotary_pairs
from graphws.operations.sampling import random_weights
from tests.align.cases import distance
from tests.align.transformers import Encoder, Rotary, ViT


class Turned(nn.Module):
    """Blocks of rotary attention: neighbours or halves as pairs, of all dimensions or the first, grouped or not."""

    def __init__(
        self, layout: str = "halves", groups: int = 4, part: int = 4, bias: bool = False, across: bool = False
    ) -> None:
        super().__init__()
        self.layout, self.groups, self.part, self.across = layout, groups, part, across
        self.embed, self.last, self.head = nn.Linear(3, 16), nn.RMSNorm(16), nn.Linear(16, 2)
        self.norms = nn.ModuleList(nn.RMSNorm(16) for _ in range(2))
        self.q, self.o = (nn.ModuleList(nn.Linear(16, 16, bias=bias) for _ in range(2)) for _ in range(2))
        self.k, self.v = (nn.ModuleList(nn.Linear(16, 4 * groups, bias=bias) for _ in range(2)) for _ in range(2))
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
        return torch.cat([x, rest], -1) if self.part < 4 else x

    def attend(self, k: int, y: Tensor) -> Tensor:
        q = self.q[k](y).unflatten(-1, (4, 4)).transpose(1, 2)
        key, value = (f[k](y).unflatten(-1, (self.groups, 4)).transpose(1, 2) for f in (self.k, self.v))
        key = self.turn(key)
        if self.across:  # a norm of every dimension apart: no pair may be turned any more
            key = torch.tanh(key)
        key, value = (x.repeat_interleave(4 // self.groups, 1) for x in (key, value))
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
def network(layout: str = "halves", groups: int = 4, part: int = 4, bias: bool = False) -> Weights:
    torch.manual_seed(0)
    graph = convert(Turned(layout, groups, part, bias).eval(), torch.randn(4, 5, 3)).graph
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


CASES = {
    "halves": ("halves", 4, 4, False),
    "neighbours": ("neighbours", 4, 4, False),
    "grouped halves with biases": ("halves", 2, 4, True),
    "grouped neighbours": ("neighbours", 2, 4, False),
    "one head of keys": ("halves", 1, 4, False),
}


@pytest.mark.parametrize("name", CASES)
def test_turned_pairs_come_back(name: str) -> None:
    first, x = network(*CASES[name]), points()
    second = planted(first, 3)
    found = match_streams(first, second)
    ends = (((0, 1), (2, 3)) if "halves" in name or name.startswith("one") else ((0, 2), (1, 3)))
    assert [(pairs.first, pairs.second) for pairs in found.turned] == [ends, ends]
    assert distance(first, second) > 0.3
    assert distance(found.met, found.aligned) < 1e-6
    assert torch.allclose(*(outputs_of(w.graph, w, x) for w in (first, second)), rtol=0, atol=1e-10)
    assert torch.allclose(*(outputs_of(w.graph, w, x) for w in (second, found.aligned)), rtol=0, atol=1e-9)
    assert torch.equal(found.with_element(found.element).aligned["head.weight"], found.aligned["head.weight"])
