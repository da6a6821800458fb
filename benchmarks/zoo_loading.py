"""How much faster shuffled batches come out of a zoo than out of one file a network.

Makes, in a temporary folder, a zoo of SIRENs 2-32-32-1 and the same networks as one .pt file each, and reads shuffled
batches of 512 from both, interleaved in one process with a warm file cache.  Printed are medians over rounds, one
thread, in samples a second of processor time, and the ratio to one `torch.load` a file (wanted: at least 300 for the
weights, from one shard).

    python benchmarks/zoo_loading.py [--networks 20000] [--files 2000] [--rounds 7] [--shards 1]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from graphws.graph import Weights
from graphws.operations import mlp_graph
from graphws.zoo import Zoo
from graphws.zoo.writer import finish, partial_folder

BATCH = 512


def make(folder: Path, networks: int, files: int, shards: int) -> Zoo:
    """A zoo in folder/zoo, and its first `files` networks as folder/K.pt."""
    graph = mlp_graph([2, 32, 32, 1], activation="sine", omega=5.0)
    weights = Weights.unflatten(graph, torch.randn(networks, graph.numel, generator=torch.Generator().manual_seed(0)))
    numbers = np.arange(networks)
    table = {
        "sample": numbers,
        "view": np.zeros_like(numbers),
        "split": np.full(networks, "train", dtype=object),
        "label": numbers % 10,
        "psnr": numbers / networks,
    }
    partial_folder(folder / "zoo").mkdir()
    size = -(-networks // shards) * graph.numel * 4
    graphs = {"siren": graph}
    finish(folder / "zoo", graphs, lambda _, low, high: weights.select(slice(low, high)), table, {}, shard_bytes=size)
    for k in range(files):
        torch.save(weights.to_state_dict(k), folder / f"{k}.pt")
    return Zoo.open(folder / "zoo")


def main() -> None:
    """Runs the comparison and prints it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--networks", type=int, default=20000)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--shards", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rng = torch.Generator().manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        zoo = make(folder, arguments.networks, arguments.files, arguments.shards)

        def from_files() -> int:
            order = torch.randperm(arguments.files, generator=rng)[:BATCH].tolist()
            states = [torch.load(folder / f"{k}.pt", weights_only=True) for k in order]
            batch = {key: torch.stack([state[key] for state in states]) for key in states[0]}
            return len(batch["0.weight"])

        def epoch(read: Callable[[torch.Tensor], Weights]) -> int:
            order = torch.randperm(arguments.networks, generator=rng)
            return sum(read(index).batch for index in order.split(BATCH))

        ways: dict[str, Callable[[], int]] = {
            "torch.load": from_files,
            "weights": lambda: epoch(zoo.weights),
            "weights + rows": lambda: epoch(lambda index: zoo.batch(index)[0]),
            "normalised": lambda: epoch(lambda index: zoo.statistics.normalise(zoo.weights(index))),
        }
        rates: dict[str, list[float]] = {way: [] for way in ways}
        for turn in range(arguments.rounds + 1):
            for way, run in ways.items():
                begin = time.process_time()
                count = run()
                if turn:  # the first round warms up
                    rates[way].append(count / (time.process_time() - begin))
        reference = statistics.median(rates["torch.load"])
        shards = len(zoo.manifest.shards)
        print(f"{len(zoo)} networks of {zoo.graph.numel} numbers, {shards} shard(s), batches of {BATCH}")
        for way, values in rates.items():
            middle = statistics.median(values)
            print(f"{way:<15} {middle:>12,.0f} samples/s  x{middle / reference:7.1f}")


if __name__ == "__main__":
    main()
