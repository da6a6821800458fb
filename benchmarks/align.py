"""The barrier between MLPs trained apart on MNIST, before and after alignment.

Trains networks 784-512-512-512-10 (ReLU) from different random starts, at the scale stated in the first line, aligns
them by each method and prints the test loss and accuracy half way between, the loss barrier, and the processor time of
the alignment.  With ``--reference`` it runs the weight matching of a public implementation (a clone of
github.com/samuela/git-re-basin) on the same networks in a Python that has jax, and compares what both maximise,
the sum over weights of <A, P B>, from the same networks.

    python benchmarks/align.py [--data FOLDER] [--widths 512 512 512] [--epochs 5] [--networks 3] [--seed 0]
                               [--reference CLONE/src --python PYTHON] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphws.align import Barrier, align, align_many, average, barrier, classification_loss, halfway
from graphws.align.objective import closeness
from graphws.graph import GroupElement, Monomial, Weights
from graphws.matching import Metric
from graphws.operations import forward, mlp_graph
from graphws.zoo.sources.idx import load_idx

ROOT = Path(__file__).resolve().parents[1]
THEIRS = """
import sys, types
import numpy as np
from jax import random
utils = types.ModuleType("utils")  # the one helper that the matching needs, without what else its file imports
utils.rngmix = lambda rng, x: random.fold_in(rng, hash(x) % 2**32)
sys.modules["utils"] = utils
folder, given, made, seed = sys.argv[1:]
sys.path.insert(0, folder)
from weight_matching import mlp_permutation_spec, weight_matching
read = np.load(given, allow_pickle=False)
sides = [{k[2:]: read[k] for k in read.files if k[0] == side} for side in "ab"]
found = weight_matching(random.PRNGKey(int(seed)), mlp_permutation_spec(len(sides[0]) // 2 - 1), *sides)
np.savez(made, **{k: np.asarray(v) for k, v in found.items()})
"""


def train(widths: list[int], x: Tensor, y: Tensor, networks: int, epochs: int, seed: int) -> Weights:
    """Networks of one graph, each from its own start and with its own order of the data; Adam, cosine to 0."""
    graph = mlp_graph(widths, "relu")
    rng = torch.Generator().manual_seed(seed)
    tensors = {}
    for parameter in graph.parameters:
        shape = graph.shape(parameter.name)
        scale = math.sqrt(2 / shape[1]) if len(shape) == 2 else 0.0
        tensors[parameter.name] = (scale * torch.randn(networks, *shape, generator=rng)).requires_grad_()
    optimizer = torch.optim.Adam(list(tensors.values()), lr=1e-3)
    steps = epochs * (len(x) // 500)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        if step % (len(x) // 500) == 0:
            orders = torch.stack([torch.randperm(len(x), generator=rng) for _ in range(networks)])
        rows = orders[:, (step * 500) % len(x) :][:, :500]
        logits = forward(graph, Weights(graph, tensors), x[rows])
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), y[rows].flatten()) * networks
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return Weights(graph, {name: tensor.detach() for name, tensor in tensors.items()})


def accuracy(weights: Weights, x: Tensor, y: Tensor) -> float:
    """Share of points that a network classifies rightly."""
    with torch.no_grad():
        return float((forward(weights.graph, weights, x)[0].argmax(1) == y).double().mean())


def reference(folder: Path, python: str, first: Weights, second: Weights, seed: int) -> tuple[GroupElement, float]:
    """The element that the public implementation finds, and the processor time of its process."""
    depth = len(first.tensors) // 2
    with tempfile.TemporaryDirectory() as name:
        given, made = Path(name) / "given.npz", Path(name) / "made.npz"
        arrays = {}
        for side, weights in (("a", first), ("b", second)):
            for m in range(depth):
                arrays[f"{side}/Dense_{m}/kernel"] = weights[f"W{m + 1}"][0].T.numpy()
                arrays[f"{side}/Dense_{m}/bias"] = weights[f"b{m + 1}"][0].numpy()
        np.savez(given, **arrays)  # type: ignore[arg-type]
        before = os.times()
        subprocess.run(
            [python, "-c", THEIRS, str(folder), str(given), str(made), str(seed)], check=True, stdout=sys.stderr
        )
        after = os.times()
        perms = np.load(made, allow_pickle=False)
        maps = {f"hidden{m}": Monomial(torch.from_numpy(perms[f"P_{m - 1}"]).long()) for m in range(1, depth)}
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return GroupElement(first.graph, maps), spent


def main() -> None:
    """Trains, aligns and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])  # type: ignore[union-attr]
    shared = Path(os.environ.get("GRAPHWS_SHARED", ROOT.parent / "shared"))
    parser.add_argument("--data", type=Path, default=shared / "data" / "mnist")
    parser.add_argument("--widths", type=int, nargs="+", default=[512, 512, 512])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--networks", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    samples = load_idx(
        train_images=arguments.data / "train-images-idx3-ubyte.gz",
        train_labels=arguments.data / "train-labels-idx1-ubyte.gz",
        test_images=arguments.data / "t10k-images-idx3-ubyte.gz",
        test_labels=arguments.data / "t10k-labels-idx1-ubyte.gz",
    )
    pixels, labels = samples.values.flatten(1).float() / 255, torch.from_numpy(samples.table["label"])
    assert samples.test is not None
    held = torch.as_tensor(samples.test)
    x, y, test_x, test_y = pixels[~held], labels[~held], pixels[held], labels[held]
    widths = [x.shape[1], *arguments.widths, 10]
    shape = "-".join(map(str, widths))
    print(f"{arguments.networks} MLPs {shape}, ReLU, Adam, {arguments.epochs} epochs of {len(x)} pictures, batch 500")
    networks = train(widths, x, y, arguments.networks, arguments.epochs, arguments.seed)
    loss = classification_loss(test_x, test_y)
    each = ", ".join(f"{100 * accuracy(networks.select([k]), test_x, test_y):.2f}" for k in range(arguments.networks))
    print(f"test accuracy of each: {each} %\n")
    first, second = networks.select([0]), networks.select([1])
    probe = x[:: len(x) // 2000]
    results: dict[str, Any] = {}

    def show(name: str, moved: Weights, spent: float) -> None:
        line: Barrier = barrier(first, moved, loss, 25)
        halfway = 100 * accuracy(average(Weights.cat([first, moved])), test_x, test_y)
        plain = closeness(first, moved, Metric())
        print(f"{name:36s} {line.height:8.4f} {line.middle:8.4f} {halfway:9.2f} {plain:12.2f} {spent:8.1f}")
        results[name] = {"barrier": line.height, "halfway_loss": line.middle, "halfway_accuracy": halfway,
                         "objective": plain, "seconds": spent, "losses": list(line.losses)}  # fmt: skip

    heads = ("barrier", "halfway", "accuracy", "sum <A,PB>", "CPU s")
    print("{:36s} {:>8s} {:>8s} {:>9s} {:>12s} {:>8s}".format("test loss, network 1 to 2", *heads))
    show("as trained", second, 0.0)
    options: dict[str, Callable[[], Any]] = {
        "weights, permutations": lambda: align(first, second, actions="permutation", generator=fresh(), restarts=2),
        "weights, permutations, unbalanced": lambda: align(
            first, second, actions="permutation", generator=fresh(), restarts=2, balanced=False
        ),
        "weights, permutations and scales": lambda: align(first, second, generator=fresh(), restarts=2),
        "weights, best mean on 2000 pictures": lambda: align(
            first,
            second,
            generator=fresh(),
            restarts=2,
            objective=halfway(first, classification_loss(probe, y[:: len(x) // 2000])),
        ),
        "activations on 2000 pictures": lambda: align(
            first, second, method="activations", inputs=probe, actions="permutation", generator=fresh()
        ),
        "attributions, 64 losses": lambda: align(
            first,
            second,
            method="attributions",
            run=lambda w: forward(w.graph, w, probe),
            actions="permutation",
            generator=fresh(),
        ),
    }

    def fresh() -> torch.Generator:
        return torch.Generator().manual_seed(arguments.seed)

    for name, run in options.items():
        start = time.process_time()
        found = run()
        show(name, found.aligned, time.process_time() - start)
    if arguments.reference is not None:
        element, spent = reference(arguments.reference, arguments.python, first, second, arguments.seed)
        show("public implementation, weights", element.act(second), spent)
        ours, theirs = (
            results[name]["objective"]
            for name in ("weights, permutations, unbalanced", "public implementation, weights")
        )
        print(f"objective, ours over theirs: {ours / theirs:.4f}")
    if arguments.networks > 2:
        start = time.process_time()
        many = align_many(networks, generator=fresh(), actions="permutation")
        spent = time.process_time() - start
        for name, weights in (("as trained", networks), ("aligned to one order", many.aligned)):
            mean = average(weights)
            print(
                f"mean of all {arguments.networks}, {name}: test loss {float(loss(mean)[0]):.4f}, "
                f"accuracy {100 * accuracy(mean, test_x, test_y):.2f} %"
            )
            results[f"mean, {name}"] = {"loss": float(loss(mean)[0]), "accuracy": accuracy(mean, test_x, test_y)}
        print(f"{len(many.record) - 1} rounds, {spent:.1f} CPU s")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
