"""Inputs that differ in kind from the example's: what a threshold, a bound or a branch on data waits for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from graphws.operations.sampling import OTHER_SIZES
from graphws_converters.gate.self_run import Arguments, batch_of, tensors_in, with_batch


def other_kinds(arguments: Arguments, generator: torch.Generator) -> Iterator[tuple[str, Arguments]]:
    """The inputs with another sign and size, of zeros, with their rows in another order, and one row more.

    Masks and whole numbers keep their values.
    """
    tensors = tensors_in(arguments)
    if any(x.is_floating_point() or x.is_complex() for x in tensors):
        for name, factor in OTHER_SIZES.items():
            yield name, _each(arguments, _times(factor))
    rows = batch_of(arguments)
    if rows is not None and rows > 1:
        order = torch.randperm(rows, generator=generator)
        yield "inputs in another order", _each(arguments, lambda x: x[order] if x.ndim and len(x) == rows else x)
    if rows:
        yield f"a batch of {rows + 1}", with_batch(arguments, rows + 1, generator)


def _times(factor: float) -> Callable[[Tensor], Tensor]:
    return lambda x: factor * x if x.is_floating_point() or x.is_complex() else x


def _each(arguments: Arguments, function: Callable[[Tensor], Tensor]) -> Arguments:
    found: Arguments = pytree.tree_map_only(Tensor, function, arguments)
    return found
