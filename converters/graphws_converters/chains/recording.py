"""Running a module and writing down what its linear layers read and write.

A module's attributes do not say in which order its layers run, nor what its forward code does in between; a run does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from graphws.errors import GraphError, UsageError

SILENT = (nn.Identity, nn.Dropout, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.Flatten, nn.Unflatten)
"""Modules that change no number in eval mode."""


@dataclass
class Call:
    """One call of a linear layer: its path, what it read and wrote, and the modules that ran after it."""

    name: str
    layer: nn.Linear
    read: Tensor
    written: Tensor
    after: list[nn.Module] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """One run: inputs, outputs, and the calls of linear layers in between, in order."""

    inputs: Tensor
    outputs: Tensor
    calls: tuple[Call, ...]


def record(module: nn.Module, inputs: Tensor, instead: Mapping[str, Tensor] | None = None) -> Run:
    """Runs a module without gradients and records its linear layers.

    Args:
        module: The module.
        inputs: What it gets.
        instead: For layers by their paths, numbers that they write instead of their own, over and over.

    Raises:
        UsageError: Where it cannot be run on these inputs.
        GraphError: Where its output is not one tensor.
    """
    calls: list[Call] = []

    def observe(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], Tensor | None]:
        def hook(layer: nn.Module, read: tuple[Any, ...], written: Any) -> Tensor | None:
            if isinstance(layer, nn.Linear):
                given = (instead or {}).get(name)
                if given is not None:
                    written = given[torch.arange(written.numel()) % len(given)].reshape(written.shape)
                # clones, because an activation may work in place
                calls.append(Call(name, layer, read[0].detach().clone(), written.detach().clone()))
                return written if given is not None else None
            if calls and not isinstance(layer, SILENT):
                calls[-1].after.append(layer)
            return None

        return hook

    leaves = [(name, child) for name, child in module.named_modules() if not list(child.children())]
    handles = [child.register_forward_hook(observe(name)) for name, child in leaves]
    try:
        with torch.no_grad():
            outputs = module(inputs.clone())
    except Exception as error:  # the module is the user's: whatever it raises is a reason
        text = next(iter(str(error).splitlines()), type(error).__name__)
        raise UsageError(
            f"the module cannot be run on inputs of shape {tuple(inputs.shape)}: {text}; give example_inputs"
        ) from None
    finally:
        for handle in handles:
            handle.remove()
    if not isinstance(outputs, Tensor):
        raise GraphError(f"the module returns a {type(outputs).__name__}; a chain of layers returns one tensor")
    if outputs.is_complex():
        raise GraphError("the module returns complex numbers; a chain of layers returns real ones")
    return Run(inputs, outputs, tuple(calls))
