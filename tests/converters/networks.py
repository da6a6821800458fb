"""Modules as people write them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn


def seeded(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """A module with repeatable weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build()


class SineLayer(nn.Module):
    """A layer of a SIREN; the sine is hidden in its code."""

    def __init__(self, inputs: int, outputs: int, omega: float) -> None:
        super().__init__()
        self.linear, self.omega = nn.Linear(inputs, outputs), omega
        bound = math.sqrt(6 / inputs) / omega
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(self.omega * self.linear(x))


class Siren(nn.Module):
    """A SIREN whose first layer may have a frequency of its own."""

    def __init__(self, first: float = 30.0, hidden: float = 30.0, width: int = 16) -> None:
        super().__init__()
        self.net = nn.Sequential(SineLayer(2, width, first), SineLayer(width, width, hidden), nn.Linear(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Functional(nn.Module):
    """Two hidden layers with a function in between; the second layer has no bias."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        # registered in another order than they run in
        self.last, self.second = nn.Linear(8, 2), nn.Linear(8, 8, bias=False)
        self.first, self.function = nn.Linear(3, 8), function

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.second(self.function(self.first(x)))))


class Broken(nn.Module):
    """MLPs that are none, each in its own way."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        if self.how == "scaled input":
            x = 2 * x - 1
        h = torch.relu(self.a(x))
        match self.how:
            case "residual":
                return self.c(torch.relu(self.b(h)) + h)
            case "skip":
                return self.c(torch.relu(self.b(h))) + x
            case "twice":
                return self.c(torch.relu(self.b(torch.relu(self.b(h)))))
            case "unused":
                return self.b(h)
            case "data":
                return self.c(torch.relu(self.b(h))) if float(x.abs().max()) > 1 else self.b(torch.relu(self.c(h)))
            case "cosine":
                return self.c(torch.cos(self.b(h)))
            case "roll":
                return self.c(torch.relu(self.b(h)).roll(1, -1))
            case "pair":
                return self.c(torch.relu(self.b(h))), h
        return self.c(torch.relu(self.b(h)))
