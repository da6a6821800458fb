"""Models that fit themselves: one row of metrics, the kept model, and nothing done twice."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from graphws.graph import Weights
from graphws.models import BoostedTrees
from graphws.reporter import Reporter
from graphws.runtime.comparison import Contender, answer
from graphws.runtime.environment import Processes
from graphws.runtime.fitted import SelfFitting
from graphws.runtime.model_file import read_model
from tests.runtime import standin

ALONE = Processes()


def trees() -> BoostedTrees:
    return BoostedTrees(standin.GRAPH, 3, estimators=10)


def test_a_model_that_fits_itself_is_fitted_once(tmp_path: Path) -> None:
    trial = standin.trial(tmp_path, build=trees, epochs=7)
    result = trial.run(ALONE, Reporter())
    assert (result.epochs, result.best_epoch, result.diverged) == (1, 1, None)
    assert result.validation["val_accuracy"] > 0.7
    assert sorted(os.listdir(tmp_path)) == ["best.safetensors", "metrics.csv", "trial.json"]
    with open(tmp_path / "metrics.csv", newline="") as file:
        [row] = csv.DictReader(file)
    assert float(row["train_loss"]) < float(row["val_loss"])
    again = standin.trial(tmp_path, build=lambda: pytest.fail("fitted again"), epochs=7).run(ALONE, Reporter())
    assert again == result
    contender = Contender("trees", trees, trial.train, None, {}, trial.task)
    found = answer(contender, tmp_path / "best.safetensors", standin.data(), "validation", 0)
    assert found.metrics["accuracy"] == pytest.approx(result.validation["val_accuracy"])


def test_the_seed_is_the_models(tmp_path: Path) -> None:
    def build() -> BoostedTrees:
        return BoostedTrees(standin.GRAPH, 3, estimators=5, subsample=0.5)

    states = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        standin.trial(tmp_path / name, build=build, seed=seed).run(ALONE, Reporter())
        states.append(read_model(tmp_path / name / "best.safetensors")[0])
    same = [all(torch.equal(states[0][key], other[key]) for key in other) for other in states[1:]]
    assert same == [True, False]


def test_only_a_model_with_fit_is_fitted() -> None:
    class Other(nn.Module):
        def forward(self, weights: Weights) -> Tensor:
            return weights.flatten()

    assert isinstance(trees(), SelfFitting)
    assert not isinstance(Other(), SelfFitting)
