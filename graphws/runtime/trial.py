"""A trial: one model, one learning rate, one seed, trained until validation has seen enough.

Its folder holds ``last.ckpt`` while it trains, ``best.safetensors``, ``metrics.csv`` and, written last of all,
``trial.json``.  A folder with ``trial.json`` is done; one with ``last.ckpt`` goes on from there; anything else, and
what is damaged, starts anew.  `Trial.run` may therefore be called again after any kind of stop.
"""

from __future__ import annotations

import json
import logging
import math
import signal
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.strategies import DDPStrategy
from pydantic import TypeAdapter
from torch import nn

from graphws.errors import RunError
from graphws.graph import Weights
from graphws.reporter import Reporter
from graphws.runtime.batches import Networks, batches
from graphws.runtime.callbacks import BestModel, Diverged, History, LastCheckpoint, WholeCheckpoints
from graphws.runtime.devices import check_devices
from graphws.runtime.environment import Processes
from graphws.runtime.files import brief, make_folder, read_json, read_rows, write_json
from graphws.runtime.fitted import SelfFitting, fit_once
from graphws.runtime.learner import Learner, Optimisation, Transform
from graphws.runtime.model_file import read_model
from graphws.spec.train import Train
from graphws.tasks import Task
from graphws.threads import torch_threads

WHOLE_MB = 1 << 14
"""More than the gradients of any model take."""


@dataclass(frozen=True)
class TrialResult:
    """What a trial came to.

    Attributes:
        name: Of the model.
        lr: Learning rate.
        seed: Of initialisation, order and noise.
        parameters: How many numbers the model learns.
        epochs: How many were trained.
        best_epoch: The one whose model was kept; 0 where the training diverged before the first validation.
        validation: Metrics of the kept model.
        seconds: Time in training, over all continuations.
        diverged: The epoch in which the loss stopped being a number, or None.
        folder: Where the kept model is, relative to the run.
    """

    name: str
    lr: float
    seed: int
    parameters: int
    epochs: int
    best_epoch: int
    validation: dict[str, float]
    seconds: float
    diverged: int | None
    folder: str


