"""A zoo in the layout of a publication: what `graphws.zoo.pack` reads back, bit for bit.

Names of files come from the table's column ``file`` where they stay in the folder; else networks are numbered.
"""

from __future__ import annotations

import gzip
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphws.errors import UsageError, ZooError, nearest
from graphws.files import write_error
from graphws.zoo.collecting.small_cnn_zoo import METRICS, VARIABLES, WEIGHTS, Variable
from graphws.zoo.files import write_whole
from graphws.zoo.labels import LABELS, csv_bytes, labels_csv, plain_values
from graphws.zoo.store import Zoo
from graphws.zoo.table import Table
from graphws.zoo.unpack import ENCODERS

Progress = Callable[[int, int], None]
_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}")
_SUFFIXES = {".safetensors": ".safetensors", ".pt": ".pt", ".pth": ".pt", ".th": ".pt", ".bin": ".pt"}
"""How state dicts are written, by the suffix of the file."""
_CHUNK = 4096
_SPLIT = {"validation": "val"}
"""Splits as publications call them, where that is another name."""


def export(zoo: Zoo, out: str | Path, layout: str, *, progress: Progress = lambda done, total: None) -> None:
    """Writes all networks of a zoo.

    Args:
        zoo: The zoo.
        out: A folder that is empty or not there.
        layout: One of `EXPORTS`.
        progress: Called with the number of networks written, and of all.

    Raises:
        UsageError: On another layout.
        ZooError: Where the folder holds something, the zoo is none of this layout, or it cannot be written.
    """
    if layout not in EXPORTS:
        raise UsageError(f"no layout {layout!r} to write; there are {', '.join(EXPORTS)}" + nearest(layout, EXPORTS))
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise ZooError(f"{out}: holds something already; export into an empty folder")
        EXPORTS[layout](zoo, out, progress)
    except OSError as error:
        raise write_error(out, error, ZooError) from error


def _states(zoo: Zoo, names: list[str], out: Path, progress: Progress) -> None:
    """A state dict a network."""
    for number, name in enumerate(names):
        file = out / name
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, [ENCODERS[_SUFFIXES[file.suffix]](zoo[number][0].to_state_dict())])
        progress(number + 1, len(names))


def _names(zoo: Zoo) -> list[str]:
    """A file for each network, below the folder whatever the table says."""
    names: list[str] = []
    met = {LABELS.lower()}
    for number, text in enumerate(zoo.table.get("file", np.full(len(zoo), "", dtype=object)).tolist()):
        path = PurePosixPath(str(text))
        safe = len(path.parts) <= 8 and bool(path.parts) and all(_SAFE.fullmatch(part) for part in path.parts)
        if path.suffix not in _SUFFIXES:
            path = path.with_name(f"{path.name}.pth") if path.name else path
        name = str(path) if safe and str(path).lower() not in met else f"network-{number:07d}.pth"
        met.add(name.lower())
        names.append(name)
    return names


def _columns(table: Table, *others: str) -> dict[str, np.ndarray]:
    """What is written beside the networks: all but what the files say themselves."""
    return {name: column for name, column in table.items() if name not in ("architecture", "file", "view", *others)}


def _state_dicts(zoo: Zoo, out: Path, progress: Progress) -> None:
    names = _names(zoo)
    _states(zoo, names, out, progress)
    write_whole(out / LABELS, [labels_csv(names, zoo.table)])


def _dwsnets(zoo: Zoo, out: Path, progress: Progress) -> None:
    names, columns = _names(zoo), _columns(zoo.table, "split")
    _states(zoo, names, out, progress)
    document: dict[str, dict[str, list[Any]]] = {}
    for split in dict.fromkeys(zoo.table["split"].tolist()):
        rows = np.flatnonzero(zoo.table["split"] == split)
        lists = {name: plain_values(column[rows]) for name, column in columns.items()}
        document[_SPLIT.get(split, split)] = {"path": [names[row] for row in rows], **lists}
    write_whole(out / "splits.json", [json.dumps(document).encode()])


