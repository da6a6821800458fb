"""Processes that wait at a named point for what a test does to them; nothing here looks at a clock."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_WAITING = """
import fnmatch, os, runpy, signal, sys
said, name, times, module = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
replace, (heard, ring) = os.replace, os.pipe()
os.set_blocking(ring, False)
signal.set_wakeup_fd(ring)
def replace_and_wait(source, target, **options):
    global times
    replace(source, target, **options)
    times -= fnmatch.fnmatch(os.path.basename(target), name)
    if times == 0:
        times = -1
        os.write(said, b".")
        os.read(heard, 1)
os.replace = replace_and_wait
sys.argv = [module, *sys.argv[5:]]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


def start_until(
    name: str,
    module: str,
    *arguments: str,
    times: int = 1,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """Starts a module as a program; returns when a file was put in its place for the n-th time, and the process waits.

    It waits for a signal, however long that takes.

    Args:
        name: Pattern of the file's name.
        module: Is run as ``python -m`` would.
        arguments: Its command line.
        times: How often such a file comes until the process waits.
        cwd: The folder that it runs in.
        env: Its environment; one thread where None.
    """
    told, said = os.pipe()
    command: Sequence[str] = [sys.executable, "-c", _WAITING, str(said), name, str(times), module]
    process = subprocess.Popen(
        [*command, *arguments],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"} if env is None else dict(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=(said,),
    )
    os.close(said)
    with os.fdopen(told, "rb") as answer:
        came = answer.read(1)
    assert came, (f"{name} never came", *process.communicate())
    return process
