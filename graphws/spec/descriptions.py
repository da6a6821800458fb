"""Say in words what a spec may hold at some place, from its JSON Schema.

One description serves every mistake of type or range, and cannot differ from what editors are told:

    >>> describe({"type": "integer", "minimum": 1}, {})
    'an integer of at least 1'
    >>> describe({"oneOf": [{"enum": ["a", "b"]}, {"type": "null"}]}, {})
    "'a', 'b' or null"
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from graphws.spec.tree import Mapping, Path, Step, Tree, child, find

Schema = dict[str, Any]

_NAMES = {
    "integer": "an integer",
    "number": "a number",
    "string": "a string",
    "boolean": "true or false",
    "null": "null",
    "object": "a mapping",
}
_BOUNDS = {"minimum": "of at least", "exclusiveMinimum": "above", "maximum": "up to", "exclusiveMaximum": "below"}


def schema_at(root: Schema, tree: Tree, path: Path) -> Schema:
    """The part of the schema that governs `path` of the tree; empty where none does."""
    found: Schema = root
    here: Tree | None = tree
    for step in path:
        found = _branch(found, root, here, step)
        if isinstance(step, int):
            listed = found.get("prefixItems", [])
            found = listed[step] if step < len(listed) else found.get("items", {})
        else:
            rest = found.get("additionalProperties")
            found = found.get("properties", {}).get(step, rest if isinstance(rest, dict) else {})
        here = None if here is None else child(here, step)
    return found


def keys_at(root: Schema, tree: Tree, path: Path) -> list[str]:
    """The keys that the mapping at `path` may have, given its kind."""
    return list(_branch(schema_at(root, tree, path), root, find(tree, path), "").get("properties", {}))


def kinds_at(root: Schema, tree: Tree, path: Path) -> list[str]:
    """The kinds that the section at `path` may have; none where it comes in one only."""
    schema = _resolve(schema_at(root, tree, path), root)
    return [kind for option in (schema, *schema.get("anyOf", ())) for kind in _mapping(option)]


def describe(schema: Schema, root: Schema) -> str:
    """The values that a schema allows."""
    words = dict.fromkeys(_alternatives(schema, root))
    return either(sorted(words, key=lambda option: option.startswith("a list")))


def _alternatives(schema: Schema, root: Schema) -> list[str]:
    schema = _resolve(schema, root)
    if options := _options(schema):
        return [words for option in options for words in _alternatives(option, root)]
    if "enum" in schema:
        return [show(value) for value in schema["enum"]]
    return [show(schema["const"]) if "const" in schema else _describe_one(schema, root)]


def _describe_one(schema: Schema, root: Schema) -> str:
    if schema.get("type") == "array":
        return _describe_list(schema, root)
    words = [_NAMES.get(schema.get("type", ""), "a value")]
    if schema.get("minLength") == 1:
        words = ["a non-empty string"]
    bounds = [f"{text} {schema[key]:g}" for key, text in _BOUNDS.items() if key in schema]
    return " ".join(filter(None, [*words, " and ".join(bounds), schema.get("$comment")]))


def choices(schema: Schema, root: Schema) -> list[str]:
    """The strings among which a value chooses; none where it is free."""
    schema = _resolve(schema, root)
    values = [*schema.get("enum", ()), *([schema["const"]] if "const" in schema else ())]
    return [value for value in values if isinstance(value, str)] + [
        c for o in _options(schema) for c in choices(o, root)
    ]


def show(value: Any) -> str:
    """A value as a message shows it: strings quoted, long ones shortened, lists and mappings only named."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    text = repr(value)
    return text if len(text) <= 60 else text[:56] + "..." + text[-1]


def _branch(schema: Schema, root: Schema, here: Tree | None, step: Step) -> Schema:
    """The one of the schema's choices that the tree takes on the way to `step`."""
    schema = _resolve(schema, root)
    if mapping := _mapping(schema):
        kind = here.scalar("kind") if isinstance(here, Mapping) else None
        return _resolve({"$ref": mapping[kind]}, root) if isinstance(kind, str) and kind in mapping else {}
    for option in _single(schema, root):
        if _mapping(option) or option.get("type") == ("array" if isinstance(step, int) else "object"):
            return _branch(option, root, here, step)
    return schema


def _single(schema: Schema, root: Schema) -> Iterator[Schema]:
    """The choices of a schema, those inside its choices too; a section that comes in kinds is one."""
    for option in (_resolve(option, root) for option in _options(schema)):
        if _options(option) and not _mapping(option):
            yield from _single(option, root)
        else:
            yield option


def _options(schema: Schema) -> list[Schema]:
    options: list[Schema] = schema.get("anyOf") or schema.get("oneOf") or []
    return options


def _mapping(schema: Schema) -> dict[str, str]:
    mapping: dict[str, str] = schema.get("discriminator", {}).get("mapping", {})
    return mapping


def _resolve(schema: Schema, root: Schema) -> Schema:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: Schema = root
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def _describe_list(schema: Schema, root: Schema) -> str:
    least, most = schema.get("minItems"), schema.get("maxItems")
    size = "" if least is None else f" of {least}" if least == most else f" of at least {least}"
    item = schema["prefixItems"][0] if "prefixItems" in schema else schema.get("items", {})
    return f"a list{size}, each {describe(item, root)}"


def either(options: Sequence[str]) -> str:
    """One or several alternatives: ``a, b or c``."""
    return options[0] if len(options) == 1 else ", ".join(options[:-1]) + " or " + options[-1]
