"""Whether a training can be done on the devices and processes that are there."""

from __future__ import annotations

import torch

from graphws.errors import UsageError
from graphws.runtime.environment import Processes
from graphws.spec.train import Train


def check_devices(train: Train, group: Processes) -> None:
    """Whether a training can be done on these devices.

    Raises:
        UsageError: On 16-bit floats without a GPU, or a number of devices other than that of the processes.
    """
    if train.precision == "16-mixed" and not torch.cuda.is_available():
        raise UsageError("train.precision '16-mixed' needs a GPU; without one use '32' or 'bf16-mixed'")
    if train.devices != "auto" and train.devices != group.local_world:
        raise UsageError(
            f"train.devices is {train.devices}, but {group.local_world} process(es) run on this machine; "
            f"start with: torchrun --nproc-per-node {train.devices} -m graphws train ..."
        )
