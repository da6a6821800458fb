"""A training of a representation whose views depend on the networks alone, so that one process and two can agree.

Run as a program it trains in the folder that it is given, alone or with another process.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from graphws.graph import Weights
from graphws.models import Represented
from graphws.reporter import Reporter
from graphws.runtime.batches import Networks
from graphws.runtime.environment import join, leave, processes
from graphws.runtime.trial import Trial
from graphws.tasks import Representation
from tests.runtime import standin

SIZE, PROJECTION = 6, (4,)  # no batch norm: the gradient of a bias before one is rounding, which Adam follows


class Fixed(Representation):
    """Every other weight is masked: for one view the even ones, for the other the odd ones."""

    def pairs(self, weights: Weights, generator: torch.Generator) -> Weights:
        """Rows 2k and 2k + 1 are of network k."""
        flat = weights.flatten()
        odd = torch.arange(flat.shape[1], device=flat.device) % 2
        both = torch.stack([flat * odd, flat * (1 - odd)], dim=1).flatten(0, 1)
        return Weights.unflatten(weights.graph, both)


def task(kind: type[Representation] = Fixed) -> Representation:
    """The task; of weights whose deviation is about 1."""
    return kind(SIZE, PROJECTION[-1], ("shift",), None, 0.2, 0.5)


def build() -> nn.Module:
    """A perceptron with projection and probe."""
    return Represented(standin.Reader(outputs=SIZE), SIZE, 1, PROJECTION)


def trial(folder: Path, **options: Any) -> Trial:
    """A trial on the stand-in's networks; the probe tells by how much all weights are shifted."""
    data = standin.data()
    parts = {
        name: Networks(data.collection, data.targets[:, None].float(), data.members[name])
        for name in ("train", "validation")
    }
    settings = {"training": parts["train"], "validation": parts["validation"], "build": build, "task": task()}
    return standin.trial(folder, **{**settings, "name": "contrast", **options})


def main() -> None:
    """Train in the folder named on the command line."""
    torch.set_num_threads(1)
    group = processes()
    join(group)
    result = trial(Path(sys.argv[1]), batch_size=27).run(group, Reporter())
    if group.first:
        sys.stdout.write(json.dumps(asdict(result)) + "\n")
    leave(group)


if __name__ == "__main__":
    main()
