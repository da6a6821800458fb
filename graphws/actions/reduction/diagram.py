"""A reduction as a submodel in the sense of definition 3.2, to be put to the test.

`submodel_of` gives layers f_i and f̃_i and the maps α, α*, β, γ as functions; `check_submodel` of `submodels.submodel`
evaluates the commuting diagram and the equivariance of α and α* on them.

The latent spaces are those of the latent values (`graphws.actions.computation.latent_values`): the activations of an
MLP, what the heads of an attention layer have attended to (paper I, section 5.2), the tokens made of that, the
channels of a feature map.  Only values that all of the computation passes through are latent spaces: what a skip
connection passes by, queries and keys are inside a layer, where β looks after them.  Parameters of a layer are those
that its steps read.  Values have their features last: (points, …, features), feature maps (points, rows, columns,
channels).  The maps α act on features, so on every token and every pixel alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from graphws.actions.computation.features import turned, turned_back, why_not_analysed
from graphws.actions.computation.latent_values import LatentValue, latent_values
from graphws.actions.pictures.joined_axes import convolves, picture_graph, picture_view
from graphws.actions.reduction.result import Reduction
from graphws.actions.submodels.submodel import Model, Submodel, identity, linear
from graphws.errors import GraphError
from graphws.graph import NetworkGraph, Operation, Weights
from graphws.graph.element import SpaceElement, compose
from graphws.operations.plan import Context, constants_on, execute, steps_to

Parameters = Mapping[str, Tensor]
"""The parameters θ_i of one layer by name, without a batch axis."""


def submodel_of(reduction: Reduction) -> Submodel:
    """The reduced network as a submodel of the original's architecture.

    Symmetries are `SpaceElement` maps of the latent spaces, such as `Intertwiners.sample` draws.

    Raises:
        GraphError: Where the graph cannot be run.
    """
    large, small = picture_view(reduction.equivalent()).graph, picture_view(reduction.weights).graph
    layers, inner = _layers(large), _layers(small)
    spaces = [latent.space for latent in inner[:-1]]
    act = _action(reduction, spaces)
    alphas = [reduction.alpha(space) for space in spaces]
    stars = [reduction.alpha_star(space) for space in spaces]
    return Submodel(
        Model(tuple(_run(latent, large) for latent in layers)),
        Model(tuple(_run(latent, small) for latent in inner)),
        (identity, *(linear(matrix) for matrix in alphas), identity),
        (identity, *(linear(matrix) for matrix in stars), identity),
        (_beta(reduction, large),) * len(layers),
        (None, *(_gamma(reduction, space) for space in spaces), None),
        act,
        act,
        compose,
    )


def latent_spaces(graph: NetworkGraph) -> list[str]:
    """The spaces of V_1, …, V_{L-1}.

    Raises:
        GraphError: As `submodel_of`.
    """
    view = picture_graph(graph) if convolves(graph) else graph
    return [latent.space for latent in _layers(view)[:-1]]


def latent_layers(graph: NetworkGraph) -> list[tuple[str, Callable[[Tensor, Parameters], Tensor]]]:
    """f_1, …, f_L, each with the name of the value that it makes.

    Raises:
        GraphError: As `submodel_of`.
    """
    view = picture_graph(graph) if convolves(graph) else graph
    return [(latent.value, _run(latent, view)) for latent in _layers(view)]


def layer_parameters(weights: Weights) -> list[Parameters]:
    """θ_1, …, θ_L of one network, in double precision.

    Raises:
        GraphError: As `submodel_of`.
    """
    view = picture_view(weights)
    names = set(view.tensors)
    return [
        {name: view[name][0].double() for step in latent.steps for name in step.reads if name in names}
        for latent in _layers(view.graph)
    ]


def latent_shapes(weights: Weights, inputs: Tensor) -> list[tuple[int, ...]]:
    """Shapes of the latent spaces V_0, …, V_L for given inputs, points first: where to draw random points.

    Args:
        weights: One network.
        inputs: Points of V_0, with features last.
    """
    graph = picture_view(weights).graph
    shapes, x = [tuple(inputs.shape)], inputs.double()
    for latent, theta in zip(_layers(graph), layer_parameters(weights), strict=True):
        x = _run(latent, graph)(x, theta)
        shapes.append(tuple(x.shape))
    return shapes


def _layers(graph: NetworkGraph) -> list[LatentValue]:
    """The latent values that all of the computation passes through, the output last, with the steps between them.

    What some later step reads past one, such as queries beside keys, makes it a part of a layer.
    """
    why = why_not_analysed(graph)
    if why is not None:
        raise GraphError(f"a diagram of layers needs a network that can be run from its graph: {why}")
    steps = [step.operation for step in steps_to(graph, frozenset(graph.outputs), frozenset(graph.inputs))]
    source = graph.inputs[0]
    made = {source: -1} | {name: k for k, step in enumerate(steps) for name in step.outputs}
    found: list[LatentValue] = []
    before = source
    for latent in latent_values(graph):
        here = made[latent.value]
        past = {name for step in steps[here + 1 :] for name in step.reads if source in graph.sources(name)}
        if all(name == latent.value or made[name] > here for name in past):
            found.append(replace(latent, steps=_between(steps, before, latent.value), starts=(before,)))
            before = latent.value
    if before != graph.outputs[0]:  # outputs whose features belong to no space
        out = graph.outputs[0]
        found.append(LatentValue(out, "", _between(steps, before, out), (before,), None))
    return found


def _between(steps: Sequence[Operation], before: str, value: str) -> tuple[Operation, ...]:
    """The steps that make a value of the one before it."""
    wanted, found = {value}, []
    for step in reversed(steps):
        if wanted & set(step.outputs):
            found.append(step)
            wanted |= set(step.reads) - {before}
    return tuple(reversed(found))


def _run(latent: LatentValue, graph: NetworkGraph) -> Callable[[Tensor, Parameters], Tensor]:
    """f_i: the steps of one layer, on values with their features last."""
    start = latent.starts[0]

    def layer(x: Tensor, theta: Parameters) -> Tensor:
        native = turned_back(graph, start, x.unsqueeze(0))[0]
        context = Context(len(native), native.dtype, native.device)
        known = {**constants_on(graph, context), **theta, start: native}
        found = execute(graph, known, [latent.value], [start], context)[latent.value]
        return turned(graph, latent.value, found.unsqueeze(0))[0]

    return layer


def _beta(reduction: Reduction, graph: NetworkGraph) -> Callable[[Parameters], Parameters]:
    """β_i: every axis of every parameter is embedded."""

    def beta(theta: Parameters) -> Parameters:
        return {name: reduction.embedded(graph.parameter(name), tensor) for name, tensor in theta.items()}

    return beta


def _gamma(reduction: Reduction, space: str) -> Callable[[SpaceElement], SpaceElement]:
    return lambda element: reduction.lift_on(space, element)


def _action(reduction: Reduction, spaces: Sequence[str]) -> Callable[[int, SpaceElement, Tensor], Tensor]:
    """How a symmetry acts on values: a factor s of what goes into a power t^m is a factor s^m of what comes out."""
    powers = [reduction.maps[name].power if name in reduction.maps else 1 for name in spaces]

    def act(space: int, symmetry: SpaceElement, x: Tensor) -> Tensor:
        return symmetry.apply(x.unsqueeze(0), x.ndim, powers[space - 1]).squeeze(0)

    return act
