"""Write a spec as YAML: everything spelled out, sections and keys in the order of the reference."""

from __future__ import annotations

import re
from typing import Any

import yaml

from graphws.spec import scalars
from graphws.spec.schema import READING, Spec


class _Dumper(yaml.SafeDumper):
    """Quotes strings that YAML 1.1 or 1.2 would read as something else; never writes anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _pattern in (scalars.INT, scalars.FLOAT):
    _Dumper.add_implicit_resolver(  # PyYAML matches at the start only
        "tag:yaml.org,2002:float", re.compile(f"(?:{_pattern.pattern})\\Z"), list("-+.0123456789")
    )


def dump_spec(spec: Spec) -> str:
    """The resolved spec as YAML, without the sections of the other kind of job; ``parse_spec(dump_spec(s)) == s``."""
    other = {"experiment"} if spec.experiment is None else set(READING)
    text: str = yaml.dump(
        _ordered(spec.model_dump(mode="json", by_alias=True, exclude=other)),
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=None,
        allow_unicode=True,
        width=110,
    )
    return text


def _ordered(value: Any) -> Any:
    """The same with every `kind` first, as specs are written."""
    if isinstance(value, dict):
        return {key: _ordered(value[key]) for key in sorted(value, key=lambda key: key != "kind")}
    return [_ordered(item) for item in value] if isinstance(value, list) else value
