"""No figure cuts anything off or tells series apart by colour alone, whatever the names and numbers."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from graphws.actions.measures.layer_errors import DecoyFigures
from graphws.align import Barrier
from graphws.report import (
    answered_pictures,
    before_and_after,
    changed_pictures,
    confusion_matrix,
    curves,
    embeddings_by_target,
    kept_shares,
    picture_rows,
    predicted_against_true,
    scores,
    sweep_curve,
)
from graphws.report.actions_figures import draw_categories, draw_errors, draw_streams
from graphws.report.align_page import draw_barriers, draw_record
from graphws.report.symmetry_figures import draw_training
from tests.report.cut_off import cut_off, same_shapes
from tests.report.test_actions_figures import layer

RNG = np.random.default_rng(0)
LONG = "a_model_of_a_name_that_is_longer_than_any_that_people_choose"
NAMES = ("dwsnet", "mlp", LONG, "statistics", "transformer", "trees")
PAST = (0.0, 0.25, 0.5, 0.75, 1.0)


def _history(name: int) -> list[dict[str, float]]:
    return [
        {"epoch": e, "train_loss": 3.0 * 0.5**e, "val_loss": 2.0 + e, "val_r2": name - 3.0 * e} for e in range(1, 31)
    ]


def _stream(name: str) -> Any:
    return SimpleNamespace(matched=3, size=4, all_matched=2, chance=1, parameter=name, writes=True, space="stream")


DRAWN: dict[str, Callable[[], Figure]] = {
    "scores": lambda: scores({name: [0.5, -0.7] for name in NAMES}, "r2", ("always answering the mean", -0.9)),
    "upright scores": lambda: scores({"a": [0.2, 0.3], "b": [0.9]}, "accuracy", ("naming", 0.95)),
    "curves": lambda: curves({name: [_history(k), _history(k)] for k, name in enumerate(NAMES)}, "r2"),
    "curves of one epoch": lambda: curves({"a": [_history(0)[:1]]}, "r2"),
    "confusion": lambda: confusion_matrix(np.arange(30) % 10, np.arange(30) % 7, 10, f"{LONG}, test split"),
    "predictions": lambda: predicted_against_true(
        RNG.normal(size=(30, 2)), {name: RNG.normal(size=(30, 2)) * 40 for name in NAMES[:3]}, ("a", "b")
    ),
    "embeddings": lambda: embeddings_by_target(
        {name: (RNG.normal(size=(30, 2)), np.arange(30)) for name in NAMES[:3]}, RNG.random((30, 1)), ("frequency",)
    ),
    "adapted": lambda: before_and_after(RNG.random(20), {name: RNG.random(20) for name in NAMES[:3]}, "accuracy"),
    "kept": lambda: kept_shares({name: RNG.random((9, 4)).round() for name in NAMES}, ["W1", "b1", LONG, "W2"]),
    "pictures": lambda: picture_rows({name: RNG.random((5, 4, 4, 1)) for name in NAMES[:3]}),
    "answers": lambda: answered_pictures(RNG.random((14, 4, 4, 1)), np.arange(14) % 3, np.arange(14) % 2),
    "changed": lambda: changed_pictures(RNG.random((12, 4, 4, 1)), RNG.random((12, 4, 4, 1))),
    "sweep": lambda: sweep_curve(
        ["1", "2", "8"],
        {name: {"1": (0.5 + k, 0.2), "2": (0.4 + k, None)} for k, name in enumerate(NAMES)},
        {"dwsnet": {"8": (0.4, 0.1), "1": (0.1, None)}},
        "networks",
        "test mse",
    ),
    "barriers": lambda: draw_barriers(
        Barrier(PAST, (2.0, 2.001, 2.003, 2.001, 2.0)), Barrier(PAST, (2.0, 1.999, 1.998, 1.999, 2.0)), "cross entropy"
    ),
    "record": lambda: draw_record([0.91, 0.92, 0.93]),
    "training": lambda: draw_training(
        [{"step": 10.0 * k, "train_loss": 1 / k, "r2": 0.1 * k, "equivariance": 0.5**k} for k in range(1, 9)], 40
    ),
    "errors": lambda: draw_errors(
        [layer("one", 0.3, 0.05, a=DecoyFigures(0.8, 0.1, 0.1)), layer(f"h.0.{LONG}", 1e-9, None), layer("x", 3.0)],
        ["x"],
    ),
    "categories": lambda: draw_categories([layer(f"h.0.{LONG}", 0.1, a=DecoyFigures(0.9, 0.2, 0.2))], "m"),
    "streams": lambda: draw_streams([_stream("h.0.c_attn"), _stream(LONG)]),
}


@pytest.mark.parametrize("name", DRAWN)
def test_nothing_is_cut_off(name: str) -> None:
    assert cut_off(DRAWN[name]()) == []


@pytest.mark.parametrize("name", DRAWN)
def test_series_differ_in_shape(name: str) -> None:
    assert same_shapes(DRAWN[name]()) == []


def test_the_range_of_barriers_is_that_of_the_losses() -> None:
    """Losses of 2 that differ by thousandths fill the axis; from 0 on they were a flat line."""
    low, high = DRAWN["barriers"]().axes[0].get_ylim()
    assert 1.99 < low < 1.998
    assert 2.003 < high < 2.01


def test_what_is_cut_off_is_found() -> None:
    figure = Figure(figsize=(4, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], label="line")
    axes.scatter([0, 1], [0, 1])
    assert cut_off(figure) == []
    axes.set_ylim(0, 0.5)
    figure.text(0.9, 0.5, "a text at the edge")
    assert cut_off(figure) == ["points of 'line'", "a point", "a text or a mark outside of the figure"]


def test_series_of_one_shape_are_found() -> None:
    figure = Figure()
    axes = figure.subplots()
    for name, colour in (("a", "red"), ("b", "blue")):
        axes.plot([0, 1], [0, 1], "o-", color=colour, label=name)
        axes.bar([0], [1], color=colour, label=f"bar {name}")
    assert same_shapes(figure) == [("a", "b"), ("bar a", "bar b")]
