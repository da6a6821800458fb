"""Rotary positions: what may still be moved between queries and keys.

A rotary embedding turns pairs of a head's dimensions by angles that depend on the place (Su et al. 2021).  Read as a
complex number z = x_a + i x_b, a pair of the queries may be multiplied by any c, and that of the keys by 1/c̄: the
product with every turn between them stays.  So of all invertible matrices inside a head one complex number for each
pair is left: an angle, and a scale that queries and keys share.  With grouped queries all that ask one head follow it.

Which parameters are queries and keys is read off the labels (the same heads, and dimensions that no permutation moves);
which dimensions make a pair is asked of the network: for each layout random numbers are tried in float64, and a layout
is taken only where the outputs stay, and where a matrix across pairs does change them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from graphws.errors import GraphError
from graphws.graph.network import NetworkGraph
from graphws.graph.weights import Weights
from graphws.operations.plan import why_not
from graphws.operations.runner import outputs_of
from graphws.operations.sampling import random_inputs, random_weights
from graphws.operations.stream_flow import PRODUCTS

STAYS = 1e-9
"""Largest change of outputs, relative, that counts as none."""
SEEN = 1e-6
"""A matrix across pairs changes outputs by more, or the inputs tried tell nothing."""
POINTS = 3
DRAWS = 2


@dataclass(frozen=True)
class Side:
    """The parameters of queries, or of keys.

    Attributes:
        weight: The matrix.
        bias: Its bias; empty where there is none.
        heads: Heads times those that ask each.
        read: The weight's axis that is summed.
    """

    weight: str
    bias: str
    heads: int
    read: int

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters."""
        return (self.weight, self.bias) if self.bias else (self.weight,)

    def rows(self, weights: Weights, name: str) -> Tensor:
        """A parameter as (networks, heads, dimensions, columns)."""
        tensor = weights[name]
        if name == self.weight:
            tensor = tensor.movedim(self.read + 1, -1)
            return tensor.reshape(len(tensor), self.heads, -1, tensor.shape[-1])
        return tensor.reshape(len(tensor), self.heads, -1, 1)

    def written(self, weights: Weights, name: str, rows: Tensor) -> Tensor:
        """The way back from `rows`."""
        shape = weights[name].shape
        if name != self.weight:
            return rows.reshape(shape)
        moved = [n for k, n in enumerate(shape) if k != self.read + 1]
        return rows.reshape(*moved, shape[self.read + 1]).movedim(-1, self.read + 1)


