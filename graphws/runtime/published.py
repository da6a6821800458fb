"""What a paper reports, beside what a run found."""

from __future__ import annotations

from dataclasses import dataclass, field

from graphws.errors import UsageError, nearest
from graphws.shown import Shown
from graphws.spec import Spec
from graphws.tasks import Task

NONE = "–"
COLUMN = "paper"
"""The title of the paper's figures in a table."""


@dataclass(frozen=True, repr=False)
class Published(Shown):
    """Figures of a paper in the unit of the metric.

    Attributes:
        source: Where they stand.
        metric: What they are of.
        unit: The paper's unit in that of the metric, in which tables show both.
        rows: By the name of the model: mean, and deviation where there is one.
    """

    source: str
    metric: str
    unit: float = 1.0
    rows: dict[str, tuple[float, float | None]] = field(default_factory=dict)

    def cell(self, name: str) -> str:
        """The figure of a model as a table shows it; a dash where the paper has none."""
        return self.words(self.rows.get(name))

    def words(self, figure: tuple[float, float | None] | None) -> str:
        """A figure as a table shows it, in the paper's unit; a dash for none."""
        if figure is None:
            return NONE
        scale, sign = (0.01, " %") if self.metric == "accuracy" else (self.unit, "")
        mean, deviation = (None if value is None else f"{value / scale:.6g}" for value in figure)
        return f"{mean}{sign}" if deviation is None else f"{mean} ± {deviation}{sign}"

    def beside(self, names: list[str]) -> list[str]:
        """The models that the paper has and a table of `names` lacks."""
        return [name for name in self.rows if name not in names]


def published_of(spec: Spec, task: Task) -> Published | None:
    """What the spec says a paper reports of its task.

    Raises:
        UsageError: On a metric that the task has not.
    """
    section = spec.published
    if section is None:
        return None
    metric = section.metric or task.chosen_by.name
    known = ["loss", *map(str, task.metrics(together=False).keys())]
    if metric not in known:
        hint = nearest(metric, known) or f"; it has {', '.join(known)}"
        raise UsageError(f"published.metric: the task has no metric {metric!r}{hint}")
    return Published(section.source, metric, section.unit, section.figures())
