"""Headless Chromium, where there is one."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

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


_HANDS = """
const at = (selector) => document.querySelector(selector);
const send = (target, kind, Type, more) => target.dispatchEvent(
  new Type(kind, { bubbles: true, cancelable: true, clientX: 300, clientY: 200, ...more }));
const click = (target) => send(target, "click", MouseEvent);
const press = (target, key) => send(target, "keydown", KeyboardEvent, { key });
const move = (target, kind, x, y) => send(target, kind, PointerEvent, { clientX: x, clientY: y });
"""
"""What a user can do, for scripts: `at` finds, `click`, `press` and `move` act."""


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


def use(page: Path, script: str) -> Any:
    """What a script returns that does on the page what a user would: a value that JSON can say.

    It runs in a copy without the page's policy, which lets no script run but its own.
    """
    text = page.read_text(encoding="utf-8")
    policy = re.search(r'<meta http-equiv="Content-Security-Policy"[^>]*>', text)
    assert policy is not None, "the page lets any script run"
    user = f"<script>document.body.dataset.seen = JSON.stringify((() => {{ {_HANDS} {script} }})());</script>"
    copy = page.with_name(f"{page.stem}-used.html")
    copy.write_text(text.replace(policy[0], "").replace("</body>", f"{user}</body>"), encoding="utf-8")
    seen = re.search(r'data-seen="([^"]*)"', dom(copy))
    assert seen is not None, "the script failed"
    return json.loads(html.unescape(seen[1]))


def screenshot(page: Path, to: Path, state: str = "") -> None:
    """A picture of the page, 1200 x 800."""
    _run(page, state, f"--screenshot={to}")
