"""How a reduction runs the networks that it compares: from their graph, by the network's own code, or by both."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.errors import DataError, GraphError, GraphwsError, UsageError, VerificationError
from graphws.graph import NetworkGraph, Weights
from graphws.operations import run_values, why_not
from graphws.operations.labels import SMALLER
from graphws.operations.runner import Inputs, named_inputs
from graphws.operations.sampling import OTHER_SIZES, random_inputs
from graphws.operations.verify import relative_change, scale_of

Run = Callable[[Weights], Tensor]
POINTS = 256
"""Random inputs on which outputs are compared where none are given."""
MANY = 1 << 16
"""Numbers that random inputs hold at most, where a point has many."""
LEAST = 16
"""Points that there are at least."""
TOKENS = 8
"""Random tokens of each, where the network takes any number."""
SHARE = 8
"""One in so many points is tried in each of the other sizes."""


@dataclass(frozen=True)
class Outputs:
    """What a network gives on several sets of inputs.

    Args:
        sets: (1, points, …), for each set every output: the first set those that were given or drawn, the others
            other sizes of some of those.
        count: Number of outputs.
    """

    sets: tuple[Tensor, ...]
    count: int = 1

    def change(self, other: Outputs) -> float:
        """How far another network's outputs are from these: the largest relative change of any output on any set.

        Small inputs may leave outputs nearly alike, so none is compared with less than the first set's spread.
        Sets on which these are no finite numbers are left out.
        """
        changes = [relative_change(*pair) for pair in zip(self.first, other.first, strict=True)]
        usual = [scale_of(first) / math.sqrt(max(1, first.numel())) for first in self.first]
        pairs = list(zip(self.sets, other.sets, strict=True))
        for k, (before, after) in enumerate(pairs[self.count :]):
            if bool(before.isfinite().all()):
                scale = torch.maximum(scale_of(before), usual[k % self.count] * math.sqrt(before.numel()))
                changes.append(float((after - before).norm() / scale))
        return next((change for change in changes if math.isnan(change)), max(changes))

    @property
    def first(self) -> tuple[Tensor, ...]:
        """The outputs on the first set."""
        return self.sets[: self.count]

    @property
    def precise(self) -> Outputs:
        """The same in double precision."""
        return Outputs(tuple(x if x.is_complex() else x.double() for x in self.sets), self.count)


class Witnesses:
    """What says whether a smaller network computes the same: its graph, its own code, or both.

    The graph decides where it runs.  The network's own code may not run with fewer elements, or compute something else
    with them, although the graph does the same as before: it is asked no more then, and `refused` tells why.

    Args:
        weights: The network before.
        inputs: Inputs for its graph; random ones where None.
        run: Its own code, on inputs of its own.
        generator: Source of random inputs; seeded with 0 where None.
        other_sizes: Whether the graph is run on inputs of other sizes, too.

    Raises:
        UsageError: Where neither runs.
        DataError: Where outputs are NaN or infinite.
    """

    def __init__(
        self, weights: Weights, inputs: Inputs | None, run: Run | None, generator: torch.Generator | None,
        *, other_sizes: bool,
    ) -> None:  # fmt: skip
        self.refused = ""
        self._asked: list[tuple[Callable[[Weights], Outputs], Outputs]] = []
        self.from_graph = False
        try:
            compare = comparer(weights, inputs, generator, other_sizes=other_sizes)
            self._ask(compare, weights)
            self.from_graph = True
        except GraphwsError as error:
            if run is None or isinstance(error, DataError):
                raise
        if run is not None:
            self._ask(lambda candidate: Outputs((run(candidate),)), weights)

    def _ask(self, compare: Callable[[Weights], Outputs], weights: Weights) -> None:
        with torch.no_grad():
            reference = compare(weights).precise
        if not all(bool(x.isfinite().all()) for x in reference.first):
            raise DataError(
                "the network gives NaN or infinity on these inputs, so nothing can be compared: give others"
            )
        self._asked.append((compare, reference))

    def steady(self, weights: Weights, allowed: float) -> None:
        """Raises `VerificationError` where the network gives other outputs each time."""
        if self._refusal(weights, allowed, len(self._asked)):
            raise VerificationError(
                "the network gives other outputs each time it runs, so nothing can be compared: put it in eval mode"
            )

    def refusal(self, candidate: Weights, allowed: float) -> str:
        """Why a smaller network is not the same; empty where it is."""
        return self._refusal(candidate, allowed, int(self.from_graph))

    def _refusal(self, candidate: Weights, allowed: float, binding: int) -> str:
        for k, (compare, reference) in enumerate(list(self._asked)):
            try:
                change = self._change(candidate, compare, reference)
            except GraphwsError as error:
                line = str(error)
            except (RuntimeError, ValueError, IndexError) as error:
                line = next(iter(str(error).splitlines()), type(error).__name__)
                line = f"the network does not run with fewer of them ({line})"
            else:
                line = "" if change <= allowed else f"without them the outputs change by {change:.1e}"
                if not line:
                    continue
            if k < binding or not self.from_graph:
                return line
            self.refused = line
            del self._asked[k:]
        return ""

    def change(self, candidate: Weights) -> float:
        """By how much a smaller network's outputs differ."""
        return max(self._change(candidate, compare, reference) for compare, reference in self._asked)

    @staticmethod
    def _change(candidate: Weights, compare: Callable[[Weights], Outputs], reference: Outputs) -> float:
        with torch.no_grad():
            found = compare(candidate).precise
        for before, after in zip(reference.first, found.first, strict=True):
            if before.shape != after.shape:
                raise GraphError(f"the outputs have another shape then, {tuple(after.shape)}")
        return reference.change(found)


