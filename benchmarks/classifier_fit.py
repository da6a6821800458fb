"""How much faster a zoo of classifiers is trained than network by network.

Trains the same classifiers on the same pictures, from the same starts, on the same batches in two ways, interleaved, in
one process:

* one by one: an `nn.Module`, autograd and `torch.optim.Adam` for each network, as one would write it, the pictures
  lying in memory as floats;
* ours: `graphws.zoo.classifiers`, as `graphws zoo fit` runs it.

Each is timed per network and step, in processor time where one thread runs, without measuring; printed are medians over
rounds, the ratio to one by one and the largest difference between the networks that come out.

    python benchmarks/classifier_fit.py [--network digits|mnist|cifar10|cnn] [--steps 20] [--rounds 5] [--threads 1]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from graphws.zoo import SplitOptions
from graphws.zoo.classifiers import ClassifierArchitecture, ClassifierFitting, ClassifierOptions, Convolutions
from graphws.zoo.classifiers.streams import Order
from graphws.zoo.classifiers.training import Material, initial, train_group
from graphws.zoo.sources.labelled_pictures import Pictures

CPU = torch.device("cpu")
NETWORKS = {
    "digits": (ClassifierArchitecture((1, 8, 8), 10, (16, 16)), 32),
    "mnist": (ClassifierArchitecture((1, 28, 28), 10, (128, 128, 128)), 1024),
    "cifar10": (ClassifierArchitecture((3, 32, 32), 10, (64, 64, 64, 64)), 128),
    "cnn": (ClassifierArchitecture((1, 28, 28), 10, (), "relu", Convolutions((16, 16, 16))), 64),
}
"""Architectures, and pictures of a step; those of MNIST and CIFAR-10 are of paper D."""


def one_by_one(
    architecture: ClassifierArchitecture, x: Tensor, labels: Tensor, state: dict[str, Tensor], order: Order,
    options: ClassifierOptions, steps: int,
) -> Tensor:  # fmt: skip
    """One network; returns its flattened weights."""
    model = architecture.module()
    model.load_state_dict(state)
    optimiser = torch.optim.Adam(model.parameters(), lr=options.lr)
    for step in range(steps):
        index = torch.from_numpy(order.take(step * options.batch_size, options.batch_size))
        optimiser.zero_grad()
        cross_entropy(model(x[index]), labels[index]).backward()
        optimiser.step()
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def main() -> None:
    """Runs the comparison and prints it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--network", default="digits", choices=NETWORKS)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--group", type=int, default=None)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    (architecture, batch), steps = NETWORKS[arguments.network], arguments.steps
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (4096, *architecture.picture), generator=generator, dtype=torch.uint8)
    numbers = torch.arange(len(pixels))
    pictures = Pictures(pixels, numbers % 10, numbers % 8 == 0, 10)
    options = ClassifierOptions(number=32, batch_size=batch, steps=steps)
    fitting = ClassifierFitting(pictures, architecture, options, SplitOptions(), group=arguments.group)
    material = Material(architecture, pictures, None, CPU, torch.float32)
    x = pixels.float() / 255
    x = x.flatten(1) if architecture.convolutions is None else x
    alone, group = 2, fitting.group(CPU)
    begin = architecture.weights([layer.float() for layer in initial(architecture, options.seed, range(alone))])
    states = [begin.to_state_dict(k) for k in range(alone)]

    def ours() -> Tensor:
        found = train_group(architecture, material, range(group), options, [steps], measure=False)
        return architecture.weights([layer[:, 0] for layer in found.matrices]).flatten()

    def theirs() -> Tensor:
        orders = [Order(material.members(k, test=False), options.seed, k) for k in range(alone)]
        return torch.stack(
            [one_by_one(architecture, x, pictures.labels, states[k], orders[k], options, steps) for k in range(alone)]
        )

    ways: dict[str, tuple[int, Callable[[], Tensor]]] = {"one by one": (alone, theirs), "ours": (group, ours)}
    clock = time.process_time if arguments.threads == 1 else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    results = {}
    for turn in range(arguments.rounds + 1):
        for name, (count, run) in ways.items():
            since = clock()
            results[name] = run()
            if turn:  # the first round warms up
                seconds[name].append((clock() - since) / count / steps)
    reference = statistics.median(seconds["one by one"])
    print(f"{architecture.name}, batches of {batch}, {steps} Adam steps, float32, {arguments.threads} thread(s)")
    for name, (count, _) in ways.items():
        middle = statistics.median(seconds[name])
        worst = (results[name][:alone] - results["one by one"]).abs().max()
        print(
            f"{name:<11} {count:>3} at once  {middle * 1e6:8.1f} us per network and step  x{reference / middle:5.2f}  "
            f"differs by {worst:.1e}"
        )


if __name__ == "__main__":
    main()
