"""Pictures of the pictures that networks represent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graphws.errors import ZooError
from graphws.graph import Weights
from graphws.operations import outputs_of
from graphws.zoo.sources import picture_grid
from graphws.zoo.store import Zoo


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


def draws_pictures(zoo: Zoo) -> bool:
    """Whether the networks of a zoo are of one architecture and represent pictures."""
    return len(zoo.graphs) == 1 and len(zoo.provenance.get("signal", {}).get("shape", ())) == 2


def drawn(zoo: Zoo, weights: Weights) -> NDArray[np.float64]:
    """The pictures that networks of a zoo that `draws_pictures` represent, on its own grid, in its units from 0 to 1.

    Shapes:
        networks of the zoo, changed or not -> (batch, rows, columns, channels)
    """
    signal = zoo.provenance["signal"]
    found: NDArray[np.float64] = (reconstruct(weights, signal["shape"]) / signal["peak"]).cpu().double().numpy()
    return found
