from __future__ import annotations

import json
from collections.abc import Callable
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


def test_a_run_that_failed_before_its_work_gives_its_folder_away(tmp_path: Path) -> None:
    other = SPEC + "name: b\n"
    folder = _made(tmp_path / "a", "failed")
    folder.mark("failed", zoo="z", zoo_sha256="1")
    (folder.trial("x")).mkdir()
    assert folder.reusable()
    assert next_folder(tmp_path, "a", other).path == tmp_path / "a"
    with folder.work(other, {"python": "4"}):
        assert (folder.known_as(other), folder.spec.read_text(), "zoo" in folder.state()) == (True, other, False)
        assert folder.versions() == {"python": "4"}
        assert not folder.trial("x").exists()


@pytest.mark.parametrize(
    "work", ["trials/x/last.ckpt", "models/x.safetensors", "alignments/x.safetensors", "points/1/trials/x/trial.json"]
)
def test_a_run_that_failed_with_work_in_it_keeps_its_folder(work: str, tmp_path: Path) -> None:
    folder = _made(tmp_path / "a", "failed")
    (folder.path / work).parent.mkdir(parents=True, exist_ok=True)
    (folder.path / work).write_text("")
    assert not folder.reusable()
    assert next_folder(tmp_path, "a", SPEC + "name: b\n").path == tmp_path / "a-2"


@pytest.mark.parametrize("status", ["running", "interrupted", "complete"])
def test_only_failed_runs_give_their_folder_away(status: str, tmp_path: Path) -> None:
    assert not _made(tmp_path / "a", status).reusable()


def test_a_failed_run_with_something_of_others_keeps_its_folder(tmp_path: Path) -> None:
    folder = _made(tmp_path / "a", "failed")
    (folder.path / "thesis.tex").write_text("")
    assert not folder.reusable()


def test_a_failed_run_that_goes_on_with_its_spec_keeps_what_it_knows(tmp_path: Path) -> None:
    folder = _made(tmp_path / "a", "failed")
    folder.mark("failed", zoo="z", zoo_sha256="1")
    with folder.work(SPEC, {"python": "3"}):
        assert folder.state()["zoo"] == "z"


def _begun(path: Path, state: int) -> Path:
    """What a kill leaves before run.json is there: after the lock, the spec, the folders."""
    path.mkdir()
    (path / "run.lock").touch()
    for name in ("trials", "models", "figures") if state > 1 else ():
        (path / name).mkdir()
    if state > 2:
        (path / "spec.yaml").write_text(SPEC)
    if state > 3:
        (path / "run.json").write_text('{"format": "gra')
    return path


@pytest.mark.parametrize("state", [1, 2, 3, 4])
def test_a_run_that_was_killed_before_it_was_known_is_begun_again(tmp_path: Path, state: int) -> None:
    stray = _begun(tmp_path / "a", state) / ".run.json.0123456789ab.tmp"
    stray.write_text("half")
    folder, heard = next_folder(tmp_path, "a", SPEC), []
    assert folder.path == tmp_path / "a", "what a killed writer left is no stranger"
    assert folder.startable() == (state > 2)
    assert not folder.complete()
    with folder.work(SPEC, {}, heard.append):
        assert folder.status() == "running"
        assert not stray.exists()
    assert heard == ([f"{folder.path / 'run.json'} is damaged and is made again"] if state > 3 else [])


def test_a_begun_run_of_another_spec_is_left_alone(tmp_path: Path) -> None:
    _begun(tmp_path / "a", 3)
    assert next_folder(tmp_path, "a", SPEC + "name: b\n").path == tmp_path / "a-2"
    (tmp_path / "a" / "notes.txt").touch()
    assert next_folder(tmp_path, "a", SPEC).path == tmp_path / "a-2"


def test_trainings_of_nobody_knows_what_are_not_gone_on_with(tmp_path: Path) -> None:
    (_begun(tmp_path / "a", 2) / "trials" / "x").mkdir()
    assert next_folder(tmp_path, "a", SPEC).path == tmp_path / "a-2"
    with pytest.raises(RunError) as caught, RunFolder(tmp_path / "a").work(SPEC, {}):
        pass
    assert str(caught.value) == (
        f"{tmp_path / 'a'} holds trainings of another spec but no run.json; choose another folder"
    )


