"""Every notebook runs; what is stored of it is what it gives, with its pictures and nothing of a machine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.examples import notebooks

PATHS = sorted(notebooks.EXAMPLES.glob("*.ipynb"))
OF_A_MACHINE = re.compile(
    r"(?<![\w.~])/(?:home|tmp|root|work|usr|opt|Users|var|private)/\w|site-packages|\bfile://|\b0x[0-9a-f]{6,}"
    r"|\b20\d\d-\d\d-\d\d\b|\b\d\d:\d\d:\d\d\b"
)
"""Absolute paths, addresses in memory, dates and hours."""


def cells(notebook: Any) -> list[Any]:
    """The code cells."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def texts(notebook: Any) -> Iterator[str]:
    """Every text in outputs and metadata, pictures left out."""
    yield json.dumps(notebook["metadata"])
    for cell in cells(notebook):
        yield json.dumps(cell["metadata"])
        for output in cell["outputs"]:
            for kind, text in {"text": output.get("text", ""), **output.get("data", {})}.items():
                if not kind.startswith("image/"):
                    yield re.sub(r"data:image/[^\"]+", "", "".join(text))


def kinds(cell: Any) -> list[tuple[str, ...]]:
    """What a cell gives: the kind of each output, and its forms."""
    return [(output["output_type"], *sorted(output.get("data", {}))) for output in cell["outputs"]]


def pictures(notebook: Any) -> int:
    """How many pictures stand in the outputs."""
    text = json.dumps([cell["outputs"] for cell in cells(notebook)])
    return text.count("data:image/") + text.count('"image/png"')


def test_there_is_one_for_each_user() -> None:
    assert [path.stem for path in PATHS] == ["06_folder_of_checkpoints", "07_one_checkpoint", "08_what_it_learned"]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_stored_notebook_has_all_outputs_and_nothing_of_a_machine(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert not [cell["source"] for cell in cells(notebook) if not cell["outputs"]]
    assert not [kind for cell in cells(notebook) for kind, *_ in kinds(cell) if kind == "error"]
    assert pictures(notebook) >= 2
    assert not [found for text in texts(notebook) for found in OF_A_MACHINE.findall(text)]
    assert [cell["execution_count"] for cell in cells(notebook)] == list(range(1, len(cells(notebook)) + 1))
    assert path.stat().st_size < 500_000


@pytest.mark.parametrize(
    "text",
    [
        "/home/me/x.py:21: Warning", "written to '/tmp/abc'", "lib/site-packages/tqdm", "<Thing at 0x7f00aa11bb22>",
        "2026-01-31", "at 12:30:59",
    ],
)  # fmt: skip
def test_what_is_of_a_machine_is_found(text: str) -> None:
    assert OF_A_MACHINE.search(text)
    assert not OF_A_MACHINE.search("Run('runs/accuracy': neurons), 1/2, </td>, about 10 s left")


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_gives_what_is_stored(path: Path, tmp_path: Path) -> None:
    pytest.importorskip("nbclient", reason="notebooks run by nbclient and ipykernel, of the extra `test`")
    kept = json.loads(path.read_text(encoding="utf-8"))
    found = notebooks.stored(notebooks.executed(path, tmp_path))
    assert [kinds(cell) for cell in cells(found)] == [kinds(cell) for cell in cells(kept)]
    assert pictures(found) == pictures(kept)


@pytest.mark.slow
def test_a_cell_that_fails_is_an_error(tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="notebooks run by nbclient and ipykernel, of the extra `test`")
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "execution_count": None, "outputs": [], "source": "1 / 0"}
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]}
    (tmp_path / "bad.ipynb").write_text(json.dumps(notebook))
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="ZeroDivisionError"):
        notebooks.executed(tmp_path / "bad.ipynb", tmp_path)
