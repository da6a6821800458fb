"""Runs whose models give networks back that are run: adapted, edited, pruned."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from graphws.errors import DataError
from graphws.graph import Weights
from graphws.reporter import Reporter
from graphws.runtime import job
from graphws.runtime.environment import Processes
from graphws.runtime.exporting import export_model
from graphws.runtime.folder import RunFolder
from graphws.runtime.prediction import Run
from graphws.runtime.results import Results
from graphws.spec import Spec, parse_spec
from graphws.zoo import Zoo
from tests.runtime.standin import StopAfter
from tests.tasks import classifiers

ALONE = Processes()
PAIRS = [(k % 10, (k + 1 + k // 10 % 9) % 10) for k in range(30)]
ADAPT = """\
graphws: 1
name: adapted
input: {kind: zoo, path: zoo}
model: {kind: dwsnet, layers: 2, channels: 4, reduce: {input: 4}, init_scale: 1e-3}
head: {kind: equivariant}
task:
  kind: functional
  target: {kind: adapt, data: {kind: digits}, classes: [class_a, class_b], noise: 0.3, batch: 16, pictures: 30}
train: {optimizer: {lr: 1e-2}, epochs: 3, batch_size: 8, threads: 1}
compare:
  - {name: unchanged, model: {kind: unchanged}}
"""
DRAWING = """\
graphws: 1
name: drawing
zoo:
  source: {kind: digits, limit: 60}
  network: {hidden: [8, 8], activation: sine, omega: 5.0}
  fit: {steps: 30, lr: 1e-2}
  path: pictures
input: {kind: zoo}
preprocess: {gauge: canonical}
model: {kind: dwsnet, layers: 2, channels: 4, init_scale: 1e-3}
head: {kind: equivariant}
train: {optimizer: {lr: 1e-2}, epochs: 2, batch_size: 16, threads: 1}
compare:
  - {name: unchanged, model: {kind: unchanged}}
