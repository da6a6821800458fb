"""Rows that are Python functions: what ATen has not, or says in several ways."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from graphws.errors import GraphError
from graphws.kinds import attention
from graphws.kinds.attributes import DTYPES
from graphws.kinds.declare import from_function
from graphws.kinds.kind import AttributeField, Kind, Operand


def identity(x: Tensor) -> Tensor:
    """x."""
    return x


def sine(x: Tensor, *, omega: float = 1.0) -> Tensor:
    """sin(omega x)."""
    return torch.sin(x if omega == 1.0 else omega * x)


def softsign(x: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return functional.softsign(x)


def tanhshrink(x: Tensor) -> Tensor:
    """x - tanh(x)."""
    return functional.tanhshrink(x)


def softmax(x: Tensor, *, dim: int = -1, dtype: str | None = None) -> Tensor:
    """exp(x) over its sum along `dim`."""
    return x.softmax(dim, None if dtype is None else DTYPES[dtype])


def cast(x: Tensor, other: Tensor | None = None, *, dtype: str | None = None) -> Tensor:
    """x in another type: the one given, or that of `other`."""
    wanted = other.dtype if other is not None else None if dtype is None else DTYPES[dtype]
    return x if wanted is None else x.to(wanted)


def batch_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    mean: Tensor | None = None,
    variance: Tensor | None = None,
    *,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(variance + eps) · weight + bias along axis 1, with the statistics given.

    Differentiable in the statistics too, which PyTorch's own kernel is not.  Without statistics they are those of x.
    """
    others = [k for k in range(x.ndim) if k != 1]
    shape = [1, -1, *[1] * (x.ndim - 2)]
    if mean is None or variance is None:
        mean, variance = x.mean(others), x.var(others, unbiased=False)
    factor = torch.rsqrt(variance + eps)
    if weight is not None:
        factor = factor * weight
    shift = -mean * factor if bias is None else bias - mean * factor
    result: Tensor = x * factor.reshape(shape).to(x.dtype) + shift.reshape(shape).to(x.dtype)
    return result


def stored(
    *parts: Tensor,
    merges: tuple[int, ...],
    grid: tuple[int, ...] = (),
    columns: tuple[int, ...] = (),
) -> Tensor:
    """A tensor of the state dict, from the parameters that it became; no size is fixed.

    Args:
        parts: The parameters, in row-major order of their places.
        merges: For each axis of a block how many neighbouring axes of its parameter it is, 0 for an axis of length 1:
            once where that is so of all blocks, else for one block after the other.
        grid: How many blocks stand along each axis; nothing for a single one.
        columns: For each axis of the tensor how many neighbouring axes of the blocks it is; one each where empty.
    """
    if len(parts) != math.prod(grid):
        raise GraphError(f"operation 'stored': got {len(parts)} parts for a grid of {grid}")
    width = len(grid) or len(merges)
    each = [merges[k : k + width] for k in range(0, len(merges), max(width, 1))] or [()]
    if len(each) not in (1, len(parts)):
        raise GraphError(f"operation 'stored': got {len(merges)} merges for {len(parts)} parts of {width} axes")
    rows = [_merged(part, each[k % len(each)]) for k, part in enumerate(parts)]
    for axis, step in reversed(list(enumerate(grid))):
        rows = [torch.cat(rows[k : k + step], axis) for k in range(0, len(rows), step)]
    return _merged(rows[0], columns) if columns else rows[0]


def _merged(x: Tensor, counts: tuple[int, ...]) -> Tensor:
    """A tensor whose neighbouring axes are read as one, so many at a time."""
    if sum(counts) != x.ndim:
        raise GraphError(f"operation 'stored': {x.ndim} axes do not merge as {counts}")
    sizes = iter(x.shape)
    return x.reshape([math.prod(next(sizes) for _ in range(count)) for count in counts])


def lstm(
    x: Tensor,
    hidden: Tensor,
    cell: Tensor,
    *weights: Tensor,
    has_biases: bool = True,
    num_layers: int = 1,
    bidirectional: bool = False,
    batch_first: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Long short-term memory, PyTorch's ``lstm`` without dropout: (outputs, last hidden states, last cells)."""
    result: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.lstm.input(
        x, [hidden, cell], list(weights), has_biases, num_layers, 0.0, False, bidirectional, batch_first
    )
    return result


def _recurrent(name: str) -> Kind:
    """GRU and plain recurrent networks: (outputs, last hidden states)."""

    def run(
        x: Tensor,
        hidden: Tensor,
        *weights: Tensor,
        has_biases: bool = True,
        num_layers: int = 1,
        bidirectional: bool = False,
        batch_first: bool = False,
    ) -> tuple[Tensor, Tensor]:
        operation = getattr(torch.ops.aten, name).input
        result: tuple[Tensor, Tensor] = operation(
            x, hidden, list(weights), has_biases, num_layers, 0.0, False, bidirectional, batch_first
        )
        return result

    return from_function(run, "mixes", name=name)


def rows() -> list[Kind]:
    """Every row that is a function of ours."""
    passing = (
        "alias",
        "alias_copy",
        "clone",
        "contiguous",
        "detach",
        "lift",
        "lift_fresh",
        "lift_fresh_copy",
        "positive",
    )
    return [
        from_function(identity, "keeps", pointwise=True, spellings=(*passing, "resolve_conj", "resolve_neg")),
        from_function(sine, "keeps", pointwise=True, spellings=("sin",)),
        *(from_function(function, "keeps", pointwise=True) for function in (softsign, tanhshrink)),
        from_function(softmax, "mixes"),
        from_function(cast, "keeps", spellings=("to", "_to_copy", "type_as")),
        from_function(batch_norm, "keeps"),
        from_function(stored, "moves"),
        from_function(attention.linear, "mixes"),
        from_function(attention.position, "keeps"),
        from_function(attention.token, "moves", shape_of=("x",)),
        from_function(attention.patches, "moves"),
        *(from_function(function, "mixes") for function in (attention.bilinear_scores, attention.dot_scores)),
        *(from_function(function, "mixes") for function in (attention.attend, attention.attend_matrix)),
        from_function(attention.flatten_tokens, "moves"),
        from_function(attention.mean_tokens, "pools"),
        from_function(lstm, "mixes"),
        *(_recurrent(name) for name in ("gru", "rnn_tanh", "rnn_relu")),
        _opaque(),
    ]


def _opaque() -> Kind:
    """What no row describes: a graph that holds it can be drawn, not run."""
    fields = {"name": AttributeField("text"), "why": AttributeField("text", "")}
    return Kind("opaque", (Operand("tensors", many=-1),), fields, None, "mixes")
