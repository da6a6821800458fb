"""The exception tree: every error that a user can cause is a `GraphwsError`.

An error says where it happened, what was got, what is allowed and, for names, which allowed name is nearest.
`exit_code` is what the command line returns: 2 where the request itself is wrong, 1 where carrying it out failed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import islice

from graphws.printable import printable

LONGEST = 2000
"""Characters of an error's text: what it quotes may be as long as a file."""


class GraphwsError(Exception):
    """Base of all errors raised for users."""

    exit_code = 1

    def __str__(self) -> str:
        """The text, one printable line of at most 2,000 characters: what it quotes may come from a file."""
        return printable(super().__str__(), most=LONGEST)


class UsageError(GraphwsError):
    """The request is wrong: a bad argument, option or combination."""

    exit_code = 2


class SpecError(UsageError):
    """A YAML spec cannot be read or does not make sense; the text has a line or more for each mistake."""

    def __str__(self) -> str:
        """The text, printable."""
        return printable(Exception.__str__(self), lines=True)


class GraphError(GraphwsError):
    """A space, parameter or graph contradicts itself."""


class WeightsError(GraphwsError):
    """Tensors do not fit their graph, or hold values that no network should have."""


class VerificationError(GraphwsError):
    """A claimed symmetry changes the function, or the negative control does not."""


class DataError(GraphwsError):
    """A data source is missing, damaged or not what it claims to be."""


class ZooError(GraphwsError):
    """A zoo on disk is missing, unfinished, damaged or of another architecture."""


class RunError(GraphwsError):
    """A training or evaluation cannot start or go on."""


class Interrupted(GraphwsError):
    """The user stopped the work; the text says how to go on."""

    exit_code = 130  # 128 + SIGINT, as shells have it


LONGEST_NAME = 200
"""Characters of names that are compared."""
MOST_NAMES = 2000
"""Names that one is compared with."""


def nearest(name: str, allowed: Iterable[str], ending: str = "") -> str:
    """A hint that ends an error message: the allowed name closest to `name`, or nothing.

    Long names get none, and of many allowed ones only the first are compared: the work grows with the squares of their
    lengths.  An `ending` that names have in common does not make them alike.

    >>> nearest("poolng", ["pooling", "norm"])
    "; did you mean 'pooling'?"
    >>> nearest("zzz", ["pooling", "norm"])
    ''
    >>> nearest("a.yaml", ["b.yaml"]), nearest("a.yaml", ["b.yaml"], ending=".yaml")
    ("; did you mean 'b.yaml'?", '')
    """
    if len(name) > LONGEST_NAME:
        return ""
    known = (each.removesuffix(ending) for each in islice(allowed, MOST_NAMES) if len(each) <= LONGEST_NAME)
    matches = difflib.get_close_matches(name.removesuffix(ending), known, n=1, cutoff=0.6)
    return f"; did you mean {matches[0] + ending!r}?" if matches else ""
