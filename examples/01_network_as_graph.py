"""A network is a typed graph, and relabelling its neurons leaves its function alone.

    python examples/01_network_as_graph.py [FOLDER]

Converts a SIREN from its module, draws its typed graph (graph.png), and shows one network in many guises: the hidden
weights of the same function under random elements of the group (guises.png).
"""

from __future__ import annotations

import math
import sys
import tempfile
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from graphws.converting import convert
from graphws.graph import Weights
from graphws.operations import forward
from graphws.report.figures import png
from graphws.report.graph.figure import draw_graph


class Sine(nn.Module):
    """sin(30 x): nothing but its numbers tells the converter."""

    def forward(self, x: Tensor) -> Tensor:
        """The activation."""
        return torch.sin(30 * x)


def siren(widths: list[int], generator: torch.Generator) -> nn.Sequential:
    """A freshly initialised SIREN."""
    layers: list[nn.Module] = []
    for m in range(len(widths) - 1):
        linear = nn.Linear(widths[m], widths[m + 1])
        bound = 1 / widths[m] if m == 0 else math.sqrt(6 / widths[m]) / 30
        nn.init.uniform_(linear.weight, -bound, bound, generator=generator)
        nn.init.uniform_(linear.bias, -bound, bound, generator=generator)
        layers += [linear, Sine()]
    return nn.Sequential(*layers[:-1])


def picture(weights: Weights, size: int = 64) -> Tensor:
    """What a network represents, on a grid of points."""
    axis = torch.linspace(-1, 1, size, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    return forward(weights.graph, weights, points).reshape(size, size)


def guises(weights: Weights, generator: torch.Generator, count: int = 4) -> Figure:
    """W2 of the network and of moved copies of it, above the pictures that they represent."""
    figure = Figure(figsize=(2.4 * count, 5.0), layout="constrained")
    panels = figure.subplots(2, count)
    limit = float(weights["W2"].abs().max())
    for k in range(count):
        moved = weights if k == 0 else weights.graph.group().random(generator, actions="rich").act(weights)
        change = (picture(moved) - picture(weights)).abs().max()
        panels[0, k].imshow(moved["W2"][0].numpy(), cmap="RdBu", vmin=-limit, vmax=limit)
        panels[0, k].set_title("W2" if k == 0 else f"W2, element {k}", size=10)
        panels[1, k].imshow(picture(moved).numpy(), cmap="gray")
        panels[1, k].set_title("its picture" if k == 0 else f"moved by {change:.0e}", size=10)
    for panel in panels.flat:
        panel.set(xticks=[], yticks=[])
    return figure


def main(folder: Path) -> None:
    """Converts, prints and draws."""
    generator = torch.Generator().manual_seed(0)
    result = convert(siren([2, 32, 32, 1], generator), generator=generator)
    print(result)
    assert result.weights is not None
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "graph.png").write_bytes(png(draw_graph(result.graph)))
    (folder / "guises.png").write_bytes(png(guises(result.weights.to(dtype=torch.float64), generator)))
    print(f"drawn: {folder / 'graph.png'}, {folder / 'guises.png'}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="graphws-")))
