"""The module that is traced and tried in place of the user's, which is never touched."""

from __future__ import annotations

import torch
from torch import nn

from graphws.errors import UsageError
from graphws_converters.modules.copying import copied
from graphws_converters.modules.packed import refuse_packed
from graphws_converters.modules.restored import Restored


def refuse(module: nn.Module) -> None:
    """Looks whether the weights of a module are there as numbers.

    Raises:
        UsageError: Where parameters wait for a first run, or are quantised, sharded or packed.
    """
    for name, tensor in module.named_parameters():
        if nn.parameter.is_lazy(tensor):
            raise UsageError(f"parameter {name!r} has no numbers yet: run the module once, or load its weights")
    refuse_packed(module)


def twin_of(module: nn.Module) -> tuple[nn.Module, Restored | None]:
    """A copy on the CPU in eval mode (by way of training mode, which empties caches) that no run changes.

    Law: the keys of its state dict are those of the module, and so are the numbers.

    Args:
        module: The module; `refuse` has let it pass.

    Returns:
        tuple: The copy, and what puts it back after each run; None for a TorchScript program, which has no attributes.

    Raises:
        UsageError: Where the module cannot be copied.
    """
    twin = copied(module)
    if not any(tensor.is_meta for tensor in module.state_dict().values()):
        twin = twin.to("cpu")
    for parameter in twin.parameters():
        parameter.requires_grad_(False) if parameter.is_leaf else parameter.detach_()  # a TorchScript program's is none
    twin.train().eval()
    return twin, None if isinstance(twin, torch.jit.ScriptModule) else Restored(twin)
