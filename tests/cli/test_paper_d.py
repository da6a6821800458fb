"""Every spec of paper D runs from its zoo to its report, in toy sizes and on stand-ins of its data.

Toy sizes are laid over the small scale, so that nothing here says how good a model is.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from graphws.spec import load_spec
from tests.cli.runs import run

pytestmark = pytest.mark.slow

DIGITS = "{kind: digits, limit: 60}"
CLASSIFIERS = "{kind: classifiers, data: {kind: digits}, number: 20, hidden: [8, 8], steps: 4, epochs: null}"
SINES = ("zoo.source.count=60", "zoo.source.points=40")
FITTED = ("zoo.fit.steps=2",)
ALONE = "compare=[]"
"""Where the baselines are those of another spec here."""
SMALL = ("train.epochs=1", "train.batch_size=16", "train.seeds=[0]", "zoo.split.validation=0.2")
STAND_INS: dict[str, tuple[str, ...]] = {
    "sine-frequency": (*SINES, *FITTED, "sweep.values=[16, 32]", ALONE),
    "mnist-inr": (f"zoo.source={DIGITS}", *FITTED, ALONE),
    "fashion-inr": FITTED,  # its files, written below; all baselines
    "fashion-views": (f"zoo.source={DIGITS}", *FITTED, "sweep.values=[1, 2]"),
    "sine-representation": (*SINES, *FITTED),
    "cifar10-adapt": (
        f"zoo.source={CLASSIFIERS}",
        "zoo.source.pairs=random",
        "task.target.data={kind: digits}",
        "task.target.batch=8",
        "task.target.pictures=10",
    ),
    "mnist-inr-blocks": (f"zoo.source={DIGITS}", *FITTED),
    "mnist-inr-ablation": (f"zoo.source={DIGITS}", *FITTED),
    "fashion-generalization": (
        ALONE,
        f"zoo.source={CLASSIFIERS}",
        "zoo.source.trajectory=2",
    ),
    "inr-prune": ("zoo.source.limit=60", *FITTED),
    "cifar10-inr": (f"zoo.source={DIGITS}", *FITTED, ALONE),
    "mnist-dilate": (f"zoo.source={DIGITS}", *FITTED, "task.target.side=8"),
}


def _idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes())


def _fashion(folder: Path) -> None:
    """Four IDX files, of digits."""
    bunch = load_digits()
    pictures, labels = (bunch.images * 15).astype(np.uint8), bunch.target.astype(np.uint8)
    for part, rows in (("train", slice(0, 60)), ("t10k", slice(60, 90))):
        _idx(folder / f"{part}-images-idx3-ubyte.gz", pictures[rows])
        _idx(folder / f"{part}-labels-idx1-ubyte.gz", labels[rows])


@pytest.mark.parametrize("name", STAND_INS)
def test_a_spec_runs_and_shows_the_papers_figures(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _fashion(tmp_path / "fashion-mnist")
    options = [text for change in (*SMALL, *STAND_INS[name]) for text in ("--set", change)]
    done = run("run", name, "--scale", "small", "--folder", "out", *options)
    assert done.exit_code == 0, done.output
    report = Path("out/report.html").read_text(encoding="utf-8")
    results = json.loads(Path("out/results.json").read_text())
    points = [point["results"] for point in results["sweep"]["points"]] if "sweep" in results else [results]
    alone = name == "fashion-views" or ALONE in STAND_INS[name]
    assert all((len(point["scores"]) == 1) == alone for point in points)
    if load_spec(name).published is not None:
        assert "paper" in report
    page = run("results", "out")
    assert page.exit_code == 0
    assert "scale small, not the paper's" in page.stdout
