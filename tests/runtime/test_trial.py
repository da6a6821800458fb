from __future__ import annotations

import csv
import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from graphws.errors import RunError, UsageError
from graphws.graph import Weights
from graphws.reporter import Reporter
from graphws.runtime.callbacks import LastCheckpoint
from graphws.runtime.environment import Processes
from graphws.runtime.model_file import read_model, save_model
from graphws.runtime.trial import Trial, TrialResult
from tests.runtime import standin

ALONE = Processes()


def _losses(folder: Path) -> list[str]:
    with open(folder / "metrics.csv", newline="") as file:
        return [row["train_loss"] + " " + row["val_loss"] for row in csv.DictReader(file)]


@pytest.fixture(autouse=True)
def _save_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LastCheckpoint.__init__, "__defaults__", (0.0,))


def test_a_trial_learns_and_keeps_its_best_model(tmp_path: Path) -> None:
    result = standin.trial(tmp_path, epochs=12, lr=0.03).run(ALONE, Reporter())
    assert result.epochs == 12
    assert result.validation["val_accuracy"] > 0.8
    assert result.parameters == sum(p.numel() for p in standin.Reader().parameters())
    _, description = read_model(tmp_path / "best.safetensors")
    assert description == {"model": "reader", "epoch": result.best_epoch, "validation": result.validation}
    assert sorted(os.listdir(tmp_path)) == ["best.safetensors", "metrics.csv", "trial.json"]


def test_the_same_seed_gives_the_same_curve_and_leaves_torchs_generator_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    for name in ("a", "b"):
        standin.trial(tmp_path / name, augment=standin.jitter, build=lambda: standin.Reader(dropout=0.3)).run(
            ALONE, Reporter()
        )
    assert torch.equal(before, torch.random.get_rng_state())
    standin.trial(tmp_path / "c", seed=1).run(ALONE, Reporter())
    assert _losses(tmp_path / "a") == _losses(tmp_path / "b") != _losses(tmp_path / "c")


def test_a_finished_trial_is_not_done_again(tmp_path: Path) -> None:
    first = standin.trial(tmp_path).run(ALONE, Reporter())
    again = standin.trial(tmp_path, build=lambda: pytest.fail("trained again")).run(ALONE, Reporter())
    assert again == first


@pytest.mark.parametrize("schedule", ["none", "onecycle"])
def test_going_on_after_an_interrupt_gives_the_curve_of_an_uninterrupted_run(tmp_path: Path, schedule: str) -> None:
    options: dict[str, Any] = {
        "epochs": 6,
        "schedule": schedule,
        "augment": standin.jitter,
        "build": lambda: standin.Reader(dropout=0.3),
    }
    whole = standin.trial(tmp_path / "whole", **options).run(ALONE, Reporter())
    with pytest.raises(KeyboardInterrupt):
        standin.trial(tmp_path / "cut", **options).run(ALONE, standin.StopAfter(3))
    assert not (tmp_path / "cut" / "trial.json").exists()
    result = standin.trial(tmp_path / "cut", **options).run(ALONE, Reporter())
    assert _losses(tmp_path / "cut") == _losses(tmp_path / "whole")
    assert (result.best_epoch, result.validation) == (whole.best_epoch, whole.validation)
    states = [read_model(tmp_path / name / "best.safetensors")[0] for name in ("whole", "cut")]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_patience_stops_early(tmp_path: Path) -> None:
    result = standin.trial(tmp_path, epochs=200, patience=2, lr=0.03).run(ALONE, Reporter())
    assert result.epochs < 100
    assert result.best_epoch == result.epochs - 2


def test_the_time_limit_ends_a_training_with_what_it_has(tmp_path: Path) -> None:
    result = standin.trial(tmp_path, epochs=100_000, time_limit=0.5).run(ALONE, Reporter())
    assert 0 < result.best_epoch <= result.epochs < 1000


def test_a_loss_that_stops_being_a_number_ends_the_trial(tmp_path: Path) -> None:
    def poison(weights: Weights, generator: torch.Generator) -> Weights:
        return weights.map(lambda x: x * float("nan"))

    result = standin.trial(tmp_path, augment=poison).run(ALONE, Reporter())
    assert result.diverged == 1
    assert result.best_epoch == 0


