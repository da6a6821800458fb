"""What the README and the pages that it opens with show works as it is written."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import graphws
from graphws.cli.app import COMMANDS
from graphws.spec import parse_spec

ROOT = Path(__file__).parents[2]
README, TOUR, COMMAND_LINE = (
    (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/tour.md", "docs/command-line.md")
)
LONGEST_PATH = 10
"""Lines of each path."""


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def _run(code: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "README.md", "exec"), {})
    return out.getvalue()


def _shell(script: str, folder: Path) -> str:
    """What the lines print, with `graphws` as the tests have it; the first that fails ends them."""
    line = f'graphws() {{ {shlex.quote(sys.executable)} -m graphws "$@"; }}\n'
    path = os.pathsep.join([str(ROOT), str(ROOT / "converters"), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        ["bash", "-euc", line + script], cwd=folder, capture_output=True, text=True, timeout=600,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_paths_are_short() -> None:
    paths = blocks(README, "sh") + blocks(README, "python")
    assert len(paths) == 3
    assert max(len(path.splitlines()) for path in paths) <= LONGEST_PATH


@pytest.mark.slow
def test_a_folder_of_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "nets").mkdir()
    torch.manual_seed(0)
    rows = []
    for number in range(60):
        net = nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, 1))
        torch.save(net.state_dict(), tmp_path / "nets" / f"net{number:02}.pt")
        rows.append({"file": f"net{number:02}.pt", "accuracy": float(net[0].weight.detach().abs().mean())})
    with (tmp_path / "nets" / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["file", "accuracy"])
        writer.writeheader()
        writer.writerows(rows)
    torch.save(net.state_dict(), tmp_path / "new.pt")
    script = blocks(README, "sh")[0].replace("new.safetensors", "new.pt")
    said = _shell(script, tmp_path)
    (told,) = re.findall(r"^new\.pt +(-?\d*\.\d+)$", said, re.MULTILINE)
    (line,) = re.findall(r"`graphws\.(load_run\(.*?\))`", README)
    load_run, _, predict = line.replace("new.safetensors", str(tmp_path / "new.pt")).partition(".")
    assert load_run == 'load_run("run")'
    found = eval(f"run.{predict}", {"run": graphws.load_run(tmp_path / "run")})
    assert found.columns["accuracy"] == pytest.approx([float(told)], rel=1e-4)


def test_one_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = blocks(README, "python")
    said = _run(code)
    assert said.startswith("VERIFIED (error ")
    assert "torch.Size([1, 5, 64])" in said


def test_what_it_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = blocks(README, "python")
    for name in ("other", "net"):
        _run(code.replace("net.safetensors", f"{name}.safetensors"))
    said = _shell(blocks(README, "sh")[1], tmp_path)
    assert "report: actions.html" in said
    assert "smaller checkpoint: small.safetensors" in said
    assert {"net.html", "actions.html", "small.safetensors", "mean.safetensors"} <= set(os.listdir(tmp_path))


def test_the_tour_runs_and_verifies() -> None:
    (tour,) = blocks(TOUR, "python")
    said = _run(tour)
    assert said.count("VERIFIED") == 2
    assert "torch.Size([8, 10])" in said


def test_the_spec_is_valid() -> None:
    (text,) = blocks(TOUR, "yaml")
    assert parse_spec(text, "tour.md").model.layers == 4


def test_every_command_has_its_row() -> None:
    commands = [name for panel in COMMANDS.values() for name in panel] + ["zoo", "specs"]
    assert not [name for name in commands if f"`graphws {name}" not in COMMAND_LINE]


@pytest.mark.parametrize("page", ["README.md", "docs/tour.md", "docs/command-line.md"])
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = [t for t in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in t]
    assert page != "README.md" or len(targets) >= 8
    assert not [t for t in targets if not ((ROOT / page).parent / t).exists()]
