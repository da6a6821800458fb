"""What outside forces do to a training: kill -9, Ctrl-C, and a second process that helps."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from graphws.reporter import Reporter
from graphws.runtime.callbacks import LastCheckpoint
from graphws.runtime.environment import Processes
from tests.processes import ROOT, start_until
from tests.runtime import standin

pytestmark = pytest.mark.slow


def _start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.runtime.standin", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _curve(folder: Path) -> list[dict[str, float]]:
    with open(folder / "metrics.csv", newline="") as file:
        return [{k: float(v) for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


@pytest.fixture
def whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(LastCheckpoint.__init__, "__defaults__", (0.0,))
    result = standin.trial(tmp_path / "whole", epochs=8, augment=standin.jitter).run(Processes(), Reporter())
    return {"result": result, "curve": _curve(tmp_path / "whole")}


def test_a_killed_training_goes_on_and_ends_like_one_that_was_not(tmp_path: Path, whole: dict[str, Any]) -> None:
    folder = tmp_path / "cut"
    process = start_until("last.ckpt", "tests.runtime.standin", str(folder), "8", times=5, cwd=ROOT)
    process.kill()
    process.communicate()
    assert (folder / "last.ckpt").exists()
    assert not (folder / "trial.json").exists()

    done, error = _start(str(folder), "8").communicate()
    assert not error
    result = json.loads(done)
    assert _curve(folder) == whole["curve"]
    assert (result["best_epoch"], result["validation"]) == (whole["result"].best_epoch, whole["result"].validation)
    assert sorted(os.listdir(folder)) == ["best.safetensors", "metrics.csv", "trial.json"]


def test_ctrl_c_ends_a_training_at_once_and_it_can_go_on(tmp_path: Path, whole: dict[str, Any]) -> None:
    folder = tmp_path / "cut"
    process = start_until("last.ckpt", "tests.runtime.standin", str(folder), "8", times=5, cwd=ROOT)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate()
    assert process.returncode != 0
    assert error.strip().endswith("KeyboardInterrupt")
    assert not (folder / "trial.json").exists()

    _start(str(folder), "8").communicate()
    assert _curve(folder) == whole["curve"]


def test_two_processes_follow_the_loss_curve_of_one(tmp_path: Path) -> None:
    """The stand-in has no batch statistics; that the equivariant norms agree is tested with the models."""
    alone = standin.trial(tmp_path / "one", epochs=4, batch_size=30).run(Processes(), Reporter())
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    arguments = ["-m", "tests.runtime.standin", str(tmp_path / "two"), "4"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    together = json.loads(done.stdout.strip().splitlines()[-1])
    curves = [_curve(tmp_path / name) for name in ("one", "two")]
    assert len(curves[0]) == len(curves[1]) == 4
    for left, right in zip(*curves, strict=True):
        assert left == pytest.approx(right, rel=1e-5)
    assert alone.validation == pytest.approx(together["validation"], rel=1e-5)
