"""What no file may reach: hostile contents name this function, and whoever watches asks whether it was called."""

from __future__ import annotations

from typing import Any

heard: list[Any] = []
"""The calls."""


def sing(*arguments: Any, **named: Any) -> None:
    """Leaves a trace."""
    heard.append((arguments, named))
