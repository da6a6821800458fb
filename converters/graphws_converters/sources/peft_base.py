"""A LoRA adapter on its base model, where that lies in a folder on this machine; nothing is ever downloaded.

Each site's layer is replaced by one that adds B A x to what it gave.  Tensors keep the keys that they have in PEFT,
less ``base_model.model.``: those of a changed layer are under ``base_layer``.

Source: Hu et al., *LoRA: Low-Rank Adaptation of Large Language Models*, 2021, equation 3; Liu et al., *DoRA*, 2024,
equation 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from graphws.checkpoints.state_dict import read_checkpoint
from graphws.errors import DataError, UsageError
from graphws_converters.sources.huggingface import build
from graphws_converters.sources.lora_sites import WRAPPER, Site, register
from graphws_converters.sources.weights import WEIGHTS, weights_in

_CONVOLUTIONS = {nn.Conv1d: functional.conv1d, nn.Conv2d: functional.conv2d, nn.Conv3d: functional.conv3d}


def base_of(folder: Path, config: Mapping[str, Any]) -> Path | None:
    """The folder of the base model that an adapter names; None where it is none on this machine."""
    named = config.get("base_model_name_or_path")
    if not isinstance(named, str) or not named or len(named) > 4096 or "\0" in named:
        return None
    places = (folder / named, Path(named))  # an absolute path stays what it is
    return next((place for place in places if (place / "config.json").is_file()), None)


def on_base(base: Path, state: Mapping[str, Tensor], sites: tuple[Site, ...]) -> tuple[nn.Module, list[str]]:
    """The base model with an adapter in it, and what is to be said of it.

    Raises:
        UsageError: Where transformers is missing.
        DataError: Where the base cannot be read, or adapter and base do not fit each other.
    """
    weights = weights_in(base)
    if weights is None:
        raise DataError(f"{base}: no weights in it ({', '.join(WEIGHTS)})")
    model, notes = build(base, read_checkpoint(weights).state)
    own = {key for site in sites for key in site.keys.values()}
    others = [key for key in state if key not in own]
    with torch.no_grad():
        for key in others:
            _replace(model, key, state[key])
        for site in sites:
            path = site.path.removeprefix(WRAPPER)
            parent, _, name = path.rpartition(".")
            try:
                owner, layer = model.get_submodule(parent), model.get_submodule(path)
            except AttributeError:
                raise DataError(f"{base}: the base model has no layer {path[:200]!r}") from None
            setattr(owner, name, Adapted(layer, site, state))
    whole = [key.removeprefix(WRAPPER)[:80] for key in others]
    brought = [f"the adapter's own {key!r} stands in the place of the base model's" for key in whole]
    return model.eval(), [*notes, *brought]


def _replace(model: nn.Module, key: str, tensor: Tensor) -> None:
    """Writes a whole tensor of the adapter over the base model's."""
    target = key.removeprefix(WRAPPER).replace(".base_layer.", ".").replace(".modules_to_save.", ".")
    held = model.state_dict(keep_vars=True).get(target)
    if held is None or held.shape != tensor.shape:
        what = "none" if held is None else f"one of shape {tuple(held.shape)}"
        raise DataError(f"the adapter has {key[:200]!r} of shape {tuple(tensor.shape)}, its base model {what}")
    held.data = tensor.to(held.dtype)


class Adapted(nn.Module):
    """A layer with B A x added, times alpha / r; with DoRA's magnitudes, its rows brought to these lengths.

    Args:
        layer: The base model's layer: linear, an embedding or a convolution.
        site: What the adapter has for it.
        state: The tensors of the adapter.

    Raises:
        DataError: Where the shapes do not fit, or it is another kind of layer.
    """

    def __init__(self, layer: nn.Module, site: Site, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.base_layer, self._site = layer, site
        self._names = {part: key.removeprefix(site.path + ".") for part, key in site.keys.items()}
        for part, name in self._names.items():
            register(self, name, state[site.keys[part]])
        read, write = self._sizes()
        down, up = (state[site.keys[part]] for part in ("A", "B"))
        if (down.shape[1], up.shape[0]) != (read, write):
            shapes = f"{tuple(down.shape)} and {tuple(up.shape)}"
            raise DataError(f"{site.path[:200]!r} reads {read} and writes {write} numbers; LoRA's shapes are {shapes}")

    def _sizes(self) -> tuple[int, int]:
        layer, magnitude = self.base_layer, "magnitude" in self._names
        if isinstance(layer, nn.Embedding) and self._site.embedding and not magnitude:
            return layer.num_embeddings, layer.embedding_dim
        if isinstance(layer, nn.Linear):
            return layer.in_features, layer.out_features
        if self._transposed():
            return int(layer.weight.shape[0]), int(layer.weight.shape[1])  # type: ignore[union-attr,index]
        plain = type(layer) in _CONVOLUTIONS and layer.groups == 1 and set(layer.dilation) == {1}  # type: ignore[arg-type]
        if plain and layer.padding_mode == "zeros" and not magnitude:
            return int(layer.in_channels), int(layer.out_channels)  # type: ignore[arg-type]
        kind = type(layer).__name__
        raise DataError(f"LoRA on a layer of type {kind} at {self._site.path[:200]!r} is not known here")

    def _transposed(self) -> bool:
        """Whether it is the linear layer of GPT-2, whose weight is stored the other way round."""
        from transformers.pytorch_utils import Conv1D

        return isinstance(self.base_layer, Conv1D)

    @property
    def weight(self) -> Tensor:
        """The base layer's, which models look at for its type."""
        return self.base_layer.weight  # type: ignore[return-value]

    @property
    def bias(self) -> Tensor | None:
        """The base layer's."""
        return self.base_layer.bias  # type: ignore[return-value]

    def _tensor(self, part: str) -> Tensor | None:
        if part not in self._names:
            return None
        path, _, name = self._names[part].rpartition(".")
        tensor: Tensor = getattr(self.get_submodule(path), name)
        return tensor

    def forward(self, x: Tensor) -> Tensor:
        """The layer's outputs and B A x."""
        down, up, bias, magnitude = (self._tensor(part) for part in ("A", "B", "B.bias", "magnitude"))
        assert down is not None
        assert up is not None
        y: Tensor = self.base_layer(x)
        if self._site.embedding:
            added = functional.linear(functional.embedding(x, down.T), up)
        elif down.ndim == 2:
            added = functional.linear(functional.linear(x.to(down.dtype), down), up, bias)
        else:
            layer: Any = self.base_layer
            function = _CONVOLUTIONS[type(layer)]
            added = function(function(x.to(down.dtype), down, None, layer.stride, layer.padding), up, bias)
        added = (added * self._site.scaling).to(y.dtype)
        if magnitude is None:
            return y + added
        weight = self.weight.T if self._transposed() else self.weight
        lengths = torch.linalg.vector_norm(weight + self._site.scaling * (up @ down).to(weight.dtype), dim=1)
        factor = magnitude.flatten().to(y.dtype) / lengths
        whole: Tensor = factor * (y + added) if self.bias is None else factor * (y - self.bias + added) + self.bias
        return whole


def why_not(error: DataError | UsageError) -> str:
    """The note where a base model is there and cannot be used."""
    return f"its base model is not used: {str(error)[:300]}"
