"""Representations learned by runs: one process and two, stopped and gone on with, judged, asked and exported."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from graphws import Run, Zoo
from graphws.reporter import Reporter
from graphws.runtime import job
from graphws.runtime.callbacks import LastCheckpoint
from graphws.runtime.environment import Processes
from graphws.runtime.folder import RunFolder
from graphws.runtime.model_file import read_model
from graphws.tasks import Representation
from tests.cli.runs import finished_run
from tests.cli.runs import run as command
from tests.processes import ROOT
from tests.runtime import contrasting, standin

ALONE = Processes()
SPEC = """\
graphws: 1
name: waves
zoo:
  source: {kind: sine, count: 150, amplitude: [0.01, 10], frequency: [0.01, 10], points: 60}
  network: {hidden: [6, 6], activation: sine, omega: 30.0, first: hidden, offset: 0.5}
  fit: {steps: 60, lr: 1e-2, psnr: null}
  split: {validation: 0.2, test: 0.2}
input: {kind: zoo}
augment: {noise: 0.2, dropout: 0.5}
model: {kind: dwsnet, layers: 2, channels: 4}
head: {kind: invariant, outputs: 5}
task: {kind: representation, target: [frequency, amplitude], projection: [6, 4]}
train: {optimizer: {lr: [1e-2, 1e-3]}, epochs: 3, batch_size: 32, seeds: [0, 1]}
compare:
  - {name: mlp, model: {kind: mlp, layers: 1}}
  - {name: queries, model: {kind: queries, points: 9, width: 8}}
"""


def _rows(folder: Path) -> list[dict[str, float]]:
    with open(folder / "metrics.csv", newline="") as file:
        return [{name: float(v) for name, v in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def test_a_training_that_was_stopped_ends_like_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LastCheckpoint.__init__, "__defaults__", (0.0,))
    options = {"task": contrasting.task(Representation), "epochs": 5}
    whole = contrasting.trial(tmp_path / "whole", **options).run(ALONE, Reporter())
    with pytest.raises(KeyboardInterrupt):
        contrasting.trial(tmp_path / "cut", **options).run(ALONE, standin.StopAfter(2))
    found = contrasting.trial(tmp_path / "cut", **options).run(ALONE, Reporter())
    assert _rows(tmp_path / "cut") == _rows(tmp_path / "whole")
    assert (found.best_epoch, found.validation) == (whole.best_epoch, whole.validation)
    states = [read_model(tmp_path / name / "best.safetensors")[0] for name in ("whole", "cut")]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    other = contrasting.trial(tmp_path / "other", **options, seed=1).run(ALONE, Reporter())
    assert other.validation != whole.validation


def test_the_best_epoch_is_the_probe_s_and_the_model_keeps_that_probe(tmp_path: Path) -> None:
    result = contrasting.trial(tmp_path, epochs=6).run(ALONE, Reporter())
    rows = _rows(tmp_path)
    errors = [row["val_probe_mse"] for row in rows]
    assert result.best_epoch == 1 + errors.index(min(errors))
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    model = contrasting.build().eval().requires_grad_(False)
    model.load_state_dict(read_model(tmp_path / "best.safetensors")[0])
    trial = contrasting.trial(tmp_path)
    parts = [(part, part.collection.weights(part.members)) for part in (trial.training, trial.validation)]
    told = contrasting.task().told(contrasting.task().apply(model, parts[1][1]))
    wanted = parts[1][0].targets[parts[1][0].members]
    assert float((told - wanted).square().mean()) == pytest.approx(min(errors), rel=1e-4)
    kept = model.probe.weight.clone()
    contrasting.task().settle(model, iter([(parts[0][1], parts[0][0].targets[parts[0][0].members])]))
    torch.testing.assert_close(model.probe.weight, kept, rtol=1e-4, atol=1e-4)


def test_it_learns_in_mixed_precision(tmp_path: Path) -> None:
    whole = contrasting.trial(tmp_path / "whole", epochs=6).run(ALONE, Reporter())
    mixed = contrasting.trial(tmp_path / "mixed", epochs=6, precision="bf16-mixed").run(ALONE, Reporter())
    assert mixed.validation["val_probe_mse"] == pytest.approx(whole.validation["val_probe_mse"], rel=0.2)
    assert mixed.validation != whole.validation


@pytest.mark.slow
def test_two_processes_follow_the_curve_of_one(tmp_path: Path) -> None:
    alone = contrasting.trial(tmp_path / "one", batch_size=27).run(ALONE, Reporter())
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*start, "-m", "tests.runtime.contrasting", str(tmp_path / "two")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    together = json.loads(done.stdout.strip().splitlines()[-1])
    curves = [_rows(tmp_path / name) for name in ("one", "two")]
    assert len(curves[0]) == len(curves[1]) == 4
    for left, right in zip(*curves, strict=True):
        assert left == pytest.approx(right, rel=1e-4)
    assert alone.validation == pytest.approx(together["validation"], rel=1e-4)


def _spec(place: Path) -> Path:
    path = place / "waves.yaml"
    path.write_text(SPEC)
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which ``graphws run`` was called once."""
    return finished_run(tmp_path_factory, _spec)


