"""Text in pictures: what comes from files is text there, never a formula or control."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import Formatter, FuncFormatter, LogFormatter, NullFormatter, ScalarFormatter

from graphws.printable import printable

LONGEST = 500
"""Characters of one text: a picture grows with its texts."""


def settle_texts(figure: Figure) -> None:
    """Makes every text of a picture plain: printable, and no formula, whatever dollars it holds.

    The labels of scales are matplotlib's own, formulas among them, and stay.
    """
    ticks: set[Text] = set()
    for axes in figure.get_axes():
        for axis in (axes.xaxis, axes.yaxis):
            for minor, formatter in ((False, axis.get_major_formatter()), (True, axis.get_minor_formatter())):
                if isinstance(formatter, LogFormatter | ScalarFormatter):
                    ticks |= {*axis.get_ticklabels(minor=minor), axis.get_offset_text()}
                elif not isinstance(formatter, NullFormatter):  # names that were given
                    (axis.set_minor_formatter if minor else axis.set_major_formatter)(_printing(formatter))
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text not in ticks:
            text.set_text(printable(text.get_text(), lines=True, most=LONGEST))
            text.set_parse_math(False)


def _printing(formatter: Formatter) -> Formatter:
    def shown(value: float, place: int | None = None) -> str:
        return printable(str(formatter(value, place)), lines=True, most=LONGEST)

    return FuncFormatter(shown)
