"""How long it takes to align many networks, by how many there are.

Networks 2-32-32-1 (sine): noisy copies of a few prototypes, each relabelled at random, so that the right order is
known.  As `preprocess.align` does it: a reference from 1,000 of them, then every network to that reference.  Beside it,
the same networks matched one by one by `graphws.matching.match` (the ratio), and the share of neurons that end where
they should.  Paper D (appendix J) stopped the many-network matching of a public tool after more than 24 hours on the
networks of MNIST, before one round was done, and went on with 1,000 of them.  Their tool is not timed here.

    python benchmarks/alignment_many.py [--networks 1000 10000] [--reference 1000] [--noise 0.1] [--threads 1]
                                           [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from graphws.align import find_reference
from graphws.graph import NetworkGraph, Weights
from graphws.matching import balanced_metric, match
from graphws.operations import mlp_graph

PROTOTYPES = 10
ALONE = 50
"""Networks that are matched one by one."""
PART = 1024


def relabelled(graph: NetworkGraph, count: int, noise: float) -> tuple[Weights, dict[str, torch.Tensor]]:
    """Noisy copies of prototypes in random orders, and the orders; prototypes share nine tenths of their variance."""
    draw = torch.Generator().manual_seed(0)
    shared = torch.randn(1, graph.numel, generator=draw)
    prototypes = shared + torch.randn(PROTOTYPES, graph.numel, generator=draw) / 3
    flat = prototypes[torch.arange(count) % PROTOTYPES] + noise * torch.randn(count, graph.numel, generator=draw)
    element = graph.group().random(draw, batch=count)
    perms = {name: each.perm for name, each in element.maps.items() if hasattr(each, "perm")}
    return element.act(Weights.unflatten(graph, flat)), perms


def measure(graph: NetworkGraph, count: int, reference: int, noise: float) -> dict[str, Any]:
    """Seconds and the share of neurons in their place."""
    networks, known = relabelled(graph, count, noise)
    since = time.perf_counter()
    chosen = torch.randperm(count, generator=torch.Generator().manual_seed(0))[:reference]
    found = find_reference(networks.select(chosen), generator=torch.Generator().manual_seed(0))
    middle = time.perf_counter()
    elements = [found.reference.elements(networks.select(part)) for part in torch.arange(count).split(PART)]
    end = time.perf_counter()
    right = []
    for name, perms in known.items():
        back = torch.cat([perms[k * PART :][: len(e.maps[name].perm)].gather(1, e.maps[name].perm)  # type: ignore[union-attr]
                          for k, e in enumerate(elements)])  # fmt: skip
        right.append((back == back.mode(0).values).double().mean())
    double = networks.select(slice(0, ALONE)).to(dtype=torch.float64)
    metric = balanced_metric(double)
    before = time.perf_counter()
    for k in range(ALONE):
        match(found.reference.mean, _like(found.reference.mean, double.select([k])), metric=metric)
    alone = (time.perf_counter() - before) / ALONE
    return {
        "networks": count,
        "reference": len(chosen),
        "rounds": len(found.record) - 1,
        "seconds for the reference": middle - since,
        "seconds for all networks": end - middle,
        "closeness of pairs before": found.before,
        "closeness of pairs after": found.record[-1],
        "neurons in their place": float(torch.stack(right).mean()),
        "times as fast as one by one": alone / ((end - middle) / count),
    }


def _like(mean: Weights, networks: Weights) -> Weights:
    """The networks on the graph of the reference, whose spaces are permuted only."""
    return Weights(mean.graph, networks.tensors)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--networks", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--reference", type=int, default=1000)
    parser.add_argument("--noise", type=float, default=0.1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    graph, rows = mlp_graph([2, 32, 32, 1], "sine"), []
    for count in options.networks:
        rows.append(measure(graph, count, options.reference, options.noise))
        sys.stdout.write("\n".join(f"{name}: {value:,.4g}" for name, value in rows[-1].items()) + "\n\n")
        sys.stdout.flush()
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
