"""Running networks straight from their graph and weights, one or a batch of them: the only runner there is.

A batch of networks is run by `torch.func.vmap`, in chunks that respect memory, and gives what a loop over the networks
would; both are differentiable in weights and inputs.  Every value of the computation can be had by its name.

>>> import torch
>>> from graphws.graph import Weights
>>> from graphws.operations import forward, mlp_graph
>>> graph = mlp_graph([2, 8, 1], activation="tanh")
>>> weights = Weights(graph, {p.name: torch.zeros(5, *graph.shape(p.name)) for p in graph.parameters})
>>> forward(graph, weights, torch.zeros(10, 2)).shape
torch.Size([5, 10, 1])
>>> {name: tuple(value.shape) for name, value in run_values(graph, weights, torch.zeros(10, 2)).items()}
{'x0': (5, 10, 2), 'z1': (5, 10, 8), 'x1': (5, 10, 8), 'z2': (5, 10, 1)}
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from graphws.errors import GraphError, nearest
from graphws.graph.network import NetworkGraph
from graphws.graph.weights import Weights
from graphws.operations.plan import Context, Environment, constants_on, execute, steps_to, why_not

Inputs = Tensor | Sequence[Tensor] | Mapping[str, Tensor]
"""One tensor, several in the order of the graph's inputs, or by their names."""
MEMORY = 1 << 29
"""Bytes of values that networks run at once may have."""


def forward(graph: NetworkGraph, weights: Weights, inputs: Inputs) -> Tensor | tuple[Tensor, ...]:
    """The outputs of every network of a batch, differentiable in weights and inputs.

    Law: the same as running the networks one by one.

    Args:
        graph: A graph that runs (`why_not` says nothing).
        weights: A batch of its networks.
        inputs: Points for all networks, of the shape that the graph's input has; with a leading axis of the length of
            the batch, for each network its own.

    Returns:
        Tensor: (batch, *shape of the output); a tuple of these where the graph has several outputs.

    Raises:
        GraphError: On a graph that does not run, inputs that it does not know, or of the wrong number of axes.
    """
    found = run_values(graph, weights, inputs, graph.outputs)
    outputs = tuple(found[name] for name in graph.outputs)
    return outputs[0] if len(outputs) == 1 else outputs


def outputs_of(graph: NetworkGraph, weights: Weights, inputs: Inputs) -> Tensor:
    """The outputs as one tensor: the only one as it is, several flattened to (batch, numbers), floating ones only."""
    found = forward(graph, weights, inputs)
    if isinstance(found, Tensor):
        return found
    floating = [x for x in found if x.is_floating_point()] or list(found)
    return floating[0] if len(floating) == 1 else torch.cat([x.flatten(1) for x in floating], 1)


def run_values(
    graph: NetworkGraph, weights: Weights, inputs: Inputs, names: Iterable[str] | None = None
) -> dict[str, Tensor]:
    """Values of the computation by their names: attention maps, hidden activations, outputs.

    Args:
        graph: As in `forward`.
        weights: As in `forward`.
        inputs: As in `forward`.
        names: Which values; all where None.

    Returns:
        dict[str, Tensor]: Values (batch, ...), in the order of the computation.
    """
    reason = why_not(graph)
    if reason:
        raise GraphError(f"this graph cannot be run by itself: {reason}")
    given = named_inputs(graph, inputs)
    own = {name: _has_network_axis(graph, weights, name, value) for name, value in given.items()}
    return _run(graph, weights, given, own, _wanted(graph, names))


def continue_from(
    graph: NetworkGraph, weights: Weights, given: Mapping[str, Tensor], names: Iterable[str], n: int | None = None
) -> dict[str, Tensor]:
    """Values that follow from other values, such as those of a layer from the layer before.

    Args:
        graph: The graph.
        weights: A batch of its networks.
        given: Values (batch, ...) of each network; steps that write them are left out.
        names: Which values are wanted.
        n: Length of the first axis of the network's first input; that of the first given value where None.
    """
    return _run(graph, weights, given, dict.fromkeys(given, True), tuple(names), n)


