"""What cannot run is refused before any work: `check` and `run` give one reason, and nothing is left behind."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from graphws.errors import ZooError
from graphws.graph import NetworkGraph, Weights
from graphws.operations import mlp_graph
from graphws.operations.sampling import random_weights
from graphws.runtime.folder import RunFolder
from graphws.zoo.writer import building, finish
from tests.cli.runs import run
from tests.cli.specs import EXPERIMENT, QUICK, edited

ROWS = 12
SOURCE = "{kind: digits, limit: 120}"
SINE = "{kind: sine, count: 60, points: 50, amplitude: [2.0, 2.0]}"
IDX = "{kind: idx, train_images: a.gz, train_labels: b.gz, test_images: c.gz, test_labels: d.gz}"
LEFT = "zoo (still to be fitted)"
CHANGED = {
    "head: {kind: invariant, outputs: 10}": "head: {kind: equivariant}",
    "task: {kind: classification, target: label}": "task: {kind: functional, target: {kind: edit}}",
}


class Case(NamedTuple):
    """A spec that is valid and cannot run: what differs from the quick one, and the reason."""

    changes: dict[str, str]
    reason: str


def _other(path: str = "there", **more: str) -> dict[str, str]:
    """The quick spec on networks that are there already."""
    return {"input: {kind: zoo}": f"input: {{kind: zoo, path: {path}}}", **more}


def _regression(target: str) -> dict[str, str]:
    return {
        "outputs: 10": "outputs: 1",
        "task: {kind: classification, target: label}": f"task: {{kind: regression, target: {target}}}",
    }


def _target(name: str) -> dict[str, str]:
    return {"target: label": f"target: {name}"}


CASES: dict[str, Case] = {
    "devices": Case(
        {"epochs: 3": "epochs: 3, devices: 3"},
        "train.devices is 3, but 1 process(es) run on this machine; start with: torchrun --nproc-per-node 3 -m graphws "
        "train ...",
    ),
    "precision of a baseline": Case(
        {"match_parameters: true}": "match_parameters: true, train: {precision: 16-mixed}}"},
        "train.precision '16-mixed' needs a GPU; without one use '32' or 'bf16-mixed'",
    ),
    "too few outputs": Case(
        {"outputs: 10": "outputs: 5"},
        "the labels 'label' run from 0 to 9, but head.outputs is 5: it must be at least 10 and labels must start at 0",
    ),
    "empty split of a zoo to be fitted": Case(
        {"validation: 0.2, test": "validation: 0.0, test"},
        f"the zoo {LEFT} has no networks in the validation split; change zoo.split",
    ),
    "share that is empty": Case(
        {"limit: 120": "limit: 2"}, "split: validation, 0.2 of 2 samples, is empty; take more samples, or a share of 0"
    ),
    "constant target of a source": Case(
        {SOURCE: SINE, **_regression("amplitude")},
        "the target 'amplitude' is the same for every training network: nothing to learn",
    ),
    "measured column as a class": Case(
        _target("psnr"),
        f"the zoo {LEFT}: the column 'psnr' holds float64; the task needs whole numbers or names, one for each class",
    ),
    "source files": Case({SOURCE: IDX}, "a.gz: cannot be read: No such file or directory"),
    "split table": Case(
        {"{validation: 0.2, test: 0.2}": "{table: parts.csv}"}, "parts.csv: cannot be read: No such file or directory"
    ),
    "no zoo": Case(_other("nowhere"), "nowhere: no such zoo; `graphws zoo fit` or `graphws zoo pack` makes one"),
    "no column": Case(_other(**_target("lable")), "the zoo there has no column 'lable'; did you mean 'label'?"),
    "column of text": Case(
        _other(**_regression("name")), "the zoo there: the column 'name' holds object; the task needs numbers"
    ),
    "column of NaN": Case(_other(**_regression("broken")), "the zoo there: the target of network 3 is NaN or infinite"),
    "constant column": Case(
        _other(**_regression("same")), "the target 'same' is the same for every training network: nothing to learn"
    ),
    "constant column told by a probe": Case(
        _other(
            **{
                "outputs: 10": "outputs: 4",
                "task: {kind: classification, target: label}": "task: {kind: representation, target: same}",
            }
        ),
        "the target 'same' is the same for every training network: a probe has nothing to tell",
    ),
    "one class": Case(_other(**_target("same")), "the label 'same' is 1 for every training network: nothing to learn"),
    "split of a zoo": Case(_other("untested"), "the zoo untested has no networks in the test split; change zoo.split"),
    "views": Case(
        {"input: {kind: zoo}": "input: {kind: zoo, path: there, views: 3}"},
        "input.views is 3, but the zoo there has 1 of a sample",
    ),
    "rotation": Case(
        _other(**{"augment: {noise: 0.05}": "augment: {rotation: 20}"}),
        "augment.rotation changes the signal that a network draws, but rotation needs signals on a plane; these "
        "networks have 3 inputs",
    ),
    "model": Case(
        _other(**{"model: {kind: dwsnet, layers: 2, channels: 4}": "model: {kind: queries, readout: cnn}"}),
        "a cnn reads pictures, that is, networks with 2 inputs; take `readout: mlp`",
    ),
    "networks of another task": Case(
        _other(**CHANGED), "pictures are edited where networks draw them: these do not read points (n, 2)"
    ),
    "pictures of another size": Case(
        _other(
            **{
                "head: {kind: invariant, outputs: 10}": "head: {kind: equivariant}",
                "task: {kind: classification, target: label}": "task: {kind: functional, target: {kind: adapt}}",
            }
        ),
        "the networks read 3 numbers, and the pictures of task.target.data are 1x8x8",
    ),
    "pictures of a task": Case(
        _other(
            **{
                "head: {kind: invariant, outputs: 10}": "head: {kind: equivariant}",
                "task: {kind: classification, target: label}": "task: {kind: functional, target: {kind: adapt, data: "
                f"{IDX}}}}}",
            }
        ),
        "a.gz: cannot be read: No such file or directory",
    ),
    "name that is taken": Case(
        {"path: zoo": "path: there"},
        "there: exists already, made otherwise; remove it, or give another name",
    ),
    "unfinished fit": Case(
        {"path: zoo": "path: begun"},
        "begun.partial: an unfinished fit with other settings; go on with those, or remove the folder",
    ),
    "file in the way": Case(
        {"path: zoo": "path: quick.yaml/zoo"},
        "cannot write quick.yaml/zoo: {here}/quick.yaml is a file, where a folder is needed",
    ),
    "a point of a sweep": Case(
        {"name: quick": "name: quick\nsweep: {key: head.outputs, values: [10, 4]}"},
        "at head.outputs = 4 of the sweep: the labels 'label' run from 0 to 9, but head.outputs is 4: it must be at "
        "least 10 and labels must start at 0",
    ),
    "every point of a sweep": Case(
        {"name: quick": "name: quick\nsweep: {key: model.layers, values: [1, 2]}", "outputs: 10": "outputs: 4"},
        "the labels 'label' run from 0 to 9, but head.outputs is 4: it must be at least 10 and labels must start at 0",
    ),
    "input without networks": Case(
        {"input: {kind: zoo}": "input: {kind: mlp, widths: [2, 4, 1]}", "preprocess: {gauge: canonical}\n": ""},
        "training needs networks, but the spec has the input kind 'mlp'; use `input: {kind: zoo}`",
    ),
}


def _written(path: Path, graph: NetworkGraph, split: str = "test") -> None:
    """A zoo of random networks whose last networks are of a split."""
    count = ROWS
    table = {
        "label": np.arange(count) % 4,
        "name": np.array(["a"] * count, dtype=object),
        "broken": np.where(np.arange(count) == 3, np.nan, 1.0 * np.arange(count)),
        "same": np.ones(count, dtype=np.int64),
        "split": np.array(["train"] * (count - 4) + ["validation"] * 2 + [split] * 2, dtype=object),
    }
    weights: Weights = random_weights(graph, count, torch.Generator().manual_seed(0), torch.float32)
    with building(path):
        finish(path, {"one": graph}, lambda _, low, high: weights.select(slice(low, high)), table, {"kind": "made"})


@pytest.fixture(scope="module")
def zoos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Zoos that are there, and a fit that was begun."""
    place = tmp_path_factory.mktemp("zoos")
    graph = mlp_graph([3, 4, 1], activation="tanh")
    _written(place / "there", graph)
    _written(place / "untested", graph, split="train")
    (place / "begun.partial" / "parts").mkdir(parents=True)
    (place / "begun.partial" / "fit.json").write_text("[]")
    return place


