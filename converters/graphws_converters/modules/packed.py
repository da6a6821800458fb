"""Modules whose weights are not there as plain numbers: quantised, sharded, or packed in a tensor of another kind.

They are refused by the name of what packs them, before any work.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from graphws.errors import UsageError

_PACKAGES = ("torch.ao.nn", "bitsandbytes", "torchao", "auto_gptq", "gptqmodel", "awq", "hqq", "quanto", "optimum")
"""Packages whose layers may hold whole numbers and scales instead of weights."""
_HOLDERS = ("_packed", "_all_weight_values", "qweight", "W_q", "_qweight")
"""How the attributes begin that hold them there."""


def refuse_packed(module: nn.Module) -> None:
    """Looks through a module.

    Raises:
        UsageError: On the first layer or tensor that is quantised, sharded or packed, by its name and kind.
    """
    for name, child in module.named_modules():
        if isinstance(child, torch.jit.ScriptModule):
            continue
        kind = type(child)
        packs = any(held.startswith(_HOLDERS) for held in _held(child)) or not _has_numbers(child)
        if packs and _of_package(kind):
            raise UsageError(
                f"layer {name!r} is quantised ({kind.__module__}.{kind.__qualname__}): it holds whole numbers and "
                "scales instead of weights; convert the network as it was before it was quantised"
            )
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        kind = type(tensor)
        if tensor.is_quantized:
            what = f"is quantised ({str(tensor.dtype).removeprefix('torch.')})"
        elif is_traceable_wrapper_subclass(tensor):
            what = f"is a {kind.__qualname__}, which packs or shards its numbers"
        elif not tensor.dtype.is_floating_point and _of_package(kind):
            what = f"is quantised ({kind.__module__}.{kind.__qualname__})"
        else:
            continue
        raise UsageError(f"{name!r} {what}: convert the network with plain tensors")


def _of_package(kind: type) -> bool:
    return f"{kind.__module__}.".startswith(tuple(f"{package}." for package in _PACKAGES))


def _held(module: nn.Module) -> Iterator[str]:
    yield from vars(module)
    yield from (name for held in (module._parameters, module._buffers, module._modules) for name in held)


def _has_numbers(module: nn.Module) -> bool:
    """Whether what is called its weight is one of floating numbers, where it has a tensor of that name."""
    weight = module._parameters.get("weight", module._buffers.get("weight"))
    return weight is None or weight.is_floating_point()
