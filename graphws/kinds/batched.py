"""Rows for a batch of networks: the same function with an axis of networks in front of every operand.

`torch.func.vmap` batches any row; where it copies weights for every point or falls back to a loop, a *batched form*
does better.  A form is a function of the row's own function, the operands (each with an axis of networks in front, of
length 1 where all networks share it) and the constants.  Law: it gives what a loop over the networks would, or None
where it does not apply.

>>> import torch
>>> from graphws.kinds import kind
>>> x, weight, row = torch.randn(1, 7, 3), torch.randn(5, 4, 3), kind("linear")
>>> FORMS["linear"](row, x, weight).shape
torch.Size([5, 7, 4])
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Form = Callable[..., Any]


def linear(_: Form, x: Tensor, weight: Tensor, bias: Tensor | None = None, *, reads: int = 1) -> Tensor | None:
    """One product for all networks where they share x, else one for each; weights are not copied for every point."""
    networks = weight.shape[0]
    types = {t.dtype for t in (x, weight, bias) if t is not None}
    shared = bias is None or bias.shape[0] in (1, networks)
    if weight.ndim < 3 or x.shape[0] not in (1, networks) or not shared or len(types) > 1:
        return None
    matrices = weight.reshape(networks, -1, weight.shape[weight.ndim - reads :].numel())
    width = matrices.shape[2]
    if x.shape[-1] != width:
        return None
    rows, lead = x.reshape(x.shape[0], -1, width), x.shape[1:-1]
    if x.shape[0] == networks:
        offset = None if bias is None else bias.reshape(bias.shape[0], 1, -1)
        found = rows @ matrices.mT if offset is None else torch.baddbmm(offset, rows, matrices.mT)
    else:
        found = (rows[0] @ matrices.flatten(0, 1).mT).unflatten(1, (networks, -1)).movedim(1, 0)
        found = found if bias is None else found + bias.reshape(bias.shape[0], 1, -1)
    return found.reshape(networks, *lead, -1)


def batch_norm(
    _: Form,
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    mean: Tensor | None = None,
    variance: Tensor | None = None,
    *,
    eps: float = 1e-5,
) -> Tensor | None:
    """One factor and one shift for each network and channel."""
    if mean is None or variance is None:
        return None
    factor = torch.rsqrt(variance + eps)
    if weight is not None:
        factor = factor * weight
    shift = -mean * factor if bias is None else bias - mean * factor
    sides = [1] * (x.ndim - 3)
    factor, shift = (t.reshape(t.shape[0], 1, -1, *sides).to(x.dtype) for t in (factor, shift))
    return torch.addcmul(shift, x, factor)


def layer_norm(
    call: Form, x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, **constants: Any
) -> Tensor:
    """Normalised as points are, then the factor and the shift of each network."""
    found: Tensor = call(x, None, None, **constants)
    between = [1] * (x.ndim - 1 - len(constants["normalized_shape"]))
    factor, shift = (None if t is None else t.reshape(t.shape[0], *between, *t.shape[1:]) for t in (weight, bias))
    if factor is None:
        return found if shift is None else found + shift
    result: Tensor = found * factor if shift is None else torch.addcmul(shift, found, factor)
    return result


def scaled_dot_product_attention(
    call: Form, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, **constants: Any
) -> Tensor | None:
    """Networks are points: those of all networks in one row."""
    networks = query.shape[0]
    same = key.shape[0] == value.shape[0] == networks and query.ndim == key.ndim == value.ndim > 3
    if not same or (mask is not None and (mask.shape[0] > 1 or mask.ndim > 3)):
        return None
    shared = None if mask is None else mask[0]
    found: Tensor = call(query.flatten(0, 1), key.flatten(0, 1), value.flatten(0, 1), shared, **constants)
    return found.reshape(networks, -1, *found.shape[1:])


def entrywise(call: Form, *operands: Tensor | None, **constants: Any) -> Any:
    """Axes of points stand below each other: shorter operands get axes of length 1 after that of networks.

    Not for operands of several types: single numbers weigh less there, and with an axis of networks they are none.
    """
    given = [x for x in operands if x is not None]
    if len({x.dtype for x in given}) > 1:
        return None
    rank = max(x.ndim for x in given)
    aligned = [x if x is None else x.reshape(x.shape[0], *[1] * (rank - x.ndim), *x.shape[1:]) for x in operands]
    return call(*aligned, **constants)


FORMS: dict[str, Form] = {
    "linear": linear,
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "scaled_dot_product_attention": scaled_dot_product_attention,
    **dict.fromkeys(("add", "sub", "mul", "div", "maximum", "minimum"), entrywise),
}
"""Batched forms by the names of their rows."""
