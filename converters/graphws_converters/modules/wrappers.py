"""Modules around modules, as training scripts hold them: each is replaced by one that calls what is inside, no more.

``torch.compile``, `torch.nn.DataParallel` and its distributed kin compute what the module inside computes, but cannot
be copied, traced or run with other weights.  The module that takes their place has the same children under the same
names, so the keys of the state dict stay those that the user's module has (``_orig_mod.…``, ``module.…``).
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrize

_COMPILER = "torch._dynamo"
"""What compiles, by name: it takes seconds to import, and whoever holds a compiled module has done so."""
_HOOKS = ("_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks",
          "_forward_pre_hooks_with_kwargs")  # fmt: skip


class Plain(nn.Module):
    """Calls its only child."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the child computes."""
        (inside,) = self._modules.values()
        assert inside is not None
        return inside(*args, **kwargs)


def inside(module: nn.Module) -> str | None:
    """The name of the child that a wrapper wraps; None for any other module."""
    kinds: dict[type[nn.Module], str] = {nn.DataParallel: "module", DistributedDataParallel: "module"}
    if _COMPILER in sys.modules:
        kinds[sys.modules[_COMPILER].OptimizedModule] = "_orig_mod"
    return next((name for kind, name in kinds.items() if isinstance(module, kind)), None)


def plain(wrapper: nn.Module, name: str) -> Plain:
    """A module with a wrapper's child and hooks, which are still the wrapper's own."""
    found = Plain()
    found._modules[name] = wrapper._modules[name]
    for hooks in _HOOKS:
        vars(found)[hooks] = vars(wrapper)[hooks]
    return found


@contextlib.contextmanager
def uncompiled() -> Iterator[None]:
    """While it is entered, compiled functions run as they are written, and parametrised tensors are never kept."""
    kept = parametrize._cache_enabled
    parametrize._cache_enabled = 0
    try:
        with torch.compiler.set_stance("force_eager") if _COMPILER in sys.modules else contextlib.nullcontext():
            yield
    finally:
        parametrize._cache_enabled = kept
