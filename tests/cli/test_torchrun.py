"""The command line under torchrun, started as its help says."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.specs import quick


def _torchrun(count: int, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        str(count),
        "--master-port",
        str(port),
    ]
    return subprocess.run([*command, "-m", "graphws", *arguments], cwd=cwd, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_training_on_two_processes_and_an_evaluation_that_is_printed_once(tmp_path: Path) -> None:
    spec = quick(tmp_path, **{"epochs: 3,": "epochs: 2, devices: 2,"})
    done = _torchrun(2, "run", str(spec), "--folder", "first", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("report: first/report.html") == 1
    told = _torchrun(2, "eval", "first", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert told.stdout.count("first, test split, ") == 1
