"""Figures for JSON, which has no word for infinity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def finite(value: Any, digits: int | None = None) -> Any:
    """Plain data in which numbers that are not finite are null.

    Args:
        value: Mappings, lists, texts, numbers and what they hold.
        digits: Significant digits that floating numbers keep; all of them where None.

    >>> finite({"a": (float("nan"), 1), "b": 0.12345678}, digits=3)
    {'a': [None, 1], 'b': 0.123}
    """
    if isinstance(value, Mapping):
        return {str(key): finite(each, digits) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each, digits) for each in value]
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    return value if digits is None else float(f"{value:.{digits}g}")
