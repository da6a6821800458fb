"""Keeping what torch.export says while it traces out of the way.

It writes thousands of lines on a module that it cannot follow, which the recorder then follows: to loggers of torch
with handlers of their own, and straight to the error stream.  They are dropped while one trace runs, and everything is
as it was afterwards.  They stay where the logger ``graphws_converters`` is set to DEBUG (``graphws --debug``).
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator

LOGGER = "graphws_converters"


@contextlib.contextmanager
def quiet_export() -> Iterator[None]:
    """While it is open, loggers of torch and the error stream give nothing; in DEBUG it does nothing."""
    if logging.getLogger(LOGGER).isEnabledFor(logging.DEBUG):
        yield
        return
    handlers = [handler for logger in _loggers_of_torch() for handler in logger.handlers]
    for handler in handlers:
        handler.addFilter(_drop)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        for handler in handlers:
            handler.removeFilter(_drop)


def _loggers_of_torch() -> list[logging.Logger]:
    every = logging.root.manager.loggerDict.items()
    return [found for name, found in every if name.split(".")[0] == "torch" and isinstance(found, logging.Logger)]


def _drop(record: logging.LogRecord) -> bool:
    return False
