from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import graphws.graph

MODULES = ["graphws.graph", "graphws.converting", "graphws.saving", "graphws.errors"]
MODULES += [f"graphws.graph.{module.name}" for module in pkgutil.iter_modules(graphws.graph.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_are_true(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
