from __future__ import annotations

import base64
import re

import numpy as np
import pytest

from graphws.report import (
    Page,
    Picture,
    Table,
    answered_pictures,
    changed_pictures,
    confusion_matrix,
    curves,
    html,
    png,
    predicted_against_true,
    scores,
    stored,
)
from graphws.report.svg import drawn, svg
from graphws.report.theme import INK, RED


def _size(content: bytes) -> tuple[int, int]:
    assert content.startswith(b"\x89PNG")
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")


def test_a_page_holds_its_pictures_and_needs_nothing_else() -> None:
    page = html(Page("run", "All is well.", Table(("model", "x"), [("a", "1")]), [Picture("What it shows.", b"png")]))
    assert f"data:image/png;base64,{base64.b64encode(b'png').decode()}" in page
    assert "<figcaption>What it shows.</figcaption>" in page
    assert not re.search(r"https?:|<script|<link|@import|url\(", page)


def test_text_cannot_become_markup() -> None:
    page = html(
        Page("<b>", "<i>", Table(("<u>",), [("<s>",)]), [Picture('"><img', b"")], {"<em>": "<tt>"}, "a: <script>")
    )
    assert not re.search(r"<(b|i|u|s|em|tt|script)>", page)
    assert '"><img' not in page


def test_facts_and_spec_are_shown_when_there_are_any() -> None:
    bare = html(Page("run", "", Table((), [])))
    assert "<h2>" not in bare
    full = html(Page("run", "", Table((), []), facts={"weights": "67"}, spec="graphws: 1", ran={"torch": "2.13"}))
    shown, fold = full.split("<details><summary>What ran, and on what</summary>")
    assert "<td>weights</td><td>67</td>" in shown
    assert "<td>torch</td><td>2.13</td>" in fold
    assert "<pre>graphws: 1</pre>" in fold
    assert "<details open" not in full


def test_what_is_said_of_rows_stands_under_the_table() -> None:
    page = html(Page("run", "", Table(("layer",), [("a",)]), remarks=["a does no better than <decoys>."]))
    assert "</table></div>\n<ul><li>a does no better than &lt;decoys&gt;.</li></ul>" in page


def test_pictures_keep_the_size_at_which_they_are_read() -> None:
    figure = scores({"a": [0.5]}, "mse")
    width = figure.get_figwidth() * 96
    page = html(Page("run", "", Table((), []), [drawn("one", figure), stored("two", png(figure))]))
    found = re.findall(r'<img( class="card")? style="--width: (\d+)px" alt="(\w+)" src="data:([^;]+);', page)
    assert [(card, name, form) for card, _, name, form in found] == [
        ("", "one", "image/svg+xml"), (' class="card"', "two", "image/png"),
    ]  # fmt: skip
    assert [int(size) for _, size, _, _ in found] == pytest.approx([width, width], abs=1)


ROWS = [
    {"epoch": e, "train_loss": 1 / e, "val_loss": 2 / e, "val_accuracy": e / 9, "val_mse": 1 / e} for e in (1, 2, 3)
]


def test_curves_have_a_line_for_each_seed_and_one_name_for_each_model() -> None:
    figure = curves({"dwsnet": [ROWS, ROWS], "mlp": [ROWS]}, "accuracy")
    loss, score = figure.axes
    assert (len(loss.get_lines()), len(score.get_lines())) == (6, 3)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["dwsnet", "mlp"]
    assert _size(png(figure))[0] > 900


def test_losses_of_zero_do_not_break_the_curves() -> None:
    rows = [{**ROWS[0], "train_loss": 0.0}]
    assert curves({"a": [rows]}, "accuracy").axes[0].get_yscale() == "linear"


def test_a_confusion_matrix_counts_rows_in_percent() -> None:
    targets, predictions = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    figure = confusion_matrix(targets, predictions, 3, "title")
    image = figure.axes[0].get_images()[0].get_array()
    assert image is not None
    assert image.tolist() == [[50, 50, 0], [0, 100, 0], [0, 0, 0]]
    assert {text.get_text() for text in figure.axes[0].texts} == {"50", "100"}


def test_predictions_get_a_panel_for_each_model_and_target() -> None:
    targets = np.random.default_rng(0).normal(size=(10, 2))
    figure = predicted_against_true(targets, {"a": targets, "b": targets, "c": targets}, ("x", "y"))
    assert len(figure.axes) == 6
    assert figure.axes[0].get_xlabel() == "true x"


