"""Text from files, made safe to show.

Names, notes, reasons and labels come out of files that anybody may have written.  A terminal obeys control characters:
an escape sequence erases a line and writes another, a carriage return overprints, a mark of writing direction turns
letters round, a line break makes a line that looks like ours.  Every place that shows text (tables, lines, errors,
progress, pages, pictures) passes it through `printable`, and no other place knows which characters are dangerous.
"""

from __future__ import annotations

import re
import unicodedata

_DANGEROUS = frozenset(("Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn"))
"""Categories of Unicode: control, format (marks of direction, joiners), line and paragraph separators, half characters,
and what has no meaning yet or none that is public."""
_PLAIN = re.compile(r"[\x20-\x7e]*")


def printable(text: str, *, lines: bool = False, most: int | None = None) -> str:
    r"""The text with everything that is no visible character written out, as in ``\x1b`` and ``\u202e``.

    Law: the result holds visible characters and spaces only, and is its own result.

    Args:
        text: Any text.
        lines: Whether line breaks and tabs are ours and stay.
        most: Characters that are shown; of a longer text the beginning and the end.  Any number where None.

    >>> printable("\x1b[2K\rVERIFIED"), printable("a\nb"), printable("a\nb", lines=True)
    ('\\x1b[2K\\rVERIFIED', 'a\\nb', 'a\nb')
    """
    if most is not None:
        return _shortened(printable(_shortened(text, most), lines=lines), most)
    if _PLAIN.fullmatch(text):
        return text
    return "".join(c if lines and c in "\n\t" else _written(c) for c in text)


def _shortened(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    end = most // 3
    return f"{text[: most - end - 3]} … {text[-end:]}"


def _written(character: str) -> str:
    if unicodedata.category(character) not in _DANGEROUS:
        return character
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    code = ord(character)
    return short or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}")
