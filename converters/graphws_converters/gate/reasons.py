"""What an error of someone else's says, in one line."""

from __future__ import annotations

LONGEST = 200


def reason_of(error: BaseException) -> str:
    """The first line of an error's text, or its kind where it says nothing.

    >>> reason_of(ValueError("no such axis\\nsee the manual")), reason_of(KeyboardInterrupt())
    ('no such axis', 'KeyboardInterrupt')
    """
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:LONGEST]
