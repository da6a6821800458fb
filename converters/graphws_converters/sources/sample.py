"""Example inputs for a model of transformers, made up from its config and tried on the model.

The names are those of its ``forward``: its main input, what it requires, and the other kinds of data that it takes.
Sizes come from the config (`graphws_converters.sources.made_up`).  The first choice on which the model runs is taken,
the one that reaches most of the model first.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from itertools import chain, islice, product
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from graphws.errors import UsageError
from graphws_converters.sources.held import GRIDS
from graphws_converters.sources.made_up import BATCH, MAKERS, TEXT, TOKENS, Sizes, patched

MOST_TRIES = 24
"""Most combinations of shapes that are tried for one choice of names."""
_ASKED = ("bool_masked_pos", "bbox", "qformer_input_ids", "image_attention_mask", "task_inputs", "prompt_masks")
"""What is given only where the model does not run without, or requires it."""
_EITHER = ("input_values", "input_features")
"""Two forms of the same sound: some take either."""
_DATA = ("pixel_values", "input_values", "input_features")
"""What is no text."""
_OF_SOME = ("image_sizes", "image_merge_sizes")
"""Sizes of pictures that some models hand on, and some of the parts that they hand them to do not take."""
_KINDS = "mm_token_type_ids"
"""What tells words from the places of other data, by the order of `_PLACES`."""
_MARKED = {"image_embeds_position_mask": "latent_query_num"}
"""What marks the places of pictures among words beside the words, and the size that says how many one picture takes."""
_PLACES = {
    "pixel_values": ("get_image_features", ("image_token_id", "image_token_index")),
    "pixel_values_videos": ("get_video_features", ("video_token_id", "video_token_index")),
    "input_features": ("get_audio_features", ("audio_token_id", "audio_token_index")),
}
"""Data whose features take the places of tokens: what computes them, and what their tokens are called."""
_COUNTED = re.compile(r"(\w+) features and \w+ tokens do not match, tokens: 0, features: (\d+)")
"""What models of transformers say to a text without places for the features of other data."""


def sample_inputs(model: nn.Module, generator: torch.Generator, device: str) -> dict[str, Tensor]:
    """Inputs by name, of the shapes that the model's config asks for.

    Raises:
        UsageError: Where the config does not tell, or the model runs on none of them.
    """
    sizes = Sizes(model.config, generator)
    main = getattr(model, "main_input_name", "input_ids")
    mains = [main] if isinstance(main, str) else list(main)
    first, why = None, ""
    for inputs in _choices(model, sizes, mains, device):
        placed = {name: x.to(device) for name, x in inputs.items()}
        first = first or placed
        fault = _fails(model, placed)
        if not fault:
            return placed
        asked = _as_asked(model, sizes, placed, fault)
        if asked and not _fails(model, asked):
            return asked
        why = why or fault
    if first is None:
        raise UsageError(
            f"{type(model).__name__} takes {mains[0]!r}, which cannot be made up: give example inputs (--inputs)"
        )
    if device == "meta":  # where more fails than the inputs: the trace will say
        return first
    raise UsageError(
        f"{type(model).__name__} does not run on inputs of the shapes that its config shows ({why}): give example "
        "inputs (--inputs)"
    )


def runs_on(model: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
    """Whether a model runs on inputs."""
    return not _fails(model, dict(inputs))


def left_out(model: nn.Module, inputs: Mapping[str, Tensor]) -> tuple[str, ...]:
    """A note where a model that takes pictures or sounds beside texts was given texts alone."""
    takes = [name for name in inspect.signature(model.forward).parameters if name in _DATA]
    if not takes or "input_ids" not in inputs or set(takes) & set(inputs):
        return ()
    return (f"tried on texts alone, without {', '.join(takes)}: what reads them takes no part; give example inputs",)


def _choices(model: nn.Module, sizes: Sizes, mains: list[str], device: str) -> Iterator[dict[str, Tensor]]:
    """Inputs of the model, the likeliest first."""
    signature = inspect.signature(model.forward).parameters
    required = [name for name, parameter in signature.items() if _is_required(parameter)]
    known = [name for name in signature if name in MAKERS or name.endswith("pixel_values")]
    least = list(dict.fromkeys([*mains, *required]))
    some = [name for name in known if name not in _ASKED and name != "pixel_values_videos"]
    if "past_time_features" not in signature:  # what comes is asked of decoders alone; others compute a loss with it
        some = [name for name in some if name != "future_values"]
    wanted = [
        [*some, *least], [*(name for name in some if not name.endswith("mask")), *least],
        [*(name for name in some if name not in _OF_SOME), *least],
        [*least, "decoder_input_ids"], least, [*some, *least, *_ASKED], known,
        [name for name in some if name in ("input_ids", "decoder_input_ids")],
        *([name for name in some if name != other] for other in _EITHER),
    ]  # fmt: skip
    seen = set()
    for names in wanted:
        chosen = tuple(name for name in signature if name in names) or tuple(least)
        if chosen in seen:
            continue
        seen.add(chosen)
        try:
            variants = [list(islice(_variants(name, chosen, sizes), MOST_TRIES)) for name in chosen]
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError):
            continue
        for made in _combined(variants):
            inputs = dict(zip(chosen, made, strict=True))
            yield from _placed(model, sizes, inputs, device)
            yield inputs


def _combined(variants: list[list[Tensor]]) -> Iterator[tuple[Tensor, ...]]:
    """One of each: first those in the same place, as pictures of one size, then all others."""
    seen = set()
    for made in islice(chain(zip(*variants, strict=False), product(*variants)), MOST_TRIES):
        key = tuple(map(id, made))
        if key not in seen:
            seen.add(key)
            yield made


def _is_required(parameter: inspect.Parameter) -> bool:
    kinds = (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    return parameter.default is parameter.empty and parameter.kind in kinds


def _variants(name: str, names: tuple[str, ...], sizes: Sizes) -> Iterator[Tensor]:
    if name == "pixel_values" and GRIDS & set(names):
        return patched(sizes)
    if name not in MAKERS and name.endswith("input_ids"):
        return MAKERS["input_ids"](sizes)
    if name not in MAKERS and name.endswith("pixel_values"):
        return MAKERS["pixel_values"](sizes)
    return MAKERS[name](sizes)


def _placed(model: nn.Module, sizes: Sizes, inputs: dict[str, Tensor], device: str) -> Iterator[dict[str, Tensor]]:
    """The same with tokens that say where the features of a picture, or of sounds, stand in the text."""
    if "input_ids" not in inputs:
        return
    for name, (method, tokens) in _PLACES.items():
        compute = getattr(model, method, None)
        try:
            token = int(sizes.find(*tokens, of="^$"))
            width = int(sizes.find("hidden_size", "d_model", "n_embd", of=TEXT))
            if name not in inputs or compute is None:
                continue
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                taken = inspect.signature(compute).parameters
                found = compute(
                    **{key: x.to(device) for key, x in inputs.items() if key in taken and key != "input_ids"}
                )
        except Exception:  # the model's own code, on inputs that may be wrong
            continue
        found = getattr(found, "pooler_output", found)
        numbers = sum(leaf.numel() for leaf in pytree.tree_leaves(found) if isinstance(leaf, Tensor))
        places = numbers // (width * BATCH)
        yield _with_places(model, inputs, name, token, places)
    for name, size in _MARKED.items():
        if name in inspect.signature(model.forward).parameters:
            text, room = inputs["input_ids"], int(sizes.find(size, of="^$"))
            marked = torch.ones(len(text), room, dtype=torch.bool)
            ends = [torch.zeros_like(part, dtype=torch.bool) for part in (text[:, :1], text[:, 1:])]
            words = torch.cat([text[:, :1], text[:, 1:2].expand(-1, room), text[:, 1:]], 1)
            yield {**inputs, "input_ids": words, name: torch.cat([ends[0], marked, ends[1]], 1)}


def _with_places(model: Any, inputs: dict[str, Tensor], name: str, token: int, places: int) -> dict[str, Tensor]:
    """Inputs whose texts have, behind the first word, places for other data."""
    text = inputs["input_ids"][:BATCH, :TOKENS]
    marks = torch.full((BATCH, places), token, dtype=text.dtype, device=text.device)
    placed = {**inputs, "input_ids": torch.cat([text[:, :1], marks, text[:, 1:]], 1)}
    if _KINDS in inspect.signature(model.forward).parameters:
        placed[_KINDS] = (placed["input_ids"] == token).long() * (1 + list(_PLACES).index(name))
    return placed


def _as_asked(model: Any, sizes: Sizes, inputs: dict[str, Tensor], fault: str) -> dict[str, Tensor]:
    """Inputs with as many places as the model says that it has features for; empty where it says nothing."""
    found = _COUNTED.match(fault)
    if found is None or "input_ids" not in inputs:
        return {}
    kind, features = found[1].lower(), int(found[2])
    names = (f"{kind}_token_id", f"{kind}_token_index")
    name = next((name for name, (_, tokens) in _PLACES.items() if tokens == names), None)
    try:
        token = int(sizes.find(*names, of="^$"))
    except AttributeError:
        return {}
    return {} if name is None or features % BATCH else _with_places(model, inputs, name, token, features // BATCH)


def _fails(model: Any, inputs: dict[str, Tensor]) -> str:
    """Why a model does not run on inputs; nothing where it does."""
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            model(**{name: x.clone() for name, x in inputs.items()})
    except Exception as error:  # the model's own code, on inputs that may be wrong
        return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
    return ""
