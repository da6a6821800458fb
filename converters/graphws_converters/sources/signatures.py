"""Architectures that are known by the keys and shapes of their state dicts.

The index is what is installed: the model classes of transformers, and the models of torchvision where that is there.  A
class of transformers has no fixed sizes, so its config is *fitted*: built with the defaults on the meta device, every
size that differs from the file's is changed in the config to what the file has, until keys and shapes agree exactly, or
it is not this class.  What no shape shows (how many heads share a projection) is as in the defaults, and is said.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from graphws.checkpoints.conversion import Conversion, Hints
from graphws.errors import GraphwsError
from graphws_converters.modules.conversion import convert_module
from graphws_converters.sources.config import LARGEST_COUNT, bounded_building
from graphws_converters.sources.sample import sample_inputs

FAMILIES = {
    "bert": "attention.self.query", "roberta": "attention.self.query", "electra": "attention.self.query",
    "distilbert": "transformer.layer", "gpt2": "c_attn", "gpt_neo": "attn.attention", "gpt_neox": "query_key_value",
    "opt": "self_attn.k_proj", "llama": "self_attn.q_proj", "qwen2": "self_attn.q_proj", "qwen3": "self_attn.q_norm",
    "t5": "EncDecAttention", "bart": "encoder_attn", "vit": "embeddings.patch_embeddings",
    "deit": "distillation_token", "dinov2": "layer_scale", "albert": "albert_layer_groups",
}  # fmt: skip
"""Families of transformers that are tried, each with a text that its keys contain."""
ROUNDS = 6
Signature = dict[str, tuple[int, ...]]
Found = tuple[str, str, Conversion]


def recognise(state: Mapping[str, Tensor], hints: Hints) -> Found | None:
    """The installed architecture with exactly these keys and shapes.

    Returns:
        Found | None: Its name, what was assumed besides, and its conversion with these numbers; None where there is
            none.
    """
    signature = signature_of(state)
    for name, assumed, module, inputs in (*_transformers(state, signature), *_torchvision(state, signature)):
        given = hints.example_inputs if hints.example_inputs is not None else inputs(hints.random)
        return name, assumed, convert_module(module, given, generator=hints.random, hints=Hints(outputs=hints.outputs))
    return None


def signature_of(state: Mapping[str, Tensor]) -> Signature:
    """Shape by key, of what is learned: whole numbers (positions, counters) are stored by some versions only."""
    return {key: tuple(tensor.shape) for key, tensor in state.items() if tensor.is_floating_point()}


def _pattern(key: str) -> str:
    """A key with its numbers left out."""
    return re.sub(r"\d+", "#", key)


def _transformers(state: Mapping[str, Tensor], signature: Signature) -> Iterator[tuple[str, str, nn.Module, Any]]:
    families = [name for name, mark in FAMILIES.items() if any(mark in key for key in signature)]
    if not families or find_spec("transformers") is None:
        return
    import transformers
    from transformers.models.auto import modeling_auto

    from graphws_converters.sources.huggingface import quietly

    patterns = set(map(_pattern, signature))
    for family in families:
        tables = [getattr(modeling_auto, name) for name in dir(modeling_auto) if name.endswith("_MAPPING_NAMES")]
        names = dict.fromkeys(
            name
            for table in tables
            for name in ((table[family],) if isinstance(table.get(family), str) else table.get(family, ()))
        )
        for name in names:
            chosen: Any = getattr(transformers, name, None)
            if not isinstance(chosen, type) or not issubclass(chosen, nn.Module):
                continue
            with quietly():
                config = _fit(chosen, signature, patterns)
                if config is None:
                    continue
                try:
                    loader: Any = chosen
                    module = loader.from_pretrained(None, config=config, state_dict=dict(state)).eval()
                except Exception:  # a fit that transformers will not load is none
                    continue
            if signature_of(module.state_dict()) != signature:
                continue
            yield f"transformers' {name}", _assumed(config), module, lambda rng, m=module: sample_inputs(m, rng, "cpu")


def _assumed(config: Any) -> str:
    """The facts that no shape shows, in words."""
    heads = {key: value for key, value in config.to_dict().items() if re.search(r"heads?$", key) and value}
    shown = ", ".join(f"{key}={value}" for key, value in sorted(heads.items()) if isinstance(value, int))
    return shown or "its default settings"


def _fit(chosen: Any, signature: Signature, patterns: set[str]) -> Any:
    """A config with which the class has this signature; None where there is none."""
    sizes: dict[str, int] = {}
    config: Any = None
    for _ in range(ROUNDS):
        try:
            config = chosen.config_class(**sizes)
            with bounded_building(Path("a state dict")), torch.device("meta"):
                built = signature_of(chosen(config).state_dict())
        except GraphwsError:
            return None
        except Exception:  # a config that contradicts itself is no fit
            return None
        if built == signature:
            return config
        if {_pattern(key) for key in built} != patterns:
            return None
        changes = _changes(config.to_dict(), built, signature)
        if not changes or all(sizes.get(key) == value for key, value in changes.items()):
            return None
        sizes |= changes
    return None


def _changes(config: Mapping[str, Any], built: Signature, wanted: Signature) -> dict[str, int]:
    """Which whole numbers of a config should be others: those that equal a size, or a count, that differs."""
    differing: dict[int, Counter[int]] = {}
    shapes = {_pattern(key): shape for key, shape in wanted.items()}
    for key, shape in built.items():
        other = shapes[_pattern(key)]
        if len(other) == len(shape):
            for ours, theirs in zip(shape, other, strict=True):
                if ours != theirs:
                    differing.setdefault(ours, Counter())[theirs] += 1
    counts, other_counts = Counter(map(_pattern, built)), Counter(map(_pattern, wanted))
    for pattern, count in counts.items():
        if count != other_counts[pattern]:
            differing.setdefault(count, Counter())[min(other_counts[pattern], LARGEST_COUNT)] += 1
    return {
        key: differing[value].most_common(1)[0][0]
        for key, value in config.items()
        if isinstance(value, int) and not isinstance(value, bool) and value in differing and not _is_setting(key)
    }


def _is_setting(key: str) -> bool:
    """Whether a config's number is no size: identities of tokens, numbers of heads."""
    return bool(re.search(r"token|_id$|heads?$|version", key))


def _torchvision(state: Mapping[str, Tensor], signature: Signature) -> Iterator[tuple[str, str, nn.Module, Any]]:
    if find_spec("torchvision") is None:
        return
    from torchvision import models  # type: ignore[import-not-found,unused-ignore]

    for name in models.list_models():
        if "." in name or name.startswith(("quantized_", "raft")):
            continue
        with torch.device("meta"):
            module = models.get_model(name, weights=None)
        if signature_of(module.state_dict()) == signature:
            module = module.to_empty(device="cpu")
            module.load_state_dict(dict(state))
            yield f"torchvision's {name}", "its default settings", module.eval(), _picture


def _picture(generator: torch.Generator) -> Tensor:
    return torch.randn(2, 3, 224, 224, generator=generator)
