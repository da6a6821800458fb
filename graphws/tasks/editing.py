"""Networks that draw pictures, changed so that they draw edited ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from graphws.errors import UsageError
from graphws.graph import Mixed, NetworkGraph, Weights
from graphws.operations.query_points import on_a_plane, regular_grid
from graphws.report import picture_rows
from graphws.tasks.answers import Answers
from graphws.tasks.by_loss import ByLoss
from graphws.tasks.denoising import of_one_graph
from graphws.tasks.functional import ChangedNetworks
from graphws.tasks.task import Figures, Metric
from graphws.zoo import Zoo

Edit = Callable[[Tensor], Tensor]
"""From pictures (batch, channels, rows, columns) to edited ones of the same shape."""
SHOWN = 10
"""Test networks in a figure."""


class Editing(ByLoss, ChangedNetworks):
    """Networks that draw an edited picture, where those given draw the picture itself.

    What a network draws is its outputs on a regular grid; the wanted picture is edited from that, so that no pictures
    but those in the networks are needed.

    Args:
        deviation: See `graphws.tasks.functional.ChangedNetworks`.
        graph: Of networks that draw pictures: they read (n, 2).
        restore: See `ChangedNetworks`.
        networks: See `ChangedNetworks`.
        edit: The edit.
        side: Rows and columns of the grid.

    Raises:
        UsageError: On networks that draw no pictures.
    """

    chosen_by = Metric("mse", higher_is_better=False)

    def __init__(
        self,
        deviation: Float[Tensor, " weights"],
        graph: NetworkGraph,
        restore: Callable[[Weights], Weights],
        networks: int,
        edit: Edit,
        side: int,
    ) -> None:
        super().__init__(deviation, graph, restore, networks)
        if not on_a_plane(graph):
            raise UsageError("pictures are edited where networks draw them: these do not read points (n, 2)")
        self.edit, self.side = edit, side

    def prepare(self, weights: Mixed, targets: Tensor, generator: torch.Generator) -> tuple[Mixed, Tensor]:
        """The networks, and what they were."""
        weights = of_one_graph(weights)
        return weights, weights.flatten()

    def drawn(self, networks: Weights, several: int | None = None) -> Float[Tensor, "batch channels rows columns"]:
        """What networks that can be run draw; `several` of them together, see `ChangedNetworks.run`."""
        points = regular_grid(self.side * self.side).to(networks.device, networks.floating)
        outputs = self.run(networks, points, several)
        return outputs.movedim(-1, 1).reshape(len(outputs), -1, self.side, self.side)

    @torch.no_grad()
    def wanted_pictures(self, networks: Weights) -> Float[Tensor, "batch channels rows columns"]:
        """The edited pictures of networks that can be run."""
        return self.edit(self.drawn(networks, several=1))

    def losses(
        self, outputs: Float[Tensor, "batch changed"], targets: Float[Tensor, "batch weights"]
    ) -> Float[Tensor, " batch"]:
        """Mean squared error of the picture, in the units of the networks' outputs."""
        drawn, wanted = self.drawn(self.raw(outputs)), self.wanted_pictures(self.raw(targets))
        return (drawn.to(wanted) - wanted).square().flatten(1).mean(1)

    @torch.no_grad()
    def figures(self, answers: Mapping[str, Answers], zoo: Zoo) -> Figures:
        """Pictures of some test networks: before, wanted, and as each model's networks draw them."""
        first = next(iter(answers.values()))
        chosen = torch.linspace(0, len(first.index) - 1, min(SHOWN, len(first.index))).long()
        before = zoo.weights(first.index[chosen])
        rows = {"before": self.drawn(before, several=1), "wanted": self.wanted_pictures(before)}
        for name, found in answers.items():
            flat = found.predictions[chosen].reshape(-1, self.graph.numel)
            rows[name] = self.drawn(Weights.unflatten(self.graph, flat))
        shown = {name: pictures.movedim(1, 3).numpy() for name, pictures in rows.items()}
        return {"edited": ("What test networks draw before and after, and what they should.", picture_rows(shown))}


def dilated(pictures: Float[Tensor, "batch channels rows columns"], size: int) -> Tensor:
    """Grey dilation: each pixel the largest of the square of odd `size` around it, as far as that is in the picture."""
    return functional.max_pool2d(pictures, size, stride=1, padding=size // 2)


def eroded(pictures: Float[Tensor, "batch channels rows columns"], size: int) -> Tensor:
    """Grey erosion: each pixel the smallest of the square of odd `size` around it; the dual of `dilated`."""
    return -dilated(-pictures, size)


def contrasted(pictures: Float[Tensor, "batch channels rows columns"], factor: float) -> Tensor:
    """Each picture's distance from its mean, all channels together, times a factor."""
    mean = pictures.mean((1, 2, 3), keepdim=True)
    return mean + factor * (pictures - mean)


def smoothed(pictures: Float[Tensor, "batch channels rows columns"], size: int) -> Tensor:
    """Each pixel the mean of the square of odd `size` around it, as far as that is in the picture."""
    return functional.avg_pool2d(pictures, size, stride=1, padding=size // 2, count_include_pad=False)
