"""The graph with a space of another size: storage and operations follow.

A stored tensor may hold several parameters (a fused projection), and a stored axis several spaces (channels × pixels
after a flatten).  Each stored axis is the product of consecutive axes of its parameter; where the blocks of several
parameters tile an axis, they are laid out anew one after the other.
"""

from __future__ import annotations

import math
from dataclasses import replace

from graphws.errors import GraphError
from graphws.graph import NetworkGraph, Parameter, Space, Storage


def resized(graph: NetworkGraph, space: Space) -> NetworkGraph:
    """The graph with the space of that name in another size.

    Raises:
        GraphError: Where a stored axis mixes the space with others in a way that leaves no smaller tensor.
    """
    spaces = tuple(space if old.name == space.name else old for old in graph.spaces)
    bare = NetworkGraph(spaces, tuple(replace(p, storage=None) for p in graph.parameters))
    blocks = {p.name: _block(graph, bare, p) for p in graph.parameters if p.storage is not None}
    keys: dict[str, list[Parameter]] = {}
    for parameter in graph.parameters:
        if parameter.storage is not None:
            keys.setdefault(parameter.storage.key, []).append(parameter)
    stored: dict[str, Storage] = {}
    for users in keys.values():
        stored |= _tiled(users, blocks)
    parameters = tuple(replace(p, storage=stored.get(p.name)) for p in graph.parameters)
    operations = []
    for operation in graph.operations:
        if operation.kind == "dot_scores":
            heads = _heads(graph, bare, operation.inputs[0])
            if heads is not None:
                operation = replace(operation, attributes={**dict(operation.attributes), "heads": heads})  # type: ignore[arg-type]
        operations.append(operation)
    return NetworkGraph(spaces, parameters).with_computation_of(graph, operations)


def _heads(graph: NetworkGraph, bare: NetworkGraph, value: str) -> int | None:
    """How many heads the queries `value` have, from the space that they are written into."""
    for operation in graph.operations:
        if value in operation.outputs and operation.kind == "linear":
            lineage = bare.lineage(graph.parameter(operation.inputs[1]).axes[0].space)
            return lineage[0].size if len(lineage) > 1 else None
    return None


def _block(graph: NetworkGraph, bare: NetworkGraph, parameter: Parameter) -> tuple[int, ...]:
    """Shape of the parameter's stored block after the change."""
    storage = parameter.storage
    assert storage is not None
    old, new, wanted = graph.shape(parameter.name), bare.shape(parameter.name), storage.block_shape
    if old == new:
        return wanted
    if storage.view is not None:
        raise GraphError(f"{storage.key!r} interleaves its parts, so no smaller tensor can be stored in its place")
    if storage.orders:
        raise GraphError(f"{storage.key!r} is read in another order, so no smaller tensor can be stored in its place")
    made: list[int] = []
    k = 0
    for length in wanted:
        before = after = 1
        while k < len(old) and (before < length or (old[k] == 1 and before == length)):
            before, after, k = before * old[k], after * new[k], k + 1
        if before != length:
            raise GraphError(f"{storage.key!r} splits one of its axes, so no smaller tensor can be stored in its place")
        made.append(after)
    assert math.prod(made) == math.prod(new)
    return tuple(made)


def _tiled(users: list[Parameter], blocks: dict[str, tuple[int, ...]]) -> dict[str, Storage]:
    """The new storage of all parameters of one stored tensor."""
    storages = {p.name: p.storage for p in users if p.storage is not None}
    key, rank = next(iter(storages.values())).key, len(next(iter(storages.values())).seen)
    starts: list[dict[tuple[int, int], tuple[int, int]]] = []
    for axis in range(rank):
        lengths: dict[tuple[int, int], int] = {}
        for name, storage in storages.items():
            part = storage.index[axis]
            length = lengths.setdefault((part.start, part.stop), blocks[name][axis])
            if length != blocks[name][axis]:
                raise GraphError(f"{key!r} holds parts that would shrink differently side by side")
        moved, at, end = {}, 0, 0
        for (start, stop), length in sorted(lengths.items()):
            if start != end:
                raise GraphError(f"{key!r} holds parts that overlap along axis {axis}")
            moved[start, stop], at, end = (at, at + length), at + length, stop
        starts.append(moved)
    shape = tuple(max(stop for _, stop in moved.values()) for moved in starts)
    found = {}
    for name, storage in storages.items():
        block = tuple(starts[axis][part.start, part.stop] for axis, part in enumerate(storage.index))
        whole = block == tuple((0, n) for n in shape)
        if storage.view is not None or storage.orders:
            found[name] = storage
        else:
            found[name] = Storage(storage.key, shape, None if whole else block, storage.aliases)
    return found
