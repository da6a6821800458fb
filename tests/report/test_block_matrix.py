"""The picture of a layer's blocks."""

from __future__ import annotations

import itertools

import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from graphws.layers import expand_blocks
from graphws.layers.acting.neurons import stages
from graphws.layers.explain import Explanation, explain
from graphws.layers.stage_explanation import explain_stage
from graphws.messages import FAMILIES, Message
from graphws.operations import mlp_graph
from graphws.report.block_matrix import OFF, colour, draw_block_matrix, rule
from graphws.report.figures import png
from tests.layers.cases import GRAPHS


def numbers(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts if text.get_text().replace(",", "").isdigit()]


def labels(figure: Figure) -> list[str]:
    legend = figure.axes[0].get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


@pytest.mark.parametrize("depth", [2, 3, 4, 6])
def test_every_block_shows_its_parameter_count(depth: int) -> None:
    explanation = explain(mlp_graph([2, *[8] * (depth - 1), 3]), None, 4, 16)
    figure = draw_block_matrix(explanation)
    wanted = [f"{block.parameters:,}" for block in explanation.blocks] + [f"{n:,}" for n in explanation.biases]
    assert sorted(numbers(figure)) == sorted(wanted)
    assert figure.axes[0].get_title(loc="left") == f"{explanation.parameters:,} parameters, 4 → 16 channels"


def test_weights_come_before_biases() -> None:
    axes = draw_block_matrix(explain(mlp_graph([2, 8, 8, 3]))).axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["W1", "W2", "W3", "b1", "b2", "b3"]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["W1", "W2", "W3", "b1", "b2", "b3", "bias"]
    words = {text.get_text() for text in axes.texts}
    assert {"from weights", "from biases", "to weights", "to biases"} <= words


def test_blocks_that_are_off_are_empty_and_in_the_legend() -> None:
    full = draw_block_matrix(explain(mlp_graph([2, 8, 8, 3])))
    diagonal = draw_block_matrix(
        explain(mlp_graph([2, 8, 8, 3]), expand_blocks(dict.fromkeys(FAMILIES, "diagonal")), bias=False)
    )
    assert "off" in labels(diagonal)
    assert "off" not in labels(full)
    assert len(numbers(diagonal)) == sum(bool(b.maps) for b in _diagonal().blocks)


def _diagonal() -> Explanation:
    return explain(mlp_graph([2, 8, 8, 3]), expand_blocks(dict.fromkeys(FAMILIES, "diagonal")))


def test_rules_have_different_colours() -> None:
    rules = [None, *itertools.product(("edge", "neuron", "network", "weight"), range(4))]
    colours = {colour(kind) for kind in rules}  # type: ignore[arg-type]
    assert len(colours) == len(rules)
    for one, other in itertools.combinations(colours, 2):
        assert max(abs(a - b) for a, b in zip(one, other, strict=True)) > 0.02
    assert OFF.startswith("#")


def test_the_paper_s_kinds_of_blocks_differ() -> None:
    explanation = explain(mlp_graph([2, 8, 8, 8, 8, 3]))
    kinds = [rule(explanation.block(*pair.split())) for pair in ("W1 W1", "W2 W2", "W2 W3", "W1 W3", "W5 W1", "W2 W4")]
    assert len(set(kinds)) == len(kinds)


@pytest.mark.parametrize("name", ["head pairs", "convolution", "residual 1", "mlp 2-3", "nest"])
def test_odd_graphs_are_drawn_within_the_page(name: str) -> None:
    figure = draw_block_matrix(explain(GRAPHS[name]))
    png(figure, dpi=40)
    page = figure.bbox
    drawn = [*figure.axes[0].texts, *figure.axes[0].get_yticklabels(), *figure.axes[0].get_xticklabels()]
    legend = figure.axes[0].get_legend()
    assert legend is not None
    for artist in [*drawn, legend]:
        box = artist.get_window_extent()
        assert box.x0 >= page.x0 - 1
        assert box.x1 <= page.x1 + 1
        assert box.y0 >= page.y0 - 1
        assert box.y1 <= page.y1 + 1


def acting(messages: list[Message]) -> Explanation:
    graph = mlp_graph([2, 8, 8, 1])
    stage = stages([graph], messages, 2, networks=False)[1]
    return explain_stage(stage, [graph], messages, (4, 4))


def test_what_weights_carry_has_a_colour_of_its_own() -> None:
    start = Message(("any",), "neuron", ("neuron",), "mean")
    explanation = acting([start, Message(("neuron",), "weight", ("neuron",))])
    figure = draw_block_matrix(explanation)
    assert labels(figure) == ["through shared neurons: sets only", "carried by weights: sets only"]
    faces = [patch.get_facecolor()[:3] for patch in figure.axes[0].patches]
    assert faces.count(colour(("weight", 0))) == 2
    assert faces.count(colour(("neuron", 0))) == 2
    assert sorted(numbers(figure)) == ["16", "16", "16", "16", "4", "4"]


def test_blocks_of_both_kinds_have_a_corner_and_the_sum() -> None:
    messages = [Message(("any",), "network", ("neuron", "weight"), "mean"), Message(("neuron",), "weight", ("weight",))]
    explanation = acting(messages)
    figure = draw_block_matrix(explanation)
    corners = [patch for patch in figure.axes[0].patches if isinstance(patch, Polygon)]
    assert len(corners) == 4  # hidden1 on W1 and W2, hidden2 on W2 and W3
    both = explanation.block("@hidden1", "W2").parameters, explanation.acting("@hidden1", "W2")
    assert both[0] == 16
    assert [one.parameters for one in both[1]] == [16, 16]
    assert "48" in numbers(figure)
