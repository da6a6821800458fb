"""What a training step of each kind of model costs beside one of a DWSNet that learns about as many numbers.

All read the same networks, each in the size at which it comes nearest to the DWSNet's number of parameters
(`graphws.spec.ModelSection.sized`, as `match_parameters` does), and are timed in one process, interleaved: forward,
backward and a step of AdamW.  Printed are medians of processor seconds, over all threads, and ratios to the DWSNet.

    python benchmarks/baselines.py [--widths 2,32,32,1] [--batch 512] [--parameters 550000] [--threads 1] [--repeat 5]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from graphws.graph import Weights
from graphws.operations import mlp_graph
from graphws.operations.sampling import random_weights
from graphws.spec import (
    DwsnetModel,
    GnnModel,
    InvariantHead,
    MlpModel,
    ModelSection,
    QueriesModel,
    RowsModel,
    TransformerModel,
)

HEAD = InvariantHead(kind="invariant", outputs=10)
REFERENCE = "dwsnet"


def sections() -> dict[str, ModelSection]:
    """The models in the sizes that they have by themselves, the reference first."""
    return {
        REFERENCE: DwsnetModel(kind="dwsnet"),
        "neurons": DwsnetModel(kind="dwsnet", symmetry="rich"),
        "gnn": GnnModel(kind="gnn"),
        "rows": RowsModel(kind="rows"),
        "transformer": TransformerModel(kind="transformer"),
        "mlp": MlpModel(kind="mlp"),
        "queries": QueriesModel(kind="queries"),
    }


def step(section: ModelSection, weights: Weights) -> Callable[[], None]:
    """Runs one step of training."""
    torch.manual_seed(0)
    model = section.build(weights.graph, HEAD)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    labels = torch.arange(weights.batch) % 10

    def run() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(weights), labels).backward()
        optimizer.step()

    return run


def medians(runs: dict[str, Callable[[], None]], repeat: int) -> dict[str, float]:
    """Median processor seconds of each; the first turn does not count."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeat + 1):
        for name, run in runs.items():
            start = time.process_time()
            run()
            if turn:
                times[name].append(time.process_time() - start)
    return {name: statistics.median(found) for name, found in times.items()}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", default="2,32,32,1")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--parameters", type=int, default=550_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    graph = mlp_graph([int(width) for width in given.widths.split(",")], activation="sine", omega=30.0)
    weights = random_weights(graph, given.batch, torch.Generator().manual_seed(0), torch.float32)
    sized = {name: section.sized(graph, HEAD, given.parameters) for name, section in sections().items()}
    found = medians({name: step(section, weights) for name, section in sized.items()}, given.repeat)
    print(f"widths {given.widths}, batch {given.batch}, {given.threads} threads")
    for name, section in sized.items():
        size = f"{section.size_key} {getattr(section, section.size_key)}"
        count = section.parameters(graph, HEAD)
        ratio = found[name] / found[REFERENCE]
        print(f"{name:<12} {size:<13} {count:>9,} parameters {found[name]:8.3f} s a step ({ratio:.3f} of {REFERENCE})")


if __name__ == "__main__":
    main()
