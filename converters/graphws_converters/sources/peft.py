"""Folders of PEFT's LoRA adapters: ``adapter_config.json`` with ``adapter_model.safetensors`` (or ``.bin``).

The adapter is a network by itself: at every *site*, a layer of a base model that is not needed, x goes to B A x, times
alpha / r (alpha / sqrt(r) for rsLoRA).  What a site reads and writes is free, since the base model's neurons stay where
they are; the r numbers between A and B are a space on which every invertible matrix may act.  That is not claimed but
tried: a module of all sites goes through the door of every module.

Neither peft nor the base model is needed, no code in the folder is run, and no pattern in it is matched.

Source: Hu et al., *LoRA: Low-Rank Adaptation of Large Language Models*, 2021, equation 3; Kalajdzievski, *A Rank
Stabilization Scaling Factor for Fine-Tuning with LoRA*, 2023; Liu et al., *DoRA*, 2024.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from graphws.checkpoints.conversion import Contents, Conversion, Hints
from graphws.checkpoints.state_dict import read_checkpoint
from graphws.errors import DataError
from graphws.graph import Weights
from graphws_converters.modules.conversion import convert_module
from graphws_converters.sources.config import read_config

CONFIG = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
MOST_SITES = 4096
_KEY = re.compile(
    r"(?P<site>[A-Za-z0-9_.]{1,500})\.lora_"
    r"(?P<part>A|B|embedding_A|embedding_B|magnitude_vector)(\.(?!weight$|bias$)\w{1,100})?(\.(?P<leaf>weight|bias))?"
)
_PATTERN = re.compile(r"\^?[A-Za-z0-9_.]{1,500}")
_WRAPPER = "base_model.model."
_REFUSED = ("target_parameters", "megatron_config", "use_qalora", "alora_invocation_tokens")
"""Options under which a tensor is another thing than here."""


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter."""
    return (folder / CONFIG).is_file() and any((folder / name).is_file() for name in WEIGHTS)


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
        return ".".join(part for part in self.path.removeprefix(_WRAPPER).split(".") if not part.isdigit())

    def inputs(self, generator: torch.Generator) -> Tensor:
        """Two rows of what it reads: of a convolution's kernel size, so that one number is written."""
        if self.embedding:
            return torch.randint(self.shape[1], (2,), generator=generator)
        return torch.randn(2, *self.shape[1:], generator=generator)


class Adapter(nn.Module):
    """All sites side by side: each reads an input of its own and writes an output of its own.

    Args:
        state: The tensors of the adapter, under their keys.
        sites: The sites.

    Raises:
        DataError: Where a key cannot be the path of a parameter.
    """

    def __init__(self, state: Mapping[str, Tensor], sites: tuple[Site, ...]) -> None:
        super().__init__()
        self._sites = sites
        for key, tensor in state.items():
            *path, name = key.split(".")
            try:
                owner: nn.Module = self
                for part in path:
                    if part not in owner._modules:
                        owner.add_module(part, nn.Module())
                    owner = owner.get_submodule(part)
                owner.register_parameter(name, nn.Parameter(tensor, requires_grad=False))
            except (KeyError, AttributeError, TypeError):
                raise DataError(f"{key[:200]!r} cannot be the path of a parameter") from None

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """B A x, scaled, for each site."""
        return tuple(self._site(site, x) for site, x in zip(self._sites, inputs, strict=True))

    def _tensor(self, key: str) -> Tensor:
        path, _, name = key.rpartition(".")
        tensor: Tensor = getattr(self.get_submodule(path), name)
        return tensor

    def _site(self, site: Site, x: Tensor) -> Tensor:
        down, up = (self._tensor(site.keys[part]) for part in ("A", "B"))
        bias = self._tensor(site.keys["B.bias"]) if "B.bias" in site.keys else None
        if site.embedding:
            y = functional.linear(functional.embedding(x, down.T), up)
        elif down.ndim == 2:
            y = functional.linear(functional.linear(x, down), up, bias)
        else:
            convolution = (functional.conv1d, functional.conv2d, functional.conv3d)[down.ndim - 3]
            y = convolution(convolution(x, down), up, bias).flatten(1)
        y = y * site.scaling
        return y * self._tensor(site.keys["magnitude"]).flatten() if "magnitude" in site.keys else y


def convert_adapter(folder: Path, hints: Hints) -> Conversion:
    """The graph of the adapter in a folder.

    Law: ``weights.to_state_dict()`` is the file's state dict, bit for bit; every rank is a space of action ``linear``.

    Raises:
        DataError: Where config or weights cannot be read, are no LoRA's, or do not fit each other.
    """
    state, sites = _read(folder)
    rng = hints.random
    module, inputs = Adapter(state, sites), tuple(site.inputs(rng) for site in sites)
    made = convert_module(module, inputs, generator=rng, hints=replace(hints, example_inputs=inputs))
    notes = [f"a LoRA adapter of {len(sites)} sites"]
    if any("magnitude" in site.keys for site in sites):
        notes.append("DoRA: magnitudes scale what is added here; the norms that they replace are the base model's")
    return replace(_with_roles(made, sites), notes=(*notes, *made.notes))


def read_adapter(folder: Path) -> Contents:
    """The tensors of the adapter in a folder, and what its sites are.

    Raises:
        DataError: As `convert_adapter`.
    """
    state, sites = _read(folder)
    return Contents(state, json.dumps([[site.path, site.scaling, dict(site.keys)] for site in sites]))


def _read(folder: Path) -> tuple[dict[str, Tensor], tuple[Site, ...]]:
    config = _config(folder / CONFIG)
    file = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if file is None:
        raise DataError(f"{folder}: no weights in it ({', '.join(WEIGHTS)})")
    state = dict(read_checkpoint(file).state)
    return state, tuple(_sites(file, state, config))


def _with_roles(made: Conversion, sites: tuple[Site, ...]) -> Conversion:
    """Roles by the kinds of sites: the same for all layers, told apart by what they read and write."""
    parts = {key: f"{site.kind}.lora_{part}" for site in sites for part, key in site.keys.items()}
    graph = made.graph
    parameters = []
    for parameter in graph.parameters:
        key = parameter.storage.key if parameter.storage else parameter.name
        free = graph.layout(parameter.name).free
        role = f"{parts[key]}.x{free}" if key in parts else parameter.role
        parameters.append(replace(parameter, role=role))
    graph = replace(graph, parameters=tuple(parameters))
    weights = None if made.weights is None else Weights(graph, made.weights.tensors)
    return replace(made, graph=graph, weights=weights)


def _config(file: Path) -> dict[str, Any]:
    config = read_config(file)
    kind = config.get("peft_type")
    if kind != "LORA":
        raise DataError(f"{file}: peft_type is {str(kind)[:80]!r}; only LORA is read")
    for name in _REFUSED:
        if config.get(name):
            raise DataError(f"{file}: {name!r} is set: what its tensors compute is not known here")
    return config


def _sites(file: Path, state: Mapping[str, Tensor], config: Mapping[str, Any]) -> Iterator[Site]:
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
    value, within = config.get("lora_alpha"), path.removeprefix(_WRAPPER)
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
