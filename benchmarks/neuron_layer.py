"""What a layer of neuron messages costs beside a DWS layer of the same width: forward and backward.

Four hidden layers on one graph, each by itself:

* dws: every message on weights and biases (`from: any, to: any` via edge, neuron and network);
* neurons: via neuron, network and weight to neurons, so that nothing has the size of edges;
* writing: the dws layer with features of neurons, carried along weights and written on them;
* rich: features of neurons with grades, carried along weights (`graphws.layers.graded.layer`).

All are timed in one process, interleaved; printed are medians and ratios to dws, then the same of whole models of four
layers with batch norm and an invariant head.

    python benchmarks/neuron_layer.py [--widths 2,32,32,1] [--batch 128] [--channels 32] [--threads 1] [--repeat 15]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from graphws.graph import NetworkGraph, Weights
from graphws.layers import EquivariantLinear, Features
from graphws.layers.acting.acting import Acting
from graphws.layers.acting.neurons import stages
from graphws.layers.graded.layer import ActingLayer
from graphws.layers.graded.plan import make_plan
from graphws.layers.graded.state import State
from graphws.messages import Message
from graphws.models import DWSNet, GradedNet
from graphws.operations import mlp_graph
from graphws.testing import random_state


def messages(name: str, pool: str) -> list[Message]:
    """The messages of one of the layers."""
    if name == "dws":
        return [Message(("any",), via, ("any",), pool) for via in ("edge", "neuron", "network")]
    if name == "neurons":
        linear = [Message(("any",), via, ("neuron",), pool) for via in ("neuron", "network")]
        return [*linear, Message(("neuron",), "weight", ("neuron",))]
    return [*messages("dws", pool), Message(("neuron",), "weight", ("neuron", "weight"))]


def rich_layer(graph: NetworkGraph, weights: Weights, channels: int) -> Callable[[], None]:
    """Runs a layer whose features have grades."""
    state = random_state(weights, channels, torch.Generator().manual_seed(0))
    plan = make_plan(graph, "rich", "none")
    acting = ActingLayer([plan], channels)
    inputs = {spot: x.float().requires_grad_() for spot, x in state.tensors.items()}
    state = State(state.weights.cast(torch.float32), inputs)
    learned = [*acting.parameters(), *inputs.values()]

    def run() -> None:
        out = acting(state, plan)
        torch.autograd.grad(sum(x.square().sum() for x in out.tensors.values()), learned, allow_unused=True)

    return run


def layer(graph: NetworkGraph, weights: Weights, name: str, pool: str, channels: int) -> Callable[[], None]:
    """Runs a hidden layer forward and backward, to its parameters and its input."""
    if name == "rich":
        return rich_layer(graph, weights, channels)
    stage = stages([graph], messages(name, pool), 2, networks=False)[1]
    linear = EquivariantLinear(stage.graphs[0], channels, channels, stage.messages, kinds=stage.kinds)
    acting = Acting([graph], stage.graphs, channels, channels, stage.acting) if stage.acting else None
    raw = Features.from_weights(weights)
    layouts = {p.name: stage.graphs[0].layout(p.name) for p in stage.graphs[0].parameters}
    tensors = {
        key: torch.randn(weights.batch, *x.sizes, x.free * channels, requires_grad=True) for key, x in layouts.items()
    }
    learned = [*linear.parameters(), *(acting.parameters() if acting else ()), *tensors.values()]

    def run() -> None:
        features = Features(stage.graphs[0], tensors, channels)
        out = linear(features)
        out = out if acting is None else acting(raw, features, out)
        torch.autograd.grad(sum(x.square().sum() for x in out.tensors.values()), learned, allow_unused=True)  # type: ignore[arg-type]

    return run


def model(graph: NetworkGraph, weights: Weights, name: str, pool: str, channels: int) -> Callable[[], None]:
    """Runs a model forward and backward."""
    found = (
        GradedNet(graph, 10, layers=4, channels=channels)
        if name == "rich"
        else DWSNet(graph, 10, layers=4, channels=channels, messages=messages(name, pool), pooling=pool)
    )

    def run() -> None:
        found.zero_grad()
        found(weights).square().sum().backward()  # type: ignore[union-attr]

    return run


def medians(runs: dict[str, Callable[[], None]], repeat: int) -> dict[str, float]:
    """Median milliseconds of each."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeat + 3):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if turn >= 3:
                times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(found) for name, found in times.items()}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", default="2,32,32,1")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=15)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    graph = mlp_graph([int(width) for width in given.widths.split(",")], activation="sine")
    weights = Weights.unflatten(graph, torch.randn(given.batch, graph.numel))
    print(f"widths {given.widths}, batch {given.batch}, {given.channels} channels, {given.threads} threads")
    for what, make in (("layer", layer), ("model", model)):
        for pool in ("mean", "max"):
            names = ("dws", "neurons", "writing", "rich")
            found = medians({n: make(graph, weights, n, pool, given.channels) for n in names}, given.repeat)
            cells = (f"{n} {found[n]:8.2f} ms ({found[n] / found['dws']:.3f} of dws)" for n in names)
            print(f"{what}, {pool}: " + ", ".join(cells))


if __name__ == "__main__":
    main()
