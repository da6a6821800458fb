"""Networks in, networks out: the shipped spec, on a small zoo."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from graphws.reporter import Reporter
from graphws.runtime import job
from graphws.runtime.environment import Processes
from graphws.spec import load_spec

SMALL = (
    "zoo.source.limit=300",
    "zoo.network.hidden=[8, 8]",
    "zoo.fit.steps=40",
    "zoo.fit.views=2",
    "model.layers=2",
    "model.channels=8",
    "train.epochs=12",
    "train.batch_size=32",
    "train.optimizer.lr=2e-2",
)
NOTHING, SHRINKING = 0.25, 0.2  # noise², and noise² / (1 + noise²): what needs no neighbours to be known


@pytest.mark.slow
def test_a_dwsnet_takes_noise_off_networks_it_has_not_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spec = load_spec("digits-denoise", SMALL)
    folder = job.choose_folder(spec, None, Processes())
    results = job.run(spec, folder, Processes(), Reporter())
    found = {score.name: score.test[0]["mse"] for score in results.scores}
    assert found["dwsnet"] < 0.95 * SHRINKING
    assert found["mlp"] > SHRINKING
    assert results.metric.name == "mse"
    assert folder.report.exists()
    answers = job.evaluate_run(folder, "test", Processes(), Reporter())["dwsnet"]
    assert answers.metrics["mse"] == pytest.approx(found["dwsnet"])
    assert answers.predictions.shape == answers.targets.shape == (120, 8 * 3 + 8 * 9 + 9)
    assert torch.isfinite(answers.predictions).all()
