"""The script that counts what became of files that went wrong: what crashes is counted, also what kills the process."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from random import Random

import pytest

from graphws.errors import DataError
from scripts.trust import fuzz
from tests.fuzz.targets import Target


def _seeds(folder: Path) -> list[Mapping[str, bytes]]:
    return [{"file": b""}]


def _edited(rng: Random, files: Mapping[str, bytes]) -> Mapping[str, bytes]:
    return {"file": bytes([rng.randrange(4)])}


def _door(folder: Path) -> object:
    """Takes, refuses, crashes, or takes the process along."""
    match (folder / "file").read_bytes()[0]:
        case 0:
            return None
        case 1:
            raise DataError("cut off")
        case 2:
            raise KeyError("x")
        case _:
            os.kill(os.getpid(), signal.SIGKILL)


def _greedy(folder: Path) -> object:
    return bytearray(1 << 33)


TARGET = Target("odd", 10, 1, _seeds, _edited, _door)


def _expected(count: int) -> list[int]:
    return [TARGET.made(number, _seeds(Path()))["file"][0] for number in range(count)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_input_is_counted_once(monkeypatch: pytest.MonkeyPatch, jobs: int) -> None:
    monkeypatch.setattr(fuzz, "CHUNK", 7)
    shares = fuzz.fuzz([TARGET], 20, jobs)
    kinds = _expected(20)
    taken, refused, crashed = kinds.count(0), kinds.count(1), kinds.count(2) + kinds.count(3)
    assert min(taken, refused, kinds.count(2), kinds.count(3)) > 0
    assert fuzz.rows(shares) == [("odd", 20, taken, refused, crashed), ("all", 20, taken, refused, crashed)]
    reasons = dict(crash for share in shares for crash in share.crashes)
    assert {number: "died" in reason for number, reason in reasons.items()} == {
        number: kind == 3 for number, kind in enumerate(kinds) if kind > 1
    }


def test_memory_is_bounded() -> None:
    shares = fuzz.fuzz([Target("greedy", 1, 1, _seeds, _edited, _greedy)], 1, 1, memory=1 << 30)
    assert [reason for share in shares for _, reason in share.crashes] == ["MemoryError: "]


def test_inputs_that_crash_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "KEPT", tmp_path)
    share = fuzz.Share(TARGET, 0, 2, crashes=[(1, "KeyError: 'x'")])
    fuzz.keep_inputs([share])
    assert [(p.parent.name, p.read_bytes()[0]) for p in tmp_path.rglob("file")] == [("odd 1", _expected(2)[1])]
