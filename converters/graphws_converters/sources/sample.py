"""Example inputs for a model of transformers, made up from its config."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from graphws.errors import UsageError

BATCH, TOKENS = 2, 12
LARGEST_INPUT = 1 << 26
"""Most numbers that an input made up here may have."""


def sample_inputs(model: nn.Module, generator: torch.Generator, device: str) -> dict[str, Tensor]:
    """Inputs by name, of the shapes that the model's config asks for.

    Raises:
        UsageError: Where the config does not tell.
    """
    config: Any = model.config
    name = str(getattr(model, "main_input_name", "input_ids"))
    makers = {
        "input_ids": _tokens,
        "pixel_values": _pictures,
        "input_values": _waves,
        "input_features": _features,
    }
    if name not in makers:
        raise UsageError(
            f"{type(model).__name__} takes {name!r}, which cannot be made up: give example inputs (--inputs)"
        )
    try:
        found = {name: makers[name](config, generator)}
        if getattr(config, "is_encoder_decoder", False):
            found["decoder_input_ids"] = _tokens(config, generator)
        if hasattr(config, "text_config") and hasattr(config, "vision_config"):
            found = {
                "input_ids": _tokens(config.text_config, generator),
                "pixel_values": _pictures(config.vision_config, generator),
            }
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        text = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        raise UsageError(
            f"the config does not show the shape of {name!r} ({text}): give example inputs (--inputs)"
        ) from None
    return {key: value.to(device) for key, value in found.items()}


def _tokens(config: Any, generator: torch.Generator) -> Tensor:
    longest = int(getattr(config, "max_position_embeddings", 0) or TOKENS + 4) - 4  # some begin their positions later
    low = min(3, config.vocab_size - 1)  # special tokens come first
    return torch.randint(low, config.vocab_size, (BATCH, max(2, min(TOKENS, longest))), generator=generator)


def _pictures(config: Any, generator: torch.Generator) -> Tensor:
    size = getattr(config, "image_size", 64)
    height, width = (size, size) if isinstance(size, int) else tuple(size)
    return _random(generator, getattr(config, "num_channels", 3), height, width)


def _waves(config: Any, generator: torch.Generator) -> Tensor:
    """Long enough for a few frames behind the convolutions."""
    length = 1
    for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
        length = (length + 3 if length == 1 else length - 1) * stride + kernel
    return _random(generator, length)


def _features(config: Any, generator: torch.Generator) -> Tensor:
    return _random(generator, config.num_mel_bins, 2 * config.max_source_positions)


def _random(generator: torch.Generator, *shape: int) -> Tensor:
    """Random numbers of a shape that may be made.

    Raises:
        ValueError: Where it is too large.
    """
    numbers = BATCH * math.prod(shape)
    if numbers > LARGEST_INPUT:
        raise ValueError(f"{numbers:.1e} numbers")
    return torch.randn(BATCH, *shape, generator=generator)
