"""The examples in the docstrings of the models are true."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["neuron_graph", "row_tokens"])
def test_examples(name: str) -> None:
    found = doctest.testmod(importlib.import_module(f"graphws.models.{name}"))
    assert found.attempted >= 2
    assert found.failed == 0
