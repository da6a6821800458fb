"""A program for two processes that share a batch: what each has of the joined loss, gradient and probe, as JSON."""

from __future__ import annotations

import json
import sys

import torch
import torch.distributed as dist
from torch import Tensor

from graphws.layers.processes import rows_of_processes, sum_of_processes
from graphws.models.linear_probe import LinearProbe
from graphws.tasks.contrastive import nt_xent

SIZES = (3, 2)
"""Networks of each process."""
TEMPERATURE = 0.3


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Two views of every network, a map that embeds them, and properties of the networks."""
    draw = torch.Generator().manual_seed(0)
    shapes = ((sum(SIZES), 2, 4), (4, 3), (sum(SIZES), 2))
    views, matrix, targets = (torch.randn(shape, generator=draw, dtype=torch.float64) for shape in shapes)
    return views, matrix, targets


def main() -> None:
    """Say what this process finds; the first one prints what both do."""
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    views, matrix, targets = inputs()
    mine, known = views.split(SIZES)[rank], targets.split(SIZES)[rank]
    matrix.requires_grad_()
    losses = nt_xent(mine @ matrix, TEMPERATURE, together=True)
    losses.sum().backward()  # type: ignore[no-untyped-call]
    assert matrix.grad is not None
    rows, start = rows_of_processes(mine.flatten(1)[: rank * 2])  # the first process gives none
    probe = LinearProbe(2, 2)
    probe.fit([(mine[:, 0, :2], known)])
    found = {
        "losses": losses.tolist(),
        "gradient": sum_of_processes(matrix.grad).tolist(),
        "apart": nt_xent(mine @ matrix, TEMPERATURE).tolist(),
        "rows": rows.tolist(),
        "start": start,
        "probe": probe.weight.tolist(),
        "bias": probe.bias.tolist(),
    }
    answers: list[dict[str, object]] = [{}, {}]
    dist.all_gather_object(answers, found)
    if rank == 0:
        sys.stdout.write(json.dumps(answers) + "\n")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
