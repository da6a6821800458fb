from __future__ import annotations

import math

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from graphws.graph import NetworkGraph, Parameter, Space
from graphws.operations import mlp_graph
from graphws.report.figures import png
from graphws.report.graph.figure import draw_graph
from graphws.report.graph.positions import LONGEST_ROW, place
from tests.graph import samples

GRAPHS = {
    "mlp": mlp_graph([2, 32, 32, 1], "sine"),
    "one layer": mlp_graph([3, 2]),
    "ten layers": mlp_graph([784, 512, 256, 128, 64, 64, 32, 32, 16, 16, 10]),
    "long": mlp_graph([3] + [64] * 13 + [1]),
    "heads": samples.heads(),
    "empty": NetworkGraph((), ()),
    "mathtext": NetworkGraph((Space("a", 2),), (Parameter("x$\\frac", "a"), Parameter("$^", "a a"))),  # type: ignore[arg-type]
}


def _texts(figure: Figure) -> list[str]:
    return [line for text in figure.findobj(Text) for line in text.get_text().splitlines()]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", GRAPHS)
def test_every_space_and_parameter_is_named(name: str) -> None:
    graph = GRAPHS[name]
    figure = draw_graph(graph)
    assert png(figure, dpi=40).startswith(b"\x89PNG")
    text = " ".join(_texts(figure))
    for item in (*graph.spaces, *graph.parameters):
        assert item.name in text


@pytest.mark.parametrize("name", GRAPHS)
def test_discs_do_not_overlap(name: str) -> None:
    discs = list(place(GRAPHS[name]).values())
    for k, disc in enumerate(discs):
        for other in discs[:k]:
            distance = math.dist(disc.at, other.at)
            assert distance > disc.radius + other.radius + 0.3


def test_data_flow_from_left_to_right_and_long_chains_wind() -> None:
    graph = GRAPHS["ten layers"]
    places = place(graph)
    across = [places[space.name].at[0] for space in graph.spaces]
    assert across == sorted(across)
    long = place(GRAPHS["long"])
    rows = [long[space.name].row for space in GRAPHS["long"].spaces]
    assert rows == sorted(rows)
    assert max(rows.count(row) for row in rows) <= LONGEST_ROW
    second = [long[s.name].at[0] for s in GRAPHS["long"].spaces if long[s.name].row == 1]
    assert second == sorted(second, reverse=True)


def test_larger_spaces_are_drawn_larger() -> None:
    places = place(GRAPHS["ten layers"])
    assert places["input"].radius > places["hidden1"].radius > places["hidden9"].radius > 0.2


def test_kernel_taps_stand_below_the_flow() -> None:
    spaces = (Space("rgb", 3, "free"), Space("taps", 9, "free"), Space("c1", 16), Space("c2", 32))
    parameters = (Parameter("conv1", "c1 rgb* taps"), Parameter("conv2", "c2 c1* taps"))  # type: ignore[arg-type]
    places = place(NetworkGraph(spaces, parameters))
    assert [places[name].at[0] for name in ("rgb", "c1", "c2")] == sorted(places[n].at[0] for n in ("rgb", "c1", "c2"))
    assert places["taps"].at[1] < min(places[name].at[1] for name in ("rgb", "c1", "c2"))


def test_a_graph_is_drawn_where_it_is_told() -> None:
    figure = Figure()
    assert draw_graph(GRAPHS["mlp"], figure.subplots()) is figure
    assert draw_graph(GRAPHS["mlp"], figure.subfigures(1, 2)[0].subplots()) is figure
