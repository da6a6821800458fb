"""Models that draw random numbers in every run, as some that make speech do: every run begins with the same ones.

So a model becomes a function of weights and inputs, whose lengths and noise are those of one seed.  The generators of
the caller are left as they were.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import nn

from graphws_converters.modules.conversion import DRAWN

SEED = 0
NOTE = "random numbers are drawn in every run: here each run begins with the same ones"


def fix_draws(model: nn.Module) -> None:
    """Lets every run of a model begin with the same state of all generators, and puts the old ones back behind."""
    kept: list[tuple[Any, Any, Any]] = []

    def before(*_: Any) -> None:
        kept.append((torch.get_rng_state(), random.getstate(), np.random.get_state()))
        torch.manual_seed(SEED)
        random.seed(SEED)
        np.random.seed(SEED)

    def after(*_: Any) -> None:
        ours, pythons, numpys = kept.pop()
        torch.set_rng_state(ours)
        random.setstate(pythons)
        np.random.set_state(numpys)

    model.register_forward_pre_hook(before)
    model.register_forward_hook(after, always_call=True)


def said(notes: tuple[str, ...]) -> tuple[str, ...]:
    """The notes of a conversion with the word on draws that is true of such a model."""
    other = DRAWN.partition("{")[0]
    return (NOTE, *(note for note in notes if not note.startswith(other)))
