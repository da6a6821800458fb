from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background: processes that tests start heed it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of oracles and data beside the project (or at GRAPHWS_SHARED); tests that need it are skipped without
    it."""
    folder = Path(os.environ.get("GRAPHWS_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"needs the shared folder at {folder} (set GRAPHWS_SHARED to another place)")
    return folder
