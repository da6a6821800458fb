"""What a plain scalar means: the core schema of YAML 1.2 (section 10.3.2).

PyYAML resolves scalars as YAML 1.1 did, where ``no`` is false, ``1e-4`` a string, ``012`` ten and ``1:30`` ninety.  In
YAML 1.2 ``no`` is a string, ``1e-4`` a number, ``012`` twelve and ``1:30`` a string.

    >>> [scalar(text) for text in ("1e-4", "no", "012", "0o17", "1:30", "~", "True")]
    [0.0001, 'no', 12, 15, '1:30', None, True]
"""

from __future__ import annotations

import re

Value = str | int | float | bool | None

NULL = re.compile(r"null|Null|NULL|~|")
BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")

LONGEST_NUMBER = 400
"""Digits of an integer that are still read as one; Python refuses some thousands."""


def scalar(text: str) -> Value:
    """The value of a plain (unquoted) scalar.

    Raises:
        ValueError: On an integer of more than `LONGEST_NUMBER` digits.
    """
    if NULL.fullmatch(text):
        return None
    if BOOL.fullmatch(text):
        return text.lower() == "true"
    if INT.fullmatch(text):
        if len(text) > LONGEST_NUMBER:
            raise ValueError(f"a number of {len(text)} digits")
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        return int(text[2:] if base != 10 else text, base)
    if FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text
