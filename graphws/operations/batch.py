"""A computation for a batch of networks: step by step, each for all networks at once.

A value that no weight has touched is the same for all networks and is computed once.  Any other has an axis of
networks in front.  A step is run, in this order of preference:

1. as it is, where it is one function of every entry;
2. by the batched form of its kind (`graphws.kinds.batched`), which copies no weights;
3. by `torch.func.vmap`, which makes convolutions of many networks one convolution in groups;
4. by a loop over networks, where vmap cannot batch it; what fails there is an error of the step itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from graphws.errors import GraphError
from graphws.graph.network import NetworkGraph
from graphws.operations.plan import Context, Environment, Step, steps_to


def execute_batch(
    graph: NetworkGraph,
    own: Environment,
    shared: Environment,
    wanted: tuple[str, ...],
    given: Mapping[str, Tensor],
    context: Context,
) -> dict[str, Tensor]:
    """Values of a batch of networks, (networks, ...).

    Law: the same as `graphws.operations.plan.execute` for each network.

    Args:
        graph: The graph.
        own: Tensors with an axis of networks in front: parameters, and values that differ between networks.
        shared: Tensors that all networks share: constants and values.
        wanted: Values to compute.
        given: Names of the values that are given.
        context: See `Context`.

    Raises:
        GraphError: Where a step fails; it is named.
    """
    networks = next(iter(own.values())).shape[0]
    own, shared = dict(own), dict(shared)
    for step in steps_to(graph, frozenset(wanted), frozenset(given)):
        outputs = step.operation.outputs
        if any(name in own for name in step.operation.reads):
            results, known = _run(step, own, shared, networks, context), own
        else:
            results, known = step.run(shared, context), shared
        step.check(results)
        known.update(zip(outputs, results, strict=False))
        for name in step.forget:
            own.pop(name, None)
            shared.pop(name, None)
    return {name: own[name] if name in own else _repeated(shared[name], networks) for name in wanted}


def _repeated(value: Tensor, networks: int) -> Tensor:
    return value.expand(networks, *value.shape)


def _run(step: Step, own: Environment, shared: Environment, networks: int, context: Context) -> tuple[Tensor, ...]:
    if step.row.pointwise and len(step.operation.reads) == len(step.operation.outputs) == 1:
        return step.run(own, context)
    for attempt in (_by_form, _by_vmap):
        found = attempt(step, own, shared, context)
        if found is not None:
            return found
    return _by_loop(step, own, shared, networks, context)


def _tried(function: Callable[[], Any]) -> tuple[Tensor, ...] | None:
    """What a function gives; None where it cannot: then a loop over networks says whether the step is at fault."""
    try:
        return _tensors(function())
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError, GraphError):
        return None


def _tensors(result: Any) -> tuple[Tensor, ...] | None:
    if result is None:
        return None
    return tuple(x for x in (result if isinstance(result, tuple | list) else (result,)) if isinstance(x, Tensor))


def _by_form(step: Step, own: Environment, shared: Environment, context: Context) -> tuple[Tensor, ...] | None:
    if step.row.batched is None or any(isinstance(name, list) for name in step.operands):
        return None
    form = step.row.batched
    given = [
        None if name is None else own[name] if name in own else shared[name].unsqueeze(0) for name in step.operands
    ]
    return _tried(lambda: form(step.row, *given, **step.constants_in(context)))


def _by_vmap(step: Step, own: Environment, shared: Environment, context: Context) -> tuple[Tensor, ...] | None:
    mine = {name: own[name] for name in step.operation.reads if name in own}
    with _without_fallback():
        return _tried(lambda: torch.func.vmap(lambda each: step.run({**shared, **each}, context))(mine))


def _by_loop(step: Step, own: Environment, shared: Environment, networks: int, context: Context) -> tuple[Tensor, ...]:
    mine = {name: own[name] for name in step.operation.reads if name in own}
    rows = [step.run({**shared, **{name: x[k] for name, x in mine.items()}}, context) for k in range(networks)]
    columns = list(zip(*rows, strict=True))
    for column in columns:
        shapes = list(dict.fromkeys(tuple(x.shape) for x in column))
        if len(shapes) > 1:
            raise GraphError(
                f"operation {step.operation} gives tensors of other shapes for other networks: "
                f"{shapes[0]}, {shapes[1]}; run the networks one by one"
            )
    return tuple(torch.stack(column) for column in columns)


@contextmanager
def _without_fallback() -> Iterator[None]:
    """vmap refuses what it cannot batch, rather than run it one network after another with a note on the console."""
    functorch: Any = torch._C._functorch
    before = functorch._is_vmap_fallback_enabled()
    functorch._set_vmap_fallback_enabled(False)
    try:
        yield
    finally:
        functorch._set_vmap_fallback_enabled(before)
