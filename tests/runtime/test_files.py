from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from graphws.errors import RunError
from graphws.runtime.files import make_folder, read_json, write_csv, write_json, write_text


def _fail(code: int):
    def fsync(_: int) -> None:
        raise OSError(code, os.strerror(code))

    return fsync


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.ENOSPC, "the disk is full; free some space and run the same command again"),
        (errno.EDQUOT, "the disk quota is used up; free some space and run the same command again"),
        (errno.EROFS, "the file system is read-only; choose another folder"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_a_failed_write_says_why_and_leaves_the_old_file(tmp_path: Path, monkeypatch, code: int, reason: str) -> None:
    path = tmp_path / "a.json"
    write_text(path, "old")
    monkeypatch.setattr(os, "fsync", _fail(code))
    with pytest.raises(RunError) as caught:
        write_text(path, "new")
    assert str(caught.value) == f"cannot write {path}: {reason}"
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_text(tmp_path / "a", "new")
    assert os.listdir(tmp_path) == []


def test_json_round_trip(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": [1, 2.5, None]})
    assert read_json(tmp_path / "a.json", "a run") == {"x": [1, 2.5, None]}


def test_missing_and_damaged_json(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        read_json(tmp_path / "run.json", "a run")
    assert str(caught.value) == f"{tmp_path} is not a run: it has no run.json"
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RunError, match="cannot be read: Expecting property name"):
        read_json(tmp_path / "run.json", "a run")


def test_tables_leave_missing_cells_empty(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ["x", "y"], [{"x": 1, "y": 2}, {"y": 3}])
    assert (tmp_path / "a.csv").read_text() == "x,y\n1,2\n,3\n"


def test_a_file_in_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(RunError) as caught:
        make_folder(tmp_path / "a")
    assert str(caught.value) == f"cannot create the folder {tmp_path / 'a'}: a file of that name is in its place"
