from __future__ import annotations

from html import escape
from pathlib import Path

import pytest

from graphws.operations import mlp_graph
from tests.cli.runs import run


@pytest.fixture(autouse=True)
def _with_a_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.json").write_text(mlp_graph([2, 5, 3], activation="relu").to_json(), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "start"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.html", b"<!doctype html>")]
)
def test_inspect_draws_in_the_format_of_the_name(name: str, start: bytes) -> None:
    result = run("inspect", "net.json", "--figure", name)
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith(f"graph: {name}\n")
    assert Path(name).read_bytes().startswith(start)


def test_convert_draws_what_it_found() -> None:
    import safetensors.torch
    import torch

    net = torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))
    safetensors.torch.save_file(net.state_dict(), "net.safetensors")
    result = run("convert", "net.safetensors", "--activation", "relu", "--figure", "net.html")
    assert result.exit_code == 0, result.output
    page = Path("net.html").read_text(encoding="utf-8")
    assert "<title>net</title>" in page
    verdict = next(line for line in result.stdout.splitlines() if line.startswith("UNVERIFIED ("))
    assert f"<dd>{escape(verdict.removeprefix('UNVERIFIED (')[:-1])}</dd>" in page


@pytest.mark.parametrize("command", [["inspect", "net.json"], ["convert", "net.json"]])
def test_an_unknown_format_is_refused_before_any_work(command: list[str]) -> None:
    result = run(*command, "--figure", "net.hmtl")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: net.hmtl: the name of a picture ends in .png, .svg or .html (interactive), not in '.hmtl'; "
        "did you mean '.html'?\n"
    )
    assert not list(Path().glob("*net.hmtl*"))


def test_what_was_there_stays_when_the_picture_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("net.html").write_text("old", encoding="utf-8")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    result = run("inspect", "net.json", "--figure", "net.html", "--overwrite")
    assert result.exit_code == 1
    assert "cannot write net.html: the disk is full" in result.stderr
    assert Path("net.html").read_text(encoding="utf-8") == "old"
    assert sorted(p.name for p in Path().iterdir()) == ["net.html", "net.json"]
