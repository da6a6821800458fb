from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import graphws.checkpoints

MODULES = ["graphws.checkpoints"]
MODULES += [module.name for module in pkgutil.walk_packages(graphws.checkpoints.__path__, "graphws.checkpoints.")]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_are_true(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
