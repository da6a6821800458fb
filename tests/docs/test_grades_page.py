"""The examples on docs/grades.md are right."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from graphws.graph import NetworkGraph
from graphws.layers.acting.grades import grading
from graphws.layers.acting.routes import carry, routes
from graphws.layers.graded.state import State
from graphws.operations import mlp_graph
from graphws.testing import GradedLayerTests

PAGE = Path(__file__).resolve().parents[2] / "docs" / "grades.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
NAMES: dict[str, Any] = {
    "torch": torch, "nn": nn, "NetworkGraph": NetworkGraph, "grading": grading, "carry": carry, "routes": routes,
    "State": State, "mlp_graph": mlp_graph, "GradedLayerTests": GradedLayerTests, "__name__": __name__,
}  # fmt: skip
exec(BLOCKS[1], NAMES)
exec(BLOCKS[0], NAMES)
TestMyLayer = NAMES["TestMyLayer"]  # pytest collects it


def test_what_it_prints() -> None:
    assert doctest.testfile(str(PAGE), module_relative=False).failed == 0


def test_its_layer_is_noticed_with_a_bias() -> None:
    """The page's test says something: a layer that shifts odd features fails it."""

    class Wrong(TestMyLayer):  # type: ignore[misc, valid-type]
        def make_layer(self) -> nn.Module:
            layer = super().make_layer()

            class Shifted(nn.Module):
                def __init__(self) -> None:
                    super().__init__()
                    self.layer = layer

                def forward(self, state: State) -> State:
                    found: State = self.layer(state)
                    return found.with_({("hidden2", 1): found.tensors["hidden2", 1] + 1})

            return Shifted()

    with pytest.raises(Exception, match="not equivariant"):
        Wrong().test_it_is_equivariant()
