from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from graphws.errors import DataError, RunError
from graphws.graph import Weights
from graphws.reporter import Reporter
from graphws.runtime.comparison import Comparison, Contender, answer, choose
from graphws.runtime.environment import Processes
from graphws.runtime.files import read_json
from graphws.runtime.folder import RunFolder
from graphws.runtime.results import Results, Score, in_words
from graphws.runtime.trial import TrialResult
from graphws.spec.train import Optimizer, Train
from graphws.tasks import Classification, Metric
from tests.runtime import standin


def _contender(name: str = "reader", build: Any = standin.Reader, **train: Any) -> Contender:
    rates = train.pop("lr", 0.03)
    settings = {"epochs": 3, "batch_size": 32, "optimizer": Optimizer(lr=rates), **train}
    return Contender(name, build, Train(**settings), None, {"name": name}, Classification(3))


def _comparison(path: Path, *contenders: Contender) -> Comparison:
    folder = RunFolder(path)
    if not path.exists():
        folder.create("", {})
    return Comparison(contenders, standin.data(), folder)


def test_each_rate_is_tried_once_and_each_seed_with_the_chosen_one(tmp_path: Path) -> None:
    comparison = _comparison(tmp_path / "run", _contender(lr=(0.03, 1e-6), seeds=(4, 5)))
    results, answers = comparison.run(Processes(), Reporter())
    trials = sorted(path.name for path in (tmp_path / "run" / "trials").iterdir())
    assert trials == ["reader-lr0.03-seed4", "reader-lr0.03-seed5", "reader-lr1e-06-seed4"]
    score = results.scores[0]
    assert (score.lr, score.seeds, len(score.test)) == (0.03, (4, 5), 2)
    assert set(score.test[0]) == {"loss", "accuracy"}
    assert results.networks == {"train": 80, "validation": 20, "test": 20}
    hits = (answers["reader"].predictions == answers["reader"].targets).float().mean()
    assert score.test[score.chosen]["accuracy"] == pytest.approx(float(hits))


def test_the_kept_model_gives_the_recorded_score(tmp_path: Path) -> None:
    comparison = _comparison(tmp_path / "run", _contender(seeds=(0, 1)))
    results, _ = comparison.run(Processes(), Reporter())
    path = comparison.folder.model("reader")
    found = answer(comparison.contenders[0], path, comparison.data, "test", 0)
    assert found.metrics == pytest.approx(results.scores[0].test[results.scores[0].chosen])


def test_a_finished_comparison_is_scored_again_without_training(tmp_path: Path) -> None:
    first, _ = _comparison(tmp_path / "run", _contender()).run(Processes(), Reporter())

    class Watch(Reporter):
        def start(self, title: str, total: int, unit: str) -> None:
            pytest.fail(f"trained {title} again")

    again, _ = _comparison(tmp_path / "run", _contender()).run(Processes(), Watch())
    assert again == first


def test_results_survive_their_file(tmp_path: Path) -> None:
    results, _ = _comparison(tmp_path / "run", _contender(seeds=(0, 1))).run(Processes(), Reporter())
    assert Results.from_json(read_json(tmp_path / "run" / "results.json", "a run")) == results


def test_all_epochs_of_all_trainings_are_in_one_table(tmp_path: Path) -> None:
    _comparison(tmp_path / "run", _contender("a"), _contender("b", seeds=(0, 1))).run(Processes(), Reporter())
    with open(tmp_path / "run" / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9
    assert {row["trial"] for row in rows} == {"a-lr0.03-seed0", "b-lr0.03-seed0", "b-lr0.03-seed1"}
    assert list(rows[0]) == ["trial", "epoch", "train_loss", "val_accuracy", "val_loss", "lr", "seconds"]


class Explosive(nn.Module):
    """Gives NaN as soon as it has learnt something."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, weights: Weights) -> torch.Tensor:
        """Class scores, or NaN."""
        scores = self.bias.expand(weights.batch, 3)
        return scores if bool((self.bias == 0).all()) else scores * float("nan")


def test_a_model_that_diverges_with_every_rate_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        _comparison(tmp_path / "run", _contender("bomb", Explosive, lr=(1.0, 0.1))).run(Processes(), Reporter())
    assert str(caught.value) == (
        "the loss of 'bomb' became NaN or infinite with every learning rate (1, 0.1); try a smaller train.optimizer.lr"
    )


def test_weights_of_another_architecture_are_not_evaluated(tmp_path: Path) -> None:
    comparison = _comparison(tmp_path / "run", _contender())
    comparison.run(Processes(), Reporter())
    path = comparison.folder.model("reader")
    with pytest.raises(RunError, match=r"is of another architecture: 'net.0.weight' has shape"):
        answer(_contender(build=lambda: standin.Reader(width=8)), path, comparison.data, "test", 0)


def test_an_empty_split_cannot_be_evaluated(tmp_path: Path) -> None:
    comparison = _comparison(tmp_path / "run", _contender())
    comparison.run(Processes(), Reporter())
    found = comparison.data
    object.__setattr__(found, "members", {**found.members, "test": torch.arange(0)})
    with pytest.raises(DataError, match="the split to evaluate has no networks"):
        answer(comparison.contenders[0], comparison.folder.model("reader"), found, "test", 0)


def _result(accuracy: float, loss: float, best_epoch: int = 1) -> TrialResult:
    validation = {"val_accuracy": accuracy, "val_loss": loss}
    return TrialResult("m", 0.1, 0, 1, 1, best_epoch, validation, 1.0, None, "m")


def test_validation_chooses_the_metric_then_the_loss_and_never_the_dead() -> None:
    trials = [_result(0.5, 1.0), _result(0.7, 2.0), _result(0.7, 1.5), _result(0.0, 0.0, best_epoch=0)]
    assert choose(trials, "accuracy", True) == 2
    assert choose(trials, "loss", False) == 0
    assert choose([trials[3]], "accuracy", True) is None


def test_tables_and_sentences() -> None:
    score = Score("dwsnet", 61050, 0.005, (0,), ({"val_accuracy": 0.9},), ({"loss": 0.3, "accuracy": 0.912},), 7.6, 0)
    results = Results(Metric("accuracy", True), (score,), {"train": 10, "validation": 2, "test": 1234})
    assert results.table() == (
        ["model", "access", "parameters", "test accuracy", "lr", "seconds"],
        [["dwsnet", "weights", "61,050", "91.2 %", "0.005", "8"]],
    )
    assert results.sentence() == "Test accuracy on 1,234 unseen networks: dwsnet reaches 91.2 %."
    several = replace(score, seeds=(0, 1), test=({"accuracy": 0.9}, {"accuracy": 1.0}))
    columns, rows = Results(results.metric, (several,), results.networks).table()
    assert columns == ["model", "access", "parameters", "test accuracy", "seeds", "lr", "seconds"]
    assert rows[0][3:5] == ["95.0 ± 7.1 %", "2"]
    assert in_words("mse", [0.5, 0.5]) == "0.5 ± 0"
