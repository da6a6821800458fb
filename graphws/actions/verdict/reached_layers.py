"""Which layers a symmetry of the data reaches: an action is one of the *group's* only where a chain of layers says so.

A layer alone says that a map of what it reads and a map of what it writes fit together.  In the middle of a network
such pairs are always there: the identity on both, or any relabelling that its weights happen to allow.  That they are
what a group on data does, only the ends can say, where the group's own maps are given.  So a layer whose maps fit
counts where it reads the inputs, or something that counts; or where what reads it counts, down from outputs that the
group moves.  (Outputs that it leaves alone are explained by the identity, and say nothing.)  The two are judged apart:
from what it reads on, a layer's own map is sought; down from what it writes, the map of what it reads is.

>>> reads = {"hidden1": {"input"}, "hidden2": {"hidden1"}, "hidden3": {"hidden2"}, "output": {"hidden3"}}
>>> sorted(reached_layers({"hidden1", "hidden3"}, reads, {"input"}))
['hidden1']
>>> sorted(reached_layers({"hidden1", "hidden3", "output"}, reads, {"input", "output"}))
['hidden1', 'hidden3', 'output']
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from graphws.actions.computation.features import features_of
from graphws.actions.groups.symmetry import is_identity
from graphws.actions.measures.equivariance import layer_of_parameter
from graphws.actions.problem import Problem


def reached_layers(
    good: Collection[str],
    reads: Mapping[str, Collection[str]],
    given: Collection[str],
    back: Collection[str] | None = None,
) -> set[str]:
    """The layers that are linked to an end by layers whose maps fit.

    Args:
        good: Layers whose maps fit from what they read on, by the spaces that they write; outputs among them.
        reads: What each layer reads; one that reads nothing, as a learned query, is linked.
        given: Spaces whose maps are given and say something: the inputs, and outputs that the group moves.
        back: Layers whose maps fit down from what they write; `good` where None.
    """
    down = set(good if back is None else back)
    known, found = set(given), {layer for layer in down if layer in given}
    while True:
        ahead = {layer for layer in good if not reads.get(layer) or known & set(reads[layer])}
        behind = {read for layer in down if layer in known for read in reads.get(layer, ())} & down
        new = (ahead | behind) - found
        if not new:
            return found
        found |= new
        known |= new


def reads_of_layers(problem: Problem) -> dict[str, set[str]]:
    """For each layer the spaces that its weights read, and those of the values that its steps start from.

    The steps lead through spaces on which nothing can act, such as a single channel; an input goes by its own name.
    """
    graph, found = problem.view.graph, dict[str, set[str]]()
    for parameter, layer in layer_of_parameter(graph).items():
        read = {axis.space for axis in graph.parameter(parameter).axes if axis.power < 0}
        found.setdefault(layer, set()).update(read - {layer})
    spaces = {latent.value: latent.space for latent in problem.layers}
    for latent in problem.layers:
        for step in latent.steps:
            starts = {spaces.get(name, name) for name in step.inputs if name in spaces or name in problem.graph.inputs}
            found.setdefault(latent.space, set()).update(starts - {latent.space})
    return found


def layers_among_steps(problem: Problem) -> dict[str, set[str]]:
    """For each layer the other layers whose weights stand among its steps: a positional encoding, edges of tokens."""
    graph, found = problem.view.graph, dict[str, set[str]]()
    layers = layer_of_parameter(graph)
    for latent in problem.layers:
        read = {name for step in latent.steps for name in step.reads}
        inside = {layers[p.name] for name in read for p in graph.weights_behind(name) if p.name in layers}
        found.setdefault(latent.space, set()).update(inside - {latent.space})
    return found


def given_ends(problem: Problem) -> set[str]:
    """The ends that say something: inputs, by the names of spaces and values, and outputs that the group moves.

    Of a network that runs they are the spaces of its inputs and outputs: taps and positions, which layers in the middle
    read as well, bring nothing from the ends.
    """
    read = {name for reads in reads_of_layers(problem).values() for name in reads}
    moved = {name for name in problem.fixed[0] if not all(is_identity(maps[name]) for maps in problem.placed.maps)}
    given = moved | (set(problem.fixed[0]) & read)
    if problem.layers:
        features = features_of(problem.graph)
        given &= {features[name].space for name in (*problem.graph.inputs, *problem.graph.outputs) if name in features}
    return set(problem.graph.inputs) | given


def moved_outputs(problem: Problem) -> bool:
    """Whether the group moves outputs, so that they say something about the layers before them."""
    features = features_of(problem.graph)
    ends = {features[name].space for name in problem.graph.outputs if name in features} & set(problem.placed.maps[0])
    return any(not is_identity(maps[space]) for maps in problem.placed.maps for space in ends)


def layers_behind(problem: Problem) -> set[str]:
    """The layers none of whose values the group's move of positions reaches, whatever their weights say."""
    features = features_of(problem.graph)
    lost = {features[name].space for name in problem.placed.lost if name in features}
    return lost - {latent.space for latent in problem.layers}
