"""Networks run from their graphs, against their own PyTorch modules.

Two questions, each answered by a ratio of times taken in turn in one process (medians; the best of all turns beside
them, which says more on a machine that others use too):

* *batch*: 64 small convolutional networks, and 64 tiny vision transformers, all with different weights and run as one
  batch on the same pictures, against a loop over the modules.
* *single*: one ResNet-50 on 4 pictures of 224x224, run from its graph, against its module.

Outputs are compared first: a difference above 1e-4 of their size is an error.

    python benchmarks/runner.py [--only cnn vit resnet] [--networks 64] [--points 1 8 32] [--repeats 15] [--threads 2]
                                [--json FILE]
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from graphws.graph import NetworkGraph, Weights
from graphws.operations import forward
from graphws_converters.modules.conversion import convert_module


class SmallCNN(nn.Module):
    """Three strided convolutions of 16 channels with batch norm, a mean and a linear layer: the nets of CNN zoos."""

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        widths = (1, channels, channels, channels)
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in itertools.pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(3))
        self.out = nn.Linear(channels, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(points, 1, height, width) to (points, 10)."""
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = functional.relu(norm(convolution(x)))
        logits: Tensor = self.out(x.mean((2, 3)))
        return logits


class EncoderBlock(nn.Module):
    """Attention and an MLP, each behind a layer norm and beside a skip."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(points, tokens, width) to the same."""
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        heads = functional.scaled_dot_product_attention(q, k, v)
        x = x + self.project(heads.transpose(1, 2).flatten(2))
        written: Tensor = x + self.down(functional.gelu(self.up(self.norm2(x))))
        return written


class TinyViT(nn.Module):
    """Two blocks of width 32 with 4 heads on 16 patches of a picture."""

    def __init__(self, width: int = 32, heads: int = 4, patch: int = 7, depth: int = 2) -> None:
        super().__init__()
        self.embed = nn.Conv2d(1, width, patch, patch)
        self.positions = nn.Parameter(0.1 * torch.randn(1, (28 // patch) ** 2, width))
        self.blocks = nn.Sequential(*(EncoderBlock(width, heads) for _ in range(depth)))
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(points, 1, 28, 28) to (points, 10)."""
        x = self.embed(x).flatten(2).mT + self.positions
        logits: Tensor = self.out(self.norm(self.blocks(x)).mean(1))
        return logits


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with batch norm beside a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.steps = nn.Sequential(
            *(nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)),
        )
        self.shortcut = (
            nn.Identity()
            if inputs == 4 * width
            else nn.Sequential(nn.Conv2d(inputs, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(points, inputs, height, width) to (points, 4 * width, ...)."""
        return functional.relu(self.steps(x) + self.shortcut(x))


def resnet50() -> nn.Sequential:
    """ResNet-50 (He et al. 2016, table 1)."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    layers, inputs = [*layers, nn.MaxPool2d(3, 2, 1)], 64
    for width, count in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(count):
            layers.append(Bottleneck(inputs, width, 2 if block == 0 and width > 64 else 1))
            inputs = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 1000))


def graph_of(make: Callable[[], nn.Module], example: Tensor) -> NetworkGraph:
    """The graph of a module without numbers: the gate's trials would take minutes, and outputs are compared here."""
    with torch.device("meta"):
        module = make().eval()
    return convert_module(module, example.to("meta"), generator=torch.Generator().manual_seed(0)).graph


def timed(modules: Callable[[], Tensor], graph: Callable[[], Tensor], repeats: int) -> dict[str, float]:
    """Milliseconds of both in turn, medians and best, after their outputs were compared; ratios modules : graph."""
    with torch.no_grad():
        expected, found = modules(), graph()
        error = float((expected - found).norm() / expected.norm())
        if not error < 1e-4:
            raise SystemExit(f"the outputs differ by {error:.1e}")
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(repeats):
            for run, taken in zip((modules, graph), times, strict=True):
                start = time.perf_counter()
                run()
                taken.append(1e3 * (time.perf_counter() - start))
    (a, b), (best_a, best_b) = map(statistics.median, times), map(min, times)
    return {
        "modules ms": a, "graph ms": b, "ratio": a / b,
        "modules best ms": best_a, "graph best ms": best_b, "ratio of best": best_a / best_b, "error": error,
    }  # fmt: skip


def batch(make: Callable[[], nn.Module], networks: int, points: int, repeats: int) -> dict[str, float]:
    """A batch of networks against a loop over their modules."""
    torch.manual_seed(0)
    modules = [make().eval() for _ in range(networks)]
    x = torch.randn(points, 1, 28, 28)
    graph = graph_of(make, torch.randn(4, 1, 28, 28))
    weights = Weights.cat([Weights.from_state_dict(graph, module.state_dict()) for module in modules])
    return timed(
        lambda: torch.stack([module(x) for module in modules]),
        lambda: forward(graph, weights, x),  # type: ignore[arg-type, return-value]
        repeats,
    )


def single(repeats: int) -> dict[str, float]:
    """One ResNet-50 from its graph against its module."""
    torch.manual_seed(0)
    module = resnet50().eval()
    x = torch.randn(4, 3, 224, 224)
    graph = graph_of(resnet50, x)
    weights = Weights.from_state_dict(graph, module.state_dict())
    return timed(
        lambda: module(x),
        lambda: forward(graph, weights, x)[0],  # type: ignore[arg-type]
        repeats,
    )


def main() -> None:
    """Runs what was asked for, and prints ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=("cnn", "vit", "resnet"), default=["cnn", "vit", "resnet"])
    parser.add_argument("--networks", type=int, default=64)
    parser.add_argument("--points", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} threads, {options.repeats} turns")
    results: dict[str, Any] = {}
    for name, make in (("cnn", SmallCNN), ("vit", TinyViT)):
        for points in options.points if name in options.only else ():
            found = batch(make, options.networks, points, options.repeats)
            results[f"{name}, {points} points"] = found
            print(
                f"{name}: {options.networks} networks on {points} points: loop {found['modules ms']:.1f} ms, batch "
                f"{found['graph ms']:.1f} ms: {found['ratio']:.1f} times as fast (best of all turns: "
                f"{found['ratio of best']:.1f})",
                flush=True,
            )
    if "resnet" in options.only:
        results["resnet"] = found = single(options.repeats)
        print(
            f"resnet: module {found['modules ms']:.0f} ms, graph {found['graph ms']:.0f} ms: "
            f"{1 / found['ratio']:.2f} times the module's time (best of all turns: {1 / found['ratio of best']:.2f})",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(results, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
