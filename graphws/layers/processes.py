"""Tensors of all processes that train together, with the gradient of what each of them makes of it.

A process that is alone gets back what it gave.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class _SumOfProcesses(torch.autograd.Function):
    """The sum over all processes; what each does with it flows back to all, so the gradient is summed too."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total


def several() -> bool:
    """Whether there are other processes."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def sum_of_processes(x: Tensor) -> Tensor:
    """The sum of the tensors, of one shape, that all processes give; every process must ask at the same point."""
    if not several():
        return x
    total: Tensor = _SumOfProcesses.apply(x)  # type: ignore[no-untyped-call]
    return total


def rows_of_processes(x: Tensor) -> tuple[Tensor, int]:
    """The rows that all processes give, (rows of all, …), in the order of the processes, and where this one's begin.

    The number of rows may differ between processes, also be 0; every process must ask at the same point.
    """
    if not several():
        return x, 0
    counts = torch.zeros(dist.get_world_size(), dtype=torch.long, device=x.device)
    counts[dist.get_rank()] = len(x)
    dist.all_reduce(counts)
    numbers: list[int] = counts.tolist()
    start = sum(numbers[: dist.get_rank()])
    before, after = x.new_zeros(start, *x.shape[1:]), x.new_zeros(sum(numbers) - start - len(x), *x.shape[1:])
    return sum_of_processes(torch.cat([before, x, after])), start
