"""Running a source in float64 throughout: casts to smaller types inside it are left out.

One half-precision cast anywhere would make rounding of everything behind it, and hide what a wrong claim changes.  A
symmetry does not depend on the type that a network computes in, so it is looked for where rounding is smallest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_SMALLER = {torch.float32, torch.float16, torch.bfloat16}


class InFloat64(TorchDispatchMode):
    """While it is entered, what would be made in a smaller floating type is made in float64."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if kwargs.get("dtype") in _SMALLER:
            kwargs["dtype"] = torch.float64
        return func(*args, **kwargs)


def runs_in_float64(run: Callable[[], object]) -> bool:
    """Whether a source can be run so: some insist on their types."""
    try:
        with torch.no_grad(), InFloat64():
            run()
    except Exception:  # the module is the user's: whatever it raises is a reason
        return False
    return True
