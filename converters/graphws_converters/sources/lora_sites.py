"""What a LoRA adapter changes: its sites, read from its keys, shapes and config; nothing is built or run here."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from graphws.errors import DataError
from graphws_converters.sources.config import read_config

CONFIG = "adapter_config.json"
MOST_SITES = 4096
_KEY = re.compile(
    r"(?P<site>[A-Za-z0-9_.]{1,500})\.lora_"
    r"(?P<part>A|B|embedding_A|embedding_B|magnitude_vector)(\.(?!weight$|bias$)\w{1,100})?(\.(?P<leaf>weight|bias))?"
)
_PATTERN = re.compile(r"\^?[A-Za-z0-9_.]{1,500}")
WRAPPER = "base_model.model."
"""What peft puts before the names of the base model's layers."""
_REFUSED = ("target_parameters", "megatron_config", "use_qalora", "alora_invocation_tokens")
"""Options under which a tensor is another thing than here."""


@dataclass(frozen=True)
class Site:
    """A layer of the base model that the adapter changes.

    Attributes:
        path: Of the layer in the base model.
        scaling: alpha / r, or alpha / sqrt(r).
        keys: For each part (``A``, ``B``, ``B.bias``, ``magnitude``) its key.
        shape: Of A.
        embedding: Whether it looks rows up.
    """

    path: str
    scaling: float
    keys: Mapping[str, str]
    shape: tuple[int, ...]
    embedding: bool

    @property
    def kind(self) -> str:
        """The path without the numbers of layers and the names that peft puts before it."""
        return ".".join(part for part in self.path.removeprefix(WRAPPER).split(".") if not part.isdigit())

    def inputs(self, generator: torch.Generator) -> Tensor:
        """Two rows of what it reads: of a convolution's kernel size, so that one number is written."""
        if self.embedding:
            return torch.randint(self.shape[1], (2,), generator=generator)
        return torch.randn(2, *self.shape[1:], generator=generator)


def register(module: nn.Module, key: str, tensor: Tensor) -> None:
    """Puts a tensor into a module under a dotted name.

    Raises:
        DataError: Where a key cannot be the path of a parameter.
    """
    *path, name = key.split(".")
    try:
        owner = module
        for part in path:
            if part not in owner._modules:
                owner.add_module(part, nn.Module())
            owner = owner.get_submodule(part)
        owner.register_parameter(name, nn.Parameter(tensor, requires_grad=False))
    except (KeyError, AttributeError, TypeError):
        raise DataError(f"{key[:200]!r} cannot be the path of a parameter") from None


def read_adapter_config(file: Path) -> dict[str, Any]:
    """The config of a LoRA adapter.

    Raises:
        DataError: Where it cannot be read, or is another kind of adapter's.
    """
    config = read_config(file)
    kind = config.get("peft_type")
    if kind != "LORA":
        raise DataError(f"{file}: peft_type is {str(kind)[:80]!r}; only LORA is read")
    for name in _REFUSED:
        if config.get(name):
            raise DataError(f"{file}: {name!r} is set: what its tensors compute is not known here")
    return config


def sites_of(file: Path, state: Mapping[str, Tensor], config: Mapping[str, Any]) -> Iterator[Site]:
    """The sites of an adapter, in the order of its keys.

    Raises:
        DataError: Where keys, shapes and config do not fit each other.
    """
    found: dict[str, dict[str, str]] = {}
    for key in state:
        match = _KEY.fullmatch(key)
        if match is None:
            continue
        part = match["part"].removeprefix("embedding_").removesuffix("_vector")
        part = f"{part}.bias" if match["leaf"] == "bias" else part
        if found.setdefault(match["site"], {}).setdefault(part, key) != key:
            raise DataError(f"{file}: {key[:200]!r} is there twice, for two adapters: save one of them")
    if not found:
        raise DataError(f"{file}: holds no tensors of LoRA: no key ends in '.lora_A.weight'")
    if len(found) > MOST_SITES:
        raise DataError(f"{file}: {len(found)} sites, at most {MOST_SITES} are read")
    for path, keys in found.items():
        missing = [part for part in ("A", "B") if part not in keys]
        if missing:
            raise DataError(f"{file}: {path[:200]!r} has no 'lora_{missing[0]}'")
        yield _site(file, path, keys, state, config)


def _site(
    file: Path, path: str, keys: Mapping[str, str], state: Mapping[str, Tensor], config: Mapping[str, Any]
) -> Site:
    down, up = state[keys["A"]], state[keys["B"]]
    embedding = ".lora_embedding_A" in keys["A"]
    rank = down.shape[0] if down.ndim else 0
    fits = 2 <= down.ndim <= 5 and up.ndim == down.ndim and up.shape[1] == rank and all(n == 1 for n in up.shape[2:])
    sizes = [state[keys[part]].numel() for part in ("B.bias", "magnitude") if part in keys]
    if not fits or not rank or (embedding and down.ndim != 2) or any(n != up.shape[0] for n in sizes):
        shapes = ", ".join(str(tuple(state[key].shape)) for key in keys.values())
        raise DataError(f"{file}: tensors of shapes {shapes} at {path[:200]!r} are no LoRA's")
    if not all(state[key].is_floating_point() for key in keys.values()):
        raise DataError(f"{file}: the tensors at {path[:200]!r} are no floating numbers")
    alpha = _alpha(file.parent / CONFIG, config, path)
    scaling = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    return Site(path, scaling, dict(keys), tuple(down.shape), embedding)


def _alpha(file: Path, config: Mapping[str, Any], path: str) -> float:
    """The alpha of a site: that of the first pattern that names it, else the adapter's."""
    patterns = config.get("alpha_pattern") or {}
    if not isinstance(patterns, Mapping):
        raise DataError(f"{file}: 'alpha_pattern' must be a mapping")
    value, within = config.get("lora_alpha"), path.removeprefix(WRAPPER)
    for pattern, own in patterns.items():
        if not _PATTERN.fullmatch(pattern):
            raise DataError(f"{file}: the alpha_pattern {pattern[:80]!r} is an expression; only paths are read")
        plain = pattern.removeprefix("^")
        if within == plain or (plain == pattern and within.endswith(f".{plain}")):
            value = own
            break
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DataError(f"{file}: 'lora_alpha' must be a number, got {str(value)[:80]!r}")
    return float(value)
