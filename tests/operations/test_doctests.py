from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import graphws.operations

MODULES = ["graphws.operations"]
MODULES += [module.name for module in pkgutil.walk_packages(graphws.operations.__path__, "graphws.operations.")]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_are_true(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
