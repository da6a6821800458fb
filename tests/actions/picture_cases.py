"""Networks that convolve, and hidden actions in them, for several test files."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from graphws.actions.groups.naming import named_symmetry
from graphws.actions.groups.placing import place
from graphws.actions.groups.symmetry import DataSymmetry
from graphws.actions.pictures.joined_axes import picture_view, unfolded
from graphws.actions.planted.networks import Planted, plant
from graphws.checkpoints.conversion import Conversion
from graphws.converting import convert
from graphws.graph import Weights
from tests.actions.planting import rng

SHAPE = (3, 8, 8)


def classifier(padding: Literal["zeros", "circular"] = "zeros") -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, padding_mode=padding), nn.ReLU(),
        nn.Conv2d(8, 12, 3, padding=1, padding_mode=padding), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(12, 12, 3, padding=1, padding_mode=padding), nn.GELU(), nn.Flatten(), nn.Linear(192, 10),
    ).double()  # fmt: skip


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.second, self.last = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.norm(self.first(x)))
        h = nn.functional.max_pool2d(h + torch.relu(self.second(h)), 2)
        y: Tensor = self.last(nn.functional.adaptive_avg_pool2d(h, 1).flatten(1))
        return y


def pictures(points: int, seed: int = 1, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.randn(points, *shape, generator=rng(seed), dtype=torch.float64)


def planted(module: nn.Module, group: object, seed: int = 0) -> tuple[Conversion, DataSymmetry, Planted]:
    """The module with a hidden action drawn at random, converted."""
    found = convert(module, pictures(2))
    assert found.weights is not None
    view = picture_view(found.weights)
    symmetry = named_symmetry(group, SHAPE, "invariant", outputs=10)  # type: ignore[arg-type]
    drawn = plant(view.graph, place(view.graph, symmetry, SHAPE), rng(seed))
    positive = {name: x.abs() + 0.5 if name.endswith("running_var") else x for name, x in drawn.weights.items()}
    case = Planted(Weights(view.graph, positive), drawn.actions)  # variances are positive
    module.load_state_dict(unfolded(case.weights, found.graph).to_state_dict())
    return convert(module, pictures(2)), symmetry, case


class Sides(nn.Module):
    """Kernels 1 x 1, 1 x 3 and 3 x 1."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.columns = nn.Conv2d(3, 8, (3, 1), padding=(1, 0)), nn.Conv2d(8, 8, (1, 3), padding=(0, 1))
        self.point, self.last = nn.Conv2d(8, 12, 1), nn.Linear(12, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.point(torch.relu(self.columns(torch.relu(self.rows(x))))))
        y: Tensor = self.last(nn.functional.adaptive_avg_pool2d(h, 1).flatten(1))
        return y


class Grey(nn.Module):
    """One channel comes in, and one is all that a layer in the middle has."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.neck = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 1, 3, padding=1)
        self.second, self.last = nn.Conv2d(1, 6, 3, padding=1), nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.second(torch.tanh(self.neck(torch.relu(self.first(x))))))
        y: Tensor = self.last(nn.functional.adaptive_avg_pool2d(h, 1).flatten(1))
        return y
