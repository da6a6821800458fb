from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from graphws.errors import RunError
from graphws.locks import held

BUSY = RunError("busy")


def test_one_at_a_time(tmp_path: Path) -> None:
    with held(tmp_path / "lock", BUSY), pytest.raises(RunError, match=r"^busy$"), held(tmp_path / "lock", BUSY):
        pass
    with held(tmp_path / "lock", BUSY):
        pass


def test_a_lock_that_was_renamed_away_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for a folder that is then given another name must not go on with a lock in that other folder."""
    path, other = tmp_path / "a" / "lock", tmp_path / "b"
    path.parent.mkdir()
    true_fstat = os.fstat

    def fstat(descriptor: int) -> os.stat_result:
        monkeypatch.setattr(os, "fstat", true_fstat)
        path.parent.rename(other)
        return true_fstat(descriptor)

    monkeypatch.setattr(os, "fstat", fstat)
    with pytest.raises(RunError, match=r"^busy$"), held(path, BUSY):
        pass


@pytest.mark.parametrize("reason", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF])
def test_a_file_system_without_locks_is_not_taken_for_a_busy_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int
) -> None:
    def flock(*_: object) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(fcntl, "flock", flock)
    with held(tmp_path / "lock", BUSY), held(tmp_path / "lock", BUSY):
        pass


@pytest.mark.parametrize("reason", [errno.EAGAIN, errno.EACCES])
def test_a_lock_of_a_network_that_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int) -> None:
    def flock(*_: object) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(RunError, match=r"^busy$"), held(tmp_path / "lock", BUSY):
        pass
