"""Latent actions of a network in one call.

>>> import torch
>>> from graphws.graph import Weights
>>> from graphws.operations import mlp_graph
>>> graph, rng = mlp_graph([16, 8, 16], activation="tanh"), torch.Generator().manual_seed(0)
>>> weights = Weights.unflatten(graph, torch.randn(1, graph.numel, generator=rng, dtype=torch.float64))
>>> print(find_actions(weights, "mirror", (1, 4, 4)).verdict.outcome)
no action found
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from graphws.actions.analysis.reduced_network import reduced_network
from graphws.actions.analysis.result import Actions
from graphws.actions.computation.features import features_of, why_not_followed
from graphws.actions.decoys.relabelled import relabelled_errors
from graphws.actions.groups.ends import numbers_of, output_size
from graphws.actions.groups.naming import named_symmetry
from graphws.actions.groups.outputs import output_positions
from graphws.actions.groups.placing import place
from graphws.actions.groups.symmetry import DataSymmetry, is_identity
from graphws.actions.identifiability import identifiability
from graphws.actions.identifiability.adjunction import adjunction
from graphws.actions.measures.categories import CATEGORIES, categories, negated_copies
from graphws.actions.measures.equivariance import (
    cumulative_errors,
    end_to_end_error,
    error_on_random_inputs,
    errors_of_layers,
    is_constant,
    linearity,
    weight_errors,
)
from graphws.actions.measures.layer_errors import LayerFigures
from graphws.actions.measures.noise import NoiseFigures, noise_figures
from graphws.actions.measures.probes import check_moved
from graphws.actions.measures.streams import own_actions
from graphws.actions.pictures.joined_axes import convolves, picture_view
from graphws.actions.problem import Problem, pose, read_probes
from graphws.actions.search.almost_homomorphisms import linear_defect
from graphws.actions.search.linear_action import linear_errors
from graphws.actions.search.search import Candidate, search
from graphws.actions.verdict.null_figures import NullFigures, carried, cosine, find_null_figures, matched
from graphws.actions.verdict.reached_layers import given_ends, layers_among_steps, layers_behind, reads_of_layers
from graphws.actions.verdict.verdict import EXACT, HALF, Links, WholeFigures, good_layers, judge
from graphws.checkpoints.conversion import Conversion
from graphws.errors import DataError, UsageError
from graphws.graph import LinearMap, Monomial, NetworkGraph, Weights
from graphws.graph.element import compose
from graphws.matching import families
from graphws.matching.match import same_map
from graphws.reporter import Reporter


def find_actions(
    network: Weights | Conversion,
    group: str | Mapping[str, Any] | DataSymmetry,
    input_shape: Sequence[int],
    output: str | Mapping[str, Any] = "same",
    *,
    data: Tensor | None = None,
    decoys: int = 3,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = torch.float64,
    device: torch.device | str | None = None,
    sweeps: int = 30,
    reduced: bool = True,
    reporter: Reporter | None = None,
) -> Actions:
    """How a group on data acts on every layer of a network, or why it cannot be said.

    Args:
        network: A network (a batch of one), or what `graphws.convert` gave; its module is run where its graph cannot.
        group: The group's name or mapping (see `graphws.actions.groups.naming`), or the group itself.
        input_shape: Shape of one input.
        output: How the group acts on outputs: ``same``, ``invariant`` or another representation.
        data: Probes (points, …); without them the weights alone decide, and there is no GL-error and no ν.
        decoys: How many decoy groups to compare with.
        generator: Source of randomness; seeded with 0 where None.
        dtype: Type to compute in; the network's own where None.
        device: Where to compute; the network's own where None.  Assignments are solved on the CPU, and the result is
            where the network is.
        sweeps: At most so many rounds of each refinement.
        reduced: Whether what does nothing is taken out first; the result then is about the reduced network.
        reporter: Hears how many of the steps are done: the reduction, a search for the group and one for each decoy,
            the figures.

    Returns:
        Actions: The verdict, ρ(g) on every space, and the figures of every layer.

    Raises:
        UsageError: On a group that does not fit the network, too few probes, or probes that it leaves as they are.
        DataError: On probes of another shape, all alike, or with numbers that are not finite; or where the network's
            values on them are not.
        WeightsError: Where weights are not finite.
    """
    weights = network.weights if isinstance(network, Conversion) else network
    if weights is None:
        raise UsageError("this graph has no weights: give a checkpoint, or a converted network's file")
    shape = tuple(int(n) for n in input_shape)
    rng = generator or torch.Generator().manual_seed(0)
    if not isinstance(group, DataSymmetry):
        acting = _on_other_grid(weights, shape) if output == "same" else None
        group = named_symmetry(group, shape, acting or output, outputs=output_size(weights.graph))
    if data is not None:
        check_moved(group, data)
    with (reporter or Reporter()).work(f"looking for {group.name}", decoys + 3, "steps") as progress:
        smaller = None
        if reduced and weights.batch == 1:
            reads = place(picture_view(weights).graph, group, shape).shape
            smaller = reduced_network(weights, reads, None if data is None else read_probes(data, reads))
        stored = weights if smaller is None else smaller.weights
        weights = stored.to(device=device, dtype=dtype)
        module = network.run if isinstance(network, Conversion) else None
        problem = pose(weights, group, shape, data, module=module)
        if not problem.finite:
            raise DataError("the network gives NaN or infinity on the probes, so nothing can be measured on them")
        progress.advance()
        best = search(problem, generator=rng, sweeps=sweeps)
        progress.advance()
        rivals = find_null_figures(
            problem, weights, shape, data, count=decoys, generator=rng, sweeps=sweeps, module=module, progress=progress
        )
        used = bool(problem.runs or problem.outputs)
        probes = None if data is None or not used else read_probes(data, problem.placed.shape)
        # in its own type, which says what counts as zero
        theorem = identifiability(stored, None if probes is None or not problem.runs else probes.cpu())
        seen = _report(problem, best, rivals, 0 if probes is None else len(probes), rng)
    return replace(
        seen,
        elements=tuple(element.to(stored.device) for element in seen.elements),
        network=picture_view(weights.to(device=stored.device)),
        identifiability=theorem,
        adjunction=adjunction(weights, problem.placed),
        note=problem.note,
        reduction=smaller,
    )


def _on_other_grid(weights: Weights, shape: tuple[int, ...]) -> dict[str, list[int]] | None:
    """The shape of an output of pictures on another grid, or of other channels, than the inputs; None elsewhere."""
    graph = picture_view(weights).graph if weights.batch == 1 else weights.graph
    if not convolves(graph) or why_not_followed(graph) is not None or len(graph.outputs) != 1 or len(shape) != 3:
        return None
    features = features_of(graph).get(graph.outputs[0])
    if features is None or features.axis != 1:
        return None
    try:
        sizes = output_positions(graph, shape)[graph.outputs[0]]
    except UsageError:  # which is said where inputs are looked at
        return None
    whole = [graph.extent(features.space), *sizes]
    return {"shape": whole} if len(sizes) == 2 and whole != list(shape) else None


def _extent(graph: NetworkGraph, space: str) -> int:
    """Elements of a space, or numbers of an output that no space labels and that goes by its own name."""
    named = {each.name for each in graph.spaces}
    return graph.extent(space) if space in named else numbers_of(graph, space)


def _defect(problem: Problem, best: Candidate, space: str) -> float:
    """How far ρ on a space is from a homomorphism."""
    table, elements = problem.table, [maps[space] for maps in best.maps]
    if any(isinstance(element, LinearMap) for element in elements):
        parent = problem.graph.space(space).parent
        parents = 1 if parent is None else problem.graph.extent(parent)
        return linear_defect([element.matrix() for element in elements], table, parents)
    pairs = [(g, h) for g in range(problem.order) for h in range(problem.order)]
    wrong = [not same_map(compose(elements[g], elements[h]), elements[int(table[g, h])]) for g, h in pairs]
    return sum(wrong) / len(wrong)


def _is_trivial(best: Candidate, spaces: Sequence[str]) -> bool:
    """Whether every element of some spaces stays where it is."""
    return all(is_identity(maps[name]) for maps in best.maps for name in spaces if name in maps)


def _noise(
    problem: Problem, best: Candidate, layers: Sequence[LayerFigures], generator: torch.Generator
) -> NoiseFigures:
    """What noise alone would do; measured where something is neither exact nor unrelated."""
    if all(layer.k_error <= EXACT for layer in layers):
        return NoiseFigures(perfect=0.0)
    seen = [each for layer in layers if layer.k_error > EXACT for each in (layer.relabelled, layer.backward)]
    if not any(evidence is not None and evidence.error**2 <= HALF * evidence.least**2 for evidence in seen):
        return NoiseFigures()
    return noise_figures(problem, best.maps, generator=generator)


def _with_backward(
    problem: Problem,
    best: Candidate,
    layers: Sequence[LayerFigures],
    moving: Container[str],
    links: Links,
    generator: torch.Generator,
) -> list[LayerFigures]:
    """The layers with backward evidence, for those that the inputs do not explain, where outputs are moved."""
    ends = [layer for layer in layers if layer.space not in moving]
    moved = {end.space for end in ends} & set(links.given)
    linked = good_layers(layers, ends, links)
    open_layers = [layer.space for layer in layers if layer.space not in linked]
    if not moved or not open_layers:
        return list(layers)
    found = relabelled_errors(problem, best, open_layers, generator=generator, backward=True)
    return [replace(layer, backward=found.get(layer.space)) for layer in layers]


def _report(problem: Problem, best: Candidate, rivals: NullFigures, probes: int, generator: torch.Generator) -> Actions:
    """The figures of every layer, and the verdict."""
    graph = problem.graph
    in_weights = weight_errors(problem, best.maps)
    errors = errors_of_layers(problem, best.maps, held=True)
    cumulative = cumulative_errors(problem, best.maps) if problem.held else {}
    gl_errors, gl_defects = linear_errors(problem)
    nus = linearity(problem) if problem.runs else {}
    roots = {name: family for family in families(graph) for name in family.spaces}
    generators = problem.placed.symmetry.generators
    relabelled = relabelled_errors(problem, best, list(errors), generator=generator)
    layers: list[LayerFigures] = []
    for space, error in errors.items():
        family = roots.get(space)
        kinds: dict[str, Tensor] = {}
        share, needed, unmatched, defect, negated, size = 1.0, 1.0, 0.0, 0.0, 0.0, _extent(graph, space)
        if family is not None:
            size = graph.space(family.root).size
            alone = best.unmatched[family.root]
            good = matched(problem, best, family)
            share, unmatched = float(good.double().mean()), float(alone.double().mean())
            needed = carried(problem, family, good)
            defect = max(_defect(problem, best, name) for name in family.spaces)
            negated = float(negated_copies(problem, family.root).double().mean())
            kinds = {
                key: categories(problem, family, best.maps[g], cosine(problem, best, family, g), alone)
                for key, g in generators.items()
                if isinstance(best.maps[g][family.root], Monomial)  # dimensions have no category
            }
        nu = nus.get(space)
        layers.append(
            LayerFigures(
                space=space,
                size=size,
                action=str(graph.space(space).action) if family is not None else "given",
                k_error=error,
                weight_error=in_weights.get(space, error),
                cumulative=cumulative.get(space),
                gl_error=gl_errors.get(space),
                gl_defect=gl_defects.get(space),
                nu=None if nu is None else float(nu.median()),
                nu_low=None if nu is None else float(nu.double().quantile(0.1)),
                defect=defect,
                matched=share,
                carried=needed,
                unmatched=unmatched,
                negated=negated,
                categories={
                    key: {name: int((kind == k).sum()) for k, name in enumerate(CATEGORIES)}
                    for key, kind in kinds.items()
                },
                kinds=kinds,
                rivals={name: figures[space] for name, figures in rivals.figures.items() if space in figures},
                relabelled=relabelled.get(space),
                trivial=family is not None and _is_trivial(best, family.spaces),
            )
        )
    whole, on_random = end_to_end_error(problem), error_on_random_inputs(problem)
    symmetry = problem.placed.symmetry
    links = Links(
        reads_of_layers(problem),
        given_ends(problem),
        layers_behind(problem),
        problem.placed.stopped,
        layers_among_steps(problem),
    )
    layers = _with_backward(problem, best, layers, roots, links, generator)
    noise = _noise(problem, best, layers, generator)
    layers = [replace(layer, noise=noise.layers.get(layer.space)) for layer in layers]
    ends = [layer for layer in layers if layer.space not in roots]
    hidden = [layer for layer in layers if layer.space in roots]
    figures = WholeFigures(whole, on_random, list(rivals.end_to_end.values()), noise, is_constant(problem))
    verdict = judge(symmetry.name, hidden, ends, links, figures)
    elements = tuple(problem.original(maps) for maps in best.maps)
    return Actions(
        symmetry.name,
        symmetry.words,
        symmetry.table,
        elements,
        tuple(layers),
        whole,
        on_random,
        best.name,
        probes,
        verdict,
        dict(rivals.end_to_end),
        streams=own_actions(problem, best, {layer.space: layer.matched for layer in layers}),
    )
