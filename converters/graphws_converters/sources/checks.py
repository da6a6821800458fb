"""Checks that models of transformers make of their inputs while they run, and that read numbers to do so.

A distribution looks at its parameters; a model that puts features of pictures in the places of tokens counts both, and
writes the counts into a message; a warning looks for padding among tokens.  What they say is known: the model ran on
its inputs.  Without them no number leaves the tensors, and a text made of a tensor has none.
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
_WARNING = "warn_if_padding_and_no_attention_mask"
"""A method of transformers' models that reads tokens, and warns."""
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
            with _unchecked(kind, saying):
                return kind.forward(self, *args, **kwargs)
        except KeyError as error:
            if saying or _UNSAID not in str(error):
                raise
        saying = True
        with _unchecked(kind, saying):
            return kind.forward(self, *args, **kwargs)

    model.__class__ = type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})


@contextmanager
def _unchecked(kind: type[nn.Module], saying: bool) -> Iterator[None]:
    """Leaves checks out while it is entered.

    Args:
        kind: The class of the model that runs.
        saying: Whether texts may hold the numbers of tensors.
    """
    swaps: list[tuple[Any, str, Any]] = [(Distribution, "_validate_args", False)]
    swaps += [] if saying else [(torch.Tensor, "__format__", _unsaid)]
    swaps += [(base, _WARNING, _unwarned) for base in kind.__mro__ if _WARNING in vars(base)]
    kept = [(holder, name, vars(holder)[name]) for holder, name, _ in swaps]
    switch = os.environ.get(_SWITCH)
    for holder, name, value in swaps:
        setattr(holder, name, value)
    os.environ[_SWITCH] = "1"
    try:
        yield
    finally:
        for holder, name, value in kept:
            setattr(holder, name, value)
        if switch is None:
            os.environ.pop(_SWITCH, None)
        else:
            os.environ[_SWITCH] = switch


def _unwarned(model: nn.Module, *_: Any) -> None:
    pass


def _unsaid(tensor: torch.Tensor, form: str) -> str:
    return _UNSAID
