"""The converter of multilayer perceptrons: modules, state dicts and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from graphws.errors import UsageError
from graphws.graph.checkpoint import SUFFIXES, read_state_dict
from graphws.graph.conversion import Conversion, Hints
from graphws_converters.modules import convert_module
from graphws_converters.state_source import convert_state_dict


class MLPConverter:
    """MLPs with any activation that graphws knows, SIRENs among them, with or without biases.

    A module is run and verified; a state dict or checkpoint holds no code, so its chain stays a hypothesis.
    """

    def accepts(self, source: object) -> bool:
        """Modules, mappings of names to tensors, and paths of checkpoints."""
        if isinstance(source, str | Path):
            return Path(source).suffix in SUFFIXES
        if isinstance(source, nn.Module):
            return True
        return (
            isinstance(source, Mapping)
            and bool(source)
            and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in source.items())
        )

    def convert(self, source: object, hints: Hints) -> Conversion:
        """The conversion; see `graphws.convert`."""
        if isinstance(source, nn.Module):
            generator = hints.generator if hints.generator is not None else torch.Generator().manual_seed(0)
            return convert_module(source, hints.example_inputs, generator=generator, hints=hints)
        if isinstance(source, str | Path):
            return convert_state_dict(read_state_dict(source), hints, Path(source).name)
        if isinstance(source, Mapping):
            return convert_state_dict(source, hints)
        raise UsageError(f"an MLP is a module, a state dict or a checkpoint; got a {type(source).__name__}")
