"""The Small CNN Zoo (Unterthiner et al. 2020): all networks as rows of one array.

``weights.npy`` holds (networks, numbers) in float32, ``metrics.csv.gz`` one row a network, ``layout.csv`` what the
numbers are: ``varname, shape, start_idx, end_idx`` of TensorFlow's variables, ``sequential/conv2d/kernel:0``.  Kernels
are turned round: (height, width, in, out) becomes (out, in, height, width), (in, out) becomes (out, in).

The networks, by the paper's section 3: convolutions of stride 2 with an activation that the metrics name
(``config.activation``), global average pooling, a linear layer.  Padding is not written down; it
leaves the graph alone.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from graphws.errors import ZooError
from graphws.zoo.collecting.entry import Collected, Entry, Reading
from graphws.zoo.collecting.folders import csv_columns, values_of
from graphws.zoo.collecting.layout import Choices, Layout

WEIGHTS, METRICS, VARIABLES = "weights.npy", "metrics.csv.gz", "layout.csv"
MOST_VARIABLES = 10_000
LARGEST_SIDE = 1 << 24
DEEPEST = 6
"""Convolutions of stride 2 that a network of this zoo may have."""
_SHAPE = re.compile(r"[\[(]?\s*(\d{1,8}(?:\s*,\s*\d{1,8}){0,7})?\s*,?\s*[\])]?")
_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "gelu": nn.GELU, "elu": nn.ELU}


@dataclass(frozen=True)
class Variable:
    """One tensor in a row.

    Args:
        name: TensorFlow's, as ``sequential/conv2d/kernel:0``.
        shape: TensorFlow's.
        start: Its first number.
    """

    name: str
    shape: tuple[int, ...]
    start: int

    @property
    def stop(self) -> int:
        """Behind its last number."""
        return self.start + int(np.prod(self.shape, dtype=np.int64))

    @property
    def key(self) -> str:
        """In a state dict: ``conv2d.weight``."""
        path = self.name.split(":")[0].split("/")
        leaf = {"kernel": "weight"}.get(path[-1], path[-1])
        return f"{path[-2]}.{leaf}" if len(path) > 1 else leaf

    def read(self, rows: Tensor) -> Tensor:
        """The tensors of rows (networks, numbers), turned to PyTorch's order."""
        found = rows[:, self.start : self.stop].reshape(-1, *self.shape)
        return found.permute(0, *_turned(len(self.shape))).contiguous()

    def write(self, tensors: Tensor) -> Tensor:
        """The inverse of `read`: (networks, numbers of this variable)."""
        order = _turned(len(self.shape))
        back = [0] * len(order)
        for place, axis in enumerate(order):
            back[axis - 1] = place + 1
        return tensors.permute(0, *back).reshape(len(tensors), -1)


def _turned(axes: int) -> tuple[int, ...]:
    """Axes (counted from 1, behind that of the networks) in PyTorch's order: out, in, then the rest."""
    order = list(range(1, axes + 1))
    return tuple(order if axes < 2 else [order[-1], order[-2], *order[:-2]])


def read_variables(path: Path) -> tuple[Variable, ...]:
    """The lines of ``layout.csv``.

    Raises:
        ZooError: Where columns are missing, a shape is none, or numbers do not follow one another.
    """
    columns = csv_columns(path)
    wanted = ("varname", "shape", "start_idx", "end_idx")
    if missing := [name for name in wanted if name not in columns]:
        raise ZooError(f"{path}: no column {missing[0]!r}")
    found: list[Variable] = []
    for name, shape, start, end in zip(*(columns[name] for name in wanted), strict=True):
        match = _SHAPE.fullmatch(shape.strip())
        if match is None or not start.isdecimal() or not end.isdecimal() or len(found) >= MOST_VARIABLES:
            raise ZooError(f"{path}: variable {name[:80]!r} has shape {shape[:40]!r}, {start[:20]} to {end[:20]}")
        found.append(Variable(name, tuple(int(size) for size in re.findall(r"\d+", match[1] or "")), int(start)))
        before = found[-2].stop if len(found) > 1 else 0
        if found[-1].start != before or found[-1].stop != int(end) or int(end) > LARGEST_SIDE:
            raise ZooError(
                f"{path}: the numbers {start} to {end} of {name[:80]!r} are not those of its shape, in order"
            )
    if len({variable.key for variable in found}) < len(found) or not found:
        raise ZooError(f"{path}: its variables have no names of their own")
    return tuple(found)


