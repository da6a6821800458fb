"""Every numbered example runs, says what it promises, draws, and leaves the repository as it was."""

from __future__ import annotations

import hashlib
import re
import runpy
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples"
EXAMPLES = {
    "01_network_as_graph": (("VERIFIED (error ", "hidden2: set, 32, signed"), ("graph.png", "guises.png")),
    "02_equivariant_layers": (
        ("mlp: ", "convolution: ", "attention: "),
        ("explain-mlp.png", "explain-convolution.png", "explain-attention.png"),
    ),
    "03_augmented_weights": (("60 networks, median PSNR ",), ("augmented.png",)),
    "04_align": (("aligned by activations: barrier ", "neurons in the same place, aligned: "), ("align.png",)),
    "05_latent_actions": (
        (
            "acts approximately up to hidden1, and breaks at hidden2",
            "hidden1: 100% of 16 neurons matched, decoys at most ",
        ),
        ("mirror-filters.png", "mirror-categories.png", "mirror-errors.png", "mirror-training.png"),
    ),
}
SLOW = {"05_latent_actions"}
NUMBERED = sorted(path for path in FOLDER.iterdir() if re.match(r"\d\d_", path.name))


def contents(folder: Path) -> dict[str, str]:
    """The digest of every file."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the repository's examples and docs, in which one stands, and a folder of its own for passing files."""
    copied = tmp_path / "repository"
    for name in ("examples", "docs", "specs"):
        shutil.copytree(ROOT / name, copied / name)
    (tmp_path / "passing").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "passing"))
    monkeypatch.chdir(copied)
    return copied


def test_every_script_is_listed() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.py")) == sorted(EXAMPLES)


def test_numbers_have_no_gaps() -> None:
    assert [int(path.name[:2]) for path in NUMBERED] == list(range(1, len(NUMBERED) + 1))


def test_each_is_linked_from_the_page_that_needs_it() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    linked = {
        (page.parent / target).resolve()
        for page in pages
        for target in re.findall(r"\]\(([^)#:]*examples/[^)#]+)\)", page.read_text(encoding="utf-8"))
    }
    assert not [path for path in linked if not path.exists()]
    assert not [path.name for path in NUMBERED if path not in linked]


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in EXAMPLES])
def test_the_example_runs(
    name: str, tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(tree)
    monkeypatch.setattr(sys, "argv", [f"{name}.py"])
    runpy.run_path(str(tree / "examples" / f"{name}.py"), run_name="__main__")
    assert contents(tree) == before
    printed = capsys.readouterr().out
    texts, files = EXAMPLES[name]
    assert not [text for text in texts if text not in printed]
    (folder,) = (tree.parent / "passing").glob("graphws-*")
    for file in files:
        assert (folder / file).read_bytes().startswith(b"\x89PNG")
        assert str(folder / file) in printed


def test_a_file_that_is_written_is_noticed(tree: Path) -> None:
    before = contents(tree)
    (tree / "docs" / "images" / "graph.png").write_bytes(b"another")
    assert contents(tree) != before


def test_pictures_go_where_one_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["02_equivariant_layers.py", str(tmp_path / "mine")])
    runpy.run_path(str(FOLDER / "02_equivariant_layers.py"), run_name="__main__")
    assert len(list((tmp_path / "mine").glob("*.png"))) == 3
