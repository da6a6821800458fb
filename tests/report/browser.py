"""Headless Chromium, where there is one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--window-size=1200,800",
)


def browser() -> str:
    """The browser's program; skips the test where there is none."""
    found = next((path for path in map(shutil.which, NAMES) if path), None)
    if found is None:
        pytest.skip(f"needs a browser: none of {', '.join(NAMES)} is installed")
    return found


def _run(page: Path, state: str, *options: str) -> str:
    profile = page.parent / "profile"
    command = [browser(), *OPTIONS, f"--user-data-dir={profile}", *options, f"{page.as_uri()}#{state}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def dom(page: Path, state: str = "") -> str:
    """The document after its script has run, as text."""
    return _run(page, state, "--dump-dom")


def screenshot(page: Path, to: Path, state: str = "") -> None:
    """A picture of the page, 1200 x 800."""
    _run(page, state, f"--screenshot={to}")