@lru_cache(maxsize=4)
def _rows(path: Path) -> np.ndarray:
    try:
        rows: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise ZooError(f"{path}: not a plain array of NumPy: {str(error).splitlines()[0][:200]}") from None
    if rows.ndim != 2 or rows.dtype not in (np.float32, np.float64, np.float16):
        raise ZooError(f"{path}: must hold floats (networks, numbers), got {rows.dtype} of shape {rows.shape}")
    return rows


@dataclass(frozen=True, slots=True)
class Row:
    """A network in a row.

    Args:
        path: Of ``weights.npy``.
        row: Its number.
        variables: What the row holds.
        stated: Its activation.
    """

    path: Path
    row: int
    variables: tuple[Variable, ...]
    stated: tuple[tuple[str, str], ...] = ()

    @property
    def place(self) -> str:
        """The path and the row."""
        return f"{self.path}: row {self.row}"

    @property
    def bytes(self) -> int:
        """Size of the row."""
        return 8 * self.variables[-1].stop

    def read(self) -> Reading:
        """Its tensors."""
        row = torch.from_numpy(np.array(_rows(self.path)[self.row]))[None]
        return Reading({variable.key: variable.read(row)[0] for variable in self.variables})


def _collect(folder: Path, choices: Choices) -> Collected:
    variables = read_variables(folder / VARIABLES)
    rows = _rows(folder / WEIGHTS)
    if rows.shape[1] != variables[-1].stop:
        raise ZooError(f"{folder / WEIGHTS}: {rows.shape[1]} numbers a network, {VARIABLES} says {variables[-1].stop}")
    metrics = csv_columns(folder / METRICS) if (folder / METRICS).is_file() else {}
    columns = {name: values_of(texts) for name, texts in metrics.items()}
    for name, column in columns.items():
        if len(column) != len(rows):
            raise ZooError(f"{folder / METRICS}: {len(column)} rows in {name!r} for {len(rows)} networks")
    if "modeldir" in columns:  # all checkpoints of one training
        columns["sample"] = np.unique(columns["modeldir"].astype(str), return_inverse=True)[1].astype(np.int64)
    named = columns.get("config.activation")
    said = choices.attributes.activation
    kinds = [str(kind) for kind in named] if named is not None else [said if isinstance(said, str) else ""] * len(rows)
    stated = [(("activation", kind),) if kind else () for kind in kinds]
    entries = [Entry(f"row-{k:07d}", Row(folder / WEIGHTS, k, variables, stated[k])) for k in range(len(rows))]
    about = {"variables": [[each.name, list(each.shape), each.start] for each in variables]}
    return Collected(entries, columns, about=about)


def _assumed(reading: Reading, stated: tuple[tuple[str, str], ...]) -> tuple[nn.Module, object] | None:
    """The paper's network of these shapes; None where they are none of its."""
    activation = _ACTIVATIONS.get(dict(stated).get("activation", ""))
    weights = [(key, x) for key, x in reading.state.items() if key.endswith(".weight")]
    depth = sum(x.ndim == 4 for _, x in weights)
    if activation is None or not weights or depth > DEEPEST or any(x.ndim not in (2, 4) for _, x in weights):
        return None
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    flat = False
    for number, (key, x) in enumerate(weights):
        name, last = key.removesuffix(".weight"), number == len(weights) - 1
        bias = f"{name}.bias" in reading.state
        if x.ndim == 4:
            layers[name] = nn.Conv2d(x.shape[1], x.shape[0], (int(x.shape[2]), int(x.shape[3])), stride=2, bias=bias)
        else:
            if not flat:
                layers["pool"], layers["flatten"], flat = nn.AdaptiveAvgPool2d(1), nn.Flatten(), True
            layers[name] = nn.Linear(x.shape[1], x.shape[0], bias=bias)
        if not last:
            layers[f"activation{number}"] = activation()
    inputs = torch.randn(2, weights[0][1].shape[1], *[8 * 2**depth] * 2, generator=torch.Generator().manual_seed(0))
    return nn.Sequential(layers).eval(), inputs


SMALL_CNN_ZOO = Layout(
    "small-cnn-zoo",
    "weights.npy, metrics.csv.gz and layout.csv, as the Small CNN Zoo",
    lambda folder: (folder / WEIGHTS).is_file() and (folder / VARIABLES).is_file(),
    _collect,
    assumed=_assumed,
    advice="it is the column config.activation of metrics.csv.gz, or --activation",
)