def named_inputs(graph: NetworkGraph, inputs: Inputs) -> dict[str, Tensor]:
    """Inputs by the names that the graph has for them.

    Raises:
        GraphError: On too few, too many, or unknown ones.
    """
    if isinstance(inputs, Mapping):
        for name in inputs:
            if name not in graph.inputs:
                raise GraphError(f"no input {name!r} in this graph" + nearest(name, graph.inputs))
        missing = [name for name in graph.inputs if name not in inputs]
        if missing:
            raise GraphError(f"input {missing[0]!r} is missing")
        return {name: inputs[name] for name in graph.inputs}
    several = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    if len(several) != len(graph.inputs):
        raise GraphError(f"got {len(several)} inputs, this graph reads {len(graph.inputs)}: {', '.join(graph.inputs)}")
    return dict(zip(graph.inputs, several, strict=True))


def _has_network_axis(graph: NetworkGraph, weights: Weights, name: str, value: Tensor) -> bool:
    """Whether an input has an axis of networks in front."""
    stated = graph.value(name)
    if stated is None:
        return False
    rank = len(stated.shape)
    if value.ndim not in (rank, rank + 1):
        shape = ", ".join("points" if k == 0 and size == "n" else str(size) for k, size in enumerate(stated.shape))
        raise GraphError(f"inputs of shape {tuple(value.shape)}: this graph reads ({shape}) or (batch, {shape})")
    if value.ndim == rank + 1 and value.shape[0] != weights.batch:
        raise GraphError(f"inputs for {value.shape[0]} networks, got weights of {weights.batch}")
    return value.ndim == rank + 1


def _wanted(graph: NetworkGraph, names: Iterable[str] | None) -> tuple[str, ...]:
    if names is None:
        return (*graph.inputs, *(name for operation in graph.operations for name in operation.outputs))
    return tuple(names)


def _run(
    graph: NetworkGraph,
    weights: Weights,
    given: Mapping[str, Tensor],
    own: Mapping[str, bool],
    names: tuple[str, ...],
    n: int | None = None,
) -> dict[str, Tensor]:
    names = tuple(dict.fromkeys(names))
    first = next(iter(given.items()), None)
    if n is None:
        lead = None if first is None else first[1].shape[int(own[first[0]]) :]
        n = int(lead[0]) if lead else 1
    context = Context(n, weights.floating, weights.device)
    fixed = constants_on(graph, context)
    shared = {name: value for name, value in given.items() if not own[name]}
    mine = {name: value for name, value in given.items() if own[name]}

    def one(tensors: Environment, inputs: Environment) -> tuple[Tensor, ...]:
        found = execute(graph, {**fixed, **tensors, **shared, **inputs}, names, given, context)
        return tuple(found[name] for name in names)

    tensors = dict(weights.items())
    if weights.batch == 1:
        single = one(_at(tensors, 0), _at(mine, 0))
        return {name: value.unsqueeze(0) for name, value in zip(names, single, strict=True)}
    chunk = _chunk(graph, weights, given, own, names, context)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of operations that vmap runs one by one
            batched = torch.func.vmap(one, in_dims=(0, 0), chunk_size=chunk)(tensors, mine)
    except Exception:  # some operations cannot be batched: what a loop says counts
        rows = [one(_at(tensors, k), _at(mine, k)) for k in range(weights.batch)]
        batched = tuple(torch.stack(column) for column in zip(*rows, strict=True))
    return dict(zip(names, batched, strict=True))


def _at(tensors: Mapping[str, Tensor], network: int) -> Environment:
    return {name: tensor[network] for name, tensor in tensors.items()}


def _chunk(
    graph: NetworkGraph,
    weights: Weights,
    given: Mapping[str, Tensor],
    own: Mapping[str, bool],
    names: tuple[str, ...],
    context: Context,
) -> int | None:
    """How many networks may run at once: shapes are worked out without computing."""
    meta = Context(context.n, context.dtype, torch.device("meta"))
    known = {name: tensor[0].to("meta") for name, tensor in weights.items()} | constants_on(graph, meta)
    known |= {name: (value[0] if own[name] else value).to("meta") for name, value in given.items()}
    try:
        steps = steps_to(graph, frozenset(names), frozenset(given))
        every = [name for step in steps for name in step.operation.outputs]
        values = execute(graph, known, every, given, meta)
    except Exception:  # an operation that needs numbers: small portions do no harm
        return 16
    size = sum(value.numel() * value.element_size() for value in values.values())
    count = max(1, MEMORY // max(size, 1))
    return count if count < weights.batch else None
