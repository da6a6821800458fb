"""A folder of checkpoints of one MLP architecture as a zoo, and back.

The first file, in order of name, decides the architecture; every other must have the same keys, shapes and type.
What a state dict does not say, the activation, the caller does.  Labels come from a ``labels.csv`` in the folder, if
there is one: its column ``file`` names the files, the others become columns of the table; ``split`` and ``sample`` keep
their meaning.

Unpacking gives the same state dicts, bit for bit.
"""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from graphws.checkpoints.state_dict import SUFFIXES
from graphws.errors import GraphwsError, ZooError, nearest
from graphws.files import sweep, write_error
from graphws.graph import NetworkGraph, Weights
from graphws.operations import mlp_graph, mlp_widths
from graphws.printable import printable
from graphws.zoo.files import write_whole
from graphws.zoo.labels import LABELS, read_labels
from graphws.zoo.split import SplitOptions, describe, split_samples
from graphws.zoo.state_dicts import read_state
from graphws.zoo.store import ARCHITECTURE, Zoo
from graphws.zoo.table import SPLITS
from graphws.zoo.writer import LOCK, building, finish

COMPARED = 4096
"""Networks that are held at a time where a zoo that is there is compared."""
_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def pack(
    folder: str | Path,
    out: str | Path,
    *,
    activation: str = "relu",
    omega: float | None = None,
    split: SplitOptions | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Zoo:
    """Makes a zoo of the checkpoints in a folder.

    Args:
        folder: Holds .pt, .pth, .th or .safetensors files, each a state dict of the same MLP.
        out: The zoo's folder.  A zoo that is there already is opened where it is the same.
        activation: Of the hidden layers.
        omega: Of a sine.
        split: How to split the networks where ``labels.csv`` does not say; all are ``train`` where None.
        progress: Called with the number of files read and to read.

    Raises:
        ZooError: Naming the file, on one that cannot be read, holds NaN, is no MLP, or is of another architecture; on
            labels that do not match the files; on an `out` that exists and is anything else.
    """
    folder, out = Path(folder), Path(out)
    if not folder.is_dir():
        raise ZooError(f"{folder}: no such folder")
    files = sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES and file.is_file())
    if not files:
        raise ZooError(f"{folder}: no checkpoints in it ({', '.join(SUFFIXES)})")
    for file in files:
        if printable(file.name) != file.name:
            raise ZooError(f"{file}: the name holds characters that are no text; rename the file")
    first = read_state(files[0])
    graph = _mlp(files[0], first, activation, omega)
    table = _table(folder, files, split)
    dtype = next(iter(first.values())).dtype

    def read(low: int, high: int) -> Weights:
        batch = []
        for k in range(low, high):
            batch.append(_same_architecture(files[k], graph, files[0], dtype))
            progress(k + 1, len(files))
        return Weights.cat(batch)

    provenance = {"kind": "packed", "activation": activation, "split": None if split is None else describe(split)}
    if out.exists():
        return _opened(out, graph, read, table, provenance)
    with building(out) as partial:
        try:
            _clear(partial)
            widths = "-".join(str(size) for size in mlp_widths(graph) or ())
            finish(out, {widths: graph}, lambda _, low, high: read(low, high), table, provenance)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    return Zoo.open(out)


def _opened(
    out: Path,
    graph: NetworkGraph,
    read: Callable[[int, int], Weights],
    table: Mapping[str, np.ndarray],
    provenance: Mapping[str, object],
) -> Zoo:
    """The zoo that is there already; `ZooError` where it is not the one that would be packed."""
    other = ZooError(f"{out}: exists already; remove it, or give another name")
    try:
        zoo = Zoo.open(out, verify=True)
    except ZooError:
        raise other from None
    mine = [name for name in zoo.table if name != ARCHITECTURE]
    same = (zoo.provenance, zoo.graph, mine) == (provenance, graph, list(table))
    if not same or any(not np.array_equal(zoo.table[name], column) for name, column in table.items()):
        raise other
    for low in range(0, len(zoo), COMPARED):
        there, ours = zoo.weights(slice(low, low + COMPARED)), read(low, min(low + COMPARED, len(zoo)))
        if any(tensor.dtype != ours[name].dtype or not tensor.equal(ours[name]) for name, tensor in there.items()):
            raise other
    return zoo


def _clear(partial: Path) -> None:
    """Removes what an earlier call left: packing begins anew."""
    for child in partial.iterdir():
        if child.name != LOCK:
            shutil.rmtree(child) if child.is_dir() else child.unlink()


