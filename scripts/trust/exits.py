"""Whole processes of commands that use Arrow, on a loaded machine: each must end with code 0.

A library's thread that still holds something of the interpreter's when that is gone ends a process with a signal after
all its work is done (code 134).  It happens now and then, and more often where threads wait for a core: as many
processes as the machine has cores spin meanwhile.
"""

from __future__ import annotations

import collections
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from rich.progress import track

from scripts.trust.figures import ROOT, Part

SPLIT = ["--validation", "0.2", "--test", "0.2"]
COMMANDS: dict[str, Sequence[str]] = {
    "zoo pack": ["zoo", "pack", "checkpoints", "packed-{number}", *SPLIT],
    "zoo unpack": ["zoo", "unpack", "zoo", "out-{number}"],
    "zoo info": ["zoo", "info", "zoo"],
}
"""Arguments of graphws, by what the row is called; each run writes under a number of its own."""
GRAPHWS = (sys.executable, "-m", "graphws")
NICE = 10
"""Of the processes that spin, so that they disturb the others and do not stop them."""
LIMIT = 600
"""Seconds after which a command hangs."""


def prepare(place: Path) -> None:
    """Checkpoints of twelve small networks, and a zoo of them."""
    (place / "checkpoints").mkdir()
    for number in range(12):
        generator = torch.Generator().manual_seed(number)
        shapes = {"0.weight": (8, 2), "0.bias": (8,), "2.weight": (1, 8), "2.bias": (1,)}
        state = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
        torch.save(state, place / "checkpoints" / f"net-{number:02}.pt")
    ended(GRAPHWS, ["zoo", "pack", "checkpoints", "zoo", *SPLIT], place, 0)


def ended(program: Sequence[str], arguments: Sequence[str], place: Path, number: int) -> int:
    """The code with which a process ended; minus the signal that ended it."""
    chosen = [argument.format(number=number) for argument in arguments]
    path = os.pathsep.join([str(ROOT), str(ROOT / "converters"), os.environ.get("PYTHONPATH", "")])
    found = subprocess.run(
        [*program, *chosen], cwd=place, env={**os.environ, "PYTHONPATH": path}, capture_output=True, timeout=LIMIT
    )
    return found.returncode


def _spin() -> None:
    os.nice(NICE)
    while True:
        pass


def tried(
    commands: dict[str, Sequence[str]], number: int, jobs: int, place: Path, program: Sequence[str] = GRAPHWS
) -> tuple[Sequence[str], Sequence[Sequence[str | int]]]:
    """The table of so many processes, shared out between the commands."""
    names = [list(commands)[k % len(commands)] for k in range(number)]
    codes: dict[str, collections.Counter[int]] = {name: collections.Counter() for name in commands}
    spinning = [multiprocessing.get_context("fork").Process(target=_spin, daemon=True) for _ in range(_cores())]
    for process in spinning:
        process.start()
    try:
        with ThreadPoolExecutor(jobs) as pool:
            found = pool.map(lambda k: ended(program, commands[names[k]], place, k), range(number))
            for name, code in track(zip(names, found, strict=True), "exits", number, disable=not sys.stderr.isatty()):
                codes[name][code] += 1
    finally:
        for process in spinning:
            process.kill()
            process.join()
    rows = [[name, seen.total(), seen[0], _others(seen)] for name, seen in codes.items()]
    return ["command", "runs", "clean", "other codes"], rows


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _others(seen: collections.Counter[int]) -> str:
    return ", ".join(f"{code}: {count}" for code, count in sorted(seen.items()) if code) or "none"


def _exits(number: int, jobs: int) -> tuple[Sequence[str], Sequence[Sequence[str | int]]]:
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        return tried(COMMANDS, number, jobs, Path(folder))


PART = Part(200, _exits)
