"""Hugging Face folders: a ``config.json`` names a class of transformers, weights lie beside it.

The class is looked up in the installed transformers, never imported by a name from the file, and code in the folder is
never run.  Weights are read by our own bounded readers; transformers names and arranges them for its class, as its
``from_pretrained`` does: older names, prefixes, tied tensors, tensors that became one.  What the class does not use is
noted; what it lacks is refused.  Without weights the model is analysed on the meta device.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from graphws.checkpoints.conversion import Contents, Conversion, Hints
from graphws.checkpoints.state_dict import read_checkpoint
from graphws.errors import DataError, GraphwsError, UsageError
from graphws_converters.gate.purity import generators_used
from graphws_converters.modules.conversion import convert_module
from graphws_converters.modules.hugging_face import prepare
from graphws_converters.sources.checks import leave_checks_out
from graphws_converters.sources.classes import class_of
from graphws_converters.sources.config import bounded_building, keys_of, read_config, without
from graphws_converters.sources.draws import fix_draws, said
from graphws_converters.sources.held import hold_sizes
from graphws_converters.sources.made_up import Sizes
from graphws_converters.sources.sample import left_out, runs_on, sample_inputs
from graphws_converters.sources.weights import WEIGHTS, weights_in

PASSING = ("_name_or_path", "transformers_version", "torch_dtype", "dtype")
"""Entries of a config that decide nothing about the graph."""
ASIDE = (
    "auto_map", "attn_implementation", "_attn_implementation", "_attn_implementation_internal",
    "experts_implementation", "_experts_implementation", "_experts_implementation_internal", "fusion_config",
    "kernel_config", "use_kernels", "distributed_config", "transformers_weights",
)  # fmt: skip
"""Entries of a config that name code or files: they change how the same is computed, and are left out."""
READ = "one path seen: a number was read"
"""How the reason begins where Python reads numbers of inputs or weights, as models do that look for empty pictures."""
TEXTS = ("input_ids", "decoder_input_ids")
"""Inputs on which a model of texts and other data may run alone."""
NAMED = 3
"""How many of several keys a note names."""


def convert_folder(folder: Path, hints: Hints) -> Conversion:
    """The graph of the model in a folder.

    Raises:
        UsageError: Where transformers is missing, or the inputs cannot be made up.
        DataError: Where config or weights cannot be read, or do not fit each other.
    """
    _need_transformers()
    weights = weights_in(folder)
    model, notes = build(folder, read_checkpoint(weights).state if weights else None)
    prepare(model)
    inputs = hints.example_inputs
    if inputs is None:
        inputs = sample_inputs(model, hints.random, "cpu" if weights else "meta")
        notes += left_out(model, inputs)
    elif weights is None:
        inputs = _on_meta(inputs)
    drawn = weights is not None and _draws(model, inputs)
    if drawn:
        fix_draws(model)
    leave_checks_out(model)
    inputs, held = hold_sizes(model, inputs)
    marks = Sizes(model.config, hints.random).special()
    made = convert_module(model, inputs, generator=hints.random, hints=hints, laid_out=True, marks=marks)
    texts = {name: x for name, x in inputs.items() if name in TEXTS} if hints.example_inputs is None else {}
    if made.reason.startswith(READ) and texts and len(texts) < len(inputs) and runs_on(model, texts):
        alone = convert_module(model, texts, generator=hints.random, hints=hints, laid_out=True, marks=marks)
        if alone.verified:
            made, notes = alone, (*notes, *left_out(model, texts))
    return replace(made, notes=(*notes, *held, *(said(made.notes) if drawn else made.notes)))


def read_folder(folder: Path) -> Contents:
    """The numbers in a folder under the keys of the model's own state dict, and its config.

    Raises:
        UsageError: Where transformers is missing.
        DataError: Where config or weights cannot be read, do not fit each other, or the weights are missing.
    """
    _need_transformers()
    weights = weights_in(folder)
    if weights is None:
        raise DataError(f"{folder}: no weights in it ({', '.join(WEIGHTS)})")
    held = read_checkpoint(weights).state
    state = {}
    for key, tensor in build(folder, held)[0].state_dict().items():
        own = held.get(key, tensor)  # in the type that the file has
        state[key] = own if own.shape == tensor.shape else tensor.detach()
    config = without(read_config(folder / "config.json", code=True), (*PASSING, *ASIDE))
    return Contents(state, json.dumps(config, sort_keys=True))


def build(folder: Path, state: Mapping[str, Tensor] | None) -> tuple[nn.Module, tuple[str, ...]]:
    """The model that a folder's config describes, with the given weights or on the meta device, and what was noticed.

    Raises:
        DataError: Where transformers cannot build it, the weights are quantised, or some are missing or of other
            shapes.
    """
    file = folder / "config.json"
    config = read_config(file, code=True)
    chosen = class_of(file, config)
    notes = []
    if "auto_map" in keys_of(config):
        notes.append(f"the config names code of its own, which is never run: this is {chosen.__name__} of transformers")
    if config.get("quantization_config"):
        raise DataError(
            f"{file}: its weights are quantised ('quantization_config'): dequantise the model, and save it again"
        )
    try:
        with bounded_building(file), quietly(), offline():
            configuration = chosen.config_class.from_dict(without(config, ASIDE))
            if state is None:
                with torch.device("meta"):
                    built: nn.Module = chosen(configuration)
                return built.eval(), tuple(notes)
            model, found = chosen.from_pretrained(
                None, config=configuration, state_dict=dict(state), output_loading_info=True
            )
    except GraphwsError:
        raise
    except Exception as error:  # transformers raises anything on a config that contradicts itself
        text = next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
        raise DataError(f"{file}: transformers cannot build {chosen.__name__} from it: {text}") from None
    derived = {name for name, tensor in model.named_buffers() if not tensor.is_floating_point()}
    for what in ("missing", "mismatched"):
        keys = sorted(str(key) for key in found[f"{what}_keys"] if what != "missing" or key not in derived)
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise DataError(f"{folder}: {what} in the weights for {chosen.__name__}: {keys[0][:80]!r}{more}")
    if surplus := sorted(map(str, found["unexpected_keys"])):
        notes.append(f"{len(surplus)} tensors of the weights are not used by {chosen.__name__}: {_named(surplus)}")
    return model.eval(), tuple(notes)


def _named(keys: Sequence[str]) -> str:
    """The first few keys, and how many more."""
    first, more = [repr(key[:80]) for key in keys[:NAMED]], len(keys) - NAMED
    return ", ".join(first) + (f" and {more} more" if more > 0 else "")


def _need_transformers() -> None:
    if find_spec("transformers") is None:
        raise UsageError("reading Hugging Face folders needs the package transformers: pip install 'graphws[hf]'")


def _draws(model: nn.Module, inputs: Any) -> bool:
    """Whether a run draws random numbers."""
    given, named = ((), inputs) if isinstance(inputs, Mapping) else (inputs, {})
    given = (given,) if isinstance(given, Tensor) else tuple(given)

    def run() -> None:
        with contextlib.suppress(Exception), torch.no_grad():  # what fails here fails in the conversion, in words
            model(*given, **named)

    return bool(generators_used(run))


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


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Without the network: a config may name a model on the hub, and a stranger's config fetches nothing."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
