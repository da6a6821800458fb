"""The examples in the docstrings of the specs are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import graphws.spec


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(graphws.spec.__path__)])
def test_examples(name):
    assert doctest.testmod(importlib.import_module(f"graphws.spec.{name}")).failed == 0
