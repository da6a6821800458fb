"""A comparison: every model of a run, trained over learning rates and seeds and scored on the test split.

For each model: every learning rate of the grid is tried with the first seed and validation picks one (paper D,
appendix J); the other seeds are trained with it; each seed's best epoch is scored on the test split, which nothing has
looked at before.  Trials that are done are not done again, so the same call finishes a run that was stopped.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from graphws.errors import RunError
from graphws.graph import Weights
from graphws.reporter import Reporter
from graphws.runtime.data import Data
from graphws.runtime.environment import Processes
from graphws.runtime.evaluation import evaluate
from graphws.runtime.files import write_csv, write_json
from graphws.runtime.folder import RunFolder
from graphws.runtime.learner import Learner, Optimisation, Transform
from graphws.runtime.model_file import Kept, load_state, read_model, save_model
from graphws.runtime.published import Published
from graphws.runtime.results import Results, Score
from graphws.runtime.trial import Trial, TrialResult
from graphws.spec import Access
from graphws.spec.train import Train
from graphws.tasks import Answers, Task, Trivial


@dataclass(frozen=True, eq=False)
class Contender:
    """A model of the run and how it is trained.

    Attributes:
        name: In tables, figures and file names.
        build: Makes a fresh model from torch's generator.
        train: Learning rates, seeds and the rest.
        augment: Changes its training batches.
        description: Kept with its weights.
        task: What is to be learnt, in the units of the weights that the model sees.
        normalise: Done to every batch, last of all; None for nothing.
        access: What the model has of a network.
        data: Its networks, where they are not in the gauge and the order of the comparison's.
        kept: Gives what its answers need, for its file.
    """

    name: str
    build: Callable[[], nn.Module]
    train: Train
    augment: Transform | None
    description: dict[str, Any]
    task: Task
    normalise: Callable[[Weights], Weights] | None = None
    access: Access = "weights"
    data: Data | None = None
    kept: Callable[[], Kept] | None = None


@dataclass(frozen=True, eq=False)
class Comparison:
    """All that a run does between its data and its results.

    Attributes:
        contenders: The run's own model first.
        data: From which networks; their splits are those of all.
        folder: Where everything goes.
        published: What a paper reports of the same.
    """

    contenders: Sequence[Contender]
    data: Data
    folder: RunFolder
    published: Published | None = None

    @property
    def task(self) -> Task:
        """The task of the run's own model; those of others differ from it in units of the weights only."""
        return self.contenders[0].task

    def run(self, group: Processes, reporter: Reporter) -> tuple[Results, dict[str, Answers]]:
        """Train and score every model.

        Returns:
            The results, and each model's answers for the test split.

        Raises:
            RunError: When a model cannot be trained at all or files cannot be written.
            KeyboardInterrupt: On Ctrl-C; calling again goes on.
        """
        scores, answers = [], {}
        for contender in self.contenders:
            trials = self._train(contender, group, reporter)
            if group.first:
                score, answer = self._score(contender, trials)
                scores.append(score)
                answers[contender.name] = answer
            group.barrier()
        networks = {name: len(members) for name, members in self.data.members.items()}
        results = Results(self.task.chosen_by, tuple(scores), networks, self.published, self._trivial())
        if group.first:
            write_json(self.folder.path / "results.json", results.to_json())
            self._join_histories()
        return results, answers

    def _trivial(self) -> Trivial | None:
        targets, members = self.data.targets, self.data.members
        return self.task.trivial(targets[members["train"]].cpu(), targets[members["test"]].cpu())

    def _data(self, contender: Contender) -> Data:
        return self.data if contender.data is None else contender.data

    def _trial(self, contender: Contender, lr: float, seed: int) -> Trial:
        return Trial(
            name=contender.name,
            lr=lr,
            seed=seed,
            folder=self.folder.trial(f"{contender.name}-lr{lr:g}-seed{seed}"),
            train=contender.train,
            build=contender.build,
            task=contender.task,
            training=self._data(contender).split("train"),
            validation=self._data(contender).split("validation"),
            augment=contender.augment,
            normalise=contender.normalise,
            description={**contender.description, "lr": lr, "seed": seed},
        )

    def _train(self, contender: Contender, group: Processes, reporter: Reporter) -> list[TrialResult]:
        train, metric = contender.train, self.task.chosen_by
        first, *others = train.seeds
        grid = [self._trial(contender, lr, first).run(group, reporter) for lr in train.optimizer.grid]
        best = choose(grid, metric.name, metric.higher_is_better)
        if best is None:
            rates = ", ".join(f"{lr:g}" for lr in train.optimizer.grid)
            raise RunError(
                f"the loss of {contender.name!r} became NaN or infinite with every learning rate ({rates}); "
                "try a smaller train.optimizer.lr"
            )
        chosen = grid[best]
        if len(grid) > 1:
            reporter.note(f"{contender.name}: validation picks learning rate {chosen.lr:g}")
        rest = [self._trial(contender, chosen.lr, seed).run(group, reporter) for seed in others]
        return [chosen, *(result for result in rest if result.best_epoch), *(r for r in grid if r is not chosen)]

    def _score(self, contender: Contender, trials: list[TrialResult]) -> tuple[Score, Answers]:
        metric = self.task.chosen_by
        kept = [trial for trial in trials if trial.lr == trials[0].lr]
        answers = [self._ask(contender, trial) for trial in kept]
        chosen = choose(kept, metric.name, metric.higher_is_better)
        assert chosen is not None
        state, description = read_model(self.folder.trial(kept[chosen].folder) / "best.safetensors")
        besides = None if contender.kept is None else contender.kept()
        save_model(self.folder.model(contender.name), state, description, besides)
        score = Score(
            name=contender.name,
            parameters=kept[0].parameters,
            lr=kept[0].lr,
            seeds=tuple(trial.seed for trial in kept),
            validation=tuple(trial.validation for trial in kept),
            test=tuple(answer.metrics for answer in answers),
            seconds=sum(trial.seconds for trial in trials),
            chosen=chosen,
            access=contender.access,
        )
        return score, answers[chosen]

    def _ask(self, contender: Contender, trial: TrialResult) -> Answers:
        path = self.folder.trial(trial.folder) / "best.safetensors"
        return answer(contender, path, self._data(contender), "test", trial.seed)

    def _join_histories(self) -> None:
        rows: list[dict[str, Any]] = []
        columns = ["trial"]
        for path in sorted(self.folder.path.glob("trials/*/metrics.csv")):
            with open(path, newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    rows.append({"trial": path.parent.name, **row})
                    columns += [name for name in row if name not in columns]
        write_csv(self.folder.path / "metrics.csv", columns, rows)


def answer(contender: Contender, path: Path, data: Data, split: str, seed: int) -> Answers:
    """The answers of a model, saved at `path`, for a split.

    Raises:
        RunError: When the file is missing, damaged or of another architecture.
    """
    with torch.random.fork_rng(devices=[]):
        model = contender.build()
    state, _ = read_model(path)
    load_state(model, state, path)
    learner = Learner(model, contender.task, Optimisation(seed=seed), 1, None, contender.normalise)
    return evaluate(learner, data.split(split), torch.device("cuda" if torch.cuda.is_available() else "cpu"))


def choose(trials: Sequence[TrialResult], metric: str, higher_is_better: bool) -> int | None:
    """Which trial has the best validation; None when every one diverged before its first validation."""
    alive = [index for index, trial in enumerate(trials) if trial.best_epoch]
    if not alive:
        return None

    def rank(index: int) -> tuple[float, float]:
        found = trials[index].validation
        value = found[f"val_{metric}"]
        return (-value if higher_is_better else value, found["val_loss"])

    return min(alive, key=rank)