def _mlp(file: Path, state: Mapping[str, Tensor], activation: str, omega: float | None) -> NetworkGraph:
    """The graph of an MLP whose layers stand in the state dict in order."""
    weights = [key for key in state if key.endswith("weight")]
    biases = [key for key in state if key.endswith("bias")]
    for key in state:
        wanted = 2 if key in weights else 1 if key in biases else None
        if state[key].ndim != wanted:
            shape = "x".join(map(str, state[key].shape)) or "no axes"
            raise ZooError(f"{file}: not an MLP of linear layers: {key!r} has shape {shape}")
    if not weights:
        raise ZooError(f"{file}: not an MLP of linear layers: it has no weights")
    widths = [state[weights[0]].shape[1], *(state[key].shape[0] for key in weights)]
    for below, key in pairwise(weights):
        if state[key].shape[1] != state[below].shape[0]:
            raise ZooError(
                f"{file}: not an MLP: {key!r} reads {state[key].shape[1]} numbers, "
                f"{below!r} gives {state[below].shape[0]}"
            )
    if biases and len(biases) != len(weights):
        raise ZooError(f"{file}: {len(weights)} weights and {len(biases)} biases; every layer has one, or none has")
    prefixes = [key.removesuffix("weight").removesuffix(".") for key in weights]
    if "" in prefixes:
        raise ZooError(f"{file}: the keys need a layer's name, as in '0.weight'; got 'weight'")
    try:
        graph = mlp_graph(widths, activation=activation, bias=bool(biases), omega=omega, keys=prefixes)
        Weights.from_state_dict(graph, state)
    except GraphwsError as error:
        raise ZooError(f"{file}: not an MLP: {error}") from error
    return graph


def _same_architecture(file: Path, graph: NetworkGraph, first: Path, dtype: torch.dtype) -> Weights:
    state = read_state(file)
    try:
        weights = Weights.from_state_dict(graph, state)
    except GraphwsError as error:
        raise ZooError(f"{file}: another architecture than {first.name}: {error}") from error
    for key, tensor in state.items():
        if tensor.dtype != dtype:
            types = [str(t).removeprefix("torch.") for t in (tensor.dtype, dtype)]
            raise ZooError(f"{file}: {key!r} is of {types[0]}, the weights of {first.name} of {types[1]}")
    return weights


def _table(folder: Path, files: list[Path], split: SplitOptions | None) -> dict[str, np.ndarray]:
    count = len(files)
    table: dict[str, np.ndarray] = {
        "sample": np.arange(count),
        "view": np.zeros(count, dtype=np.int64),
        "split": np.full(count, "train", dtype=object),
        "file": np.array([file.name for file in files], dtype=object),
    }
    labels = read_labels(folder / LABELS, [file.name for file in files]) if (folder / LABELS).exists() else {}
    table |= labels
    if "sample" in labels and labels["sample"].dtype.kind != "i":
        raise ZooError(f"{folder / LABELS}: the column 'sample' must hold whole numbers")
    if "split" not in labels and split is not None:
        label = labels.get("label")
        samples, numbers = np.unique(table["sample"], return_inverse=True)
        if len(samples) < count:  # several networks of a sample share its split, so classes cannot be told apart
            label = None
        table["split"] = split_samples(len(samples), split, labels=label)[numbers]
    for value in map(str, table["split"]):
        if value not in SPLITS:
            raise ZooError(
                f"{folder / LABELS}: split {value!r}; there are {', '.join(SPLITS)}" + nearest(value, SPLITS)
            )
    return table


def unpack(
    zoo: Zoo, out: str | Path, index: Iterable[int] | None = None, *, suffix: str = ".safetensors"
) -> list[Path]:
    """Writes networks of a zoo as state dicts, each under its original name where it has one.

    What an earlier call has written already stays.

    Args:
        zoo: The zoo.
        out: A folder; made where it is missing.
        index: Which networks; all where None.
        suffix: ``.safetensors`` or ``.pt``.

    Returns:
        list[Path]: The files, in the order of `index`.

    Raises:
        ZooError: On another suffix, an index outside of the zoo, a file that is there and is another, a full disk.
    """
    if suffix not in _ENCODERS:
        raise ZooError(f"state dicts are written as {' or '.join(_ENCODERS)}, not as {suffix!r}")
    out = Path(out)
    numbers = range(len(zoo)) if index is None else [int(k) for k in index]
    files = []
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(out, error, ZooError) from error
    sweep(out)
    for number in numbers:
        weights, row = zoo[number]
        stem = Path(str(row.get("file", ""))).stem
        if not _SAFE.fullmatch(stem):  # the table is no more to be trusted than any other file
            stem = f"network-{number:06d}"
        file = out / (stem + suffix)
        data = _ENCODERS[suffix](weights.to_state_dict())
        if not file.exists():
            write_whole(file, [data])
        elif not file.is_file() or file.stat().st_size != len(data) or file.read_bytes() != data:
            raise ZooError(f"{file}: exists already, and is another; unpack into an empty folder")
        files.append(file)
    return files


def _safetensors(state: dict[str, Tensor]) -> bytes:
    return bytes(save(state))


def _pickled(state: dict[str, Tensor]) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


_ENCODERS: dict[str, Callable[[dict[str, Tensor]], bytes]] = {".safetensors": _safetensors, ".pt": _pickled}
"""State dicts as bytes, by the suffix of the file."""
