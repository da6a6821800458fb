"""Kinds of attention networks as graphws builds them: tokens, patches, scores and what heads write.

Tokens are (..., tokens, features), attention scores (..., heads, queries, keys); what stands before is the points.
Heads lie one after another in the features: head j owns features j·d to (j+1)·d.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from graphws.errors import GraphError


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, reads: int = 1) -> Tensor:
    """x (..., in) times weight (out, in), plus bias (out).

    A weight with more axes is read as one whose last `reads` axes are the inputs; where these are more than the last
    axis of x, as many of its last axes are read as one.
    """
    if weight.ndim > 1 and (weight.ndim > 2 or reads > 1):
        read = weight.shape[weight.ndim - reads :]
        weight = weight.reshape(-1, read.numel())
    elif weight.ndim == 1:
        return x @ weight if bias is None else x @ weight + bias
    return functional.linear(x, weight, None if bias is None else bias.flatten())


def position(x: Tensor, positions: Tensor) -> Tensor:
    """Tokens x plus positional encodings (tokens, features), the same for every point."""
    if x.shape[-2] != positions.shape[-2]:
        raise GraphError(f"got {x.shape[-2]} tokens, the positional encoding is for {positions.shape[-2]}")
    return x + positions


def token(x: Tensor, tokens: Tensor) -> Tensor:
    """Learned tokens (tokens, features) in place of x, the same for every point of x."""
    return tokens.expand(x.shape[0], *tokens.shape)


def patches(x: Tensor, *, size: int = 1) -> Tensor:
    """Pictures (points, channels, height, width) cut into square patches, row by row: one token a patch.

    Features of a token are ordered (channel, row, column), as in the kernel of a convolution.
    """
    height, width = x.shape[-2:]
    if height % size or width % size:
        raise GraphError(f"pictures of {height}x{width} do not divide into patches of {size}x{size}")
    grid: Tensor = x.unflatten(-1, (width // size, size)).unflatten(-3, (height // size, size))
    return grid.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def bilinear_scores(
    x: Tensor,
    y: Tensor,
    matrix: Tensor,
    key_term: Tensor | None = None,
    query_term: Tensor | None = None,
    constant: Tensor | None = None,
    *,
    scale: float = 1.0,
) -> Tensor:
    """x_s A_j y_t^T for every head j, query s and key t, times `scale` (paper I, equation 10).

    Args:
        x: Tokens that ask.
        y: Tokens that are asked; x again where tokens attend to themselves.
        matrix: A, (heads, features, features).
        key_term: u, (heads, features): adds u_j · y_t.
        query_term: w, (heads, features): adds w_j · x_s.
        constant: c, (heads): adds c_j.
        scale: Factor of the scores.
    """
    queries = x.unsqueeze(-3) @ matrix
    if key_term is not None:
        queries = queries + key_term.unsqueeze(1)
    scores = queries @ y.unsqueeze(-3).mT
    if query_term is not None:
        scores = scores + (x @ query_term.mT).mT.unsqueeze(-1)
    if constant is not None:
        scores = scores + constant[:, None, None]
    return scores * scale


def dot_scores(queries: Tensor, keys: Tensor, *, heads: int = 1, scale: float = 1.0, groups: int = 0) -> Tensor:
    """q_s · k_t within every head, times `scale`.

    `heads` says how many heads there are; where `groups` is given, so many heads of keys, each for the next
    heads/groups heads of queries.
    """
    return (_split(queries, heads) @ _shared(keys, heads, groups).mT) * scale


def attend(attention: Tensor, values: Tensor, *, groups: int = 0) -> Tensor:
    """The values of every head, summed over keys with the head's attention; heads are concatenated.

    Where `groups` is given there are so many heads of values, shared as the keys are.
    """
    return (attention @ _shared(values, attention.shape[-3], groups)).transpose(-3, -2).flatten(-2)


def attend_matrix(attention: Tensor, x: Tensor, matrix: Tensor, constant: Tensor | None = None) -> Tensor:
    """The sum over heads j of attention_j (x M_j^T + c_j).

    Args:
        attention: (..., heads, queries, keys).
        x: Tokens.
        matrix: M, (heads, out, features): what head j writes into the tokens that follow.
        constant: c, (heads, out).
    """
    values = x.unsqueeze(-3) @ matrix.mT
    if constant is not None:
        values = values + constant.unsqueeze(1)
    return (attention @ values).sum(-3)


def flatten_tokens(x: Tensor) -> Tensor:
    """All tokens of a point as one vector, (..., tokens * features)."""
    return x.flatten(-2)


def mean_tokens(x: Tensor) -> Tensor:
    """The mean over the tokens of a point, (..., features)."""
    return x.mean(-2)


def _split(x: Tensor, heads: int) -> Tensor:
    """(..., tokens, heads * d) to (..., heads, tokens, d)."""
    rows: Tensor = x.unflatten(-1, (heads, -1))
    return rows.transpose(-2, -3)


def _shared(x: Tensor, heads: int, groups: int) -> Tensor:
    """Keys or values of every head; those of a group come once for each of its heads."""
    groups = groups or heads
    return torch.repeat_interleave(_split(x, groups), heads // groups, dim=-3)
