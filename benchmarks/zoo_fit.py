"""How much faster a zoo is fitted than network by network.

Fits SIRENs 2-32-32-1 to the same pictures from the same starts in three ways, interleaved, in one process:

* one by one: an `nn.Module`, autograd and `torch.optim.Adam` for each network, as one would write it;
* autograd: a group of networks at once with batched products, autograd and Adam;
* ours: `graphws.zoo.fit_networks`, as `fit_zoo` runs it.

Each is timed per network and step, in processor time where one thread runs; printed are medians over rounds, the ratio
to one by one (wanted: at least 5 in one thread) and the largest difference between the networks that come out.

    python benchmarks/zoo_fit.py [--points 64|784] [--steps 60] [--rounds 5] [--threads 1]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from graphws.graph import Weights
from graphws.operations import forward
from graphws.zoo import Architecture, FitOptions, fit_networks, load_digits
from graphws.zoo.architecture import initial
from graphws.zoo.fit import cached_group
from graphws.zoo.sources import picture_grid

LEARNING_RATE = 5e-3


class Sine(nn.Module):
    """sin(ωx)."""

    def __init__(self, omega: float) -> None:
        super().__init__()
        self.omega = omega

    def forward(self, x: Tensor) -> Tensor:
        """Element by element."""
        return torch.sin(self.omega * x)


def one_by_one(architecture: Architecture, points: Tensor, target: Tensor, start: list[Tensor], steps: int) -> Tensor:
    """One network; returns its flattened weights."""
    d0, d1, d2, d3 = architecture.widths
    omega = architecture.omega
    model = nn.Sequential(nn.Linear(d0, d1), Sine(omega), nn.Linear(d1, d2), Sine(omega), nn.Linear(d2, d3))
    with torch.no_grad():
        for layer, begin in zip((model[0], model[2], model[4]), start, strict=True):
            layer.weight.copy_(begin[:-1].T)  # type: ignore[union-attr, operator]
            layer.bias.copy_(begin[-1])  # type: ignore[union-attr, operator]
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    for _ in range(steps):
        optimiser.zero_grad()
        (model(points) - target).square().mean().backward()
        optimiser.step()
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def with_autograd(
    architecture: Architecture, points: Tensor, targets: Tensor, starts: list[Tensor], steps: int
) -> Tensor:
    """A group at once; returns flattened weights."""
    graph = architecture.graph()
    tensors = {}
    for m, start in enumerate(starts, start=1):
        tensors[f"W{m}"] = start[:, :-1].mT.float().clone().requires_grad_()
        tensors[f"b{m}"] = start[:, -1].float().clone().requires_grad_()
    optimiser = torch.optim.Adam(tensors.values(), lr=LEARNING_RATE)
    for _ in range(steps):
        optimiser.zero_grad()
        output = forward(graph, Weights(graph, tensors), points)
        (output - targets).square().mean(dim=(1, 2)).sum().backward()
        optimiser.step()
    return Weights(graph, tensors).flatten().detach()


def data(points: int, count: int) -> tuple[Tensor, Tensor]:
    """Coordinates and targets: the digits, enlarged where more than 64 points are asked for."""
    samples = load_digits(limit=count)
    side = round(points**0.5)
    pictures = samples.targets(np.arange(count)).reshape(count, 1, 8, 8)
    if side != 8:
        pictures = nn.functional.interpolate(pictures, size=(side, side), mode="bicubic").clamp(0, 1)
    return picture_grid(side, side).float(), pictures.reshape(count, side * side, 1)


def main() -> None:
    """Runs the comparison and prints it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--points", type=int, default=64, choices=(64, 784))
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    architecture, steps = Architecture((2, 32, 32, 1), omega=5.0 if arguments.points == 64 else 30.0), arguments.steps
    group = cached_group(architecture, arguments.points)
    points, targets = data(arguments.points, group)
    numbers, views = np.arange(group), np.zeros(group, dtype=np.int64)
    starts = initial(architecture, 0, numbers, views)
    options = FitOptions(steps=steps, lr=LEARNING_RATE, psnr=None, check_every=25)

    def ours(count: int) -> Tensor:
        chosen = slice(0, count)
        return fit_networks(
            architecture, points, targets[chosen], numbers[chosen], views[chosen], options
        ).weights.flatten()

    alone = 2
    ways: dict[str, tuple[int, Callable[[], Tensor]]] = {
        "one by one": (
            alone,
            lambda: torch.stack(
                [
                    one_by_one(architecture, points, targets[k], [start[k].float() for start in starts], steps)
                    for k in range(alone)
                ]
            ),
        ),
        "autograd": (group, lambda: with_autograd(architecture, points, targets, starts, steps)),
        "ours": (group, lambda: ours(group)),
    }
    clock = time.process_time if arguments.threads == 1 else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    results = {}
    for turn in range(arguments.rounds + 1):
        for name, (count, run) in ways.items():
            begin = clock()
            results[name] = run()
            if turn:  # the first round warms up
                seconds[name].append((clock() - begin) / count / steps)
    reference = statistics.median(seconds["one by one"])
    print(f"SIREN 2-32-32-1, {arguments.points} points, {steps} Adam steps, float32, {arguments.threads} thread(s)")
    for name, (count, _) in ways.items():
        middle = statistics.median(seconds[name])
        worst = (results[name][:alone] - results["one by one"]).abs().max()
        print(
            f"{name:<11} {count:>3} at once  {middle * 1e6:8.1f} us per network and step  "
            f"{1 / middle / 1000:7.2f} networks/s at 1000 steps  x{reference / middle:5.1f}  differs by {worst:.1e}"
        )


if __name__ == "__main__":
    main()
