"""Sizes of the blocks of paper D's layer, by a closed form.

A block joins two parameters of an MLP with widths d_0, …, d_M; W_m lies between the layers m - 1 and m, b_m at layer m.
Neurons of the ends are told apart, so that each of their axes counts its width; a hidden layer that both parameters
touch counts 2, for the same neuron and for another one, and 1 where it has one neuron only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def layers(parameter: str) -> list[int]:
    """The layers that a parameter's axes run over."""
    number = int(parameter[1:])
    return [number, number - 1] if parameter[0] == "W" else [number]


def count(dims: Sequence[int], source: str, target: str) -> int:
    """Degrees of freedom of the block from one parameter to another, such as ``W1`` and ``b2``."""
    ends, (u, t) = (0, len(dims) - 1), (layers(source), layers(target))
    told_apart = math.prod(dims[layer] for layer in (*u, *t) if layer in ends)
    met = [layer for layer in u if layer in t and layer not in ends and dims[layer] > 1]
    return told_apart * 2 ** len(met)
