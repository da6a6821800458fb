"""What models of Hugging Face need before they can be traced; every other module is left as it is.

Two settings of theirs stand in the way: a cache of keys and values is one more output, which would make the heads free;
and experts that are computed by grouped products are told apart by offsets, which would make the experts free.  Both
are set on a copy, and neither changes what is computed.
"""

from __future__ import annotations

import contextlib
from typing import Any

from torch import nn


def prepare(module: nn.Module) -> None:
    """Turns caches off and batched experts on, wherever there are such settings."""
    for child in module.modules():
        config: Any = getattr(child, "config", None)
        if getattr(config, "use_cache", None):
            config.use_cache = False
        setter = getattr(child, "set_experts_implementation", None)
        if callable(setter):
            with contextlib.suppress(ValueError, AttributeError, KeyError):  # models without experts
                setter("batched_mm")


def is_model_output(outputs: object) -> bool:
    """Whether it is the container in which models of transformers return their outputs by name."""
    return any(
        kind.__module__ == "transformers.utils.generic" and kind.__name__ == "ModelOutput"
        for kind in type(outputs).__mro__
    )
