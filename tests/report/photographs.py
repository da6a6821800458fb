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

import numpy as np
from PIL import Image

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


_FAULTS = """
(() => {
  const faults = [], wide = document.scrollingElement.scrollWidth;
  document.querySelectorAll("details").forEach((fold) => { fold.open = true; });
  if (innerWidth !== WIDTH) faults.push(`laid out for ${innerWidth} pixels, not ${WIDTH}`);
  if (wide > innerWidth) faults.push(`${wide} pixels wide in a window of ${innerWidth}`);
  const words = (node) => node.textContent.trim().replace(/\\s+/g, " ").slice(0, 40);
  const around = (node, found) => {
    for (let at = node; at; at = at.parentElement) if (found(at)) return at;
    return null;
  };
  const style = (node) => getComputedStyle(node);
  const bright = (colour) => {
    const [r, g, b] = colour.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const opaque = (node) => { const c = numbers(style(node).backgroundColor); return c.length < 4 || c[3] > 0.99; };
  for (const node of document.body.querySelectorAll("*")) {
    if (node.closest("svg") || ["SCRIPT", "STYLE"].includes(node.tagName) || !node.getClientRects().length) continue;
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own) continue;
    const look = style(node), box = node.getBoundingClientRect();
    const scrolls = around(node, (at) => ["auto", "scroll"].includes(style(at).overflowX));
    if (box.right > innerWidth + 1 && !scrolls) faults.push(`sticks out: ${words(node)}`);
    const hides = around(node, (at) => ["hidden", "clip"].includes(style(at).overflowX) && at.tagName !== "BODY");
    if (hides && !scrolls && style(hides).textOverflow !== "ellipsis" && hides.scrollWidth > hides.clientWidth + 1)
      faults.push(`cut off: ${words(node)}`);
    const ground = around(node, opaque), text = bright(numbers(look.color));
    const under = ground ? bright(numbers(style(ground).backgroundColor)) : 1;
    const contrast = (Math.max(text, under) + 0.05) / (Math.min(text, under) + 0.05);
    if (contrast < 4.5) faults.push(`contrast ${contrast.toFixed(1)}: ${words(node)}`);
  }
  for (const image of document.images) {
    const meant = parseFloat(style(image).getPropertyValue("--width")) || 0;
    if (!image.naturalWidth) faults.push(`no picture: ${image.alt.slice(0, 40)}`);
    else if (image.getBoundingClientRect().width < 0.7 * Math.min(meant, 960))
      faults.push(`too small to read: ${image.alt.slice(0, 40)}`);
  }
  for (const picture of document.querySelectorAll("body svg")) {
    const frame = picture.getBoundingClientRect();
    for (const text of picture.querySelectorAll("text")) {
      const box = text.getBoundingClientRect();
      const beside = box.left < frame.left - 1 || box.right > frame.right + 1;
      if (beside || box.top < frame.top - 1 || box.bottom > frame.bottom + 1)
        faults.push(`outside the picture: ${words(text)}`);
    }
  }
  return [...new Set(faults)];
})()
"""


def faults(browser: Photographer, page: Path, view: View, to: Path, state: str = "") -> list[str]:
    """Opens a page, photographs it and says what is wrong with it there, folds open.

    A page is wrong where it is wider than the window, a text sticks out, is cut off or has a contrast below 4.5, a
    picture is missing or is shrunk beyond reading, a text of a drawing is outside of it, or the photograph is not as
    dark or as light as the theme.
    """
    browser.open(page, view, state)
    found = list(browser.ask(_FAULTS.replace("WIDTH", str(view.width))))
    browser.photograph(to)
    with Image.open(to) as picture:
        light = np.asarray(picture.convert("L")).mean()
        if picture.width != view.width:
            found.append(f"a photograph of {picture.width} pixels, not {view.width}")
    if (light > 128) != (view.theme == "light"):
        found.append(f"a brightness of {light:.0f} in the {view.theme} theme")
    return found
