"""Files that are whole or absent, also when several writers want one name at once."""

from __future__ import annotations

import errno
import os
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from stat import S_ISDIR
from typing import BinaryIO

import pytest

from graphws import files
from graphws.errors import DataError, RunError, ZooError
from graphws.files import check_place, in_bytes, is_temporary, sweep, whole_file
from graphws.locks import try_lock


def test_many_writers_of_one_file_leave_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"

    def write(number: int) -> None:
        with whole_file(path) as file:
            for _ in range(50):
                file.write(bytes([number]) * 1000)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(64)))
    content = path.read_bytes()
    assert len(content) == 50_000
    assert len(set(content)) == 1
    assert os.listdir(tmp_path) == ["file"]


def test_a_failed_block_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail() -> None:
        with whole_file(path) as file:
            file.write(b"new")
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        fail()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_failed_write_has_the_kind_that_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(ZooError) as caught, whole_file(tmp_path / "file", ZooError) as file:
        file.write(b"new")
    assert str(caught.value) == (
        f"cannot write {tmp_path / 'file'}: the disk is full; free some space and run the same command again"
    )
    assert os.listdir(tmp_path) == []


def test_a_limit_on_the_size_of_files_is_met_like_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(DataError) as caught, whole_file(path) as file:
            file.write(bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(caught.value) == (
        f"cannot write {path}: larger than the limit on files allows (see ulimit -f); "
        "raise it and run the same command again"
    )
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_missing_folder(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "file"
    with pytest.raises(DataError) as caught, whole_file(path):
        pass
    assert str(caught.value) == f"cannot write {path}: No such file or directory"


def test_what_a_killed_writer_left_is_swept_and_a_living_ones_stays(tmp_path: Path) -> None:
    dead, other = (tmp_path / f".{name}.0123456789ab.tmp" for name in ("a.txt", "b.txt"))
    strange = tmp_path / ".notes.tmp"
    with whole_file(tmp_path / "c.txt") as file:
        file.write(b"c")
        living = next(tmp_path.glob(".c.txt.*.tmp"))
        for path in (dead, other, strange):
            path.write_bytes(b"half")
        assert [is_temporary(path.name) for path in (dead, living, strange)] == [True, True, False]
        assert sweep(tmp_path, "a.txt") == 1
        assert not dead.exists()
        assert sweep(tmp_path) == 1
        assert not other.exists()
        assert sweep(tmp_path) == 0
        assert living.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".notes.tmp", "c.txt"]
    assert sweep(tmp_path / "none") == 0


@pytest.mark.parametrize("age", [-1e6, 0, 1e6])
def test_sweeping_asks_no_clock(tmp_path: Path, age: float) -> None:
    dead = tmp_path / ".a.0123456789ab.tmp"
    dead.touch()
    moment = dead.stat().st_mtime + age
    os.utime(dead, (moment, moment))
    with whole_file(tmp_path / "b"):
        living = next(tmp_path.glob(".b.*.tmp"))
        os.utime(living, (moment, moment))
        assert sweep(tmp_path) == 1
        assert living.exists()


def test_a_file_swept_before_its_writer_could_lock_it_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep comes between the first file's making and its lock."""
    swept = []

    def late(file: BinaryIO) -> bool | None:
        monkeypatch.setattr(files, "try_lock", try_lock)
        swept.append(sweep(tmp_path))
        return try_lock(file)

    monkeypatch.setattr(files, "try_lock", late)
    with whole_file(tmp_path / "a") as file:
        file.write(b"whole")
    assert swept == [1]
    assert (tmp_path / "a").read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["a"]


def test_without_locks_nothing_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = tmp_path / ".a.0123456789ab.tmp"
    dead.touch()
    monkeypatch.setattr(files, "try_lock", lambda file: None)
    with whole_file(tmp_path / "a") as file:
        file.write(b"whole")
    assert sweep(tmp_path) == 0
    assert sorted(os.listdir(tmp_path)) == [dead.name, "a"]


def test_a_folder_is_synced_after_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, true_fsync, true_replace = [], os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda fd: (calls.append("folder" if S_ISDIR(os.fstat(fd).st_mode) else "file"), true_fsync(fd))
    )
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("rename"), true_replace(a, b)))
    with whole_file(tmp_path / "a"):
        pass
    assert calls == ["file", "rename", "folder"]


def test_a_place_that_can_be_written_is_let_be(tmp_path: Path) -> None:
    check_place(tmp_path / "a" / "b" / "c", 1)
    check_place(tmp_path)
    (tmp_path / "file").write_text("")
    check_place(tmp_path / "file")


def test_a_place_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError) as caught:
        check_place(tmp_path / "file" / "a" / "b", kind=RunError)
    what = f"cannot write {tmp_path}/file/a/b: {tmp_path}/file is a file, where a folder is needed"
    assert str(caught.value) == what


def test_a_place_that_is_closed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphws.files.os.access", lambda place, mode: place != tmp_path)
    with pytest.raises(DataError) as caught:
        check_place(tmp_path / "a" / "b")
    assert str(caught.value) == f"cannot write {tmp_path}/a/b: permission denied; choose another folder"


def test_a_disk_that_is_too_full_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        check_place(tmp_path / "a", 1 << 70)
    text = str(caught.value)
    assert text.startswith(f"cannot write {tmp_path}/a: it will take 1180591620717.4 GB, and the disk has ")
    assert text.endswith(" free; free some space or choose another folder")


def test_sizes_in_words() -> None:
    assert [in_bytes(812), in_bytes(1_500_000), in_bytes(3_210_000_000)] == ["812 bytes", "1.5 MB", "3.2 GB"]