def narrows(graph: NetworkGraph) -> bool:
    """Whether a graph computes a part in a smaller type than double, whatever the type of its weights."""
    names = {str(dtype).removeprefix("torch.") for dtype in SMALLER}
    return any(
        operation.kind == "cast" and dict(operation.attributes).get("dtype") in names for operation in graph.operations
    )


def runner(weights: Weights, inputs: Inputs | None, generator: torch.Generator | None) -> Run:
    """Runs networks like this one from their graph, in double precision; of several outputs the first.

    Args:
        weights: The network.
        inputs: Inputs as the network reads them; random ones where None.
        generator: Source of the random inputs; seeded with 0 where None.

    Raises:
        UsageError: Where the graph cannot be run, or the shape of its inputs is needed and cannot be seen from it.
    """
    points = _points(weights, inputs, generator)
    return lambda candidate: _run(candidate, points)[0]


def comparer(
    weights: Weights, inputs: Inputs | None, generator: torch.Generator | None, *, other_sizes: bool
) -> Callable[[Weights], Outputs]:
    """As `runner` for all outputs, and where `other_sizes` says so also on inputs of `OTHER_SIZES`: what is redundant
    only on the sizes at hand is not redundant."""
    points = _points(weights, inputs, generator)
    graph = weights.graph
    numbers = {name: x for name, x in points.items() if x.is_floating_point()}
    ends = [graph.value(name) for name in (*graph.inputs, *graph.outputs)]
    free = len(graph.inputs) == 1 and all(end is not None and end.shape[:1] == ("n",) for end in ends)
    some = {name: x[: max(1, len(x) // SHARE)] if free else x for name, x in points.items()}
    others = []
    for size in OTHER_SIZES.values() if other_sizes and numbers else ():
        others.append({name: size * x if name in numbers else x for name, x in some.items()})
    count = len(graph.outputs)

    def outputs(candidate: Weights) -> Outputs:
        if free and others:
            (name,) = graph.inputs
            lengths = [len(x[name]) for x in (points, *others)]
            found = _run(candidate, {name: torch.cat([x[name] for x in (points, *others)])})
            parts = [x.split(lengths, 1) for x in found]
            return Outputs(tuple(part[k] for k in range(len(lengths)) for part in parts), count)
        return Outputs(tuple(x for given in (points, *others) for x in _run(candidate, given)), count)

    return outputs


def _points(weights: Weights, inputs: Inputs | None, generator: torch.Generator | None) -> dict[str, Tensor]:
    graph = weights.graph
    why = why_not(graph)
    if why:
        raise UsageError(f"outputs cannot be compared: {why}; give `run`")
    if inputs is None:
        rng = generator or torch.Generator().manual_seed(0)
        try:
            one = random_inputs(graph, 1, torch.Generator().manual_seed(0), free=TOKENS)
            count = MANY // max(1, sum(x.numel() for x in one.values()))
            given = random_inputs(graph, min(POINTS, max(LEAST, count)), rng, free=TOKENS)
        except GraphError:
            raise UsageError(
                "the shape of the inputs cannot be seen from this graph: give `inputs`, or `run`"
            ) from None
    else:
        given = named_inputs(graph, inputs)
    return {name: x.cpu().double() if x.is_floating_point() else x.cpu() for name, x in given.items()}


def _run(candidate: Weights, points: dict[str, Tensor]) -> tuple[Tensor, ...]:
    found = run_values(candidate.graph, candidate, points, candidate.graph.outputs)
    return tuple(found[name] for name in candidate.graph.outputs)