def _neural_graphs(zoo: Zoo, out: Path, progress: Progress) -> None:
    names, columns = _names(zoo), _columns(zoo.table)
    _states(zoo, names, out, progress)
    write_whole(out / "splits.csv", [csv_bytes(["path", *columns], [names, *map(plain_values, columns.values())])])


def _nfn(zoo: Zoo, out: Path, progress: Progress) -> None:
    table = zoo.table
    if "label" not in table or table["label"].dtype.kind not in "iu" or table["label"].min(initial=0) < 0:
        raise ZooError(
            f"{zoo.path}: NFN's layout needs a column 'label' of whole numbers, from which folders are named"
        )
    pairs = list(zip(table["view"].tolist(), table["sample"].tolist(), strict=True))
    if len(set(pairs)) < len(pairs) or table["sample"].min(initial=0) < 0:
        raise ZooError(f"{zoo.path}: several networks are the same view of the same sample, so they have no numbers")
    names = [f"view{view:03d}_{k}s/net{sample}.pth" for (view, sample), k in zip(pairs, table["label"], strict=True)]
    _states(zoo, names, out, progress)


def _small_cnn_zoo(zoo: Zoo, out: Path, progress: Progress) -> None:
    variables = _variables(zoo)
    size = variables[-1].stop
    shape = (len(zoo), size)

    def rows() -> Iterable[bytes | memoryview]:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
        yield header.getvalue()
        for low in range(0, len(zoo), _CHUNK):
            high = min(low + _CHUNK, len(zoo))
            block = torch.empty(high - low, size)
            for positions, weights in zoo.parts(slice(low, high)):
                states = [weights.to_state_dict(k) for k in range(len(weights))]
                block[positions] = _flat(zoo, states, variables)
            progress(high, len(zoo))
            yield block.numpy().tobytes()

    write_whole(out / WEIGHTS, rows())
    columns = _columns(zoo.table, "split", "sample")
    stream = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0) as packed:
        packed.write(csv_bytes(list(columns), map(plain_values, columns.values())))
    write_whole(out / METRICS, [stream.getvalue()])
    lines = zip(*[(v.name, str(tuple(v.shape)), v.start, v.stop) for v in variables], strict=True)
    write_whole(out / VARIABLES, [csv_bytes(["varname", "shape", "start_idx", "end_idx"], lines)])


def _flat(zoo: Zoo, states: list[dict[str, Tensor]], variables: tuple[Variable, ...]) -> Tensor:
    for variable in variables:
        if variable.key not in states[0] or states[0][variable.key].dtype != torch.float32:
            raise ZooError(f"{zoo.path}: {variable.key!r} is not of float32 in all networks, as the layout needs")
    if len(states[0]) != len(variables):
        raise ZooError(f"{zoo.path}: networks of different keys do not fit one array")
    try:
        blocks = [v.write(torch.stack([state[v.key] for state in states])) for v in variables]
        return torch.cat(blocks, dim=1)
    except RuntimeError:
        raise ZooError(f"{zoo.path}: networks of different shapes do not fit one array") from None


def _variables(zoo: Zoo) -> tuple[Variable, ...]:
    """As the zoo's own layout had them; else from the state dict of its first network."""
    kept = zoo.provenance.get("variables")
    try:
        if isinstance(kept, list) and kept:
            return tuple(Variable(str(name), tuple(int(n) for n in shape), int(start)) for name, shape, start in kept)
    except (TypeError, ValueError):
        raise ZooError(f"{zoo.path}: its provenance is damaged: 'variables'") from None
    found: list[Variable] = []
    for key, x in zoo[0][0].to_state_dict().items():
        shape = tuple(x.shape) if x.ndim < 2 else (*x.shape[2:], x.shape[1], x.shape[0])
        path = key.rpartition(".")
        leaf = "kernel" if path[2] == "weight" else path[2]
        found.append(Variable(f"{path[0]}/{leaf}:0", shape, found[-1].stop if found else 0))
    return tuple(found)


EXPORTS: Mapping[str, Callable[[Zoo, Path, Progress], None]] = {
    "state-dicts": _state_dicts,
    "dwsnets": _dwsnets,
    "nfn": _nfn,
    "neural-graphs": _neural_graphs,
    "small-cnn-zoo": _small_cnn_zoo,
}
"""The layouts that are written."""
