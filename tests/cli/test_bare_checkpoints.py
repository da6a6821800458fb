"""Commands that need to know what a network computes, on a checkpoint in which nothing shows it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import graphws
from tests.cli.runs import run

CURE = (
    "error: cnn.pt: nothing in this checkpoint shows what it computes; in Python, "
    "graphws.save(graphws.convert(module, example_inputs), 'net.safetensors') writes a file that does: give that\n"
)


def _module() -> nn.Module:
    torch.manual_seed(0)
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), *head)


@pytest.mark.parametrize(
    "words",
    [
        ("actions", "cnn.pt", "--group", "mirror", "--input-shape", "1,6,6"),
        ("actions", "cnn.pt", "--group", "unknown"),
        ("reduce", "cnn.pt", "-o", "small.safetensors"),
        ("align", "cnn.pt", "cnn.pt"),
    ],
)
def test_the_way_to_a_file_that_shows_it_is_named(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(_module().state_dict(), "cnn.pt")
    result = run(*words)
    assert result.exit_code == 2
    assert result.stderr.endswith(CURE)


def test_the_way_leads_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    graphws.save(graphws.convert(_module(), torch.randn(2, 1, 6, 6)), "net.safetensors")
    for command, *rest in (
        ("reduce", "-o", "small.safetensors"),
        ("align", "net.safetensors"),
        ("actions", "--group", "unknown"),
    ):
        result = run(command, "net.safetensors", *rest)
        assert result.exit_code == 0, result.output