def test_half_precision_needs_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError) as caught:
        standin.trial(tmp_path, precision="16-mixed").run(ALONE, Reporter())
    assert str(caught.value) == "train.precision '16-mixed' needs a GPU; without one use '32' or 'bf16-mixed'"


def test_bfloat16_trains_on_the_cpu(tmp_path: Path) -> None:
    assert standin.trial(tmp_path, precision="bf16-mixed").run(ALONE, Reporter()).best_epoch > 0


def test_several_devices_need_torchrun(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        standin.trial(tmp_path, devices=2).run(ALONE, Reporter())
    assert str(caught.value) == (
        "train.devices is 2, but 1 process(es) run on this machine; "
        "start with: torchrun --nproc-per-node 2 -m graphws train ..."
    )


def test_a_full_disk_stops_the_training_and_keeps_the_last_checkpoint(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(KeyboardInterrupt):
        standin.trial(tmp_path).run(ALONE, standin.StopAfter(2))
    kept = (tmp_path / "last.ckpt").read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(RunError) as caught:
            standin.trial(tmp_path).run(ALONE, Reporter())
    table = tmp_path / "metrics.csv"
    assert str(caught.value) == (
        f"cannot write {table}: the disk is full; free some space and run the same command again"
    )
    assert (tmp_path / "last.ckpt").read_bytes() == kept
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".tmp")]
    assert standin.trial(tmp_path).run(ALONE, Reporter()).epochs == 4


class Notes(Reporter):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def note(self, text: str) -> None:
        self.heard.append(text)