@pytest.fixture
def here(zoos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with copies of them, in which there is no GPU."""
    shutil.copytree(zoos, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return tmp_path


def _spec(here: Path, changes: dict[str, str]) -> Path:
    text = QUICK.replace("  split: {validation", "  path: zoo\n  split: {validation")
    return edited(text, here / "quick.yaml", **changes)


def _refused(spec: str, reason: str, here: Path) -> None:
    before = sorted(here.rglob("*"))
    checked = run("check", spec)
    first = checked.stdout.splitlines()[0]
    assert (checked.exit_code, first) == (0, f"{spec} is a valid spec, but graphws run would refuse it: {reason}")
    done = run("run", spec)
    assert done.exit_code in (1, 2)
    assert done.stderr == f"error: {reason}\n"
    assert sorted(here.rglob("*")) == before, "something was made"


@pytest.mark.parametrize("name", CASES)
def test_what_cannot_run_is_refused_before_any_work(name: str, here: Path) -> None:
    case = CASES[name]
    _spec(here, case.changes)
    _refused("quick.yaml", case.reason.replace("{here}", str(here)), here)


def test_networks_of_several_architectures_cannot_be_given_back(here: Path) -> None:
    graphs = {"a": mlp_graph([3, 4, 1]), "b": mlp_graph([3, 5, 1])}
    sets = {
        name: random_weights(graph, 6, torch.Generator().manual_seed(0), torch.float32)
        for name, graph in graphs.items()
    }
    table = {
        "architecture": np.array(["a"] * 6 + ["b"] * 6, dtype=object),
        "split": np.array(["train", "train", "validation", "validation", "test", "test"] * 2, dtype=object),
    }
    with building(here / "two"):
        finish(
            here / "two", graphs, lambda name, low, high: sets[name].select(slice(low, high)), table, {"kind": "made"}
        )
    changes = {
        "head: {kind: invariant, outputs: 10}": "head: {kind: equivariant}",
        "task: {kind: classification, target: label}": "task: {kind: weights}",
        "layers: 2, channels: 4}": "layers: 2, channels: 4, share: role}",
        "preprocess: {gauge: canonical}\n": "",
    }
    text = QUICK[: QUICK.index("compare:")]
    edited(text, here / "quick.yaml", **_other("two", **changes))
    reason = "the zoo two: a task that gives networks back reads networks of one architecture, and these are of 2"
    _refused("quick.yaml", reason, here)


@pytest.mark.parametrize(
    ("free", "reason"),
    [
        (1000, "zoo: it will take 64,320 bytes, and the disk has 1,000 bytes free"),
        (70_000, "runs/quick: it will take 2.3 MB, and the disk has 70,000 bytes free"),
    ],
)
def test_a_disk_without_room_is_found_before_the_fit(
    free: int, reason: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": free})
    monkeypatch.setattr("graphws.files.shutil.disk_usage", lambda place: usage)
    _spec(here, {"channels: 4": "channels: 32"})
    _refused("quick.yaml", f"cannot write {reason}; free some space or choose another folder", here)


def test_runs_that_cannot_be_kept_are_found_before_the_fit(here: Path) -> None:
    _spec(here, {})
    (here / "runs").write_text("")
    reason = f"cannot write runs/quick: {here}/runs is a file, where a folder is needed"
    _refused("quick.yaml", reason, here)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("{kind: digits, limit: 300}", IDX, "a.gz: cannot be read: No such file or directory"),
        ("limit: 300", "limit: 1", "split: test, 0.2 of 1 samples, is empty; take more samples, or a share of 0"),
        (
            "{kind: digits, limit: 300}",
            "{kind: pictures, path: small}",
            "the pictures have 6 pixels along a side, a crop of 1 of them 6: fewer than the 8 of "
            "experiment.pictures.size",
        ),
    ],
)
def test_an_experiment_is_refused_before_any_work(old: str, new: str, reason: str, here: Path) -> None:
    from PIL import Image

    for name in ("a", "b"):
        (here / "small" / name).mkdir(parents=True)
        for k in range(5):
            Image.fromarray(np.full((6, 6), 40 * k, dtype=np.uint8)).save(here / "small" / name / f"{k}.png")
    edited(EXPERIMENT, here / "tiny.yaml", **{old: new})
    _refused("tiny.yaml", reason, here)


def test_explain_says_so_too(here: Path) -> None:
    case = CASES["input without networks"]
    _spec(here, case.changes)
    done = run("explain", "quick.yaml")
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (
        0,
        f"note: graphws run would refuse this spec: {case.reason}",
    )


def test_a_run_that_failed_before_its_work_gives_its_folder_to_the_next(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZooError("the fit diverged")

    spec, runs = _spec(here, {}), here / "runs"
    with monkeypatch.context() as patch:
        patch.setattr("graphws.runtime.job.open_zoo", fail)
        assert run("run", spec).stderr == "error: the fit diverged\n"
    assert RunFolder(runs / "quick").status() == "failed"
    _spec(here, {"epochs: 3": "epochs: 1"})
    done = run("run", spec)
    assert done.exit_code == 0, done.output
    assert [path.name for path in runs.iterdir()] == ["quick"]
    assert "epochs: 1\n" in (runs / "quick" / "spec.yaml").read_text()
    assert RunFolder(runs / "quick").complete()
