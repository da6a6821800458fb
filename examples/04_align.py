"""Networks that were trained apart, brought to one order: the barrier between them goes down.

    python examples/04_align.py [FOLDER]

Trains small MLPs on scikit-learn's digits from different random starts.  Their neurons are in different orders and at
different scales, so the networks half way between two of them classify badly.  Aligned, they do much better.  The
figure (align.png) shows the loss along the line, and the correlations between neurons of both: once aligned, the large
ones are on the diagonal.
"""

from __future__ import annotations

import math
import sys
import tempfile
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from graphws.align import Barrier, align, align_many, average, barrier, classification_loss
from graphws.graph import Weights
from graphws.operations import forward, mlp_graph
from graphws.operations.latents import latents
from graphws.report.figures import png
from graphws.zoo import load_digits


def train(x: Tensor, y: Tensor, networks: int, generator: torch.Generator, steps: int = 200) -> Weights:
    """So many MLPs at once, each from a start of its own and on a part of the pictures of its own."""
    graph = mlp_graph([64, 96, 96, 10], activation="relu")
    tensors = {}
    for parameter in graph.parameters:
        shape = graph.shape(parameter.name)
        scale = math.sqrt(2 / shape[1]) if parameter.kind == "weight" else 0.0
        tensors[parameter.name] = (scale * torch.randn(networks, *shape, generator=generator)).requires_grad_()
    optimizer = torch.optim.Adam(list(tensors.values()), lr=3e-3)
    for _ in range(steps):
        rows = torch.randint(len(x), (networks, 128), generator=generator)
        logits = forward(graph, Weights(graph, tensors), x[rows])
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), y[rows].flatten()) * networks
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return Weights(graph, {name: tensor.detach() for name, tensor in tensors.items()})


def correlations(first: Weights, second: Weights, x: Tensor) -> Tensor:
    """How each neuron of the first hidden layer of one network correlates with each of the other, in percent."""
    ours, theirs = (latents(w.graph, w, x)["hidden1"][0] for w in (first, second))
    return 100 * torch.corrcoef(torch.cat([ours, theirs], 1).T).nan_to_num()[: ours.shape[1], ours.shape[1] :]


def picture(lines: dict[str, Barrier], tables: dict[str, Tensor]) -> Figure:
    """Losses along the line, and the correlations of neurons in equal and in other places."""
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    axes, *cells = figure.subplots(1, 3, width_ratios=(1.3, 1, 1))
    for name, line in lines.items():
        axes.plot(line.positions, line.losses, label=name)
    axes.set(xlabel="from network 1 to network 2", ylabel="test loss", ylim=(0, None))
    axes.legend(frameon=False, loc="upper right", fontsize=8)
    for cell, (name, table) in zip(cells, tables.items(), strict=True):
        cell.imshow(table.clamp_min(0).numpy(), cmap="Blues", vmin=0, vmax=100)
        cell.set(title=f"correlations, {name}", xlabel="neuron of network 2", xticks=[], yticks=[])
    cells[0].set_ylabel("neuron of network 1")
    return figure


def main(folder: Path) -> None:
    """Trains, aligns, prints and draws."""
    generator = torch.Generator().manual_seed(0)
    digits = load_digits()
    x, y = digits.values.flatten(1), torch.from_numpy(digits.table["label"])
    x, y, test_x, test_y = x[:1200], y[:1200], x[1200:], y[1200:]
    networks = train(x, y, 5, generator)
    first, second = networks.select([0]), networks.select([1])
    loss = classification_loss(test_x, test_y)

    found = align(first, second, generator=generator)
    by_activations = align(first, second, method="activations", inputs=x)
    lines = {
        "as trained": barrier(first, second, loss),
        "aligned by weights": barrier(first, found.aligned, loss),
        "aligned by activations": barrier(first, by_activations.aligned, loss),
    }
    for name, line in lines.items():
        print(f"{name}: {line}")

    many = align_many(networks, generator=generator)
    for name, weights in (("as trained", networks), ("aligned", many.aligned)):
        print(f"mean of five networks, {name}: loss {float(loss(average(weights))[0]):.3f}")

    tables = {
        "as trained": correlations(first, second, x),
        "aligned": correlations(first, by_activations.aligned, x),
    }
    for name, table in tables.items():
        print(f"neurons in the same place, {name}: mean correlation {float(table.diagonal().mean()):.0f} %")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "align.png").write_bytes(png(picture(lines, tables)))
    print(f"drawn: {folder / 'align.png'}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="graphws-")))
