"""How long a training step of published DWSNets takes, ours against the authors' code.

The networks are those of paper D's experiments, each with attention and with DeepSets: MNIST INRs (552,650 parameters)
and sine waves (15,057).  Both run in one process in turn, in processor time where one thread runs and wall time
otherwise; printed are medians, seconds for so many networks, and ratios.  Before that their numbers of parameters are
compared.

    python benchmarks/published.py [--peer FOLDER] [--networks 4000] [--batch 512] [--threads 1] [--repeat 3]
                                   [--cases mnist,sine] [--device cpu]

FOLDER is a checkout of github.com/AvivNavon/DWSNets; the environment variable GRAPHWS_DWSNETS names it, too.  Without
it only ours is timed.
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from graphws.models import PublishedDWSNet
from graphws.operations import mlp_graph
from graphws.testing import random_weights


@dataclass(frozen=True)
class Case:
    """Networks and a model.

    Args:
        widths: Of the networks.
        layers: Equivariant layers.
        channels: Between them.
        outputs: Of the head.
    """

    widths: tuple[int, ...]
    layers: int
    channels: int
    outputs: int


CASES = {"mnist": Case((2, 32, 32, 1), 5, 32, 10), "sine": Case((1, 32, 32, 1), 3, 8, 1)}
SET_LAYERS = {"attention": "sab", "deepsets": "ds"}
"""Our word and theirs."""


def theirs(case: Case, set_layer: str) -> nn.Module:
    """The authors' model of a case."""
    model: nn.Module = importlib.import_module("nn.models").DWSModelForClassification(
        weight_shapes=tuple(pairwise(case.widths)),
        bias_shapes=tuple((width,) for width in case.widths[1:]),
        input_features=1,
        hidden_dim=case.channels,
        n_hidden=case.layers - 1,
        n_classes=case.outputs,
        set_layer=SET_LAYERS[set_layer],
        bn=True,
    )
    return model


def step_of(model: nn.Module, inputs: Any, outputs: int, batch: int, device: str) -> Callable[[], None]:
    """One step of training."""
    target = torch.randn(batch, outputs, device=device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=5e-4, foreach=True)

    def step() -> None:
        optimizer.zero_grad()
        functional.mse_loss(model(inputs), target).backward()
        optimizer.step()

    return step


def timed(steps: dict[str, Callable[[], None]], repeat: int, options: argparse.Namespace) -> dict[str, float]:
    """Median seconds of each step, in turn."""
    clock = time.process_time if options.threads == 1 and options.device == "cpu" else time.perf_counter
    found: dict[str, list[float]] = {name: [] for name in steps}
    for k in range(repeat + 1):
        for name, step in steps.items():
            start = clock()
            step()
            if options.device != "cpu":
                torch.cuda.synchronize()
            if k:  # the first is not counted
                found[name].append(clock() - start)
    return {name: statistics.median(times) for name, times in found.items()}


def main() -> None:
    """Runs the comparison and prints it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--peer", default=os.environ.get("GRAPHWS_DWSNETS"), help="a checkout of their code")
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--networks", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peer:
        sys.path.append(options.peer)
    print(
        f"torch {torch.__version__}, {options.device}, {options.threads} thread(s), medians of {options.repeat} steps"
    )
    for name in options.cases.split(","):
        case, graph = CASES[name], mlp_graph(CASES[name].widths)
        draw = torch.Generator().manual_seed(0)
        weights = random_weights(graph, options.batch, draw, torch.float32).to(options.device)
        depth = len(case.widths) - 1
        as_theirs = (
            tuple(weights[f"W{m}"].transpose(1, 2).unsqueeze(-1) for m in range(1, depth + 1)),
            tuple(weights[f"b{m}"].unsqueeze(-1) for m in range(1, depth + 1)),
        )
        for set_layer in SET_LAYERS:
            torch.manual_seed(0)
            model = PublishedDWSNet(graph, case.outputs, case.layers, case.channels, set_layer=set_layer)
            models: dict[str, tuple[nn.Module, Any]] = {"ours": (model, weights)}
            if options.peer:
                models["theirs"] = (theirs(case, set_layer), as_theirs)
            counts = {who: sum(p.numel() for p in each.parameters()) for who, (each, _) in models.items()}
            if len(set(counts.values())) > 1:
                raise SystemExit(f"unlike numbers of parameters: {counts}")
            steps = {
                who: step_of(each.to(options.device), inputs, case.outputs, options.batch, options.device)
                for who, (each, inputs) in models.items()
            }
            found = timed(steps, options.repeat, options)
            line = ", ".join(
                f"{who} {1e3 * t:.1f} ms a step, {t * options.networks / options.batch:.1f} s for {options.networks:,}"
                for who, t in found.items()
            )
            ratio = f"; theirs / ours {found['theirs'] / found['ours']:.2f}" if "theirs" in found else ""
            print(f"{name}, {set_layer}, {counts['ours']:,} parameters: {line}{ratio}", flush=True)


if __name__ == "__main__":
    main()
