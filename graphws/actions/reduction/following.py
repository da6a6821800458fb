"""How the maps of spaces follow a reduction, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from graphws.actions.reduction.maps import Removal, SpaceMap, Step
from graphws.actions.reduction.rank import Span, block_diagonal
from graphws.graph import NetworkGraph


def follow(maps: dict[str, SpaceMap], graph: NetworkGraph, name: str, steps: Mapping[int, Step]) -> None:
    """The maps of a set, and of the linear spaces inside it, after elements went.

    Args:
        maps: By space; changed.
        graph: The network with the elements.
        name: The set.
        steps: The elements that went.
    """
    size = graph.space(name).size
    keep = torch.tensor([j for j in range(size) if j not in steps])
    children = [child for child in graph.spaces if child.parent == name and child.name in maps]
    if children:
        # a copied head's values are zeroed as those of any head that goes, so it is no copy in the maps
        steps = {j: replace(s, reason="head" if s.reason == "duplicate" else s.reason) for j, s in steps.items()}
    maps[name] = maps[name].without(dict(steps))
    for child in children:
        found = maps[child.name]
        basis = torch.eye(found.size, dtype=torch.float64) if found.basis is None else found.basis
        columns = basis.reshape(found.size, size, -1)[:, keep].flatten(1)
        gone = tuple(Removal(-1, "head", s.figure) for s in steps.values() for _ in range(child.size))
        maps[child.name] = replace(found, keep=None, basis=columns, removals=found.removals + gone)


def follow_rank(maps: dict[str, SpaceMap], name: str, span: Span) -> None:
    """The map of a linear space after it went over to fewer coordinates."""
    old = maps[name]
    basis = torch.eye(old.size, dtype=torch.float64) if old.basis is None else old.basis
    gone = basis.shape[1] - span.bases.shape[0] * span.bases.shape[2]
    removals = old.removals + tuple(Removal(-1, "rank", span.figure) for _ in range(gone))
    maps[name] = replace(old, keep=None, basis=basis @ block_diagonal(span.bases), removals=removals)
