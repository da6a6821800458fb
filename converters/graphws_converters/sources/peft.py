"""Folders of PEFT's LoRA adapters: ``adapter_config.json`` with ``adapter_model.safetensors`` (or ``.bin``).

The adapter is a network by itself: at every *site*, a layer of a base model that is not needed, x goes to B A x, times
alpha / r (alpha / sqrt(r) for rsLoRA).  What a site reads and writes is free, since the base model's neurons stay where
they are; the r numbers between A and B are a space on which every invertible matrix may act.  That is not claimed but
tried: a module of all sites goes through the door of every module.

Neither peft nor the base model is needed, no code in the folder is run, and no pattern in it is matched.  Where the
config names a folder on this machine that holds the base model, both are converted together
(`graphws_converters.sources.peft_base`).

Source: Hu et al., *LoRA: Low-Rank Adaptation of Large Language Models*, 2021, equation 3; Kalajdzievski, *A Rank
Stabilization Scaling Factor for Fine-Tuning with LoRA*, 2023; Liu et al., *DoRA*, 2024.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional

from graphws.checkpoints.conversion import Contents, Conversion, Hints
from graphws.checkpoints.state_dict import read_checkpoint
from graphws.errors import DataError, UsageError
from graphws.graph import Weights
from graphws_converters.modules.conversion import convert_module
from graphws_converters.sources.config import read_config
from graphws_converters.sources.lora_sites import CONFIG, Site, read_adapter_config, register, sites_of
from graphws_converters.sources.peft_base import base_of, on_base, why_not
from graphws_converters.sources.sample import sample_inputs

WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter."""
    return (folder / CONFIG).is_file() and any((folder / name).is_file() for name in WEIGHTS)


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
            register(self, key, tensor)

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
    """The graph of the adapter in a folder: on its base model, where that is on this machine, or by itself.

    Law: ``weights.to_state_dict()`` has the file's tensors, bit for bit; every rank is a space of action ``linear``.

    Raises:
        DataError: Where config or weights cannot be read, are no LoRA's, or do not fit each other.
    """
    state, sites, base = _read(folder)
    rng, alone = hints.random, f"a LoRA adapter of {len(sites)} sites"
    reasons = []
    if base is not None:
        try:
            model, said = on_base(base, state, sites)
        except (DataError, UsageError) as error:
            reasons = [why_not(error)]
        else:
            given = hints.example_inputs
            found = sample_inputs(model, rng, "cpu") if given is None else given
            made = convert_module(model, found, generator=rng, hints=replace(hints, example_inputs=found))
            return replace(made, notes=(f"{alone} on its base model {base.name!r}", *said, *made.notes))
    module = Adapter(state, sites)
    inputs = tuple(site.inputs(rng) for site in sites)
    made = convert_module(module, inputs, generator=rng, hints=replace(hints, example_inputs=inputs))
    notes = [alone, *reasons]
    if any("magnitude" in site.keys for site in sites):
        notes.append("DoRA: magnitudes scale what is added here; the norms that they replace are the base model's")
    return replace(_with_roles(made, sites), notes=(*notes, *made.notes))


def read_adapter(folder: Path) -> Contents:
    """The tensors of the adapter in a folder, and what its sites are.

    Raises:
        DataError: As `convert_adapter`.
    """
    state, sites, base = _read(folder)
    if base is not None:
        with contextlib.suppress(DataError, UsageError):  # then it is converted by itself, too
            model, _ = on_base(base, state, sites)
            texts = [site.path for site in sites], [site.scaling for site in sites], read_config(base / "config.json")
            return Contents(dict(model.state_dict()), json.dumps(texts, sort_keys=True))
    return Contents(state, json.dumps([[site.path, site.scaling, dict(site.keys)] for site in sites]))


def _read(folder: Path) -> tuple[dict[str, Tensor], tuple[Site, ...], Path | None]:
    config = read_adapter_config(folder / CONFIG)
    file = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if file is None:
        raise DataError(f"{folder}: no weights in it ({', '.join(WEIGHTS)})")
    state = dict(read_checkpoint(file).state)
    return state, tuple(sites_of(file, state, config)), base_of(folder, config)


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
