"""Example inputs held against what a source is known to take, before anything is tried on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from graphws.errors import UsageError
from graphws.graph import NetworkGraph

Sizes = tuple[int | str, ...]
"""Lengths of axes; a word where any will do.  The first axis is the batch's, of any length."""


def known_inputs(graph: NetworkGraph) -> dict[str, Sizes | None]:
    """The inputs of a graph, by name; None for one of which nothing is known.

    >>> from graphws.operations import mlp_graph
    >>> known_inputs(mlp_graph([16, 12, 4]))
    {'x0': ('n', 16)}
    """
    found = {name: graph.value(name) for name in graph.inputs}
    return {name: None if value is None else value.shape for name, value in found.items()}


def check_inputs(
    given: Tensor | Sequence[Any] | Mapping[str, Any], takes: Mapping[str, Sizes | None], who: str
) -> None:
    """Whether example inputs are such as a source takes; a source that is known to take nothing is not asked.

    Args:
        given: A tensor, several by position, or by name; the only input may have any name.
        takes: The shape of each input, by name, as far as it is known.
        who: What to call the source.

    Raises:
        UsageError: On another number of inputs, other names, or another shape.
    """
    if not takes:
        return
    named = given if isinstance(given, Mapping) else {}
    held = [given] if isinstance(given, Tensor) else list(named.values()) if named else list(given)
    if len(takes) > 1 and named:
        if set(named) != set(takes):
            raise UsageError(f"{who} has the inputs {', '.join(takes)}; got {', '.join(map(str, named))}")
        held = [named[name] for name in takes]
    fits = len(held) == len(takes) and all(map(_fits, held, takes.values()))
    if not fits:
        wanted = ", ".join(f"{name} of shape {_words(sizes)}" for name, sizes in takes.items())
        raise UsageError(f"{who} takes {wanted}; got example inputs of shape {', '.join(map(_shape, held))}")


def _fits(given: Any, sizes: Sizes | None) -> bool:
    if not isinstance(given, Tensor) or sizes is None:
        return True
    same = zip(given.shape[1:], sizes[1:], strict=False)
    return given.ndim == len(sizes) and all(isinstance(size, str) or size == length for length, size in same)


def _shape(given: Any) -> str:
    return _words(tuple(given.shape)) if isinstance(given, Tensor) else type(given).__name__


def _words(sizes: Sizes | None) -> str:
    """A shape as Python writes it, but for its words."""
    if sizes is None:
        return "?"
    return f"({', '.join(map(str, sizes))}{',' if len(sizes) == 1 else ''})"
