"""Heads that attend alike are one head (paper I, section 5.2).

Two heads whose attention is the same function of the tokens add their values: together they write O₁V₁ + O₂V₂, which
one head of dimension d can write if its rank is at most d.  Copies of a head are the simplest case (in any basis of
queries, keys and values: only the products QᵀK and O V are compared).  A head that writes nothing, O V = 0, is silent.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.actions.reduction.maps import Step
from graphws.actions.reduction.rank import own_places
from graphws.actions.reduction.rules import typical
from graphws.actions.reduction.slices import Tensors, leaves
from graphws.actions.reduction.tolerance import LARGEST
from graphws.graph import Action, NetworkGraph


@dataclass(frozen=True)
class Heads:
    """The spaces of one layer's heads.

    Args:
        space: The heads.
        values: The dimensions of their values.
        others: Further spaces inside the heads: the dimensions of queries and keys.
    """

    space: str
    values: str
    others: tuple[str, ...]


def heads_of(graph: NetworkGraph) -> list[Heads]:
    """The sets whose elements may be compared as heads: all that is inside of them is linear, and one space inside of
    them, the values, is read by parameters that lead out."""
    found = []
    for root in graph.spaces:
        children = [space for space in graph.spaces if space.parent == root.name]
        linear = all(s.kind == "nested" and s.action is Action.LINEAR for s in children)
        if not children or not linear or root.parent is not None or not root.moves:
            continue
        names = {space.name for space in children}
        if any(axis.inner and axis.space in names for p in graph.parameters for axis in p.axes):
            continue
        readers = [parameter for parameter in graph.parameters if leaves(graph, parameter, root.name)]
        read = {axis.space for parameter in readers for axis in parameter.axes if axis.power < 0}
        values = [space.name for space in children if space.name in read]
        if len(values) == 1:
            others = tuple(space.name for space in children if space.name != values[0])
            found.append(Heads(root.name, values[0], others))
    return found


def sides(graph: NetworkGraph, tensors: Tensors, space: str) -> tuple[Tensor, Tensor]:
    """What is written into and read from each head's dimensions, (heads, numbers, size) each."""
    size = graph.space(space).size
    heads = graph.extent(space) // size
    both: dict[bool, list[Tensor]] = {True: [], False: []}
    for place in own_places(graph, space):
        rows = tensors[place.parameter].movedim(place.axis, 0).reshape(heads, size, -1)
        both[place.written].append(rows.mT)
    return torch.cat(both[True], dim=1), torch.cat(both[False], dim=1)


def products(graph: NetworkGraph, tensors: Tensors, space: str) -> Tensor:
    """Read times written for every head, (heads, …): what is the same in every basis of its dimensions."""
    written, read = sides(graph, tensors, space)
    return (read @ written.mT).flatten(1)


def signatures(graph: NetworkGraph, tensors: Tensors, heads: Heads) -> Tensor:
    """All that a head's attention depends on, (heads, numbers)."""
    parts = [products(graph, tensors, other) for other in heads.others]
    for place in own_places(graph, heads.space):
        parts.append(tensors[place.parameter].movedim(place.axis, 0).flatten(1))
    return torch.cat([part / typical(part.norm(dim=1)) for part in parts], dim=1)


def head_figures(graph: NetworkGraph, tensors: Tensors, heads: Heads) -> Tensor:
    """For each head how far it is from silent, or from one before it with which it could be merged: the less of both.

    A pair whose attention differs by more than `LARGEST` is not looked at any further.
    """
    written, read = sides(graph, tensors, heads.values)
    whole = read @ written.mT
    norms = whole.flatten(1).norm(dim=1)
    found: Tensor = norms / typical(norms)
    if not _comparable(graph, heads):
        return found
    marks, size = signatures(graph, tensors, heads), graph.space(heads.values).size
    for k in range(1, len(norms)):
        for j in range(k):
            figure = _apart(marks, j, k)
            if figure <= LARGEST:
                figure = max(figure, _surplus(whole[j] + whole[k], size))
            found[k] = min(float(found[k]), figure)
    return found


def _comparable(graph: NetworkGraph, heads: Heads) -> bool:
    """Whether the graph shows what the heads' attention depends on."""
    return bool(heads.others or own_places(graph, heads.space))


def _apart(marks: Tensor, j: int, k: int) -> float:
    """How differently two heads attend, relative to the larger of their signatures."""
    return float((marks[j] - marks[k]).norm() / torch.maximum(marks[j].norm(), marks[k].norm()))


def _surplus(product: Tensor, size: int) -> float:
    """What of a product a single head of `size` dimensions cannot write, over its largest singular value."""
    spectrum = torch.linalg.svdvals(product)
    return float(spectrum[size:].sum() / spectrum[0]) if len(spectrum) > size else 0.0


def redundant_heads(
    graph: NetworkGraph, tensors: Tensors, heads: Heads, tolerance: float
) -> tuple[dict[int, Step], dict[str, Tensor]]:
    """Heads that may go, and the parameters in which the heads that stay do their work."""
    written, read = sides(graph, tensors, heads.values)
    whole = read @ written.mT
    norms = whole.flatten(1).norm(dim=1)
    figures = norms / typical(norms)
    steps = {j: Step("silent", float(figures[j])) for j in range(len(norms)) if figures[j] <= tolerance}
    if not _comparable(graph, heads):
        return steps, dict(tensors)
    marks = signatures(graph, tensors, heads)
    size = graph.space(heads.values).size
    merged: dict[int, Tensor] = {}
    for j in range(len(norms)):
        if j in steps:
            continue
        for k in range(j + 1, len(norms)):
            if k in steps or (apart := _apart(marks, j, k)) > tolerance:
                continue
            joint = merged.get(j, whole[j]) + whole[k]
            left = _surplus(joint, size)
            if left <= tolerance:
                merged[j] = joint
                steps[k] = Step("head", max(apart, left), j)
    return steps, _rewritten(graph, tensors, heads, merged)


def _rewritten(graph: NetworkGraph, tensors: Tensors, heads: Heads, merged: dict[int, Tensor]) -> dict[str, Tensor]:
    """The parameters in which head j writes the product merged[j]; the columns of heads that go are not touched."""
    edited = dict(tensors)
    size = graph.space(heads.values).size
    for j, product in merged.items():
        left, values, right = torch.linalg.svd(product, full_matrices=False)
        count = min(size, len(values))
        root = values[:count].sqrt()
        made = {False: (left[:, :count] * root).mT, True: root.unsqueeze(1) * right[:count]}
        made = {side: torch.nn.functional.pad(x, (0, 0, 0, size - count)) for side, x in made.items()}
        at = {False: 0, True: 0}
        for place in own_places(graph, heads.values):
            rows = edited[place.parameter].movedim(place.axis, 0).clone()
            part = rows[j * size : (j + 1) * size]
            width = part[0].numel()
            start = at[place.written]
            rows[j * size : (j + 1) * size] = made[place.written][:, start : start + width].reshape(part.shape)
            at[place.written] = start + width
            edited[place.parameter] = rows.movedim(0, place.axis)
    return edited
