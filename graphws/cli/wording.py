"""Texts of the library in the words of the command line: options in place of the keywords of Python's functions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_KEYWORD = re.compile(r"(?<![\w.-])([a-z][a-z_]+)=(True\b)?(?=(\S)?)")
_WORDS = {"example_inputs": "--inputs", "example_outputs": "--expected"}
"""Options whose keywords have other names."""


def in_options(text: str, options: Mapping[str, str]) -> str:
    """A text whose keywords are options.

    Args:
        text: As the library says it.
        options: The option of each keyword.

    >>> in_options("name it with activation= (or convert the module)", {"activation": "--activation"})
    'name it with --activation (or convert the module)'
    >>> in_options("outputs='loss' counts it, shape=3 does not", {"outputs": "--outputs"})
    "--outputs 'loss' counts it, shape=3 does not"
    >>> in_options("say so with allow_code=True", {"allow_code": "--allow-code"})
    'say so with --allow-code'
    >>> in_options("the shape cannot be seen: give example_inputs", {"inputs": "--inputs"})
    'the shape cannot be seen: give --inputs'
    """
    for word, known in _WORDS.items():
        text = text.replace(f"give {word}", f"give {known}") if known in options.values() else text

    def option(match: re.Match[str]) -> str:
        name, flag, behind = match.groups()
        if name not in options:
            return match[0]
        return options[name] + (" " if not flag and behind and (behind.isalnum() or behind in "'\"[({-") else "")

    return _KEYWORD.sub(option, text)


def options_of(command: Any) -> dict[str, str]:
    """The options of a command, or of all commands of a group, by the names that its function has for them."""
    inner = getattr(command, "commands", {}).values()
    found = {name: option for each in inner for name, option in options_of(each).items()}
    for parameter in getattr(command, "params", ()):
        long = [word for word in parameter.opts if word.startswith("--")]
        if long:
            found[parameter.name] = long[0]
    return found
