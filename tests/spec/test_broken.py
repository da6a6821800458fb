"""Every broken spec under ``broken/`` is refused with exactly the text that stands beside it."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from graphws.errors import SpecError
from graphws.spec import InvalidSpec, load_spec, parse_spec, shipped_specs

BROKEN = Path(__file__).parent / "broken"
SPECS = sorted(BROKEN.glob("*.yaml"))


def test_there_are_enough_of_them():
    assert len(SPECS) >= 25
    assert {path.stem for path in SPECS} == {path.stem for path in BROKEN.glob("*.txt")}


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_message(path, monkeypatch):
    monkeypatch.chdir(BROKEN)
    with pytest.raises(SpecError) as caught:
        load_spec(path.name)
    assert str(caught.value) + "\n" == path.with_suffix(".txt").read_text(encoding="utf-8")


def test_the_error_carries_its_problems(monkeypatch):
    monkeypatch.chdir(BROKEN)
    with pytest.raises(InvalidSpec) as caught:
        load_spec("several.yaml")
    error = caught.value
    assert len(error.problems) == 5
    assert str(error) == "\n".join(str(problem) for problem in error.problems)
    assert [(p.location.document.name, p.location.line) for p in error.problems[:2]] == [
        ("several.yaml", 2),
        ("several.yaml", 4),
    ]
    assert error.exit_code == 2
    assert pickle.loads(pickle.dumps(error)).problems == error.problems


def test_a_file_that_does_not_exist(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidSpec) as caught:
        load_spec("digits-imr.yaml")
    assert str(caught.value) == (
        f"digits-imr.yaml: there is no such file; shipped specs: {', '.join(shipped_specs())}; "
        "did you mean 'digits-inr'?"
    )


def test_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    with pytest.raises(InvalidSpec) as caught:
        load_spec("folder")
    assert str(caught.value) == "folder: this is a folder; name a spec file"


def test_a_huge_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("huge.yaml").write_text("graphws: 1\n" + "#" * (1 << 20))
    with pytest.raises(InvalidSpec) as caught:
        load_spec("huge.yaml")
    assert str(caught.value) == "huge.yaml: larger than 1 MiB, which no spec needs"


def test_too_many_values():
    with pytest.raises(InvalidSpec) as caught:
        parse_spec("graphws: 1\nname: [" + "1, " * 10_000 + "]\n")
    assert str(caught.value).startswith("<text>:2:29993: more than 10000 keys and values, which no spec needs\n")


def test_a_file_that_cannot_be_read(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.chdir(tmp_path)
    Path("secret.yaml").write_text("graphws: 1")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InvalidSpec) as caught:
        load_spec("secret.yaml")
    assert str(caught.value) == "secret.yaml: cannot be read: Permission denied"
