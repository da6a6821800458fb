"""One headless Chromium that opens many pages, at any width and in either theme, and looks for what sticks out.

It is driven through its debugging pipe (Chrome DevTools Protocol, ``--remote-debugging-pipe``: commands on descriptor
3, answers on 4, a zero byte after each), so that one start is enough for all photographs.
"""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.report.browser import OPTIONS, browser

PATIENCE = 60.0
"""Seconds without an answer after which the browser is given up."""


@dataclass(frozen=True)
class View:
    """How a page is looked at: a window's width and height in CSS pixels, and the theme that the reader prefers."""

    width: int
    height: int
    theme: str

    @property
    def phone(self) -> bool:
        """Whether it is one, which lays pages out on 980 pixels that do not say that they fit."""
        return self.width < 600


class Photographer:
    """A browser with one tab; a context manager."""

    def __init__(self, profile: Path) -> None:
        read, self._write = os.pipe()
        self._read, write = os.pipe()
        command = [browser(), *OPTIONS, f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]
        # the pipe's ends are descriptors 3 and 4 in the browser, wherever they are here
        shell = ["bash", "-c", f'exec "$@" 3<&{read} 4>&{write}', "bash", *command]
        self._process = subprocess.Popen(
            shell, pass_fds=(read, write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(read)
        os.close(write)
        self._number, self._buffer, self._session = 0, b"", ""
        targets = self._call("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self._session = self._call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        self._call("Page.enable")

    def __enter__(self) -> Photographer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._read)
        os.close(self._write)

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], PATIENCE)[0]:
                raise TimeoutError("the browser says nothing")
            part = os.read(self._read, 1 << 20)
            if not part:
                raise ConnectionError("the browser has gone")
            self._buffer += part
        text, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(text))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        command: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._write, json.dumps(command).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") == self._number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return dict(message["result"])

    def open(self, page: Path, view: View, state: str = "") -> None:
        """Opens a page and waits until it and its pictures are there."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=view.width, height=view.height, deviceScaleFactor=1, mobile=view.phone,
        )  # fmt: skip
        features = [{"name": "prefers-color-scheme", "value": view.theme}]
        self._call("Emulation.setEmulatedMedia", features=features)
        self._call("Page.navigate", url="about:blank")  # else a change of the address's end alone loads nothing
        self._call("Page.navigate", url=f"{page.absolute().as_uri()}{'#' if state else ''}{state}")
        self.ask(
            "new Promise((done) => document.readyState === 'complete' ? done() : addEventListener('load', done))"
            ".then(() => Promise.all([...document.images].map((image) => image.decode().catch(() => null))))"
            ".then(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))))"
            ".then(() => true)"
        )

    def ask(self, script: str) -> Any:
        """The value of an expression on the page, as JSON says it; the page's policy does not bind it."""
        found = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(str(found["exceptionDetails"]))
        return found["result"].get("value")

    def photograph(self, to: Path, whole: bool = True) -> None:
        """A PNG of the page, all of it or what is in the window."""
        found = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        to.write_bytes(base64.b64decode(found["data"]))
