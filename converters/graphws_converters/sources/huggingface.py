"""Hugging Face folders: a ``config.json`` names a class of transformers, weights lie beside it.

The class is looked up in the tables of the installed transformers, never imported by a name from the file, and code in
the folder is never run.  Weights are read by our own bounded readers and must fill the class exactly; without weights
the model is analysed on the meta device.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from graphws.checkpoints.conversion import Contents, Conversion, Hints
from graphws.checkpoints.state_dict import INDEX, read_checkpoint
from graphws.errors import DataError, GraphwsError, UsageError, nearest
from graphws_converters.modules.conversion import convert_module
from graphws_converters.sources.config import bounded_building, read_config
from graphws_converters.sources.sample import sample_inputs

WEIGHTS = ("model.safetensors", f"model{INDEX}", "pytorch_model.bin")
PASSING = ("_name_or_path", "transformers_version", "torch_dtype", "dtype")
"""Entries of a config that decide nothing about the graph."""


def convert_folder(folder: Path, hints: Hints) -> Conversion:
    """The graph of the model in a folder.

    Raises:
        UsageError: Where transformers is missing, or the inputs cannot be made up.
        DataError: Where config or weights cannot be read, or do not fit each other.
    """
    if find_spec("transformers") is None:
        raise UsageError("reading Hugging Face folders needs the package transformers: pip install 'graphws[hf]'")
    weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    model = build(folder, read_checkpoint(weights).state if weights else None)
    inputs = hints.example_inputs
    if inputs is None:
        inputs = sample_inputs(model, hints.random, "cpu" if weights else "meta")
    elif weights is None:
        inputs = _on_meta(inputs)
    return convert_module(model, inputs, generator=hints.random, hints=hints)


def read_folder(folder: Path) -> Contents:
    """The numbers in a folder under the keys of the model's own state dict, and its config.

    Raises:
        UsageError: Where transformers is missing.
        DataError: Where config or weights cannot be read, do not fit each other, or the weights are missing.
    """
    if find_spec("transformers") is None:
        raise UsageError("reading Hugging Face folders needs the package transformers: pip install 'graphws[hf]'")
    weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if weights is None:
        raise DataError(f"{folder}: no weights in it ({', '.join(WEIGHTS)})")
    held = read_checkpoint(weights).state
    state = {}
    for key, tensor in build(folder, held).state_dict().items():
        own = held.get(key, tensor)  # in the type that the file has
        state[key] = own if own.shape == tensor.shape else tensor.detach()
    config = {key: value for key, value in read_config(folder / "config.json").items() if key not in PASSING}
    return Contents(state, json.dumps(config, sort_keys=True))


def build(folder: Path, state: Mapping[str, Tensor] | None) -> nn.Module:
    """The model that a folder's config describes, with the given weights or on the meta device."""
    file = folder / "config.json"
    config = read_config(file)
    chosen = _class(file, config)
    try:
        with bounded_building(file), quietly():
            configuration = chosen.config_class.from_dict(config)
            if state is None:
                with torch.device("meta"):
                    built: nn.Module = chosen(configuration)
                return built.eval()
            model, found = chosen.from_pretrained(
                None, config=configuration, state_dict=dict(state), output_loading_info=True
            )
    except GraphwsError:
        raise
    except Exception as error:  # transformers raises anything on a config that contradicts itself
        text = next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
        raise DataError(f"{file}: transformers cannot build {chosen.__name__} from it: {text}") from None
    for what in ("missing", "mismatched", "unexpected"):
        keys = sorted(map(str, found[f"{what}_keys"]))
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise DataError(f"{folder}: {what} in the weights for {chosen.__name__}: {keys[0][:80]!r}{more}")
    return model.eval()  # type: ignore[no-any-return]


def _class(file: Path, config: Mapping[str, Any]) -> Any:
    """The class that a config names, out of the tables of transformers."""
    import transformers
    from transformers.models.auto import modeling_auto
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = config.get("model_type")
    known = list(CONFIG_MAPPING)
    if not isinstance(kind, str) or kind not in known:
        hint = nearest(kind, known) if isinstance(kind, str) else ""
        raise DataError(f"{file}: model_type {str(kind)[:80]!r} is none that the installed transformers knows{hint}")
    allowed: dict[str, None] = {}
    for table in (getattr(modeling_auto, name) for name in dir(modeling_auto) if name.endswith("_MAPPING_NAMES")):
        names = table.get(kind, ())
        allowed |= dict.fromkeys([names] if isinstance(names, str) else names)
    wanted = _first(config.get("architectures")) or _first(modeling_auto.MODEL_MAPPING_NAMES.get(kind))
    if not isinstance(wanted, str) or wanted not in allowed:
        hint = nearest(wanted, allowed) if isinstance(wanted, str) else ""
        raise DataError(f"{file}: architecture {str(wanted)[:80]!r} is no model of type {kind!r} in transformers{hint}")
    return getattr(transformers, wanted)


def _first(names: Any) -> Any:
    """The first of several names, or the only one."""
    return names[0] if isinstance(names, list | tuple) and names else names


def _on_meta(inputs: Any) -> Any:
    if isinstance(inputs, Tensor):
        return inputs.to("meta")
    if isinstance(inputs, Mapping):
        return {name: _on_meta(value) for name, value in inputs.items()}
    return tuple(map(_on_meta, inputs)) if isinstance(inputs, tuple | list) else inputs


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without the progress bars and advice of transformers, which would mix with our own output."""
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
