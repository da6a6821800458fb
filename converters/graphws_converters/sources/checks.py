"""Checks that models of transformers make of their inputs while they run, and that read numbers to do so.

A distribution looks at its parameters; a model that puts features of pictures in the places of tokens counts both, and
writes the counts into a message.  What they say is known: the model ran on its inputs.  Without them no number leaves
the tensors, and a text made of a tensor has none.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.distributions import Distribution

_UNSAID = "a tensor"
"""What a text says in place of numbers."""
_SWITCH = "TRANSFORMERS_DISABLE_TORCH_CHECK"


def leave_checks_out(model: nn.Module) -> None:
    """Lets a model run without checks; everything else sees them as before.

    Its class becomes one of the same name whose forward does so: unlike hooks it cannot be left half-way.  A model that
    looks a part of itself up by such a text, as some do with experts, needs its number: from then on it has it.
    """
    kind, saying = type(model), False

    @functools.wraps(kind.forward)
    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        nonlocal saying
        try:
            with _unchecked(saying):
                return kind.forward(self, *args, **kwargs)
        except KeyError as error:
            if saying or _UNSAID not in str(error):
                raise
        saying = True
        with _unchecked(saying):
            return kind.forward(self, *args, **kwargs)

    model.__class__ = type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})


@contextmanager
def _unchecked(saying: bool) -> Iterator[None]:
    form, validate, switch = torch.Tensor.__format__, Distribution._validate_args, os.environ.get(_SWITCH)
    if not saying:
        torch.Tensor.__format__ = _unsaid  # type: ignore[method-assign]
    Distribution.set_default_validate_args(False)
    os.environ[_SWITCH] = "1"
    try:
        yield
    finally:
        torch.Tensor.__format__ = form  # type: ignore[method-assign]
        Distribution.set_default_validate_args(validate)
        if switch is None:
            os.environ.pop(_SWITCH, None)
        else:
            os.environ[_SWITCH] = switch


def _unsaid(tensor: torch.Tensor, form: str) -> str:
    return _UNSAID
