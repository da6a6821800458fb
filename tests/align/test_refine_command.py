"""``graphws align --refine``: what it refuses before the work begins."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from graphws.cli.app import app


@pytest.mark.parametrize("more", [["c.safetensors"], ["--actions", "permutation"], ["--method", "activations"]])
def test_refine_is_for_two_networks_by_their_weights(more: list[str], tmp_path: Path) -> None:
    data = ["--data", str(tmp_path / "d.safetensors"), "--refine", str(tmp_path / "t.safetensors")]
    found = CliRunner().invoke(app, ["align", "a.safetensors", "b.safetensors", *more, *data])
    assert found.exit_code != 0
    assert "--refine is for two networks, matched by their weights with rich actions" in (
        found.output + str(found.exception)
    )


@pytest.mark.parametrize("words", [["--refine", "noise"], ["--input-shape", "1,8,8"]])
def test_noise_needs_a_shape(words: list[str]) -> None:
    found = CliRunner().invoke(app, ["align", "a.safetensors", "b.safetensors", *words])
    assert found.exit_code == 2
    assert found.stderr == "error: --refine noise and --input-shape go together: noise of that shape is drawn\n"
