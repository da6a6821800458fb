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

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from graphws.errors import GraphError, nearest
from graphws.graph.network import NetworkGraph
from graphws.graph.weights import Weights
from graphws.operations.batch import execute_batch
from graphws.operations.plan import Context, Environment, constants_on, execute, steps_to, why_not

Inputs = Tensor | Sequence[Tensor] | Mapping[str, Tensor]
"""One tensor, several in the order of the graph's inputs, or by their names."""
MEMORY = 1 << 27
"""Bytes of values that networks run at once may have on the CPU; beyond what caches hold, more is slower."""
DEVICE_MEMORY = 1 << 31
"""The same on other devices."""


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
    if not weights.batch:
        raise GraphError("no networks to run: the weights hold none")
    names = tuple(dict.fromkeys(names))
    unknown = [name for name in names if name not in {*given, *graph.writers, *graph.named}]
    if unknown:
        raise GraphError(f"no value {unknown[0]!r} in this graph" + nearest(unknown[0], [*given, *graph.writers]))
    if n is None:
        n = _length(given, own)
    context = Context(n, weights.floating, weights.device)
    shared = constants_on(graph, context) | {name: value for name, value in given.items() if not own[name]}
    mine = dict(weights.items()) | {name: value for name, value in given.items() if own[name]}
    if weights.batch == 1:
        single = execute(graph, shared | {name: x[0] for name, x in mine.items()}, names, given, context)
        return {name: single[name].unsqueeze(0) for name in names}
    portions = [
        execute_batch(graph, {name: x[part] for name, x in mine.items()}, shared, names, given, context)
        for part in _portions(graph, mine, shared, names, given, context)
    ]
    if len(portions) == 1:
        return portions[0]
    return {name: torch.cat([portion[name] for portion in portions]) for name in names}


def _length(given: Mapping[str, Tensor], own: Mapping[str, bool]) -> int:
    """n: length of the first axis of the first value given."""
    for name, value in given.items():
        lead = value.shape[int(own[name]) :]
        return int(lead[0]) if lead else 1
    return 1


def _portions(
    graph: NetworkGraph,
    mine: Environment,
    shared: Environment,
    names: tuple[str, ...],
    given: Iterable[str],
    context: Context,
) -> list[slice]:
    """The networks in portions of about equal size, each as large as memory allows."""
    networks = next(iter(mine.values())).shape[0]
    shapes = {name: (tuple(x.shape[1:]), x.dtype) for name, x in mine.items()}
    shapes |= {name: (tuple(x.shape), x.dtype) for name, x in shared.items()}
    size = _bytes_of_values(graph, tuple(shapes.items()), names, frozenset(given), context.n, context.dtype)
    memory = MEMORY if context.device.type == "cpu" else DEVICE_MEMORY
    most = max(1, memory // size) if size else 16
    step = math.ceil(networks / math.ceil(networks / most))
    return [slice(start, start + step) for start in range(0, networks, step)]


@lru_cache(maxsize=128)
def _bytes_of_values(
    graph: NetworkGraph,
    shapes: tuple[tuple[str, tuple[tuple[int, ...], torch.dtype]], ...],
    names: tuple[str, ...],
    given: frozenset[str],
    n: int,
    dtype: torch.dtype,
) -> int:
    """Bytes that the values of one network have; shapes are worked out without computing.  0 where that fails."""
    meta = Context(n, dtype, torch.device("meta"))
    known = {name: torch.empty(shape, dtype=kind, device="meta") for name, (shape, kind) in shapes}
    every = [name for step in steps_to(graph, frozenset(names), given) for name in step.operation.outputs]
    try:
        values = execute(graph, known, every, given, meta)
    except (GraphError, RuntimeError, NotImplementedError):  # an operation that needs numbers
        return 0
    return sum(value.numel() * value.element_size() for value in values.values())
