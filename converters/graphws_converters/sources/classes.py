"""Which class of transformers a config names: looked up, never imported by a name from the file."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from graphws.errors import DataError, nearest


def class_of(file: Path, config: Mapping[str, Any]) -> Any:
    """The class that a config names, of its type of model.

    It stands in a table of transformers' automatic classes, or beside the type's config in transformers, as a
    ``PreTrainedModel`` of that config.  A config that names no class is of the type's base class; one without a type is
    of the only type that has its class.

    Raises:
        DataError: Where the installed transformers has no such type, or the type no such class.
    """
    import transformers
    from transformers.models.auto import modeling_auto
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    tables = [
        getattr(modeling_auto, name) for name in dir(modeling_auto) if re.fullmatch(r"MODEL_\w*MAPPING_NAMES", name)
    ]
    wanted = _first(config.get("architectures"))
    kind = config.get("model_type")
    known = list(CONFIG_MAPPING)
    if kind is None and isinstance(wanted, str):
        kinds = {kind for table in tables for kind, names in table.items() if wanted in _names(names)}
        kind = kinds.pop() if len(kinds) == 1 else None
    if not isinstance(kind, str) or kind not in known:
        hint = nearest(kind, known) if isinstance(kind, str) else ""
        code = ", and code of its own ('auto_map') is never run" if "auto_map" in config else ""
        raise DataError(
            f"{file}: model_type {str(kind)[:80]!r} is none that the installed transformers knows{code}{hint}"
        )
    allowed: dict[str, None] = {}
    for table in tables:
        allowed |= dict.fromkeys(_names(table.get(kind, ())))
    wanted = wanted or _first(modeling_auto.MODEL_MAPPING_NAMES.get(kind)) or next(iter(allowed), None)
    if isinstance(wanted, str) and wanted in allowed:
        return getattr(transformers, wanted)
    beside = {found.__name__: found for found in _beside(CONFIG_MAPPING[kind])}
    if not isinstance(wanted, str) or wanted not in beside:
        hint = nearest(wanted, [*allowed, *beside]) if isinstance(wanted, str) else ""
        raise DataError(f"{file}: architecture {str(wanted)[:80]!r} is no model of type {kind!r} in transformers{hint}")
    return beside[wanted]


def _beside(config: type) -> Iterator[Any]:
    """The models of a config in the package of transformers in which it stands."""
    from transformers import PreTrainedModel

    package = config.__module__.rpartition(".")[0]
    if not package.startswith("transformers.models."):
        return
    for module in iter_modules(sys.modules[package].__path__):
        name = f"{package}.{module.name}"
        if not module.name.startswith("modeling_") or find_spec(name) is None:
            continue
        for found in vars(import_module(name)).values():
            if (
                isinstance(found, type)
                and issubclass(found, PreTrainedModel)
                and found.__module__ == name
                and isinstance(found.config_class, type)
                and issubclass(config, found.config_class)
            ):
                yield found


def _names(names: Any) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names or ())


def _first(names: Any) -> Any:
    """The first of several names, or the only one."""
    return names[0] if isinstance(names, list | tuple) and names else names
