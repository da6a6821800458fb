"""Pictures of the pictures that networks represent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from graphws.errors import ZooError
from graphws.graph import Weights
from graphws.operations import outputs_of
from graphws.zoo.sources import picture_grid


def reconstruct(weights: Weights, shape: Sequence[int]) -> Tensor:
    """The pictures that networks represent, (batch, rows, columns, channels), on the grid of `picture_grid`.

    Args:
        weights: Networks of two coordinates.
        shape: Rows and columns; any, whatever grid the networks were fitted on.

    Raises:
        ZooError: Where `shape` is not that of a picture.
    """
    if len(shape) != 2:
        raise ZooError(f"a picture has rows and columns, got the shape {list(shape)}")
    points = picture_grid(*shape).to(device=weights.device, dtype=weights.dtype)
    with torch.no_grad():
        values = outputs_of(weights.graph, weights, points)
    pictures: Tensor = values.unflatten(1, tuple(shape))
    return pictures


def augmentation_figure(before: Weights, after: Weights, shape: Sequence[int], *, titles: Sequence[str] = ()) -> Figure:
    """Pictures reconstructed from weights, left, and the same after an augmentation of the weights, right.

    Compare paper D, figure 6.

    Args:
        before: Networks, as stored.
        after: The same number of networks, augmented.
        shape: Rows and columns to reconstruct.
        titles: Two headings.
    """
    if before.batch != after.batch:
        raise ZooError(f"{before.batch} networks before and {after.batch} after: they must correspond")
    columns = max(1, math.ceil(math.sqrt(before.batch)))
    figure = Figure(figsize=(2 * columns * 0.9 + 0.6, columns * 0.9 + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    halves: Any = figure.subfigures(1, 2, wspace=0.06)
    headings = list(titles) or ["reconstructed from the weights", "after augmenting the weights"]
    for half, weights, heading in zip(halves, (before, after), headings, strict=True):
        half.suptitle(heading, fontsize=9)
        axes = half.subplots(math.ceil(before.batch / columns), columns, squeeze=False).flat
        pictures = reconstruct(weights, shape).clamp(0, 1).cpu().double().numpy()
        for k, ax in enumerate(axes):
            ax.set_axis_off()
            if k < len(pictures):
                ax.imshow(
                    pictures[k].squeeze(-1) if pictures.shape[3] == 1 else pictures[k], cmap="gray", vmin=0, vmax=1
                )
    return figure
