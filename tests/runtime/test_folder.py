from __future__ import annotations

from pathlib import Path

import pytest

from graphws.errors import RunError
from graphws.runtime.folder import RunFolder, next_folder

SPEC = "graphws: 1\n"


def _made(path: Path, status: str = "running", spec: str = SPEC) -> RunFolder:
    folder = RunFolder(path)
    folder.create(spec, {"python": "3"})
    folder.mark(status)
    return folder


def test_a_new_run_is_running_and_holds_its_spec(tmp_path: Path) -> None:
    folder = _made(tmp_path / "runs" / "a")
    assert folder.status() == "running"
    assert folder.spec.read_text() == SPEC
    folder.mark("complete", outcome="fine")
    assert folder.state()["outcome"] == "fine"


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        RunFolder(tmp_path).status()
    assert str(caught.value) == f"{tmp_path} is not a run: it has no run.json"
    (tmp_path / "run.json").write_text('{"format": "other"}')
    with pytest.raises(RunError) as caught:
        RunFolder(tmp_path).status()
    assert str(caught.value) == (f"{tmp_path} is not a run of this version of graphws: run.json is not 'graphws-run-1'")


def test_a_run_does_not_move_into_a_folder_with_other_things(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(RunError) as caught:
        RunFolder(tmp_path).create(SPEC, {})
    assert str(caught.value) == (
        f"{tmp_path} is not a run: it holds 'thesis.tex' but no run.json; choose another folder"
    )


def test_one_run_takes_one_process_at_a_time(tmp_path: Path) -> None:
    folder = _made(tmp_path / "a")
    with folder.lock():
        assert folder.busy()
        with pytest.raises(RunError) as caught, RunFolder(tmp_path / "a").lock():
            pytest.fail("two hold the lock")
        assert str(caught.value) == (
            f"another process is at work in {tmp_path / 'a'}; wait for it or choose another folder"
        )
    assert not folder.busy()


def test_the_next_folder_goes_on_with_an_unfinished_run_of_the_same_spec_only(tmp_path: Path) -> None:
    assert next_folder(tmp_path, "a", SPEC).path == tmp_path / "a"
    _made(tmp_path / "a", "interrupted")
    assert next_folder(tmp_path, "a", SPEC).path == tmp_path / "a"
    assert next_folder(tmp_path, "a", SPEC + "name: b\n").path == tmp_path / "a-2"
    RunFolder(tmp_path / "a").mark("complete")
    assert next_folder(tmp_path, "a", SPEC).path == tmp_path / "a-2"
    second = _made(tmp_path / "a-2", "failed")
    with second.lock():
        assert next_folder(tmp_path, "a", SPEC).path == tmp_path / "a-3"
