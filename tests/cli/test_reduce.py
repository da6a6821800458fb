"""``graphws reduce`` on files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from graphws.cli import app
from tests.actions.redundancy import plant, random_mlp


def _run(*arguments: str | Path):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    generator = torch.Generator().manual_seed(0)
    weights = plant(random_mlp([3, 6, 2], "tanh", generator), 1, "tanh", generator)
    path = tmp_path / "large.safetensors"
    save_file(weights.to_state_dict(), path)
    return path


def test_reduce_writes_a_smaller_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.safetensors"
    result = _run("reduce", checkpoint, "--activation", "tanh", "-o", out)
    assert result.exit_code == 0, result.output
    assert "hidden1" in result.stdout
    assert "1 unread" in result.stdout
    assert "1 constant" in result.stdout
    assert "2 duplicate" in result.stdout
    assert "62 -> 38 numbers; tolerance: inactive 1.0e-09 (dtype)" in result.stdout
    assert {name: tuple(x.shape) for name, x in load_file(out).items()} == {
        "0.weight": (6, 3),
        "0.bias": (6,),
        "2.weight": (2, 6),
        "2.bias": (2,),
    }
    large, small = load_file(checkpoint), load_file(out)
    x = torch.randn(20, 3, dtype=torch.float64)
    outputs = [torch.tanh(x @ s["0.weight"].T + s["0.bias"]) @ s["2.weight"].T + s["2.bias"] for s in (large, small)]
    assert torch.allclose(*outputs, atol=1e-12)


def test_reduce_says_what_is_wrong(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.safetensors"
    result = _run("reduce", checkpoint, "--activation", "tanh", "-o", tmp_path / "small.pt")
    assert (result.exit_code, result.stderr) == (
        2,
        "error: small.pt: the smaller checkpoint must end in .safetensors\n",
    )
    result = _run("reduce", checkpoint, "--activation", "tanh", "-o", out, "--tolerance", "gab")
    assert result.stderr == "error: --tolerance must be dtype, gap or a number; got 'gab'; did you mean 'gap'?\n"
    assert result.exit_code == 2
    result = _run("reduce", tmp_path / "none.safetensors", "-o", out)
    assert result.exit_code == 1
    assert not out.exists()
