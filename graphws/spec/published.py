"""``published``: what a paper reports of the same experiment, shown beside what a run finds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from graphws.errors import nearest
from graphws.spec.section import Positive, Section, Text
from graphws.spec.sweep import in_words
from graphws.spec.tree import Path, dotted
from graphws.spec.violations import Violation

if TYPE_CHECKING:
    from graphws.spec.sweep import SweepSection
    from graphws.spec.tasks import TaskSection

Figure = tuple[float, float | None]
"""A mean and the deviation that is given with it, None where there is none."""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_figure(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return len(value) == 2 and all(map(_is_number, value)) and value[1] >= 0
    return _is_number(value)


def _row(value: Any) -> Any:
    whole = bool(value) and all(map(_is_figure, value.values())) if isinstance(value, dict) else _is_figure(value)
    if not whole:
        raise ValueError("a figure is a number, [mean, deviation], or for a sweep a mapping of its values to these")
    return value


_FIGURE: list[dict[str, Any]] = [
    {"type": "number"},
    {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
]
_ROW = {"anyOf": [*_FIGURE, {"type": "object", "additionalProperties": {"anyOf": _FIGURE}}]}


class PublishedSection(Section):
    """Figures of a paper, by the names of the models: those that the run has, and others that it has not."""

    source: Annotated[Text, Field(description="Where the figures stand: authors, year, table.")]
    metric: Annotated[
        Text | None, Field(description="The metric that they are of; null: the one by which models are compared.")
    ] = None
    unit: Annotated[
        Positive,
        Field(description="Unit of the paper's figures in that of the metric: 0.01 for percent and for 100 × MSE."),
    ] = 1.0
    rows: Annotated[
        dict[Text, Annotated[Any, BeforeValidator(_row), WithJsonSchema(_ROW)]],
        Field(
            description="For each model a figure or [mean, deviation]; in a sweep, a mapping of its values, in quotes, "
            "to these. A scale may leave values of the paper out.",
        ),
    ]

    def figures(self, point: str | None = None) -> dict[str, Figure]:
        """The figures in the metric's unit; of a sweep, those at the value `point`.

        >>> PublishedSection(source="a", unit=0.01, rows={"x": [50, 2], "y": {"3": 25}}).figures("3")
        {'x': (0.5, 0.02), 'y': (0.25, None)}
        """
        found = {}
        for name, row in self.rows.items():
            figure = row.get(point) if isinstance(row, dict) else row
            if figure is not None:
                mean, deviation = figure if isinstance(figure, list | tuple) else (figure, None)
                found[name] = (mean * self.unit, None if deviation is None else deviation * self.unit)
        return found

    def curves(self) -> dict[str, dict[str, Figure]]:
        """The figures by model and by value of a sweep, in the metric's unit."""
        texts = dict.fromkeys(text for row in self.rows.values() if isinstance(row, dict) for text in row)
        at = {text: self.figures(text) for text in texts}
        return {name: {text: at[text][name] for text in texts if name in at[text]} for name in self.rows}

    def sweep_violations(self, sweep: SweepSection | None, scaled: bool, at: Path) -> Iterator[Violation]:
        """Figures by value are for a sweep, and at its values, unless a scale has left some of them out."""
        known = [] if sweep is None else [in_words(value) for value in sweep.values]
        for name, row in self.rows.items():
            here = (*at, "rows", name)
            if isinstance(row, dict) and sweep is None:
                yield Violation(here, f"{dotted(here)} has a figure for each value of a sweep; the spec has no `sweep`")
            elif isinstance(row, dict) and not scaled:
                for text in row:
                    if text not in known:
                        hint = nearest(text, known) or f"; it has {', '.join(known)}"
                        yield Violation((*here, text), f"the sweep has no value {text!r}{hint}")

    def task_violations(self, task: TaskSection, at: Path) -> Iterator[Violation]:
        """The task has the metric, where that is known before the data."""
        known = task.metrics()
        if self.metric is not None and known is not None and self.metric not in (*known, "loss"):
            here = (*at, "metric")
            hint = nearest(self.metric, known) or f"; it has {', '.join(known)}"
            yield Violation(here, f"{dotted(here)}: the task {task.kind} has no metric {self.metric!r}{hint}")