@dataclass(frozen=True, eq=False)
class Trial:
    """One training to be done.

    Attributes:
        name: Of the model.
        lr: Learning rate.
        seed: Of initialisation, order and noise.
        folder: Where its files go.
        train: How to train.
        build: Makes the model from torch's generator, which is seeded for the purpose.
        task: What is to be learnt.
        training: Networks to learn from.
        validation: Networks to choose the epoch by.
        augment: Changes training batches.
        normalise: Changes every batch.
        description: Kept in the model's file.
    """

    name: str
    lr: float
    seed: int
    folder: Path
    train: Train
    build: Callable[[], nn.Module]
    task: Task
    training: Networks
    validation: Networks
    augment: Transform | None
    normalise: Callable[[Weights], Weights] | None
    description: dict[str, Any]

    @property
    def title(self) -> str:
        """How the trial is called in progress bars and errors."""
        return f"{self.name}, lr {self.lr:g}, seed {self.seed}"

    def finished(self) -> TrialResult | None:
        """The result, if the trial is done.

        Raises:
            RunError: Where the result or the kept model is damaged.
        """
        path = self.folder / "trial.json"
        if not path.exists():
            return None
        result = _result(path)
        mine = (self.name, self.lr, self.seed, self.folder.name)
        if (result.name, result.lr, result.seed, result.folder) != mine:
            raise RunError(f"{path} is of another training")
        if len(read_rows(self.folder / "metrics.csv")) != result.epochs:
            raise RunError(f"{self.folder / 'metrics.csv'} has not the {result.epochs} epochs of {path.name}")
        if result.best_epoch:
            best = self.folder / "best.safetensors"
            _, described = read_model(best)
            wanted = {**self.description, "epoch": result.best_epoch, "validation": result.validation}
            if json.dumps(described, sort_keys=True) != json.dumps(wanted, sort_keys=True):
                raise RunError(f"{best} is of another training")
            if {f"val_{self.task.chosen_by.name}", "val_loss"} - result.validation.keys():
                raise RunError(f"{path} is damaged: its 'validation' lacks the metric that models are chosen by")
        return result

    def _sound(self, group: Processes, reporter: Reporter) -> TrialResult | None:
        """The result, if the trial is done; what is damaged is removed, with a word, so that it is made again."""
        last, found, reasons = self.folder / "last.ckpt", None, []
        try:
            found = self.finished()
        except RunError as error:
            reasons.append((f"{error}: this model is trained again".replace("\n", " "), self.folder / "trial.json"))
        if found is None and last.exists() and (reason := self._unusable(last)):
            reasons.append((f"{last} cannot be read ({reason}): this model is trained anew", last))
        group.barrier()
        if group.first:
            for text, file in reasons:
                reporter.note(text)
                file.unlink(missing_ok=True)
        group.barrier()
        return found

    def _unusable(self, checkpoint: Path) -> str:
        """Why a training cannot go on from a checkpoint; empty where it can."""
        try:
            found = torch.load(checkpoint, map_location="cpu", weights_only=True)
            training = found["callbacks"][self._best().state_key]["training"]
            with zipfile.ZipFile(checkpoint) as archive:  # PyTorch does not compare the checksums that it writes
                if archive.testzip() is not None:
                    return "a checksum in it is another"
        except Exception as error:  # a damaged pickle can fail in any way
            return type(error).__name__  # its text is PyTorch's advice, or a number
        return "" if training == self._best().training else "it is of another training"

    def _best(self) -> BestModel:
        return BestModel(self.folder / "best.safetensors", self.task.chosen_by, self.description)

    def run(self, group: Processes, reporter: Reporter) -> TrialResult:
        """Train, or go on, or give the result that is there already.

        Raises:
            RunError: When files cannot be written, or the last checkpoint is one of another model.
            UsageError: On a precision that the device does not have.
            KeyboardInterrupt: On Ctrl-C; calling again goes on after the last whole epoch.
        """
        if (done := self._sound(group, reporter)) is not None:
            return done
        make_folder(self.folder)
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())), torch_threads(self.train.threads):
            torch.manual_seed(self.seed)
            model = self.build()
            result = (self._fit if isinstance(model, SelfFitting) else self._train)(model, group, reporter)
        group.barrier()
        if group.first:
            write_json(self.folder / "trial.json", asdict(result))
            (self.folder / "last.ckpt").unlink(missing_ok=True)
        group.barrier()
        return result

    def _fit(self, model: nn.Module, group: Processes, reporter: Reporter) -> TrialResult:
        """A model that fits itself, once; the learning rate is its own affair."""
        learner = Learner(model, self.task, Optimisation(seed=self.seed), 1, None, self.normalise)
        best = self._best()
        reporter.start(self.title, 1, "fit")
        try:
            history = self.folder / "metrics.csv"
            seconds = fit_once(learner, self.training, self.validation, best, history, group.first)
            reporter.step(1, best.values)
        finally:
            reporter.end()
        parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
        rounded = round(seconds, 2)
        return TrialResult(
            self.name, self.lr, self.seed, parameters, 1, 1, best.values, rounded, None, self.folder.name
        )

    def _train(self, model: nn.Module, group: Processes, reporter: Reporter) -> TrialResult:
        train = self.train
        training = batches(self.training, train.batch_size, group, self.seed, train.workers)
        validation = batches(self.validation, max(train.batch_size, 1024), group, None)
        optimisation = Optimisation(
            train.optimizer.kind, self.lr, train.optimizer.weight_decay, train.schedule, train.epochs, self.seed
        )
        reference = batches(self.training, max(train.batch_size, 1024), group, None)
        learner = Learner(model, self.task, optimisation, len(training), self.augment, self.normalise, reference)
        history = History(self.folder / "metrics.csv", reporter)
        best = self._best()
        last = self.folder / "last.ckpt"
        callbacks: list[pl.Callback] = [history, best, LastCheckpoint(last)]
        if train.patience is not None:
            mode = "max" if self.task.chosen_by.higher_is_better else "min"
            monitor = f"val_{self.task.chosen_by.name}"
            callbacks.append(EarlyStopping(monitor, patience=train.patience, mode=mode, check_on_train_epoch_end=True))
        parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
        idle = len(self.training.collection.graphs) > 1 or getattr(model, "idle", False)
        reporter.start(self.title, train.epochs, "epochs")
        diverged = None
        try:
            with quiet():
                trainer = pl.Trainer(
                    **trainer_options(train, group, idle), max_epochs=train.epochs, callbacks=callbacks
                )
                checkpoint = str(last) if last.exists() else None
                fit(trainer, learner, training, validation, checkpoint)
        except Diverged as error:
            diverged = error.epoch
        finally:
            reporter.end()
        if group.first:  # what a killed training wrote may be lost, or of a later epoch than its checkpoint
            history.write()
            best.write()
        return TrialResult(
            self.name,
            self.lr,
            self.seed,
            parameters,
            len(history.rows),
            best.epoch,
            best.values,
            round(history.seconds, 2),
            diverged,
            self.folder.name,
        )


