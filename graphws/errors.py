"""The exception tree: every error that a user can cause is a `GraphwsError`.

An error says where it happened, what was got, what is allowed and, for names, which allowed name is nearest.
`exit_code` is what the command line returns: 2 where the request itself is wrong, 1 where carrying it out failed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from graphws.printable import printable


class GraphwsError(Exception):
    """Base of all errors raised for users."""

    exit_code = 1

    def __str__(self) -> str:
        """The text, printable: what it quotes may come from a file (`graphws.printable`)."""
        return printable(super().__str__(), lines=True)


class UsageError(GraphwsError):
    """The request is wrong: a bad argument, option or combination."""

    exit_code = 2


class SpecError(UsageError):
    """A YAML spec cannot be read or does not make sense."""


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


def nearest(name: str, allowed: Iterable[str]) -> str:
    """A hint that ends an error message: the allowed name closest to `name`, or nothing.

    >>> nearest("poolng", ["pooling", "norm"])
    "; did you mean 'pooling'?"
    >>> nearest("zzz", ["pooling", "norm"])
    ''
    """
    matches = difflib.get_close_matches(name, list(allowed), n=1, cutoff=0.6)
    return f"; did you mean {matches[0]!r}?" if matches else ""
