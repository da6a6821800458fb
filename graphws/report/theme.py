"""The colours of every page and figure, in both themes, and what else tells one series from another.

A page follows what its reader prefers (``prefers-color-scheme``); the page of a graph has a button besides, which sets
``data-theme``.  A figure is drawn in the light colours; as a picture of a page its colours become the variables of the
same names (`graphws.report.svg`), so that it follows, too.  Every colour of a series has a contrast of 3 or more with
the paper of its theme, and texts one of 4.5 (WCAG 2.2, 1.4.11 and 1.4.3).  Series differ in shape as well: marker
or hatch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from matplotlib.colors import to_hex, to_rgb


class Shade(NamedTuple):
    """A colour in both themes."""

    light: str
    dark: str


PAGE = {
    "ink": Shade("#1b1f24", "#e6edf3"),
    "faint": Shade("#57606a", "#9aa7b4"),
    "paper": Shade("#ffffff", "#0f1419"),
    "panel": Shade("#f6f8fa", "#161c23"),
    "edge": Shade("#d0d7de", "#323c47"),
    "line": Shade("#7b8794", "#7d8b99"),
    "frame": Shade("#f3f6f9", "#171e26"),
    "odd": Shade("#fefefe", "#10161c"),
    "card": Shade("#ffffff", "#ffffff"),
    "link": Shade("#0a5ec4", "#6cb0ff"),
    "on": Shade("#d1495b", "#ff8fa0"),
    "good": Shade("#1a7f4b", "#57c785"),
    "doubt": Shade("#8a5d00", "#e3b341"),
    "set": Shade("#4c78a8", "#5b8fc7"),
    "nested": Shade("#72b7b2", "#72b7b2"),
    "free": Shade("#e9c46a", "#e9c46a"),
}
"""By the name of the variable; ``card`` is what pictures that cannot follow the theme stand on."""
SERIES = (
    Shade("#2c6fbb", "#6aa5ec"),
    Shade("#c46210", "#f0953f"),
    Shade("#2e8b4d", "#5fc27e"),
    Shade("#c0392b", "#f07b6c"),
    Shade("#7b50b4", "#b08ce6"),
    Shade("#12808f", "#43bccd"),
    Shade("#8c6239", "#c49a6c"),
    Shade("#c2458f", "#ee86c0"),
)
"""Colours of models, seeds and other series, in order; after the last the first comes again."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", "p", ">")
"""Of series; their number and that of the colours have no common divisor, so that pairs return late."""
HATCHES = ("", "//", "..", "\\\\", "xx", "++", "oo")
"""Of bars and other areas."""

FIGURE = ("ink", "faint", "line", "edge")
"""What of a page figures have as well."""
INK, FAINT, LINE, EDGE = (PAGE[name].light for name in FIGURE)
RED, BLUE, GREEN = SERIES[3].light, SERIES[0].light, SERIES[2].light
ON_DARK, ON_PALE = "#ffffff", "#15202b"
"""Texts on coloured areas; neither changes with the theme, as the areas do not."""


def series(number: int) -> str:
    """The colour of a series."""
    return SERIES[number % len(SERIES)].light


def marker(number: int) -> str:
    """The marker of a series."""
    return MARKERS[number % len(MARKERS)]


def hatch(number: int) -> str:
    """The hatch of a series of areas."""
    return HATCHES[number % len(HATCHES)]


def text_on(area: str) -> str:
    """What is read on an area of a colour."""
    return ON_DARK if contrast(area, ON_DARK) >= contrast(area, ON_PALE) else ON_PALE


def lines_on(area: str) -> str:
    """The colour of a hatch that does not shout: half of the area's own, half of the text's on it."""
    red, green, blue = ((own + other) / 2 for own, other in zip(to_rgb(area), to_rgb(text_on(area)), strict=True))
    return to_hex((red, green, blue))


def contrast(first: str, second: str) -> float:
    """The contrast ratio of two colours, 1 to 21 (WCAG 2.2)."""
    low, high = sorted(_luminance(colour) for colour in (first, second))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def figure_colours() -> dict[str, Shade]:
    """What changes with the theme in a figure, by the names of its variables; all else is the same in both."""
    return {name: PAGE[name] for name in FIGURE} | {f"series-{k}": shade for k, shade in enumerate(SERIES)}


def page_colours() -> str:
    """The style sheet's variables for a page: the reader's theme, or the one that ``data-theme`` names."""
    light, dark = (_declared(PAGE, theme) for theme in ("light", "dark"))
    return "\n".join(
        [
            f":root {{ color-scheme: light dark; {light} }}",
            f'@media (prefers-color-scheme: dark) {{ :root:not([data-theme="light"]) {{ {dark} }} }}',
            f':root[data-theme="dark"] {{ color-scheme: dark; {dark} }}',
            ':root[data-theme="light"] { color-scheme: light; }',
            "",
        ]
    )


def picture_colours() -> str:
    """The same for an SVG that stands in a page as a picture, and knows nothing of it but the theme."""
    light, dark = (_declared(figure_colours(), theme) for theme in ("light", "dark"))
    return f"svg {{ {light} fill: var(--ink) }} @media (prefers-color-scheme: dark) {{ svg {{ {dark} }} }}"


def _declared(colours: Mapping[str, Shade], theme: Literal["light", "dark"]) -> str:
    return " ".join(f"--{name}: {getattr(shade, theme)};" for name, shade in colours.items())