task: """
MASK = DRAWING + "{kind: mask, sparsity: 0.05, points: 36}\n"
EDIT = DRAWING + "{kind: functional, target: {kind: edit, change: {kind: contrast, factor: 0.5}, side: 8}}\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("functional")
    classifiers.zoo_of(folder / "zoo", classifiers.trained(30, 15, PAIRS), PAIRS)
    return folder


@pytest.fixture
def inside(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(place)
    return place


def done(text: str, name: str, reporter: Reporter | None = None) -> tuple[Spec, RunFolder, Results]:
    spec = parse_spec(text, overrides=[f"name={name}"])
    folder = job.choose_folder(spec, Path(name), ALONE)
    return spec, folder, job.run(spec, folder, ALONE, reporter or Reporter())


def test_classifiers_are_adapted_scored_and_returned(inside: Path) -> None:
    _, folder, results = done(ADAPT, "adapted")
    own, unchanged = results.scores
    assert results.metric.name == "accuracy"
    assert unchanged.parameters == 0
    assert own.test[0].keys() == {"loss", "accuracy"}
    assert {"figures/adapted.png", "figures/pictures.png"} <= {
        str(path.relative_to(folder.path)) for path in folder.path.glob("figures/*")
    }
    answers = job.evaluate_run(folder, "test", ALONE, Reporter())
    assert answers["unchanged"].metrics["accuracy"] == pytest.approx(unchanged.test[0]["accuracy"])
    zoo = Zoo.open("zoo")
    torch.testing.assert_close(answers["unchanged"].predictions, zoo.weights(zoo.split("test")).flatten())
    run, given = Run.load(folder.path), zoo.weights([3, 4])
    found = Weights.cat(list(run.predict(given).networks))
    same = [int(k) for k in answers[own.name].index].index(4)
    torch.testing.assert_close(found.flatten()[1], answers[own.name].predictions[same])
    assert (found.flatten() - given.flatten()).abs().max() > 1e-3
    export_model(run, Path("adapted.pt2"))
    program = torch.export.load("adapted.pt2").module()
    state = {key: torch.stack([given.to_state_dict(k)[key] for k in (0, 1)]) for key in given.to_state_dict(0)}
    exported = Weights.from_stacked(zoo.graph, program(state))
    torch.testing.assert_close(exported.flatten(), found.flatten(), rtol=1e-4, atol=1e-5)


def test_a_stopped_adaptation_goes_on_bit_for_bit(inside: Path) -> None:
    _, whole, _ = done(ADAPT, "whole")
    with pytest.raises(KeyboardInterrupt):
        done(ADAPT, "stopped", StopAfter(2))
    _, stopped, _ = done(ADAPT, "stopped")
    tables = [next(folder.path.glob("trials/dwsnet*/metrics.csv")).read_text() for folder in (whole, stopped)]
    rows = [[line.rsplit(",", 1)[0] for line in table.splitlines()] for table in tables]  # without the seconds
    assert rows[0] == rows[1]
    models = [(folder.path / "models" / "dwsnet.safetensors").read_bytes() for folder in (whole, stopped)]
    assert models[0] == models[1]


def test_pictures_that_are_missing_are_named_before_anything_is_fitted(inside: Path) -> None:
    data = "{kind: pictures, path: nowhere.zip}"
    text = ADAPT.replace("path: zoo", "path: null").replace("classes: [class_a, class_b], ", "")
    text = text.replace("reduce: {input: 4}, ", "").replace("{kind: digits}", data)
    text += "zoo: {source: {kind: digits}, path: never}\n"
    with pytest.raises(DataError) as caught:
        done(text, "missing")
    assert str(caught.value) == "nowhere.zip: no such file or folder"
    assert not list(inside.glob("never*"))


def test_masks_prune_in_the_gauge_in_which_networks_come(inside: Path) -> None:
    _, folder, results = done(MASK, "pruned")
    own, unchanged = results.scores
    assert 0.9 < unchanged.test[0]["kept"] < 1  # what the order of the magnitudes and `start` come to
    assert unchanged.test[0]["mse"] < 1e-2
    assert (folder.path / "figures" / "kept.png").exists()
    assert (folder.path / "figures" / "pruned.png").exists()
    zoo, run = Zoo.open("pictures"), Run.load(folder.path)
    given = zoo.weights(zoo.split("test"))
    found = Weights.cat(list(run.predict(given).networks)).flatten()
    masks = job.evaluate_run(folder, "test", ALONE, Reporter())[own.name].predictions
    assert float((masks == 0).float().mean()) > 0
    assert torch.equal(found != 0, masks > 0)
    torch.testing.assert_close(found, given.flatten() * masks, rtol=1e-4, atol=1e-6)
    export_model(run, Path("pruned.pt2"))
    program = torch.export.load("pruned.pt2").module()
    state = {key: torch.stack([given.to_state_dict(k)[key] for k in (0, 1)]) for key in given.to_state_dict(0)}
    exported = Weights.from_stacked(zoo.graph, program(state)).flatten()
    torch.testing.assert_close(exported, found[:2], rtol=1e-4, atol=1e-6)
    assert torch.equal(exported == 0, found[:2] == 0)


def test_pictures_are_edited_also_by_several_networks(inside: Path) -> None:
    _, folder, results = done(EDIT.replace("{kind: equivariant}", "{kind: equivariant, networks: 2}"), "edited")
    own, unchanged = results.scores
    assert own.test[0]["mse"] < unchanged.test[0]["mse"]
    assert (folder.path / "figures" / "edited.png").exists()
    zoo, run = Zoo.open("pictures"), Run.load(folder.path)
    [answer] = run.predict(zoo.weights([0])).networks
    assert answer.batch == 2


@pytest.mark.slow
def test_two_processes_adapt_together(inside: Path) -> None:
    Path("two.yaml").write_text(ADAPT.replace("name: adapted", "name: two"))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "graphws", "run"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done_ = subprocess.run(
        [*command, "two.yaml", "--folder", "two"], env=environment, capture_output=True, text=True, timeout=600
    )
    assert done_.returncode == 0, done_.stderr[-2000:]
    _, _, results = done(ADAPT, "one")
    found = Results.from_json(json.loads(Path("two/results.json").read_text()))
    unchanged = [each.scores[1].test[0]["accuracy"] for each in (results, found)]
    assert unchanged[0] == pytest.approx(unchanged[1])
    assert found.scores[0].test[0]["accuracy"] == pytest.approx(results.scores[0].test[0]["accuracy"], abs=0.15)
