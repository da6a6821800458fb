"""Where a run runs: processes, devices and the versions of what it ran with.

One code path serves a laptop and a cluster: `torchrun` announces itself by environment variables, and without them a
run is a world of one process.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from importlib import metadata
from pathlib import Path

import torch
import torch.distributed as dist

from graphws.shown import Shown
from graphws.spec import KINDS

WAIT = timedelta(days=7)
"""How long processes wait for one that fits, aligns or scores for all."""
_RECORDED = ("graphws", "torch", "lightning", "torchmetrics", "numpy", "pydantic", "safetensors", "pyarrow")


@dataclass(frozen=True, repr=False)
class Processes(Shown):
    """The processes that train one model together.

    Attributes:
        rank: Which one this is, from 0.
        world: How many there are.
        local_world: How many of them run on this machine.
    """

    rank: int = 0
    world: int = 1
    local_world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files and talks."""
        return self.rank == 0

    @property
    def local_rank(self) -> int:
        """Which of the processes on this machine this is."""
        return self.rank % self.local_world

    @property
    def nodes(self) -> int:
        """How many machines."""
        return max(1, self.world // self.local_world)

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self.world > 1 and dist.is_initialized():
            dist.barrier()


def processes(environment: Mapping[str, str] = os.environ) -> Processes:
    """The processes that `torchrun` started, or a world of one."""
    world = int(environment.get("WORLD_SIZE", "1"))
    if world == 1:
        return Processes()
    local = int(environment.get("LOCAL_WORLD_SIZE", str(world)))
    return Processes(int(environment["RANK"]), world, local)


def join(group: Processes) -> None:
    """Connect the processes (NCCL between GPUs, gloo otherwise); nothing to do for one process or a second time."""
    if group.world > 1 and not dist.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(group.local_rank)
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=WAIT)


def leave(group: Processes) -> None:
    """Disconnect the processes at the end of the command."""
    if group.world > 1 and dist.is_initialized():
        dist.destroy_process_group()


def share(group: Processes, value: Path) -> Path:
    """The first process's path, on every process."""
    if group.world == 1:
        return value
    box = [str(value)]
    dist.broadcast_object_list(box, src=0)
    return Path(box[0])


def machine() -> dict[str, str]:
    """The device of a run by its name, and how many threads PyTorch has."""
    gpu = torch.cuda.is_available()
    return {"device": torch.cuda.get_device_name() if gpu else "cpu", "threads": str(torch.get_num_threads())}


def versions() -> dict[str, str]:
    """What the run ran with: versions of packages, those that add kinds among them, Python, platform and device."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in _RECORDED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    points = [point for kinds in KINDS for point in metadata.entry_points(group=kinds.group)]
    found |= {point.dist.name: point.dist.version for point in points if point.dist is not None}
    found["device"] = torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu x {torch.get_num_threads()}"
    return found