def test_a_damaged_state_says_what_heals_it(tmp_path: Path) -> None:
    folder = RunFolder(_begun(tmp_path / "a", 4))
    with pytest.raises(RunError) as caught:
        folder.status()
    text = str(caught.value)
    assert text.startswith(f"{folder.path / 'run.json'} cannot be read: ")
    assert text.endswith(f"; go on with: graphws train {folder.path}")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("{}", "it does not name its format"),
        ("[]", "it does not name its format"),
        ('{"format": 3}', "it does not name its format"),
        ('{"format": "graphws-run-1"}', "its 'status' is None"),
        ('{"format": "graphws-run-1", "status": "done"}', "its 'status' is 'done'"),
        ('{"format": "graphws-run-1", "status": ["complete"]}', "its 'status' is ['complete']"),
        ('{"format": "graphws-run-1", "status": "running", "zoo": 3}', "its 'zoo' is 3"),
        ('{"format": "graphws-run-1", "status": "running", "spec_sha256": null}', "its 'spec_sha256' is None"),
        (
            '{"format": "graphws-run-1", "status": "complete", "files": {"../a": "0"}}',
            "its 'files' is {'../a': '0'}",
        ),
        ('{"format": "graphws-run-1", "status": "complete", "files": {"a": 0}}', "its 'files' is {'a': 0}"),
    ],
)
def test_a_state_of_wrong_values_is_damaged_and_made_again(tmp_path: Path, content: str, what: str) -> None:
    folder, heard = _made(tmp_path / "a"), []
    (folder.path / "run.lock").touch()
    (folder.path / "run.json").write_text(content)
    with pytest.raises(RunError) as caught:
        folder.status()
    file = folder.path / "run.json"
    assert str(caught.value) == f"{file} is damaged: {what}; go on with: graphws train {folder.path}"
    assert not folder.complete()
    assert next_folder(tmp_path, "a", SPEC).path == folder.path
    with folder.work(SPEC, {}, heard.append):
        assert folder.status() == "running"
    assert heard == [f"{file} is damaged and is made again"]


@pytest.mark.parametrize("name", ["../b", "/b", "..", "models/../b", "models/a/b", "trials/b", ".b", "figures/.b"])
def test_a_state_names_no_file_outside(tmp_path: Path, name: str) -> None:
    folder = _made(tmp_path / "a")
    other = tmp_path / "b"
    other.write_text("mine")
    folder.mark("complete", files={name: "0"})
    assert not folder.complete()
    with folder.work(SPEC, {}):
        pass
    assert other.read_text() == "mine"


def test_what_was_altered_after_the_end_is_told_and_removed(tmp_path: Path) -> None:
    folder, heard = _made(tmp_path / "a"), []
    names = ["figures/x.png", "metrics.csv", "models/m.safetensors", "results.json"]
    for name in names:
        (folder.path / name).write_text(name)
    folder.finish("fine")
    assert sorted(folder.state()["files"]) == [*names, "versions.json"]
    assert folder.altered() == {}
    (folder.path / "figures/x.png").unlink()
    (folder.path / "models/m.safetensors").write_text("other")
    (folder.path / "results.json").unlink()
    (folder.path / "results.json").mkdir()
    texts = [
        f"{folder.path}/figures/x.png is missing",
        f"{folder.path}/models/m.safetensors was altered",
        f"{folder.path}/results.json was altered",
    ]
    assert list(folder.altered().values()) == texts
    with folder.work(SPEC, {}, heard.append):
        assert "files" not in folder.state()
        assert not (folder.path / "models/m.safetensors").exists()
        assert (folder.path / "metrics.csv").exists()
    assert heard == [f"{text} and is made again" for text in texts]


@pytest.mark.parametrize(
    "damage", [Path.unlink, lambda path: path.write_bytes(b"\xff"), lambda path: path.write_text("[")]
)
def test_the_spec_and_the_versions_are_put_back(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    folder, heard = _made(tmp_path / "a"), []
    versions = folder.path / "versions.json"
    for path in (folder.spec, versions):
        damage(path)
    with folder.work(SPEC, {"python": "3"}, heard.append):
        pass
    assert heard == [
        f"{folder.spec} is missing or damaged and is made again",
        f"{versions} is missing or damaged and is made again",
    ]
    assert (folder.spec.read_text(), json.loads(versions.read_text())) == (SPEC, {"python": "3"})


def test_a_run_of_another_version_is_left_alone(tmp_path: Path) -> None:
    folder = _made(tmp_path / "a")
    state = '{"format": "graphws-run-0"}'
    (folder.path / "run.json").write_text(state)
    assert not folder.complete()
    assert next_folder(tmp_path, "a", SPEC).path == tmp_path / "a-2"
    with pytest.raises(RunError, match="is not a run of this version of graphws"), folder.work(SPEC, {}):
        pass
    assert (folder.path / "run.json").read_text() == state


def test_how_the_work_ended_before_is_forgotten(tmp_path: Path) -> None:
    folder = _made(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt), folder.work(SPEC, {}):
        raise KeyboardInterrupt
    assert folder.state()["error"] == "KeyboardInterrupt"
    with folder.work(SPEC, {}):
        assert folder.status() == "running"
    assert "error" not in folder.state()


def test_an_edited_spec_is_noticed(tmp_path: Path) -> None:
    folder = _made(tmp_path / "a")
    assert not folder.edited(SPEC)
    assert folder.edited(SPEC + "name: b\n")
    folder.spec.write_text(SPEC + "name: b\n")
    assert next_folder(tmp_path, "a", SPEC + "name: b\n").path == tmp_path / "a-2"
