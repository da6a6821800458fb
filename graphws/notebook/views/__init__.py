"""HTML of objects, for notebooks.

`html_of` dispatches on the class.  What shows objects of the package ``graphws.NAME`` is registered in the module
``NAME`` here, which is imported when the first of them is shown: a graph on its own loads no training.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, singledispatch
from importlib import import_module
from importlib.util import find_spec
from typing import TypeVar

View = TypeVar("View", bound=Callable[..., str])


@singledispatch
def _view(thing: object) -> str | None:
    """Nothing: its text says it all."""
    return None


def view(kind: type) -> Callable[[View], View]:
    """Registers what makes HTML of objects of a class, which is to be safe and bounded."""

    def register(function: View) -> View:
        _view.register(kind, function)
        return function

    return register


def html_of(thing: object) -> str | None:
    """HTML of an object, text from files escaped; None where there is no more to show than its text."""
    for kind in type(thing).__mro__:
        root, _, rest = kind.__module__.partition(".")
        if root == "graphws" and rest:
            _load(rest.split(".")[0])
    return _view(thing)


@cache
def _load(package: str) -> None:
    name = f"{__name__}.{package}"
    if find_spec(name) is not None:
        import_module(name)
