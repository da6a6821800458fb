"""Planted problems that tests share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.actions.groups.naming import named_symmetry
from graphws.actions.groups.placing import Placed, place
from graphws.actions.groups.symmetry import DataSymmetry, close
from graphws.actions.planted.networks import Planted, plant
from graphws.graph import GroupElement, LinearMap, Monomial, NetworkGraph
from graphws.operations.builders.attention import AttentionLayer, attention_graph

TOKENS, HEAD_DIM = 5, {"Z2": 4, "Z4": 4, "S3": 6}
GENERATORS = {"Z2": {"a": [1, 0]}, "Z4": {"a": [1, 2, 3, 0]}, "S3": {"a": [1, 0, 2], "b": [1, 2, 0]}}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@dataclass(frozen=True, eq=False)
class Case:
    graph: NetworkGraph
    symmetry: DataSymmetry
    shape: tuple[int, ...]
    placed: Placed
    planted: Planted

    def probes(self, points: int, seed: int = 1) -> Tensor:
        return torch.randn(points, *self.placed.shape, generator=rng(seed), dtype=torch.float64)


def pictures(
    graph: NetworkGraph, group: object, shape: tuple[int, ...], output: object = "same", seed: int = 0
) -> Case:
    """A planted MLP on pictures."""
    symmetry = named_symmetry(group, shape, output, outputs=graph.extent("output"))  # type: ignore[arg-type]
    placed = place(graph, symmetry, shape)
    return Case(graph, symmetry, shape, placed, plant(graph, placed, rng(seed)))


def token_group(name: str, copies: int, tokens: int = TOKENS) -> DataSymmetry:
    """A group that acts on the features of every token by copies of its regular representation."""
    base = close(name, {key: Monomial(torch.tensor(value)) for key, value in GENERATORS[name].items()})
    m, generators = base.order, {}
    for key, index in base.generators.items():
        perm = torch.empty(m, dtype=torch.long)
        perm[base.table[index]] = torch.arange(m)
        features = torch.cat([perm + m * c for c in range(copies)])
        generators[key] = Monomial(torch.cat([features + m * copies * t for t in range(tokens)]))
    return close(name, generators)


def attention(name: str, seed: int = 0, layers: int = 2, heads: int = 6) -> Case:
    """A planted attention network of paper I's kind; d is a multiple of the group's order."""
    symmetry, d = token_group(name, 2), HEAD_DIM[name]
    features = symmetry.input[0].size // TOKENS
    width = symmetry.order * 2
    later = [AttentionLayer(heads, d, width) for _ in range(layers - 1)]
    graph = attention_graph(features, [AttentionLayer(heads, d, features), *later], output=features)
    placed = place(graph, symmetry, (TOKENS, features))
    return Case(graph, symmetry, (TOKENS, features), placed, plant(graph, placed, rng(seed)))


def linear_gap(case: Case, found: list[dict[str, object]]) -> float:
    """The largest relative error of a matrix of the hidden action."""
    gaps = [0.0]
    for ours, theirs in list(zip(found, case.planted.actions, strict=True))[1:]:
        for name, element in theirs.items():
            if isinstance(element, LinearMap):
                wanted = element.matrix()
                gaps.append(float((ours[name].matrix() - wanted).norm() / wanted.norm()))  # type: ignore[attr-defined]
    return max(gaps)


def violation(case: Case) -> float:
    """How far the planted weights are from being left alone by the planted action."""
    weights = case.planted.weights
    gaps = [
        float((GroupElement(case.graph, maps).act(weights).flatten() - weights.flatten()).norm())
        for maps in case.planted.actions
    ]
    return max(gaps) / float(weights.flatten().norm())
