"""What a run found: one score for each model, over its seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from pydantic import TypeAdapter

from graphws.runtime.published import COLUMN, Published
from graphws.shown import Shown
from graphws.spec import Access
from graphws.tasks import Metric, Trivial


class Outcome(Protocol):
    """What any kind of run found, as a terminal shows it."""

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Column titles and ready text."""
        ...

    def sentence(self) -> str:
        """The outcome in a sentence or two."""
        ...


LONGEST = 100
"""Characters of the name of a model, as specs allow them (`graphws.spec.section.NAME`)."""


@dataclass(frozen=True, repr=False)
class Score(Shown):
    """How good one model is.

    Attributes:
        name: Of the model.
        parameters: How many numbers it learns.
        lr: The learning rate that validation chose.
        seeds: One training each.
        validation: Metrics of each seed's chosen epoch.
        test: Metrics of the same models on networks that were never looked at before.
        seconds: Time in training, all learning rates and seeds.
        chosen: Which of the seeds has the best validation; its model is the one kept.
        access: What the model has of a network; scores of unlike access do not compare.
    """

    name: str
    parameters: int
    lr: float
    seeds: tuple[int, ...]
    validation: tuple[dict[str, float], ...]
    test: tuple[dict[str, float], ...]
    seconds: float
    chosen: int
    access: Access = "weights"

    def __post_init__(self) -> None:
        plain = self.name.isprintable() and not set("/\\") & set(self.name) and not self.name.startswith(".")
        if not plain or not 0 < len(self.name) <= LONGEST:
            raise ValueError("the name of a score is none of a model")
        names = [set(found) for found in self.test]
        if not names or len(names) != len(self.seeds) or any(each != names[0] for each in names):
            raise ValueError("a score needs the same test metrics for each of its seeds")

    def values(self, metric: str) -> list[float]:
        """A test metric of every seed."""
        return [found[metric] for found in self.test]


@dataclass(frozen=True, repr=False)
class Results(Shown):
    """The scores of a run, its own model first.

    Attributes:
        metric: By which models are chosen and compared.
        scores: One for each model.
        networks: How many networks each split has.
        published: What a paper reports, shown beside the scores.
        trivial: How good an answer is that looks at no network; None where nobody knows.
    """

    metric: Metric
    scores: tuple[Score, ...]
    networks: dict[str, int]
    published: Published | None = None
    trivial: Trivial | None = None

    def __str__(self) -> str:
        return self.sentence()

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` is the inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: object) -> Results:
        """Results as they were saved; `ValueError` where they are not whole."""
        found = TypeAdapter(cls).validate_python(content)
        known = [metrics for score in found.scores for metrics in score.test]
        if not known or not all(found.metric.name in each and each.keys() == known[0].keys() for each in known):
            raise ValueError("results need scores, each with the metric by which they are compared")
        if "test" not in found.networks:
            raise ValueError("results need the number of test networks")
        return found

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Column titles and ready text, for a terminal and for the report."""
        several = any(len(score.seeds) > 1 for score in self.scores)
        metrics = [name for name in self.scores[0].test[0] if name != "loss"]
        columns = ["model", "access", "parameters", *(f"test {self.title(name)}" for name in metrics), "lr", "seconds"]
        if several:
            columns.insert(-2, "seeds")
        rows = []
        for score in self.scores:
            row = [score.name, score.access, f"{score.parameters:,}"]
            row += [in_words(name, score.values(name), self.unit(name)) for name in metrics]
            row += [str(len(score.seeds))] if several else []
            rows.append([*row, f"{score.lr:g}", f"{score.seconds:.0f}"])
        return self._with_published(columns, rows, metrics)

    def _with_published(
        self, columns: list[str], rows: list[list[str]], metrics: list[str]
    ) -> tuple[list[str], list[list[str]]]:
        """The table with the paper's figures behind the metric that they are of, and the models that only it has."""
        if (found := self.published) is None:
            return columns, rows
        place = 4 + metrics.index(found.metric) if found.metric in metrics else 3 + len(metrics)
        names = [row[0] for row in rows]
        rows = [*rows, *([name, *[""] * (len(columns) - 1)] for name in found.beside(names))]
        return [*columns[:place], COLUMN, *columns[place:]], [
            [*row[:place], found.cell(row[0]), *row[place:]] for row in rows
        ]

    def unit(self, metric: str) -> float:
        """In what a metric is shown: that of the paper, where it has the metric; accuracies are in percent anyway."""
        return self.published.unit if self.published is not None and self.published.metric == metric else 1.0

    def title(self, metric: str) -> str:
        """How a metric is called over a column, with what it is multiplied by."""
        return titled(metric, self.unit(metric))

    def label(self, score: Score) -> str:
        """The name of a model, with its access where that is not the same for all."""
        return f"{score.name} ({score.access})" if len({each.access for each in self.scores}) > 1 else score.name

    def sentence(self) -> str:
        """The outcome in one sentence."""
        name = self.metric.name
        unit = self.unit(name)
        parts = [f"{self.label(score)} reaches {in_words(name, score.values(name), unit)}" for score in self.scores]
        said = f"Test {self.title(name)} on {self.networks['test']:,} unseen networks: " + ", ".join(parts) + "."
        return f"{said} {self.remark()}".strip()

    def learned_nothing(self, score: Score) -> bool:
        """Whether a model is no better than the trivial answer.

        An accuracy is better by more than two standard errors of as many test networks, any other metric by anything.
        """
        if self.trivial is None:
            return False
        values, limit = score.values(self.metric.name), self.trivial.value
        if self.metric.name == "accuracy":
            limit += 2 * math.sqrt(limit * (1 - limit) / self.networks["test"])
        return not self.metric.better(sum(values) / len(values), limit)

    def remark(self) -> str:
        """Which models are no better than the trivial answer, in a sentence; empty where all are."""
        behind = [self.label(score) for score in self.scores if self.learned_nothing(score)]
        if self.trivial is None or not behind:
            return ""
        value = in_words(self.metric.name, [self.trivial.value], self.unit(self.metric.name))
        return f"No better than {self.trivial.answer} ({value}): {', '.join(behind)}."


def titled(metric: str, unit: float) -> str:
    """How a metric is called whose values are shown in a unit.

    >>> titled("mse", 0.01), titled("mse", 1.0), titled("accuracy", 0.01)
    ('100 × mse', 'mse', 'accuracy')
    """
    return metric if metric == "accuracy" or unit == 1.0 else f"{1 / unit:g} × {metric}"


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean, and the standard deviation (n - 1) where there are several values."""
    mean = sum(values) / len(values)
    if len(values) == 1:
        return mean, None
    return mean, math.hypot(*(value - mean for value in values)) / math.sqrt(len(values) - 1)


def in_words(metric: str, values: Sequence[float], unit: float = 1.0) -> str:
    """The mean over seeds, ± the standard deviation where there are several; accuracies in percent.

    Args:
        metric: What the values are of.
        values: One a seed.
        unit: In what they are shown, but for accuracies.

    >>> in_words("accuracy", [0.9])
    '90.0 %'
    >>> in_words("mse", [0.1, 0.3])
    '0.2 ± 0.14'
    """
    scale = 1.0 if metric == "accuracy" else unit
    mean, spread = mean_and_deviation([value / scale for value in values])
    if metric == "accuracy":
        return f"{mean * 100:.1f} %" if spread is None else f"{mean * 100:.1f} ± {spread * 100:.1f} %"
    return f"{mean:.3g}" if spread is None else f"{mean:.3g} ± {spread:.2g}"