def _result(path: Path) -> TrialResult:
    """The result in a file; `RunError` where it is damaged."""
    try:
        result = TypeAdapter(TrialResult).validate_python(read_json(path, "a trial"))
        if not math.isfinite(result.seconds) or min(result.parameters, result.epochs, result.best_epoch) < 0:
            raise ValueError("its values do not fit")
    except ValueError as error:
        raise RunError(f"{path} is damaged: {brief(error)}") from None
    return result


def trainer_options(train: Train, group: Processes, idle: bool = False) -> dict[str, Any]:
    """Lightning's options for a device, a precision and a number of processes.

    Args:
        train: The section of the spec.
        group: The processes.
        idle: Whether a batch may leave parameters of a model unused.

    Raises:
        UsageError: As `check_devices`.
    """
    check_devices(train, group)
    gpu = torch.cuda.is_available()
    return {
        "accelerator": "gpu" if gpu else "cpu",
        "devices": group.local_world,
        "num_nodes": group.nodes,
        "strategy": _over_processes(idle) if group.world > 1 else "auto",
        "precision": "32-true" if train.precision == "32" else train.precision,
        "max_time": timedelta(seconds=train.time_limit) if train.time_limit is not None else None,
        "plugins": [WholeCheckpoints()],
        "use_distributed_sampler": False,
        "num_sanity_val_steps": 0,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": True,
    }


def _over_processes(idle: bool) -> DDPStrategy:
    """How gradients are averaged; in one piece where parameters may be unused.

    These may be other ones in each process, where networks are of several graphs, and pieces would be sent in another
    order by each.
    """
    return DDPStrategy(find_unused_parameters=True, bucket_cap_mb=WHOLE_MB) if idle else DDPStrategy()


def fit(trainer: pl.Trainer, learner: Learner, training: Any, validation: Any, checkpoint: str | None) -> None:
    """Lightning's fit, with its Ctrl-C turned back into `KeyboardInterrupt` and damaged checkpoints into an error."""
    before = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(learner, training, validation, ckpt_path=checkpoint, weights_only=True)
    except SystemExit:
        raise KeyboardInterrupt from None
    except (RuntimeError, KeyError, EOFError, ValueError) as error:
        if checkpoint is not None and not learner.trained:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise RunError(f"cannot go on from {checkpoint}: {reason}; delete it to train this model anew") from error
        raise
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


@contextmanager
def quiet() -> Iterator[None]:
    """Lightning without its greetings and tips; what matters is raised or reported."""
    loggers = [logging.getLogger(name) for name in ("lightning", "lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning|torchmetrics|torch\.optim")
            warnings.filterwarnings("ignore", message=r".*(LeafSpec|num_workers|isinstance\(treespec).*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
