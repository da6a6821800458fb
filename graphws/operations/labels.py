"""Which space labels each axis of each value?  Asked of the numbers.

A network is run beside its image under a random element of the group.  Outputs are the same; a value inside is not: its
entries have moved as the neurons that they belong to, x ↦ ρ(g) x along some axes.  For each value the spaces are found
whose action along its axes turns one run into the other.  Inputs and outputs, which the group leaves alone, are tried
in the same way, one free space at a time.  No rule for any kind of operation is needed, so none can be wrong.

A value can only show the spaces of what it was computed from: those that label its operands, and those that an operand
without labels may hide.  So few are tried for each value, however deep the network is.

>>> from graphws.operations import mlp_graph
>>> {name: [str(a or "") for a in axes] for name, axes in labels(mlp_graph([2, 8, 3], "tanh")).items()}
{'x0': ['', 'input'], 'z1': ['', 'hidden1'], 'x1': ['', 'hidden1'], 'z2': ['', 'output']}
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from graphws.errors import GraphError
from graphws.graph.element import LinearMap, Monomial, SpaceElement
from graphws.graph.group import GroupElement
from graphws.graph.network import NetworkGraph
from graphws.graph.parameter import Axis
from graphws.graph.weights import Weights
from graphws.operations.plan import Context, constants_on, walk, why_not
from graphws.operations.runner import run_values
from graphws.operations.sampling import random_inputs, random_weights

Labels = dict[str, tuple[Axis | None, ...]]
"""For each value the label of each axis."""
MOST_LABELS = 2
"""How many axes of one value are labelled at most."""
MOST_DRAWS = 12
"""How many elements are drawn until each space was moved by one, beside one for each space."""
SMALLER = {torch.float32, torch.float16, torch.bfloat16}
"""Types behind which float64 is no sharper than they are."""
AFTER_CAST = 1e-5
"""How far values in float64 may be from their labels behind a cast to a smaller type."""
MOST_TRIALS = 512
"""How many combinations of labels are tried for one value."""


@lru_cache(maxsize=64)
def labels(graph: NetworkGraph) -> Labels:
    """The labels of a graph's values: those that it states, else measured on a random network; none if it cannot run.

    Raises:
        GraphError: Where the graph runs, but does not say which shape its inputs have.
    """
    stated = {value.name: value.axes for value in graph.values if any(value.axes)}
    narrow = [space for space in graph.spaces if space.size == 1]
    known = all(graph.value(name) is not None for name in graph.inputs)
    if why_not(graph) or not known or (set(stated) - set(graph.inputs) and not narrow):
        return stated
    if narrow:  # one element goes nowhere: its space is recognised where it has more
        try:
            return _of_random_network(_widened(graph)) | stated
        except GraphError:
            pass
    return _of_random_network(graph) | stated


def _of_random_network(graph: NetworkGraph) -> Labels:
    rng = torch.Generator().manual_seed(0)
    weights = random_weights(graph, 1, rng)
    return measure_labels(graph, weights, random_inputs(graph, 3, rng), rng)


def _widened(graph: NetworkGraph) -> NetworkGraph:
    """The same computation on spaces of three elements instead of one."""
    spaces = [replace(space, size=3) if space.size == 1 else space for space in graph.spaces]
    parameters = [replace(parameter, storage=None) for parameter in graph.parameters]
    return NetworkGraph(tuple(spaces), tuple(parameters)).with_computation_of(graph)


@dataclass(frozen=True)
class _Candidate:
    """One way in which a space may act along an axis.

    Attributes:
        axis: The label.
        element: What moves the space.
        family: The outermost space around it.
    """

    axis: Axis
    element: SpaceElement
    family: str

    def move(self, value: Tensor, place: int) -> Tensor:
        return self.element.apply(value.unsqueeze(0), place + 1, self.axis.power).squeeze(0)


@torch.no_grad()
def measure_labels(
    graph: NetworkGraph, weights: Weights, inputs: Mapping[str, Tensor], generator: torch.Generator
) -> Labels:
    """The labels of every value of one network on some inputs.

    Args:
        graph: A graph that runs.
        weights: A batch of one; float64 for sharp answers.
        inputs: By name.
        generator: Source of the random element.

    Returns:
        Labels: Values in whose axes no space could be recognised have None there; values of zeros are left out.
    """
    found: Labels = {}
    still = {space.name for space in graph.spaces if space.moves and graph.extent(space.name) > 1}
    meetings: set[frozenset[str]] = set()
    for _ in range(MOST_DRAWS + len(still)):
        if not still:  # every space was moved once, and told from those that it meets
            break
        drawn = graph.group().random(generator, actions="rich", dtype=weights.floating, moving=True)
        element, mixed = _told_apart(drawn, still, meetings), set[frozenset[str]]()
        _add(found, _by_element(graph, weights, inputs, element, mixed))
        meetings |= mixed
        moved = {name for name, moved in element.maps.items() if not _stays(moved)}
        still -= {name for name in moved if not any(graph.lineage(name)[0].name in pair for pair in mixed)}
    _add(found, _ends(graph, weights, inputs, generator))
    order = [*graph.inputs, *(name for operation in graph.operations for name in operation.outputs)]
    return {name: found[name] for name in order if name in found}


def _told_apart(element: GroupElement, first: Collection[str], meetings: Collection[frozenset[str]]) -> GroupElement:
    """The element without families that it moves as it moves others which they meet: no value would tell them apart.

    Those with a space of `first` are kept before others.
    """
    graph, kept = element.graph, dict[str, SpaceElement]()
    roots: dict[str, list[str]] = {}
    for name in element.maps:
        roots.setdefault(graph.lineage(name)[0].name, []).append(name)
    for root, names in sorted(roots.items(), key=lambda item: not set(item[1]) & set(first)):
        met = [other for pair in meetings if root in pair for other in pair - {root}]
        others = [kept[name] for other in met for name in roots.get(other, ()) if name in kept]
        if not any(_alike(element.maps[name], moved) for name in names for moved in others if not _stays(moved)):
            kept.update((name, element.maps[name]) for name in names)
    return GroupElement(graph, kept)


def _alike(one: SpaceElement, other: SpaceElement) -> bool:
    """Whether two maps are permutations, and the same one."""
    if isinstance(one, LinearMap) or isinstance(other, LinearMap) or one.size != other.size:
        return False
    return one.scale is None and other.scale is None and torch.equal(one.perm, other.perm)


def _by_element(
    graph: NetworkGraph, weights: Weights, inputs: Mapping[str, Tensor], element: GroupElement,
    mixed: set[frozenset[str]],
) -> Labels:  # fmt: skip
    """The labels that one element of the group shows; families that a value does not tell apart go to `mixed`."""
    candidates: dict[int, list[_Candidate]] = {}
    for space in graph.spaces:
        if space.name in element.maps and graph.extent(space.name) > 1 and not _stays(element.maps[space.name]):
            moved, family = element.maps[space.name], graph.lineage(space.name)[0].name
            found = candidates.setdefault(graph.extent(space.name), [])
            found += [_Candidate(Axis(space.name, power), moved, family) for power in _powers(moved)]
    return _compare(graph, weights, element.act(weights), inputs, inputs, candidates, mixed)


def _add(found: Labels, more: Labels) -> None:
    """Takes over the labels of axes that have none yet."""
    for name, axes in more.items():
        old = found.get(name, (None,) * len(axes))
        found[name] = tuple(a or b for a, b in zip(old, axes, strict=True))


def _stays(element: SpaceElement) -> bool:
    """Whether an element moves nothing."""
    if isinstance(element, LinearMap):
        return False
    still = torch.equal(element.perm.cpu(), torch.arange(element.size))
    return still and (element.scale is None or bool((element.scale == 1).all()))


def _powers(element: SpaceElement) -> Sequence[int]:
    if isinstance(element, LinearMap):
        return (1, -1)
    return (1,) if element.scale is None else (1, -1, 2, 0)


def _compare(
    graph: NetworkGraph,
    before: Weights,
    after: Weights,
    inputs: Mapping[str, Tensor],
    moved: Mapping[str, Tensor],
    candidates: Mapping[int, Sequence[_Candidate]],
    mixed: set[frozenset[str]],
) -> Labels:
    """The labels that explain how each value changed; families that a value does not tell apart go to `mixed`."""
    found: Labels = {}
    cast = {name for name, x in before.items() if x.dtype in SMALLER}
    suspects = {parameter.name: _families(graph, parameter.axes) for parameter in graph.parameters}
    suspects |= dict.fromkeys(inputs, frozenset(each.family for some in candidates.values() for each in some))
    runs = [_walk(graph, before, inputs), _walk(graph, after, moved)]
    for (names, here), (_, there) in zip(*runs, strict=True):
        for name in names:
            writer = graph.writers.get(name)
            if writer is not None:
                suspects[name] = frozenset[str]().union(*(suspects.get(read, ()) for read in writer.inputs))
            if writer is not None and writer.kind == "stored":  # the parameters' axes say it
                continue
            if here[name].dtype in SMALLER or (writer is not None and any(read in cast for read in writer.inputs)):
                cast.add(name)
            few = _among(candidates, suspects[name])
            explained = _explained(here[name], there[name], few, mixed, name in cast)
            if explained is not None:
                found[name] = explained
                suspects[name] = _families(graph, explained)
    return found


def _families(graph: NetworkGraph, axes: Iterable[Axis | None]) -> frozenset[str]:
    """The families whose spaces label axes."""
    return frozenset(graph.lineage(axis.space)[0].name for axis in axes if axis is not None)


def _among(candidates: Mapping[int, Sequence[_Candidate]], families: Collection[str]) -> dict[int, list[_Candidate]]:
    """The candidates of some families."""
    return {size: [each for each in some if each.family in families] for size, some in candidates.items()}


@torch.no_grad()  # not inside: two of these run in turn, and each would restore what the other had set
def _walk(
    graph: NetworkGraph, weights: Weights, inputs: Mapping[str, Tensor]
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Tensor]]]:
    """The values written by each step, inputs first."""
    first = next(iter(inputs.values()), None)
    context = Context(len(first) if first is not None and first.ndim else 1, weights.floating, weights.device)
    values = constants_on(graph, context) | {name: x[0] for name, x in weights.items()} | dict(inputs)
    yield tuple(inputs), values
    for step in walk(graph, values, graph.outputs, graph.inputs, context):
        yield step.operation.outputs, values


def _explained(
    here: Tensor, there: Tensor, candidates: Mapping[int, Sequence[_Candidate]], mixed: set[frozenset[str]],
    cast: bool = False,
) -> tuple[Axis | None, ...] | None:  # fmt: skip
    """The labels under which one run turns into the other; None where nothing explains it, or there is nothing.

    None as well where spaces of two families do: they go to `mixed`.  In float64 agreement is sharp, unless a smaller
    type was used on the way (`cast`).
    """
    if here.shape != there.shape or not here.numel():
        return None
    if not here.is_floating_point():
        here, there = (x if x.is_complex() else x.double() for x in (here, there))
    size = float(here.norm())
    if not size or here.is_complex():
        return None
    relative = (AFTER_CAST if cast else 1e-7) if here.dtype == torch.float64 else 1e-3
    if float((there - here).norm()) <= relative * size:
        return (None,) * here.ndim
    options = [[(k, c) for c in candidates.get(length, ())] for k, length in enumerate(here.shape)]
    places = [k for k, found in enumerate(options) if found]
    trials = 0
    for count in range(1, min(MOST_LABELS, len(places)) + 1):
        for chosen in itertools.combinations(places, count):
            shadows = [_shadow(x, chosen) for x in (here, there)]
            for combination in itertools.product(*(options[k] for k in chosen)):
                trials += 1
                if trials > MOST_TRIALS:
                    return None
                on_shadow = [(k, candidate) for k, (_, candidate) in enumerate(combination)]
                if _same(_moved(shadows[0], on_shadow), shadows[1], 100 * relative) and _same(
                    _moved(here, combination), there, relative
                ):
                    doubles = [
                        frozenset({candidate.family, other.family})
                        for place, candidate in combination
                        for _, other in options[place]
                        if other.family != candidate.family and _alike(other.element, candidate.element)
                    ]
                    mixed.update(doubles)
                    labelled = {place: candidate.axis for place, candidate in combination}
                    return None if doubles else tuple(labelled.get(k) for k in range(here.ndim))
    return None


def _shadow(value: Tensor, kept: Sequence[int]) -> Tensor:
    """A value summed over all axes but some, with fixed random weights: what acts along the others shows in it."""
    for axis in reversed(range(value.ndim)):
        if axis not in kept:
            weights = torch.randn(value.shape[axis], generator=torch.Generator().manual_seed(axis)).to(value)
            value = torch.tensordot(value, weights, dims=([axis], [0]))
    return value


def _moved(value: Tensor, combination: Sequence[tuple[int, _Candidate]]) -> Tensor:
    for place, candidate in combination:
        value = candidate.move(value, place)
    return value


def _same(first: Tensor, second: Tensor, relative: float) -> bool:
    return float((first - second).norm()) <= relative * float(second.norm())


def _ends(graph: NetworkGraph, weights: Weights, inputs: Mapping[str, Tensor], generator: torch.Generator) -> Labels:
    """Labels by the free spaces of inputs and outputs: moved alone, together with the input where they are read."""
    found: Labels = {}
    before = _outputs(graph, weights, inputs)
    outputs = list(before)
    lengths = {size for value in (*inputs.values(), *before.values()) for size in value.shape[1:]}
    for space in graph.spaces:
        powers = [a.power for p in graph.parameters for a in p.axes if a.space == space.name]
        size = space.size
        if space.moves or space.parent is not None or size < 2 or size not in lengths or not powers:
            continue
        shuffle = torch.arange(size).roll(1)
        shuffle[: size - 1] = shuffle[: size - 1][torch.randperm(size - 1, generator=generator)]
        element = Monomial(shuffle)
        moved = GroupElement(graph, {space.name: element}).act(weights)
        candidates = {size: [_Candidate(Axis(space.name), element, space.name)]}
        trials: list[Mapping[str, Tensor]] = [inputs]
        trials += [
            {**inputs, name: candidates[size][0].move(x, k)}
            for name, x in inputs.items()
            for k in range(1, x.ndim)
            if x.shape[k] == size
        ]
        for trial in trials:
            try:
                after = _outputs(graph, moved, trial)
            except GraphError:
                continue
            ends = [_explained(before[name], after[name], candidates, set()) for name in outputs]
            if any(axes is None for axes in ends):
                continue
            labelled = _compare(graph, weights, moved, inputs, trial, candidates, set())
            if any(axis for axes in labelled.values() for axis in axes):
                _add(found, {name: axes for name, axes in labelled.items() if any(axes)})
                break
    return found


def _outputs(graph: NetworkGraph, weights: Weights, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The outputs of one network."""
    found = run_values(graph, weights, inputs, graph.outputs)
    return {name: value[0] for name, value in found.items()}
