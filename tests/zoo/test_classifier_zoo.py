"""Zoos of classifiers as a job makes them: from a spec, interrupted and gone on with, by several processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from graphws.errors import ZooError
from graphws.operations import forward
from graphws.reporter import Reporter
from graphws.runtime.environment import Processes
from graphws.runtime.zoo_fit import fit_section
from graphws.spec import ClassifiersSource, DigitsSource, IdxSource, PicturesSource, SplitSection, ZooSection
from graphws.zoo import Zoo, fit_all, fit_job
from graphws.zoo.sources.labelled_pictures import pictures_from
from tests.processes import ROOT, start_until

SOURCE = ClassifiersSource(
    kind="classifiers",
    data=DigitsSource(kind="digits", limit=300),
    number=10,
    pairs="random",
    hidden=(8, 6),
    batch_size=16,
    steps=10,
    trajectory=4,
)
SECTION = ZooSection(source=SOURCE, split=SplitSection(validation=0.2, test=0.3))


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_job, "PART", 3)


def fit(path: Path, section: ZooSection = SECTION, **options: object) -> Zoo | None:
    return fit_all(path, section.build(), **{"threads": 1, **options})  # type: ignore[arg-type]


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_zoo_holds_trainings_and_their_checkpoints(tmp_path: Path) -> None:
    zoo = fit(tmp_path / "zoo")
    assert zoo is not None
    assert len(zoo) == 30
    assert set(zoo.table) == {"architecture", *(SECTION.columns() or ())}
    assert zoo.table["sample"].tolist() == np.repeat(np.arange(10), 3).tolist()
    assert zoo.table["view"].tolist() == [0, 1, 2] * 10
    assert zoo.table["step"].tolist() == [4, 8, 10] * 10
    assert zoo.table["class_a"].dtype == zoo.table["class_b"].dtype == np.int64
    assert (zoo.table["class_a"] < zoo.table["class_b"]).all()
    for column in ("split", "class_a", "class_b"):
        assert all(len(set(zoo.table[column][zoo.table["sample"] == k].tolist())) == 1 for k in range(10))
    assert {name: len(zoo.split(name)) for name in ("train", "validation", "test")} == {
        "train": 15,
        "validation": 6,
        "test": 9,
    }
    assert SECTION.graph() == zoo.graph
    assert zoo.names == ("64-8-6-10",)
    assert zoo.provenance["fit"]["source"]["data"] == "digits"
    assert zoo.provenance["fit"]["options"]["pairs"] == "random"
    assert zoo.provenance["pictures"]["shape"] == [1, 8, 8]
    assert set(zoo.provenance["summary"]) == {"median_accuracy", "median_loss"}

    pictures = pictures_from(SOURCE.data.build(), SOURCE.held_out)
    outputs = forward(zoo.graph, zoo.weights(), pictures.pixels.flatten(1))
    for number in range(len(zoo)):
        pair = torch.tensor([zoo.table["class_a"][number], zoo.table["class_b"][number]])
        mine = pictures.test & torch.isin(pictures.labels, pair)
        right = (outputs[number, mine].argmax(1) == pictures.labels[mine]).double().mean()
        assert zoo.table["accuracy"][number] == pytest.approx(float(right), abs=1e-12)
    assert np.array_equal(zoo.table["error"], 1 - zoo.table["accuracy"])


def test_threads_and_parts_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit(tmp_path / "one")
    fit(tmp_path / "two", threads=3)
    monkeypatch.setattr(fit_job, "PART", 4)
    fit(tmp_path / "three")
    for name in ("two", "three"):
        assert content(tmp_path / name) == content(tmp_path / "one")


def main() -> None:
    """Fits the zoo of these tests at the path on the command line, as one of two processes where a rank is given."""
    fit_job.PART = 3
    rank = int(sys.argv[2]) if len(sys.argv) > 2 else None
    fit(Path(sys.argv[1]), **({} if rank is None else {"rank": rank, "world_size": 2}))


def test_a_killed_fit_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    fit(tmp_path / "whole")
    child = start_until("part-*", "tests.zoo.test_classifier_zoo", str(tmp_path / "zoo"), times=2, cwd=ROOT)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    parts = tmp_path / "zoo.partial" / "parts"
    done = {file.name: file.stat().st_mtime_ns for file in parts.glob("*.safetensors")}
    assert len(done) == 2
    states: list[fit_job.Progress] = []
    kept: list[dict[str, int]] = []

    def watch(state: fit_job.Progress) -> None:
        states.append(state)
        if len(states) == 1:
            kept.append({file.name: file.stat().st_mtime_ns for file in parts.glob("*.safetensors")})

    fit(tmp_path / "zoo", progress=watch)
    assert kept == [done]
    assert (states[0].kept, states[-1].done, states[-1].total) == (18, 30, 30)
    assert 0 < states[-1].figures["accuracy"] < 1
    assert content(tmp_path / "zoo") == content(tmp_path / "whole")


def test_two_processes_share_a_zoo(tmp_path: Path) -> None:
    fit(tmp_path / "whole")
    command = [sys.executable, "-m", "tests.zoo.test_classifier_zoo", str(tmp_path / "zoo"), "1"]
    other = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})
    states: list[fit_job.Progress] = []
    fit(tmp_path / "zoo", rank=0, world_size=2, patience=600.0, progress=states.append)
    assert other.wait() == 0
    assert states[-1].total == 18, "parts 0 and 2 of 4"
    assert content(tmp_path / "zoo") == content(tmp_path / "whole")


def test_other_settings_are_refused(tmp_path: Path) -> None:
    fit(tmp_path / "zoo")
    assert isinstance(fit(tmp_path / "zoo"), Zoo)
    other = SECTION.model_copy(update={"source": SOURCE.model_copy(update={"lr": 0.01})})
    with pytest.raises(ZooError) as caught:
        fit(tmp_path / "zoo", other)
    assert str(caught.value) == (
        f"{tmp_path / 'zoo'}: exists already, made otherwise (options.lr: 0.005 there, 0.01 asked for); "
        "remove it, or give another name"
    )


class Told(Reporter):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.started: list[tuple[str, int, str]] = []
        self.figures: list[dict[str, float]] = []

    def start(self, what: str, total: int, unit: str) -> None:
        self.started.append((what, total, unit))

    def step(self, done: int, figures: dict[str, float]) -> None:
        self.figures.append(figures)


def test_convolutions_from_a_spec(tmp_path: Path) -> None:
    source = {"kind": "classifiers", "number": 4, "hidden": [], "convolutions": {"channels": [6]}, "steps": 20}
    split = {"validation": 0.25, "test": 0.25}
    section = ZooSection.model_validate({"source": source, "path": str(tmp_path / "cnns"), "split": split})
    told = Told()
    zoo = fit_section(section, Processes(), told)
    assert told.started == [("fitting cnns", 4, "networks")]
    assert told.figures[0] == {}
    assert told.figures[-1]["accuracy"] == pytest.approx(zoo.table["accuracy"].mean())
    pictures = pictures_from(DigitsSource(kind="digits").build(), 0.2)
    outputs = forward(zoo.graph, zoo.weights(), pictures.pixels[pictures.test])
    right = (outputs.argmax(2) == pictures.labels[pictures.test]).double().mean(1)
    assert zoo.table["accuracy"] == pytest.approx(right.numpy(), abs=2e-3)
    assert fit_section(section, Processes(), told).path == zoo.path
    assert len(told.started) == 1, "a finished zoo is opened"


def test_mnist_and_cifar10(shared: Path, tmp_path: Path) -> None:
    mnist, cifar = shared / "data" / "mnist", shared / "data" / "cifar10"
    for folder in (mnist, cifar):
        if not folder.is_dir():
            pytest.skip(f"needs {folder}")
    names = {"train_images": "train-images-idx3", "train_labels": "train-labels-idx1",
             "test_images": "t10k-images-idx3", "test_labels": "t10k-labels-idx1"}  # fmt: skip
    files = {key: str(mnist / f"{name}-ubyte.gz") for key, name in names.items()}
    zips = {"path": str(cifar / "cifar10-train.zip"), "test_path": str(cifar / "cifar10-test.zip")}
    sources = (IdxSource(kind="idx", limit=2000, **files), PicturesSource(kind="pictures", limit=400, **zips))
    for data, shape, pairs in zip(sources, ([1, 28, 28], [3, 32, 32]), ("none", "all"), strict=True):
        section = ZooSection(
            source=ClassifiersSource(kind="classifiers", data=data, number=3, pairs=pairs, hidden=(16,), epochs=20.0),  # type: ignore[arg-type]
            split=SplitSection(validation=0.0, test=0.0),
        )
        zoo = fit(tmp_path / data.kind, section)
        assert zoo is not None
        assert zoo.provenance["pictures"]["shape"] == shape
        assert zoo.table["loss"].max() < 1.6 < np.log(10), "less than of a guess among ten"
        assert str(shared) not in (tmp_path / data.kind / "zoo.json").read_text()


if __name__ == "__main__":
    main()
