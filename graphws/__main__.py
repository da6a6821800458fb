"""``python -m graphws``: the command line, where no script is installed or `torchrun` starts it."""

from __future__ import annotations

from graphws.cli import main

main()
