"""A small data set of networks with three classes, and a model that reads them, to train in a second.

Run as a program it trains the trial in the folder that it is given, so that tests can kill it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from graphws.graph import Weights
from graphws.operations import mlp_graph
from graphws.reporter import Reporter
from graphws.runtime.batches import Held, Networks
from graphws.runtime.callbacks import LastCheckpoint
from graphws.runtime.data import Data
from graphws.runtime.environment import join, leave, processes
from graphws.runtime.trial import Trial
from graphws.spec.train import Train
from graphws.tasks import Classification

GRAPH = mlp_graph([2, 4, 1])
NETWORKS = 120


class Reader(nn.Module):
    """A perceptron on the flat weights."""

    def __init__(self, width: int = 16, outputs: int = 3, dropout: float = 0.0) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(GRAPH.numel, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, outputs)
        )

    def forward(self, weights: Weights) -> Tensor:
        """Class scores."""
        scores: Tensor = self.net(weights.flatten())
        return scores


def data() -> Data:
    """Networks whose class shifts every weight."""
    generator = torch.Generator().manual_seed(7)
    labels = torch.randint(0, 3, (NETWORKS,), generator=generator)
    flat = torch.randn(NETWORKS, GRAPH.numel, generator=generator) + labels[:, None]
    order = torch.arange(NETWORKS)
    members = {"train": order[:80], "validation": order[80:100], "test": order[100:]}
    return Data(Held(Weights.unflatten(GRAPH, flat)), labels, members, "the stand-in zoo")


def trial(folder: Path, **options: Any) -> Trial:
    """A trial on the data; `options` replace its attributes or those of its ``train``."""
    found = data()
    train = {"epochs": 4, "batch_size": 32, **{k: v for k, v in options.items() if k in Train.model_fields}}
    rest = {k: v for k, v in options.items() if k not in Train.model_fields}
    settings: dict[str, Any] = {
        "name": "reader",
        "lr": 1e-2,
        "seed": 0,
        "folder": folder,
        "train": Train(**train),
        "build": Reader,
        "task": Classification(3),
        "training": found.split("train"),
        "validation": found.split("validation"),
        "augment": None,
        "normalise": None,
        "description": {"model": "reader"},
    }
    return Trial(**{**settings, **rest})


def networks() -> Networks:
    """All networks, as one split."""
    found = data()
    return Networks(found.collection, found.targets, torch.arange(NETWORKS))


def jitter(weights: Weights, generator: torch.Generator) -> Weights:
    """Noise that depends on the generator alone."""
    return weights.map(lambda x: x + 0.1 * torch.randn(x.shape, generator=generator, device=x.device))


class StopAfter(Reporter):
    """Presses Ctrl-C after some epochs."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def step(self, done: int, values: Mapping[str, float]) -> None:
        """Stop when it is time."""
        if done >= self.epochs:
            raise KeyboardInterrupt


def main() -> None:
    """Train in the folder named on the command line, so many epochs, each of them kept."""
    LastCheckpoint.__init__.__defaults__ = (0.0,)
    torch.set_num_threads(1)
    group = processes()
    join(group)
    several = group.world > 1
    options = {"epochs": int(sys.argv[2]), "augment": None if several else jitter, "batch_size": 30 if several else 32}
    result = trial(Path(sys.argv[1]), **options).run(group, Reporter())
    if group.first:
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
    leave(group)


if __name__ == "__main__":
    main()
