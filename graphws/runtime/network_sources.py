"""Networks to ask a model about: checkpoints, network files, model folders, zoos, folders of any of these.

A bare state dict does not say what it computes; it is taken for a network of the run where its keys and shapes are
those of one of the run's graphs.  Everything else, and a state dict that fits none, is converted, and is a network of
the run only where it computes what these compute.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from graphws.checkpoints import Conversion, is_network_file, load_network
from graphws.checkpoints.state_dict import INDEXES, SUFFIXES, read_checkpoint
from graphws.converting import load_graph_file
from graphws.errors import DataError, GraphwsError, UsageError, WeightsError
from graphws.graph import NetworkGraph, Storage, Weights
from graphws.operations.other_computation import other_computation
from graphws.shown import Shown
from graphws.zoo import Zoo
from graphws.zoo.manifest import NAME as ZOO

NETWORKS = (*SUFFIXES, ".onnx")
"""Suffixes of files that hold a network."""
PART = 256
"""Networks of a zoo that are read at a time."""


@dataclass(frozen=True, eq=False, repr=False)
class Named(Shown):
    """Networks of one graph, what each is called, and why they are of no graph of the run, where that was tried."""

    names: tuple[str, ...]
    weights: Weights
    why: str = ""


@dataclass(frozen=True, repr=False)
class Bad(Shown):
    """What holds no network that can be read, and why."""

    name: str
    error: GraphwsError


def read_networks(
    places: Sequence[str | Path], graphs: Sequence[NetworkGraph], names: Sequence[str]
) -> Iterator[Named | Bad]:
    """The networks at some places, in that order.

    Args:
        places: Files, model folders, zoos, and folders that hold such files.
        graphs: Of the run.
        names: Of these architectures.

    Raises:
        UsageError: On a folder without networks.
        ZooError: On a damaged zoo.
    """
    for place in places:
        path = Path(place)
        if (path / ZOO).is_file():
            yield from _of_zoo(path)
        elif path.is_dir() and not (path / "config.json").is_file():
            for file in _files(path):
                yield _read(file, graphs, names)
        else:
            yield _read(path, graphs, names)


def _files(folder: Path) -> list[Path]:
    """What in a folder holds a network, in order of name."""
    found = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    networks = [
        path
        for path in found
        if (path.is_file() and path.name.endswith((*NETWORKS, *INDEXES))) or (path / "config.json").is_file()
    ]
    if not networks:
        raise UsageError(f"{folder}: no networks in it; they are files ending in {', '.join(NETWORKS)}, or a zoo")
    return networks


def _of_zoo(path: Path) -> Iterator[Named]:
    zoo = Zoo.open(path)
    files = zoo.table.get("file")
    for index in torch.arange(len(zoo)).split(PART):
        found = {}
        for positions, weights in zoo.parts(index):
            for row, number in enumerate(index[positions].tolist()):
                name = f"{path}[{number}]" if files is None else f"{path}[{number}] {files[number]}"
                found[number] = Named((name,), weights.select([row]))
        yield from (found[number] for number in sorted(found))


def _read(file: Path, graphs: Sequence[NetworkGraph], names: Sequence[str]) -> Named | Bad:
    try:
        weights, why = _network(file, graphs, names)
        weights.check_finite()
    except GraphwsError as error:
        text = str(error)
        return Bad(str(file), error if text.startswith(str(file)) else DataError(f"{file}: {text}"))
    return Named((str(file),), weights, why)


def _network(file: Path, graphs: Sequence[NetworkGraph], names: Sequence[str]) -> tuple[Weights, str]:
    """The network in a file, on a graph of the run where it has one; else why it has none."""
    if not file.exists():
        raise DataError(f"{file}: no such file")
    reason = ""
    if file.is_file() and file.name.endswith((*SUFFIXES, *INDEXES)):
        if is_network_file(file):
            return _converted(load_network(file), file, graphs, names)
        found, reason = fitting(read_checkpoint(file).state, graphs, names)
        if found is not None:
            return found, ""
    try:
        conversion = load_graph_file(file)
    except GraphwsError as error:
        raise DataError(f"{file}: {reason}; and it cannot be converted: {error}" if reason else str(error)) from error
    return _converted(conversion, file, graphs, names)


def _converted(
    conversion: Conversion, file: Path, graphs: Sequence[NetworkGraph], names: Sequence[str]
) -> tuple[Weights, str]:
    """A network that says what it computes, on a graph of the run that computes the same; else on its own, and why."""
    if conversion.weights is None:
        raise DataError(f"{file}: a graph without weights; give a file that holds a network")
    found, reason = fitting(conversion.weights.to_state_dict(), graphs, names)
    if found is None:
        return conversion.weights, reason
    if other := other_computation(found.graph, conversion.graph):
        named = found.graph.structure != conversion.graph.structure  # or else the model itself says what differs
        return conversion.weights, f"it computes something else: {other}" if named else ""
    return found, ""


def fitting(
    state: dict[str, Tensor], graphs: Sequence[NetworkGraph], names: Sequence[str]
) -> tuple[Weights | None, str]:
    """A state dict as a network of the first graph whose keys and shapes it has; else why it is none of any.

    Keys may all have one prefix more, or less: the network of a larger module, or one taken out of it.
    The graph that it misses least is named in the reason: the one with the most of its keys and shapes.
    """
    found, reason = _exactly(state, graphs, names)
    if found is not None:
        return found, ""
    for graph in graphs:
        moved = _renamed(graph, state)
        if moved is not None and (under := _exactly(state, [moved], [""])[0]) is not None:
            return under, ""
    return None, reason


def _renamed(graph: NetworkGraph, state: Mapping[str, Tensor]) -> NetworkGraph | None:
    """The graph under the keys of a state dict that differ by one prefix of all; None where they differ otherwise."""
    mine = list(graph.stored_shapes())
    longer, shorter = (state, mine) if max(map(len, state), default=0) > max(map(len, mine)) else (mine, state)
    first = min(shorter, default="")
    prefix = next((key.removesuffix(first) for key in sorted(longer) if key.endswith(f".{first}")), "")
    if not prefix or any(not key.startswith(prefix) for key in longer):
        return None

    def key(name: str) -> str:
        return prefix + name if longer is state else name.removeprefix(prefix)

    parameters = []
    for parameter in graph.parameters:
        storage = parameter.storage or Storage(parameter.name, graph.shape(parameter.name))
        moved = replace(storage, key=key(storage.key), aliases=tuple(map(key, storage.aliases)))
        parameters.append(replace(parameter, storage=moved))
    return NetworkGraph(graph.spaces, tuple(parameters))


def _exactly(
    state: dict[str, Tensor], graphs: Sequence[NetworkGraph], names: Sequence[str]
) -> tuple[Weights | None, str]:
    """The same for keys as they are."""
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    nearest, best = 0, -1
    for number, graph in enumerate(graphs):
        wanted = graph.stored_shapes()
        shared = len(wanted.items() & shapes.items())
        if len(wanted) > shared or len(shapes) < shared:
            if shared > best:
                nearest, best = number, shared
            continue
        try:
            return Weights.from_state_dict(graph, state), ""
        except WeightsError:  # tied tensors differ, or there are tensors that the graph does not know
            nearest, best = number, shared
    try:
        Weights.from_state_dict(graphs[nearest], state)
    except WeightsError as error:
        many = f"it fits none of the run's {len(graphs)} architectures, the nearest being {names[nearest]!r}"
        return None, f"{many if len(graphs) > 1 else 'it is no network like those of the run'}: {error}"
    raise AssertionError("a state dict that fits a graph was not taken")
