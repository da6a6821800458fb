"""Pointwise activations, each with the slope that a kernel needs to go backward without having stored its output.

A kernel works on a buffer of its own: it overwrites the buffer with the activation, and later multiplies a gradient by
the slope in place.  Most slopes can be told from the activation's output, so the buffer serves both; those of GELU and
SiLU need the input, and such activations are written to a second buffer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

aten = torch.ops.aten


@dataclass(frozen=True)
class Activation:
    """A pointwise function.

    Args:
        function: The function, for autograd.
        write: Writes the function of its first argument to the second, which may be the first.
        slope: Multiplies a gradient (first argument) in place by the slope, told from the second argument.
        from_input: Whether `slope` wants the function's input; if not, its output.
    """

    function: Callable[[Tensor], Tensor]
    write: Callable[[Tensor, Tensor], object]
    slope: Callable[[Tensor, Tensor], object]
    from_input: bool = False


POINTWISE: dict[str, Activation] = {
    "relu": Activation(
        functional.relu,
        lambda x, out: torch.clamp_min(x, 0, out=out) if out is not x else x.relu_(),
        lambda g, y: aten.threshold_backward.grad_input(g, y, 0, grad_input=g),
    ),
    "leaky_relu": Activation(
        functional.leaky_relu,
        lambda x, out: aten.leaky_relu.out(x, 0.01, out=out),
        lambda g, y: aten.leaky_relu_backward.grad_input(g, y, 0.01, True, grad_input=g),
    ),
    "gelu": Activation(
        functional.gelu,
        lambda x, out: aten.gelu.out(x, out=out),
        lambda g, x: aten.gelu_backward.grad_input(g, x, grad_input=g),
        from_input=True,
    ),
    "silu": Activation(
        functional.silu,
        lambda x, out: aten.silu.out(x, out=out),
        lambda g, x: aten.silu_backward.grad_input(g, x, grad_input=g),
        from_input=True,
    ),
    "elu": Activation(
        functional.elu,
        lambda x, out: aten.elu.out(x, out=out),
        lambda g, y: aten.elu_backward.grad_input(g, 1.0, 1.0, 1.0, True, y, grad_input=g),
    ),
    "tanh": Activation(
        torch.tanh,
        lambda x, out: torch.tanh(x, out=out),
        lambda g, y: aten.tanh_backward.grad_input(g, y, grad_input=g),
    ),
    "identity": Activation(
        lambda x: x,
        lambda x, out: out.copy_(x) if out is not x else x,
        lambda g, y: g,
    ),
}
"""Activations by name; any pointwise function commutes with permutations."""

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {name: kernel.function for name, kernel in POINTWISE.items()}
"""The functions alone."""