def _flipped(data: bytes) -> bytes:
    """One bit in the middle, among the tensors."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: b"half a checkpoint", r"[A-Za-z]+Error"),
        (lambda data: b"", "EOFError"),
        (lambda data: data[: len(data) // 3], r"[A-Za-z]+Error"),
        (_flipped, "a checksum in it is another"),
    ],
)
def test_a_damaged_last_checkpoint_is_left_with_a_word(
    tmp_path: Path, change: Callable[[bytes], bytes], reason: str
) -> None:
    whole = standin.trial(tmp_path / "whole", epochs=4).run(ALONE, Reporter())
    with pytest.raises(KeyboardInterrupt):
        standin.trial(tmp_path / "cut", epochs=4).run(ALONE, standin.StopAfter(2))
    last, notes = tmp_path / "cut" / "last.ckpt", Notes()
    last.write_bytes(change(last.read_bytes()))
    result = standin.trial(tmp_path / "cut", epochs=4).run(ALONE, notes)
    assert len(notes.heard) == 1
    assert re.fullmatch(f"{last} cannot be read \\({reason}\\): this model is trained anew", notes.heard[0])
    assert (result.best_epoch, result.validation) == (whole.best_epoch, whole.validation)
    assert not last.exists()


def _later(path: Path) -> None:
    """The model of an epoch that the checkpoint does not know yet."""
    state, description = read_model(path)
    save_model(path, {name: x + 1 for name, x in state.items()}, {**description, "epoch": 3})


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"half"), _later])
def test_the_best_model_comes_back_with_the_last_checkpoint(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    whole = standin.trial(tmp_path / "whole", epochs=4, lr=0.0).run(ALONE, Reporter())
    assert whole.best_epoch == 1, "no later epoch writes the model again"
    with pytest.raises(KeyboardInterrupt):
        standin.trial(tmp_path / "cut", epochs=4, lr=0.0).run(ALONE, standin.StopAfter(2))
    damage(tmp_path / "cut" / "best.safetensors")
    trial = standin.trial(tmp_path / "cut", epochs=4, lr=0.0)
    (tmp_path / "cut" / "metrics.csv").unlink()
    assert trial.run(ALONE, Reporter()).validation == whole.validation
    assert _losses(tmp_path / "cut") == _losses(tmp_path / "whole")
    left, right = (tmp_path / name / "best.safetensors" for name in ("whole", "cut"))
    assert left.read_bytes() == right.read_bytes()
    assert trial.finished() is not None


def test_files_that_were_lost_after_the_last_epoch_are_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = standin.trial(tmp_path / "whole").run(ALONE, Reporter())

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("graphws.runtime.trial.write_json", stop)
        with pytest.raises(KeyboardInterrupt):
            standin.trial(tmp_path / "cut").run(ALONE, Reporter())
    for name in ("best.safetensors", "metrics.csv"):
        (tmp_path / "cut" / name).unlink()
    trial = standin.trial(tmp_path / "cut")
    assert trial.run(ALONE, Reporter()).validation == whole.validation
    assert _losses(tmp_path / "cut") == _losses(tmp_path / "whole")
    assert trial.finished() is not None


def test_a_checkpoint_of_another_training_is_left_with_a_word(tmp_path: Path) -> None:
    whole = standin.trial(tmp_path / "whole", seed=0).run(ALONE, Reporter())
    with pytest.raises(KeyboardInterrupt):
        standin.trial(tmp_path / "cut", seed=1, description={"seed": 1}).run(ALONE, standin.StopAfter(2))
    notes = Notes()
    result = standin.trial(tmp_path / "cut", seed=0).run(ALONE, notes)
    last = tmp_path / "cut" / "last.ckpt"
    assert notes.heard == [f"{last} cannot be read (it is of another training): this model is trained anew"]
    assert result.validation == whole.validation


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def _flip(path: Path) -> None:
    """One bit of the last tensor."""
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        ("trial.json", _cut, r"\S+trial.json cannot be read: .*"),
        (
            "trial.json",
            lambda p: p.write_text('{"strange": 1}'),
            r"\S+trial.json is damaged: name: Field required",
        ),
        ("trial.json", lambda p: p.write_text("[1]"), r"\S+trial.json is damaged: .*"),
        (
            "trial.json",
            lambda p: p.write_text(p.read_text().replace('"lr": 0.05', '"lr": "x"')),
            r"\S+trial.json is damaged: lr: Input should be a valid number.*",
        ),
        (
            "trial.json",
            lambda p: p.write_text(p.read_text().replace('"seed": 0', '"seed": 1')),
            r"\S+trial.json is of another training",
        ),
        (
            "trial.json",
            lambda p: p.write_text(p.read_text().replace('"val_loss"', '"val_less"')),
            r"\S+best.safetensors is of another training",
        ),
        ("metrics.csv", Path.unlink, r"\S+metrics.csv cannot be read: .*"),
        ("metrics.csv", lambda p: p.write_text("epoch,train_loss\n1,x\n"), r"\S+metrics.csv cannot be read: .*"),
        (
            "metrics.csv",
            lambda p: p.write_text("\n".join(p.read_text().splitlines()[:3])),
            r"\S+metrics.csv has not the 4 epochs of trial.json",
        ),
        (
            "best.safetensors",
            _flip,
            r"the checkpoint \S+best.safetensors is damaged: its checksum is another; train again",
        ),
        ("best.safetensors", _cut, r"the checkpoint \S+best.safetensors is damaged: .*; train again"),
        ("best.safetensors", Path.unlink, r"no checkpoint at \S+best.safetensors"),
    ],
)
def test_a_finished_trial_that_is_damaged_is_done_again_with_a_word(
    tmp_path: Path, name: str, damage: Callable[[Path], object], reason: str
) -> None:
    trial = standin.trial(tmp_path, lr=0.05)
    first, notes = trial.run(ALONE, Reporter()), Notes()
    damage(tmp_path / name)
    again = trial.run(ALONE, notes)
    assert len(notes.heard) == 1
    assert re.fullmatch(f"{reason}: this model is trained again", notes.heard[0]), notes.heard
    assert (again.best_epoch, again.validation) == (first.best_epoch, first.validation)
    assert trial.finished() == again


def test_errors_of_a_model_are_not_taken_for_a_damaged_checkpoint(tmp_path: Path) -> None:
    def broken() -> standin.Reader:
        return standin.Reader(outputs=2)

    with pytest.raises((IndexError, RuntimeError), match=r"Target|bounds"):
        standin.trial(tmp_path, build=broken).run(ALONE, Reporter())


def test_a_result_survives_its_file(tmp_path: Path) -> None:
    trial = standin.trial(tmp_path)
    result = trial.run(ALONE, Reporter())
    assert isinstance(trial, Trial)
    assert isinstance(result, TrialResult)
    assert trial.finished() == result
