"""``graphws zoo pack`` and ``export`` as commands."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import graphws
from graphws.checkpoints import save_network
from graphws.cli.zoos import app


def cnn(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))


def test_pack_like_a_converted_file_and_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for k in range(5):
        torch.save(cnn(k).state_dict(), f"in/n{k}.pt")
    Path("in/bad.pt").write_bytes(b"PK")
    save_network(graphws.convert(cnn(9), torch.randn(2, 1, 8, 8)), "like.safetensors")
    shares = ["--validation", "0", "--test", "0"]
    done = CliRunner().invoke(app, ["pack", "in", "zoo", "--like", "like.safetensors", "--skip-bad", *shares])
    assert done.exit_code == 0, done.output
    assert "like: 5 networks, 1 of 1 tried are verified (error " in done.output
    assert "left out: 1 networks" in done.output
    assert "  bad.pt: " in done.output
    done = CliRunner().invoke(app, ["export", "zoo", "out"])
    assert done.exit_code == 0, done.output
    assert torch.equal(torch.load("out/n3.pt", weights_only=True)["0.weight"], cnn(3).state_dict()["0.weight"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--omega", "30,x"], "--omega takes a number, or one a layer as in 30,1; got '30,x'"),
        (["--split-at", "3"], "--split-at takes two numbers as in 45000,50000; got '3'"),
        (["--where", "step"], "--where takes COLUMN=VALUE; got 'step'"),
        (["--layout", "onx"], "no layout 'onx'"),
    ],
)
def test_options_that_are_wrong(tmp_path: Path, options: list[str], message: str) -> None:
    done = CliRunner().invoke(app, ["pack", str(tmp_path), str(tmp_path / "zoo"), *options])
    assert message in str(done.exception)
