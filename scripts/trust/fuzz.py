"""Files that went wrong at random, a million of them, read by every reader.

Each input is made from its number alone (`tests.fuzz.targets`) and read in a process of its own share, whose memory is
bounded, so that what kills a process is counted as well.  A crash is anything but a result or a refusal in printable
words: another exception, a process that dies, memory or time out of proportion, a file written outside of the folder, a
program started, a call of the function that hostile files name.  Inputs that crash are kept under ``build/fuzz``.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from graphws.cli.console import Bars
from scripts.trust.figures import ROOT, Part
from tests.fuzz.judge import Judged, Place, judged
from tests.fuzz.targets import TARGETS, Target

KEPT = ROOT / "build" / "fuzz"
"""Where inputs that crash are kept."""
CHUNK = 5_000
"""Inputs that one process reads."""
MEMORY = 6 << 30
"""Bytes of addresses that a process may take beyond what it has when it starts."""
SECONDS = 20.0
"""Processor time that an input of a few kilobytes may take."""
COLUMNS = ("reader", "inputs", "taken", "refused", "crashed")


@dataclass
class Share:
    """Inputs of a target that one process reads.

    Attributes:
        target: The reader.
        first: Number of the first.
        last: The number after the last.
        outcomes: How many had which outcome.
        crashes: Number and reason of each crash.
    """

    target: Target
    first: int
    last: int
    outcomes: Counter[str] = field(default_factory=Counter)
    crashes: list[tuple[int, str]] = field(default_factory=list)


def fuzz(targets: Sequence[Target], number: int, jobs: int, memory: int = MEMORY) -> list[Share]:
    """Reads so many inputs altogether, in proportion to the targets' shares; what was counted, a share a process."""
    whole = sum(target.share for target in targets)
    left = []
    for target in targets:
        count = math.ceil(target.share * number / whole)
        left += [Share(target, low, min(low + CHUNK, count)) for low in range(0, count, CHUNK)]
    bars, done, shares = Bars(), 0, list(left)
    total = sum(share.last - share.first for share in shares)
    bars.start("reading files that went wrong", total, "files")
    running: dict[Any, tuple[Share, Any]] = {}
    while left or running:
        while left and len(running) < jobs:
            share = left.pop(0)
            ours, theirs = multiprocessing.Pipe(duplex=False)
            process = multiprocessing.get_context("fork").Process(target=_read, args=(share, theirs, memory))
            process.start()
            theirs.close()
            running[ours] = (share, process)
        for pipe in wait(list(running)):
            share, process = running[pipe]
            while pipe in running and pipe.poll():
                try:
                    first, outcome, reason = pipe.recv()
                except EOFError:
                    process.join()
                    del running[pipe]
                    died = share.first + sum(share.outcomes.values())
                    if died < share.last:
                        _count(share, died, Judged("crashed", f"the process died: exit {process.exitcode}"))
                        rest = Share(share.target, died + 1, share.last)
                        share.last = died + 1
                        if rest.first < rest.last:
                            left.insert(0, rest)
                            shares.append(rest)
                    break
                _count(share, first, Judged(outcome, reason))
                done += 1
                if done % 1000 == 0:
                    bars.step(done, {})
    bars.end()
    return shares


def _count(share: Share, number: int, found: Judged) -> None:
    share.outcomes[found.outcome] += 1
    if found.outcome == "crashed":
        share.crashes.append((number, found.reason))
        sys.stderr.write(f"{share.target.name} {number}: {found.reason}\n")


def _read(share: Share, pipe: Connection, memory: int) -> None:
    """Reads the inputs of a share, and tells of each."""
    os.environ["OMP_NUM_THREADS"] = "1"
    place = Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    try:
        (place / "seeds").mkdir()
        (place / "input").mkdir()
        inputs = Place(place / "input")
        seeds = share.target.seeds(place / "seeds")
        held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + memory, held + memory))
        for number in range(share.first, share.last):
            files = share.target.made(number, seeds)
            inputs.put(files)
            started = time.process_time()
            found = judged(lambda: share.target.door(place / "input"), place / "input")
            taken = time.process_time() - started
            if found.outcome != "crashed" and taken > SECONDS:
                found = Judged("crashed", f"took {taken:.0f} s")
            pipe.send((number, found.outcome, found.reason if found.outcome == "crashed" else ""))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def keep_inputs(shares: Sequence[Share]) -> None:
    """Writes the inputs that crashed under ``build/fuzz``, a folder each."""
    for share in shares:
        for number, _ in share.crashes:
            with tempfile.TemporaryDirectory() as place:
                files = share.target.made(number, share.target.seeds(Path(place)))
            Place(KEPT / f"{share.target.name} {number}").put(files)


def rows(shares: Sequence[Share]) -> list[tuple[str | int, ...]]:
    """A line a reader, and their sum."""
    found: dict[str, Counter[str]] = {}
    for share in shares:
        found.setdefault(share.target.name, Counter()).update(share.outcomes)
    made: list[tuple[str | int, ...]] = [
        (name, sum(c.values()), c["taken"], c["refused"], c["crashed"]) for name, c in found.items()
    ]
    return [*made, ("all", *(sum(int(row[k]) for row in made) for k in range(1, 5)))]


def _run(number: int, jobs: int) -> tuple[Sequence[str], Sequence[Sequence[str | int]]]:
    shares = fuzz(TARGETS, number, jobs)
    keep_inputs(shares)
    return COLUMNS, rows(shares)


PART = Part(1_000_000, _run)
