"""What a batch of different networks costs beside one of like networks.

MLPs 2-…-1 with one to five hidden layers of 8 to 40 neurons, all different, in a DWSNet that shares weights by role,
against as many SIRENs 2-24-24-24-1, of about as many numbers, in a DWSNet of their own.  Each line is a batch of
so many networks of so many architectures: processor time of forward and backward, interleaved in one process (medians),
as a ratio and per number of the networks; in the last column the mixed batch run graph by graph instead of in unions.

    python benchmarks/mixed_batches.py [--channels 16] [--layers 3] [--rounds 9] [--threads 1] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from graphws.graph import NetworkGraph, Weights
from graphws.models import DWSNet
from graphws.operations import mlp_graph

CASES = ((64, 64), (256, 64), (256, 8), (256, 3))
"""Networks and architectures of a batch."""


def some_graph(draw: random.Random) -> NetworkGraph:
    """An MLP of a random depth and random widths."""
    hidden = [draw.randint(8, 40) for _ in range(draw.randint(1, 5))]
    return mlp_graph([2, *hidden, 1], "sine")


def weights_of(graph: NetworkGraph, networks: int) -> Weights:
    """Random ones."""
    return Weights.unflatten(graph, 0.3 * torch.randn(networks, graph.numel))


def seconds(model: DWSNet, weights: Any) -> float:
    """Processor time of one forward and backward pass."""
    start = time.process_time()
    model(weights).square().mean().backward()  # type: ignore[union-attr]
    taken = time.process_time() - start
    model.zero_grad()
    return taken


def one_by_one(model: DWSNet, weights: Any) -> float:
    """The same, each graph by itself."""
    with patch("graphws.models.dwsnet.arrange", lambda states: [[k] for k in range(len(states))]):
        return seconds(model, weights)


def measure(networks: int, architectures: int, channels: int, layers: int, rounds: int) -> dict[str, float]:
    """Medians of one case."""
    draw = random.Random(0)
    graphs = [some_graph(draw) for _ in range(architectures)]
    mixed = [weights_of(graph, networks // architectures) for graph in graphs]
    like = mlp_graph([2, 24, 24, 24, 1], "sine")
    uniform = weights_of(like, networks)
    many = DWSNet(graphs, 10, layers=layers, channels=channels, share="role")
    one = DWSNet(like, 10, layers=layers, channels=channels)
    turns: dict[str, Callable[[], float]] = {
        "mixed": lambda: seconds(many, mixed),
        "uniform": lambda: seconds(one, uniform),
        "graph by graph": lambda: one_by_one(many, mixed),
    }
    times: dict[str, list[float]] = {name: [] for name in turns}
    for turn in range(rounds + 1):
        for name, run in turns.items():
            taken = run()
            if turn:
                times[name].append(taken)
    found = {name: statistics.median(each) for name, each in times.items()}
    numbers = sum(each.batch * each.graph.numel for each in mixed) / (networks * like.numel)
    return {
        **found,
        "ratio": found["mixed"] / found["uniform"],
        "per number": found["mixed"] / found["uniform"] / numbers,
    }


def main() -> None:
    """Runs the comparison and prints it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    heads = ("networks", "graphs", "mixed s", "uniform s", "ratio", "per number", "one by one")
    print(" ".join(f"{head:>11}" for head in heads))
    results = {}
    for networks, architectures in CASES:
        found = measure(networks, architectures, arguments.channels, arguments.layers, arguments.rounds)
        results[f"{networks} of {architectures}"] = found
        alone = found["graph by graph"] / found["uniform"]
        figures = [found["mixed"], found["uniform"], found["ratio"], found["per number"], alone]
        print(f"{networks:>11} {architectures:>11} " + " ".join(f"{x:>11.3f}" for x in figures), flush=True)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
