"""The command line: ``graphws run|train|eval|results|zoo|check|schema|explain|inspect``.

    graphws run specs/digits-inr.yaml      fit a zoo, train on it, compare, report
    graphws explain specs/digits-inr.yaml  what the model is made of
    graphws inspect model.pt               a checkpoint as a typed graph

Commands are thin: they read arguments, call the library and print.  How they fail is in `graphws.cli.guard`.
"""

from __future__ import annotations

import os

# OpenMP's threads wait for each other by spinning. Where another program wants the same cores, that makes two threads
# many times slower than one (15 times, measured on two busy cores); asleep they lose nothing that shows.
# The variable counts only if it is set before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from graphws.cli.app import app as app


def main() -> None:
    """The console script."""
    app()
