"""``graphws zoo info``: what a zoo holds, of one or of several architectures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.cli.runs import run
from tests.zoo.test_several_graphs import make


def test_each_architecture_with_its_count_and_numbers(tmp_path: Path) -> None:
    texts = np.array(["a", None] * 5, dtype=object)
    make(tmp_path / "zoo", note=texts)
    lines = run("zoo", "info", str(tmp_path / "zoo"), "--verify").stdout.splitlines()
    rows = [line.split() for line in lines]
    assert ["architecture", "networks", "numbers", "spaces", "that", "move"] in rows
    assert ["shallow", "4", "17", "4"] in rows
    assert ["deep", "4", "35", "3,", "5"] in rows
    assert ["wide", "2", "37", "9"] in rows
    assert "3 architectures; 6 train, 2 validation, 2 test)" in " ".join(" ".join(lines).split())
    assert ["note", "object", "a,", "(none)"] in rows
    assert lines[-1] == "every checksum agrees"
