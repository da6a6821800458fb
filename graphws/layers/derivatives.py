"""Derivatives of any order and kind through functions that have kernels of their own.

A function by kernels writes its gradient by hand, in place and into buffers, which no autograd looks at.  Its plain
formula is slower and can be differentiated in every way.  Two places choose between them:

* *Forward.*  Where `transformed()`, a layer takes its plain path: ``torch.func`` and forward-mode differentiation
  follow plain operations only.
* *Backward.*  A backward of kernels that is decorated with `replayed` computes the plain formula again, and
  differentiates that, where its own result is to be differentiated (``create_graph=True``) or where gradients come many
  at once (``is_grads_batched=True``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

Backward = Callable[..., tuple[Any, ...]]
Replay = Callable[[Any], tuple[Sequence[Tensor | None], Sequence[Tensor | None]]]
"""From a context to the inputs of a function, each an `alias` or None, and its outputs by plain operations."""


def transformed(*tensors: Tensor | None) -> bool:
    """Whether functions that autograd does not look into must be left out.

    So it is under every transform of ``torch.func``, at a level of forward-mode differentiation, and where one of the
    tensors stands for many, as gradients do with ``is_grads_batched=True``.  A compiler looks into all of them.
    """
    if torch.compiler.is_compiling():
        return False
    many = torch._C._functorch.is_legacy_batchedtensor
    return (
        torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
        or any(x is not None and many(x) for x in tensors)
    )


def alias(x: Tensor, value: Tensor | None = None) -> Tensor:
    """A tensor with the value of x, or another one, whose gradient becomes that of x, in memory of its own."""
    found: Tensor = _Alias.apply(x, (x if value is None else value).detach())  # type: ignore[no-untyped-call]
    return found


def replayed(replay: Replay) -> Callable[[Backward], Backward]:
    """Makes a backward of kernels differentiable.

    Args:
        replay: Computes the function again from what its forward saved.
    """

    def decorate(backward: Backward) -> Backward:
        @wraps(backward)
        def chosen(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
            if torch.is_grad_enabled() or transformed(*gradients):
                return _through(ctx, replay, gradients)
            return backward(ctx, *gradients)

        return chosen

    return decorate


def _through(ctx: Any, replay: Replay, gradients: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        inputs, outputs = replay(ctx)
    pairs = [
        (output, gradient)
        for output, gradient in zip(outputs, gradients, strict=True)
        if output is not None and gradient is not None and output.requires_grad
    ]
    wanted = [k for k, x in enumerate(inputs) if x is not None and ctx.needs_input_grad[k]]
    found: list[Tensor | None] = [None] * len(inputs)
    if pairs and wanted:
        given, received = zip(*pairs, strict=True)
        ends = [inputs[k] for k in wanted]
        values = torch.autograd.grad(given, ends, received, create_graph=again, allow_unused=True)  # type: ignore[arg-type]
        for k, value in zip(wanted, values, strict=True):
            found[k] = value
    return tuple(found)


class _Alias(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.clone(memory_format=torch.contiguous_format), None
