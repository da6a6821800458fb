"""The script of exits tells a clean end from one with a signal."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from scripts.trust.exits import tried

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="forks the processes that spin"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]

CLEAN = "import atexit, sys; atexit.register(print, 'bye')"
ABORTS = "import atexit, os; print('all is written'); atexit.register(os.abort)"
NOW_AND_THEN = "import os, sys; int(sys.argv[1]) % 4 or os.abort()"
FAILS = "import sys; sys.exit(1)"


def test_exits_are_counted(tmp_path: Path) -> None:
    commands = {"clean": [CLEAN], "aborts": [ABORTS], "now and then": [NOW_AND_THEN, "{number}"], "fails": [FAILS]}
    columns, rows = tried(commands, 16, 2, tmp_path, program=(sys.executable, "-S", "-c"))
    assert columns == ["command", "runs", "clean", "other codes"]
    assert rows == [
        ["clean", 4, 4, "none"],
        ["aborts", 4, 0, "-6: 4"],
        ["now and then", 4, 4, "none"],
        ["fails", 4, 0, "1: 4"],
    ]
    _, rows = tried({"now and then": commands["now and then"]}, 8, 2, tmp_path, program=(sys.executable, "-S", "-c"))
    assert rows == [["now and then", 8, 6, "-6: 2"]]