@dataclass(frozen=True)
class RotaryPairs:
    """Queries and keys of one attention layer, and which dimensions of a head are pairs.

    Attributes:
        queries: The side that asks (either one where both have as many heads).
        keys: The other.
        first: The dimensions that are real parts.
        second: The dimensions that are imaginary parts.
    """

    queries: Side
    keys: Side
    first: tuple[int, ...]
    second: tuple[int, ...]

    @property
    def heads(self) -> int:
        """Heads with keys of their own."""
        return self.keys.heads

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters of both sides."""
        return self.queries.names + self.keys.names

    def numbers(self, weights: Weights, importance: Callable[[str], float] = lambda name: 1.0) -> tuple[Tensor, Tensor]:
        """Queries (heads, pairs, columns) and keys (heads, pairs, columns) of one network as complex numbers.

        Columns are all numbers that a head's pair has: those of every query that asks it, and of biases.

        Args:
            weights: A batch of one.
            importance: What the square of each parameter's numbers is multiplied by.
        """
        return self._complex(weights, self.queries, importance), self._complex(weights, self.keys, importance)

    def turn(self, weights: Weights, factors: Tensor) -> Weights:
        """Queries times c, keys times 1/c̄: the networks compute what they did.

        Args:
            weights: A batch of networks.
            factors: c, complex, (heads, pairs), non-zero.

        Raises:
            GraphError: On another shape.
        """
        if factors.shape != (self.heads, len(self.first)):
            raise GraphError(f"{tuple(factors.shape)} numbers for {self.heads} heads with {len(self.first)} pairs each")
        tensors = dict(weights.tensors)
        for side, each in ((self.queries, factors), (self.keys, 1 / factors.conj())):
            wide = each.repeat_interleave(side.heads // self.heads, 0).unsqueeze(-1).to(weights.device)
            for name in side.names:
                rows = side.rows(weights, name).clone()
                moved = torch.complex(rows[:, :, self.first], rows[:, :, self.second]) * wide
                rows[:, :, self.first], rows[:, :, self.second] = moved.real.to(rows), moved.imag.to(rows)
                tensors[name] = side.written(weights, name, rows)
        return Weights(weights.graph, tensors)

    def _complex(self, weights: Weights, side: Side, importance: Callable[[str], float]) -> Tensor:
        rows = torch.cat([importance(name) ** 0.5 * side.rows(weights, name) for name in side.names], -1)[0]
        found = torch.complex(rows[:, self.first], rows[:, self.second])
        by_head: Tensor = found.unflatten(0, (self.heads, -1)).transpose(1, 2).flatten(2)
        return by_head


@lru_cache(maxsize=64)
def rotary_pairs(graph: NetworkGraph) -> tuple[RotaryPairs, ...]:
    """The attention layers whose queries and keys only complex numbers move, pair by pair; none where nothing is known.

    Law: `RotaryPairs.turn` leaves the outputs alone on random networks and inputs, in float64, to `STAYS`.
    """
    if why_not(graph):
        return ()
    sides = list(_sides(graph))
    if len(sides) < 2:
        return ()
    rng = torch.Generator().manual_seed(0)
    try:
        tests = [_Trial.of(graph, rng) for _ in range(DRAWS)]
    except GraphError:
        return ()
    found: list[RotaryPairs] = []
    taken: set[str] = set()
    for k, (side, labels, size) in enumerate(sides):
        for other, labelled, length in sides[k + 1 :]:
            if taken & {side.weight, other.weight} or (labels[-1], size) != (labelled[-1], length):
                continue
            keys, queries = sorted((other, side), key=lambda each: each.heads)
            few, many = sorted((labels[0], labelled[0]), key=len)
            if many[: len(few)] != few:
                continue
            layouts = (RotaryPairs(queries, keys, *pairs) for pairs in _layouts(size))
            right = next((each for each in layouts if all(test.accepts(each, rng) for test in tests)), None)
            if right is not None:
                found.append(right)
                taken |= {side.weight, other.weight}
    return tuple(found)


def _layouts(size: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Neighbours are pairs; both halves; both halves of the first part, where only that is turned."""
    yield tuple(range(0, size - 1, 2)), tuple(range(1, size, 2))
    part = size
    while part >= 2 and part % 2 == 0:
        if part > 2:
            yield tuple(range(part // 2)), tuple(range(part // 2, part))
        part //= 2


def _sides(graph: NetworkGraph) -> Iterator[tuple[Side, tuple[tuple[str, ...], tuple[str, ...]], int]]:
    """Weights that write free dimensions, inside heads if there are any: the side, its labels, a head's dimensions."""
    biases = _bias_of_each(graph)
    for parameter in graph.parameters:
        reads = [k for k, axis in enumerate(parameter.axes) if axis.power < 0]
        if parameter.name not in biases or len(reads) != 1:
            continue
        written = [axis.space for k, axis in enumerate(parameter.axes) if k not in reads]
        cut = next((k for k, name in enumerate(written) if not graph.space(name).moves), len(written))
        heads, inside = tuple(written[:cut]), tuple(written[cut:])
        if not inside or any(graph.space(name).moves for name in inside):
            continue
        shape = [n for k, n in enumerate(graph.shape(parameter.name)) if k not in reads]
        size = math.prod(shape[cut:])
        if size > 1:
            side = Side(parameter.name, biases[parameter.name], math.prod(shape[:cut]), reads[0])
            yield side, (heads, inside), size


def _bias_of_each(graph: NetworkGraph) -> dict[str, str]:
    """For every parameter that a product multiplies by, the one that is added; empty where none is."""
    found: dict[str, str] = {}
    for step in graph.operations:
        product = PRODUCTS.get(step.kind)
        if product is None or not step.operands.get(product.weight):
            continue
        weights = _parts(graph, str(step.operands[product.weight]))
        bias = step.operands.get(product.bias) if product.bias else None
        biases = _parts(graph, str(bias)) if bias else [""] * len(weights)
        if len(biases) == len(weights):
            found |= dict(zip(weights, biases, strict=True))
    return found


def _parts(graph: NetworkGraph, name: str) -> list[str]:
    step = graph.writers.get(name)
    parameters = {parameter.name for parameter in graph.parameters}
    if step is not None and all(part in parameters for part in step.reads):
        return list(step.reads)
    return [name] if name in parameters else []


@dataclass(frozen=True)
class _Trial:
    """A random network on random inputs."""

    weights: Weights
    inputs: dict[str, Tensor]
    outputs: Tensor

    @staticmethod
    def of(graph: NetworkGraph, rng: torch.Generator) -> _Trial:
        weights = random_weights(graph, 1, rng)
        noise = {n: 0.3 * torch.randn(x.shape, generator=rng, dtype=x.dtype) for n, x in weights.items()}
        kinds = {parameter.name: parameter.kind for parameter in graph.parameters}
        weights = Weights(
            graph, {n: x + noise[n] if kinds[n] not in ("scale", "buffer") else x for n, x in weights.items()}
        )
        inputs = random_inputs(graph, POINTS, rng)
        with torch.no_grad():
            return _Trial(weights, inputs, outputs_of(graph, weights, inputs))

    def accepts(self, pairs: RotaryPairs, rng: torch.Generator) -> bool:
        """Whether complex numbers for pairs change nothing, and a matrix across pairs something."""
        shape = pairs.heads, len(pairs.first)
        logs, angles = (torch.randn(shape, generator=rng, dtype=torch.float64) for _ in range(2))
        if self._change(pairs.turn(self.weights, torch.polar(torch.exp(0.5 * logs), 3 * angles))) > STAYS:
            return False
        return self._change(_mixed(self.weights, pairs, rng)) > SEEN

    def _change(self, weights: Weights) -> float:
        with torch.no_grad():
            found = outputs_of(weights.graph, weights, self.inputs)
        gap = float((found - self.outputs).abs().max() / self.outputs.abs().max().clamp_min(1e-12))
        return math.inf if math.isnan(gap) else gap


def _mixed(weights: Weights, pairs: RotaryPairs, rng: torch.Generator) -> Weights:
    """An orthogonal matrix inside every head, which plain attention would not feel."""
    tensors = dict(weights.tensors)
    size = pairs.keys.rows(weights, pairs.keys.weight).shape[2]
    matrix = torch.linalg.qr(torch.randn(size, size, generator=rng, dtype=torch.float64))[0]
    for side in (pairs.queries, pairs.keys):
        for name in side.names:
            tensors[name] = side.written(weights, name, matrix @ side.rows(weights, name))
    return Weights(weights.graph, tensors)
