"""What happens at the end of an epoch: the history, the best model, the last checkpoint, the progress.

All of it is kept in the checkpoint as plain numbers and strings, so that a run that goes on after a kill has the
history and the best model of the run that was killed, and no epoch twice.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback, Checkpoint

from graphws.errors import RunError
from graphws.files import whole_file
from graphws.reporter import Reporter
from graphws.runtime.files import write_csv
from graphws.runtime.model_file import save_model
from graphws.tasks import Metric


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that are whole or absent: written beside their place, flushed, renamed."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint.

        Raises:
            RunError: When the disk is full or closed to us; the checkpoint before it is still there.
        """
        place = Path(path)
        try:
            with whole_file(place, RunError) as file:
                torch.save(checkpoint, file)
        except RuntimeError as error:  # torch's zip writer hides the reason of a failed write
            raise RunError(f"cannot write {place}: {str(error).splitlines()[0]} (is the disk full?)") from error


class History(Callback):
    """The metrics of every epoch, in memory and as ``metrics.csv``.

    Args:
        path: Where to write the table; None keeps it in memory only.
        reporter: Hears each epoch.
    """

    def __init__(self, path: Path | None, reporter: Reporter) -> None:
        self.path, self.reporter = path, reporter
        self.rows: list[dict[str, float]] = []
        self._earlier = 0.0
        self._since = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Time spent in training, over all continuations."""
        return self._earlier + time.perf_counter() - self._since

    def state_dict(self) -> dict[str, Any]:
        """What a continued run needs."""
        return {"rows": self.rows, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the history of the run that was stopped."""
        self.rows, self._earlier = list(state_dict["rows"]), state_dict["seconds"]
        self._since = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add a row.

        Raises:
            Diverged: When the loss is no longer a number.
        """
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        names = sorted(values, key=lambda name: (not name.startswith("train"), name == "lr", name))
        row = {"epoch": trainer.current_epoch + 1, **{name: values[name] for name in names}, "seconds": self.seconds}
        self.rows.append(row)
        if trainer.is_global_zero:
            self.write()
        self.reporter.step(trainer.current_epoch + 1, values)
        if not math.isfinite(values["train_loss"]):
            raise Diverged(trainer.current_epoch + 1)

    def write(self) -> None:
        """Write the table, if there is anything to write and a place for it."""
        if self.path is not None and self.rows:
            write_csv(self.path, list(self.rows[-1]), self.rows)


class Diverged(Exception):
    """The loss became infinite or NaN in the given epoch."""

    def __init__(self, epoch: int) -> None:
        super().__init__(f"the loss became NaN or infinite in epoch {epoch}")
        self.epoch = epoch


class BestModel(Callback):
    """Keeps the model with the best validation metric; of equals, the one with the lower validation loss.

    Args:
        path: Where to write it.
        metric: What ranks models.
        description: What to say of the model in the file.
    """

    def __init__(self, path: Path, metric: Metric, description: dict[str, Any]) -> None:
        self.path, self.metric, self.description = path, metric, description
        self.epoch = 0
        self.values: dict[str, float] = {}
        self.model: dict[str, torch.Tensor] = {}

    def state_dict(self) -> dict[str, Any]:
        """What a continued run needs: the best model among it, as its file may be of a later epoch, or lost."""
        return {"epoch": self.epoch, "values": self.values, "model": self.model, "training": self.training}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the best model of the run that was stopped."""
        self.epoch, self.values, self.model = state_dict["epoch"], dict(state_dict["values"]), state_dict["model"]

    @property
    def training(self) -> str:
        """Which training this is, as text."""
        return json.dumps(self.description, sort_keys=True)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare, and write the model when it is better."""
        values = {name: float(v) for name, v in trainer.callback_metrics.items() if name.startswith("val_")}
        value, best = values[f"val_{self.metric.name}"], self.values.get(f"val_{self.metric.name}")
        tie = value == best and values["val_loss"] < self.values["val_loss"]
        if not (tie or self.metric.better(value, best)):
            return
        self.epoch, self.values = trainer.current_epoch + 1, values
        if trainer.is_global_zero:
            model = pl_module.model
            assert isinstance(model, torch.nn.Module)
            self.model = {name: tensor.detach().to("cpu", copy=True) for name, tensor in model.state_dict().items()}
            self.write()

    def write(self) -> None:
        """Write the best model, if there is one yet."""
        if self.epoch:
            save_model(self.path, self.model, {**self.description, "epoch": self.epoch, "validation": self.values})


class LastCheckpoint(Checkpoint):
    """Saves what a run needs to go on, after every epoch but not more often than every `interval` seconds."""

    def __init__(self, path: Path, interval: float = 1.0) -> None:
        self.path, self.interval = path, interval
        self._saved = -math.inf

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save when due."""
        due = trainer.strategy.broadcast(time.monotonic() - self._saved >= self.interval)
        if due:
            trainer.save_checkpoint(self.path)
            self._saved = time.monotonic()