def test_scores_show_the_mean_and_each_seed() -> None:
    figure = scores({"a": [0.5, 0.7], "b": [0.1]}, "accuracy")
    axes = figure.axes[0]
    assert [round(bar.get_height(), 6) for bar in axes.patches] == [0.6, 0.1]
    assert [len(line.get_xdata()) for line in axes.get_lines()] == [2, 1]


def test_the_same_figure_gives_the_same_file() -> None:
    assert png(scores({"a": [0.5]}, "mse")) == png(scores({"a": [0.5]}, "mse"))


def test_wrong_answers_are_red_and_name_the_truth() -> None:
    pictures = np.zeros((14, 4, 5, 1))
    targets = np.arange(14) % 3
    predictions = targets.copy()
    predictions[13] = 2
    figure = answered_pictures(pictures, targets, predictions, ["cat", "dog", "owl"])
    titles = [axes.title for axes in figure.axes if axes.get_images()]
    assert [title.get_text() for title in titles[:3]] == ["cat", "dog", "owl"]
    assert (titles[13].get_text(), titles[13].get_color()) == ("owl (is dog)", RED)
    assert len(titles) == 14
    assert all(title.get_color() == INK for title in titles[:13])
    assert len(answered_pictures(np.zeros((2, 4, 4, 3)), targets[:2], predictions[:2]).axes) == 2


def test_pictures_stand_over_what_became_of_them() -> None:
    before = np.random.default_rng(0).random((3, 4, 5, 1))
    figure = changed_pictures(before, before[:, ::-1])
    shown = [axes.get_images()[0].get_array() for half in figure.subfigs for axes in half.axes]
    assert [half.get_suptitle() for half in figure.subfigs] == [
        "reconstructed from the weights",
        "after augmenting the weights",
    ]
    assert len(shown) == 6
    assert np.array_equal(shown[1], before[1, ..., 0])
    assert np.array_equal(shown[4], before[1, ::-1, :, 0])
    assert png(changed_pictures(np.zeros((2, 4, 4, 3)), np.ones((2, 4, 4, 3)), ("a", "b")))
    with pytest.raises(ValueError, match=r"^pictures of shapes \(3, 4, 5, 1\) and \(1, 4, 5, 1\) do not correspond$"):
        changed_pictures(before, before[:1])


def test_scores_of_models_with_long_names_lie_and_a_line_says_what_no_model_reaches() -> None:
    names = ["a", "a model of a name that needs several lines, as it is long"]
    figure = scores({name: [0.5, 0.7] for name in names}, "accuracy", ("always naming the commonest class", 0.4))
    axes = figure.axes[0]
    assert [round(bar.get_width(), 6) for bar in axes.patches] == [0.6, 0.6]
    assert [text.get_text().replace("\n", " ") for text in axes.get_yticklabels()] == names
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["always naming the commonest class"]
    upright = scores({"a": [0.5]}, "accuracy", ("guessing", 0.4))
    assert upright.axes[0].get_lines()[-1].get_ydata() == [0.4, 0.4]


def test_metrics_that_are_not_positive_stay_on_the_axis() -> None:
    rows = [{"epoch": e, "train_loss": 10.0**-e, "val_loss": 1.0, "val_r2": e - 2} for e in (1, 2, 3)]
    loss, score = curves({"a": [rows]}, "r2").axes
    assert (loss.get_yscale(), score.get_yscale()) == ("log", "linear")


def test_a_figure_follows_the_theme_as_an_svg() -> None:
    figure = scores({"a": [0.5], "$x$ <script>": [0.1]}, "mse")
    text = svg(figure)
    assert text == svg(scores({"a": [0.5], "$x$ <script>": [0.1]}, "mse"))
    assert text.startswith("<svg")
    assert "@media (prefers-color-scheme: dark)" in text
    body = text.split("</style>", 1)[1]
    assert "stroke: var(--ink)" in body
    assert "fill: var(--series-1)" in body
    assert not {INK, RED, "#000000"} & set(re.findall(r"#[0-9a-f]{6}\b", body))
    assert "<script" not in body
    assert not re.search(r"(href|src)=\"(?!#|data:)", body)


def test_clouds_of_points_are_pixels() -> None:
    points = np.random.default_rng(0).normal(size=(3000, 1))
    few, many = (svg(predicted_against_true(x, {"a": x}, ["y"])) for x in (points[:300], points))
    assert (few.count("<image"), many.count("<image")) == (0, 1)
    assert len(many) < len(few) + 100_000
