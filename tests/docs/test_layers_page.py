"""The examples on docs/layers.md are right."""

from __future__ import annotations

import doctest
import re
import textwrap
from pathlib import Path

from graphws.layers import expand_blocks, plan_by_name
from graphws.layers.explain import explain
from graphws.operations import mlp_graph
from graphws.spec import parse_spec
from tests.layers.cases import residual

PAGE = Path(__file__).resolve().parents[2] / "docs" / "layers.md"


def test_its_session_runs() -> None:
    found = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert found.attempted == 3
    assert found.failed == 0


def test_its_messages_are_valid() -> None:
    first, third, published = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    listed = textwrap.indent(first, "  ")
    assert len(parse_spec(f"graphws: 1\nmodel:\n  kind: dwsnet\n{listed}").model.layer_messages()) == 3
    spec = parse_spec(f"graphws: 1\n{third}")
    graphs = [mlp_graph([2, 32, 32, 1])]
    assert [layer.tensors for layer in spec.model.explanations(graphs, spec.head)[1:]] == [("@hidden1", "@hidden2")] * 3
    spec = parse_spec(f"graphws: 1\n{published}")
    assert spec.model.parameters(graphs[0], spec.head) == 552_650


def test_its_counts_are_right() -> None:
    explanation = explain(mlp_graph([2, 3, 4, 1]))
    counts = {
        pair: explanation.block(*pair.split(" → ")).parameters for pair in ("W2 → W2", "W1 → W2", "b2 → b1", "b3 → W1")
    }
    assert list(counts.values()) == [4, 4, 1, 2]
    for pair, count in counts.items():
        row = next(line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| {pair} |"))
        assert row.rstrip(" |").endswith(str(count))
    assert explanation.matrix_parameters == 75
    assert (len(explanation.products), len(explanation.blocks)) == (4, 36)
    full = expand_blocks(pool="mean")
    assert [plan_by_name(residual(d), full).count("A", "A") for d in (4, 3, 2)] == [15, 14, 8]
