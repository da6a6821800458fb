"""YAML files that say which group, or how it acts on outputs.

A file is data: tags, aliases (a page of them expands to gigabytes) and deep nesting are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from graphws.errors import UsageError

LARGEST = 16 << 20
"""Bytes of a file that is read; a matrix takes some."""
DEEPEST = 8
"""Mappings and lists that may stand in one another."""


def read_symmetry(text: str) -> str | Mapping[str, Any]:
    """What ``--group`` or ``--output-action`` says: a name, or the mapping in a YAML file.

    Raises:
        UsageError: On a file that cannot be read or holds no mapping.
    """
    if not text.endswith((".yaml", ".yml")):
        return text
    path = Path(text)
    try:
        if path.stat().st_size > LARGEST:
            raise UsageError(f"{text}: larger than {LARGEST} bytes")
        written = path.read_text(encoding="utf-8")
        _check(text, written)
        content = yaml.safe_load(written)
    except FileNotFoundError:
        raise UsageError(f"{text}: no such file") from None
    except (OSError, UnicodeDecodeError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"{text}: cannot be read as YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(content, Mapping):
        raise UsageError(f"{text}: holds no mapping, write for example 'kind: mirror'")
    return content


def _check(name: str, text: str) -> None:
    """Refuses what could make a small file large, before anything is built of it."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        place = f"{name}: line {event.start_mark.line + 1 if event.start_mark else '?'}"
        if isinstance(event, yaml.AliasEvent):
            raise UsageError(f"{place}: aliases are not read, write the values out")
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise UsageError(f"{place}: tags are not read, {tag.replace('tag:yaml.org,2002:', '!!')!r} is one")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise UsageError(f"{place}: nested deeper than {DEEPEST}")
