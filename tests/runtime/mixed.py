"""A zoo of perceptrons of several depths and widths, whose target is a function of their weights, and specs for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from graphws.graph import NetworkGraph, Weights
from graphws.operations import mlp_graph
from graphws.reporter import Reporter
from graphws.runtime import job
from graphws.runtime.environment import Processes
from graphws.spec import parse_spec
from graphws.zoo import Zoo
from graphws.zoo.writer import finish, partial_folder

GRAPHS = {
    "shallow": mlp_graph([2, 4, 1]),
    "deep": mlp_graph([2, 3, 5, 1]),
    "wide": mlp_graph([2, 9, 1]),
}
TEXT = """\
graphws: 1
name: mixed
input: {{kind: zoo, path: {zoo}}}
model: {{kind: dwsnet, layers: 2, channels: 4, share: role, norm: none}}
head: {{kind: invariant, outputs: 1}}
task: {{kind: regression, target: size, metric: kendall}}
train: {{optimizer: {{lr: 1e-2}}, epochs: 3, batch_size: 16}}
"""


def make(
    path: Path,
    networks: int = 60,
    names: tuple[str, ...] = tuple(GRAPHS),
    seed: int = 0,
    graphs: dict[str, NetworkGraph] | None = None,
) -> Zoo:
    """A zoo in which every third network is of another architecture."""
    draw = torch.Generator().manual_seed(seed)
    known = graphs or GRAPHS
    names = tuple(name for name in known if name in names)
    order = [names[int(k)] for k in torch.randint(len(names), (networks,), generator=draw)]
    scale = torch.rand(networks, generator=draw) + 0.5
    found = {}
    for name in names:
        mine = torch.tensor([k for k in range(networks) if order[k] == name])
        flat = torch.randn(len(mine), known[name].numel, generator=draw) * scale[mine, None]
        found[name] = Weights.unflatten(known[name], flat)
    splits = ["train", "train", "train", "validation", "test"]
    table: dict[str, np.ndarray] = {
        "architecture": np.array(order, dtype=object),
        "split": np.array([splits[k % 5] for k in range(networks)], dtype=object),
        "size": scale.numpy().astype(np.float64),
        "group": np.array(["large" if one > 1 else "small" for one in scale.tolist()], dtype=object),
    }
    chosen: dict[str, NetworkGraph] = {name: known[name] for name in names}
    partial_folder(path).mkdir(parents=True)
    finish(path, chosen, lambda name, low, high: found[name].select(slice(low, high)), table, {})
    return Zoo.open(path)


def train(folder: Path, zoo: Zoo, *overrides: str) -> Path:
    """A run of two epochs on a zoo, in a folder."""
    spec = parse_spec(TEXT.format(zoo=zoo.path), overrides=("train.epochs=2", *overrides))
    job.run(spec, job.choose_folder(spec, folder, Processes()), Processes(), Reporter())
    return folder
