from __future__ import annotations

import pytest

from graphws.graph.summary import summary_table
from graphws.operations import mlp_graph
from tests.graph import samples


def test_the_rows_of_an_mlp() -> None:
    summary = summary_table(mlp_graph([2, 32, 1], "sine"))
    assert [(row.name, row.kind, row.extent, row.action, row.factor) for row in summary.spaces] == [
        ("input", "free", 2, "", ""),
        ("hidden1", "set", 32, "signed", "S_32"),
        ("output", "free", 1, "", ""),
    ]
    assert [(row.name, row.axes, row.shape, row.numel, row.orbits, row.key) for row in summary.parameters] == [
        ("W1", "hidden1, input*", (32, 2), 64, 2, "0.weight"),
        ("b1", "hidden1", (32,), 32, 1, "0.bias"),
        ("W2", "output, hidden1*", (1, 32), 32, 1, "2.weight"),
        ("b2", "output", (1,), 1, 1, "2.bias"),
    ]
    assert (summary.numel, summary.orbits, summary.factors) == (129, 5, ("S_32",))
    assert summary.log10_order == pytest.approx(35.42, abs=0.01)
    assert summary.spaces[1].reason == "followed by sine"


def test_the_rows_of_heads() -> None:
    graph = samples.heads()
    summary = summary_table(graph)
    rows = {row.name: row for row in summary.parameters}
    assert rows["R"].key == "qr.weight[6:12, 0:4]"
    assert rows["E"].aliases == ("head",)
    assert rows["W"].orbits == 2
    assert sum(row.log10_order for row in summary.spaces) == pytest.approx(graph.log10_order())
    assert {row.name: row.parent for row in summary.spaces} == {"x": "", "d": "", "h": "", "k": "h", "r": "h"}
    assert {row.name: row.factor for row in summary.spaces}["k"] == "S_2 wr S_3"
