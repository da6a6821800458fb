"""Zoos of implicit neural representations as DWSNets, NFN and Neural Graphs publish them.

* DWSNets (Navon et al. 2023) and the CNN zoo of Neural Graphs (Kofinas et al. 2024): checkpoints in folders, and a JSON
  file ``{"train": {"path": […], "label": […]}, "val": …, "test": …}``; lists beside ``path`` become columns.
* A CSV file with a column ``path`` and a column ``split``, others become columns.
* NFN (Zhou et al. 2023): folders ``PREFIX_7s/net123.pth``: the label, and the number of the sample; each prefix is a
  view of all samples.

Paths in these files are of whoever wrote them: the longest end of a path that is there below the folder is taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphws.checkpoints.state_dict import SUFFIXES
from graphws.errors import ZooError
from graphws.zoo.collecting.entry import Collected, Entry
from graphws.zoo.collecting.folders import (
    csv_columns,
    files_below,
    files_in,
    folders_in,
    json_document,
    name_of,
    values_of,
)
from graphws.zoo.collecting.layout import Choices, Layout, one_of_splits, split_by_points
from graphws.zoo.collecting.sources import StateFile

ADVICE = "the published ones are --activation sine --omega 30"
RESERVED = ("file", "view", "split", "architecture")
_NET = re.compile(r"net(\d{1,12})\.pth")
_LABELLED = re.compile(r"(?P<prefix>.*)_(?P<label>\d{1,6})s")


def _split_files(folder: Path, suffix: str) -> list[Path]:
    return [file for file in files_in(folder) if file.suffix == suffix and "split" in file.stem.lower()]


def _chosen(folder: Path, suffix: str, choices: Choices) -> Path:
    if choices.splits is not None:
        return choices.splits
    found = _split_files(folder, suffix)
    if len(found) != 1:
        names = ", ".join(file.name for file in found[:5])
        raise ZooError(f"{folder}: {len(found) or 'no'} files of splits ({names}); say which with --splits")
    return found[0]


def _entries(folder: Path, where: Path, paths: Sequence[Any]) -> list[Entry]:
    """The files that a list names, each once."""
    known = {name_of(file, folder): file for file in files_below(folder) if file.suffix in SUFFIXES}
    entries, met = [], set[str]()
    for path in paths:
        if not isinstance(path, str):
            raise ZooError(f"{where}: a path must be text, got {str(path)[:80]!r}")
        parts = path.replace("\\", "/").split("/")
        name = next((end for k in range(len(parts)) if (end := "/".join(parts[k:])) in known), None)
        if name is None:
            raise ZooError(f"{where}: names {path[-120:]!r}, which is not in the folder")
        if name in met:
            raise ZooError(f"{where}: names {name!r} twice")
        met.add(name)
        entries.append(Entry(name, StateFile(known[name], known[name].stat().st_size)))
    return entries


def _json_splits(folder: Path, choices: Choices) -> Collected:
    where = _chosen(folder, ".json", choices)
    document = json_document(where)
    if not isinstance(document, dict) or not document or not all(isinstance(x, dict) for x in document.values()):
        raise ZooError(
            f"{where}: not a file of splits: it must map splits to lists, as in {{'train': {{'path': […]}}}}"
        )
    columns: dict[str, list[Any]] = {"path": [], "split": []}
    for split, lists in document.items():
        name = one_of_splits(str(split), str(where))
        paths = lists.get("path")
        if not isinstance(paths, list):
            raise ZooError(f"{where}: split {split!r} has no list 'path'")
        before = len(columns["path"])
        columns["path"] += paths
        columns["split"] += [name] * len(paths)
        for key, values in lists.items():
            if key not in ("path", *RESERVED):
                if not isinstance(values, list) or len(values) != len(paths):
                    raise ZooError(f"{where}: {key[:80]!r} of split {split!r} is no list of {len(paths)} values")
                columns.setdefault(key, [None] * before)
                columns[key] += values
        for key, column in columns.items():
            if len(column) != len(columns["path"]):
                raise ZooError(f"{where}: split {split!r} has no list {key[:80]!r}, others have")
    return _collected(folder, where, columns)


def _csv_splits(folder: Path, choices: Choices) -> Collected:
    where = _chosen(folder, ".csv", choices)
    found: dict[str, list[Any]] = dict(csv_columns(where))
    if "path" not in found or "split" not in found:
        raise ZooError(f"{where}: needs the columns 'path' and 'split'; has {', '.join(found)[:200]}")
    found["split"] = [one_of_splits(name, str(where)) for name in found["split"]]
    return _collected(folder, where, found)


def _collected(folder: Path, where: Path, columns: Mapping[str, list[Any]]) -> Collected:
    entries = _entries(folder, where, columns["path"])
    kept = {name: values_of(values) for name, values in columns.items() if name != "path" and name not in RESERVED}
    return Collected(entries, kept | {"split": np.array(columns["split"], dtype=object)})


def _nets(folder: Path) -> list[Path]:
    """The folders that hold files ``net123.pth``."""
    return [place for place in folders_in(folder) if any(_NET.fullmatch(file.name) for file in files_in(place))]


def _nfn(folder: Path, choices: Choices) -> Collected:
    found = []
    for place in _nets(folder):
        match = _LABELLED.fullmatch(place.name)
        if match is None:
            raise ZooError(f"{place}: the folder's name ends in no label, as PREFIX_7s does")
        for file in files_in(place):
            number = _NET.fullmatch(file.name)
            if number is not None:
                found.append((match["prefix"], int(number[1]), int(match["label"]), file))
    found.sort(key=lambda net: net[:3])
    prefixes = {prefix: view for view, prefix in enumerate(dict.fromkeys(net[0] for net in found))}
    entries = [Entry(name_of(file, folder), StateFile(file, file.stat().st_size)) for *_, file in found]
    samples = np.array([net[1] for net in found])
    columns = {
        "sample": samples,
        "view": np.array([prefixes[net[0]] for net in found]),
        "label": np.array([net[2] for net in found]),
    }
    if choices.split_at is not None:
        columns["split"] = split_by_points(samples, choices.split_at)
    return Collected(entries, columns)


DWSNETS = Layout(
    "dwsnets",
    "checkpoints and a JSON file of splits, as DWSNets and Neural Graphs publish",
    lambda folder: bool(_split_files(folder, ".json")),
    _json_splits,
    advice=ADVICE,
)
NEURAL_GRAPHS = Layout(
    "neural-graphs",
    "checkpoints and a CSV file of splits with the columns path, split and labels",
    lambda folder: bool(_split_files(folder, ".csv")),
    _csv_splits,
    advice=ADVICE,
)
NFN = Layout("nfn", "PREFIX_LABELs/netNUMBER.pth, as NFN publishes", lambda folder: bool(_nets(folder)), _nfn,
             advice=ADVICE)  # fmt: skip
