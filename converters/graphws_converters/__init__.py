"""Converters from foreign checkpoints and modules to typed graphs.

The core never imports this package: it finds what is registered under the entry point group ``graphws.converters``,
so that a project of its own can add a converter the same way.
"""

from __future__ import annotations