@pytest.fixture
def place(finished: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, entered."""
    monkeypatch.chdir(finished)
    return finished


@pytest.mark.slow
def test_a_run_reports_the_probe_and_draws_the_representations(place: Path) -> None:
    folder = Path("runs/waves")
    results = json.loads((folder / "results.json").read_text())
    assert results["metric"] == {"name": "probe_mse", "higher_is_better": False}
    assert [score["name"] for score in results["scores"]] == ["dwsnet", "mlp", "queries"]
    for score in results["scores"]:
        for test in score["test"]:
            each = [test["probe_mse_frequency"], test["probe_mse_amplitude"]]
            assert test["probe_mse"] == pytest.approx(sum(each) / 2, rel=1e-5)
    assert {path.stem for path in (folder / "figures").iterdir()} == {"scores", "curves", "embeddings"}
    assert "representations in a plane (t-SNE)" in (folder / "report.html").read_text()


@pytest.mark.slow
def test_its_model_is_scored_asked_and_exported_alike(place: Path, tmp_path: Path) -> None:
    folder, zoo = Path("runs/waves"), Zoo.open(next(path for path in Path("zoos").iterdir() if path.is_dir()))
    results = json.loads((folder / "results.json").read_text())["scores"][0]
    answers = job.evaluate_run(RunFolder(folder), "test", ALONE, Reporter())["dwsnet"]
    kept = results["test"][results["chosen"]]
    for name in kept.keys() - {"loss"}:  # its views are of another seed
        assert answers.metrics[name] == pytest.approx(kept[name], rel=1e-5)
    run = Run.load(folder)
    columns = run.predict(zoo.path).columns
    assert list(columns) == [f"embedding_{k}" for k in range(5)] + ["frequency", "amplitude"]
    asked = np.array([columns[f"embedding_{k}"] for k in range(5)]).T
    np.testing.assert_allclose(asked[answers.index], answers.predictions.numpy(), rtol=1e-4, atol=1e-5)
    told = np.array([columns["frequency"], columns["amplitude"]]).T[answers.index]
    error = np.square(told - answers.targets.numpy()).mean()
    assert error == pytest.approx(answers.metrics["probe_mse"], rel=1e-4)
    assert command("export", folder, tmp_path / "model.pt2").exit_code == 0
    program = torch.export.load(tmp_path / "model.pt2").module()
    states = [zoo[k][0].to_state_dict() for k in range(4)]
    stacked = {key: torch.stack([state[key] for state in states]) for key in states[0]}
    np.testing.assert_allclose(program(stacked).numpy(), asked[:4], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_another_zoo_is_scored_by_the_probe_that_is_kept_and_the_same_run_again_is_the_same(
    place: Path, tmp_path: Path
) -> None:
    (zoo,) = (path for path in Path("zoos").iterdir() if path.is_dir())
    shutil.copytree(zoo, tmp_path / "zoo")
    own = job.evaluate_run(RunFolder(Path("runs/waves")), "test", ALONE, Reporter())
    other = job.evaluate_run(RunFolder(Path("runs/waves")), "test", ALONE, Reporter(), tmp_path / "zoo")
    for name, answers in own.items():
        assert other[name].metrics == pytest.approx(answers.metrics, rel=1e-5)
    again = command("run", "waves.yaml", "--folder", tmp_path / "again")
    assert again.exit_code == 0, again.output
    for name in ("models/dwsnet.safetensors", "figures/embeddings.png"):
        assert (tmp_path / "again" / name).read_bytes() == (place / "runs/waves" / name).read_bytes(), name
