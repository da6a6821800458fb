"""How the steps of an attention network are computed, for a batch of networks at once.

Values carry the batch of networks first and features last: tokens are (batch, points, tokens, features), attention
scores (batch, points, heads, queries, keys).  The batch is 1 where all networks read the same inputs, until a parameter
makes them differ.  Heads lie one after another in the features: head j owns features j·d to (j+1)·d.
"""

from __future__ import annotations

import torch
from torch import Tensor

from graphws.errors import GraphError
from graphws.graph.operation import Operation


def linear(operation: Operation, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (batch, ..., in) times weight (batch, out, in), plus bias (batch, out).

    A weight with more axes is read as one whose last ``reads`` axes (1 where the step says nothing) are the inputs.
    """
    reads = int(operation.attribute("reads", 1))
    weight = weight.flatten(weight.ndim - reads).flatten(1, -2)
    batch, middle = weight.shape[0], x.shape[1:-1]
    rows = x.expand(batch, *x.shape[1:]).flatten(1, -2)
    if bias is None:
        product = torch.bmm(rows, weight.mT)
    else:
        product = torch.baddbmm(bias.flatten(1).unsqueeze(1), rows, weight.mT)
    return product.reshape(batch, *middle, weight.shape[1])


def position(operation: Operation, x: Tensor, positions: Tensor) -> Tensor:
    """Tokens x plus positional encodings (batch, tokens, features), the same for every point."""
    if x.shape[-2] != positions.shape[-2]:
        raise GraphError(f"got {x.shape[-2]} tokens, the positional encoding is for {positions.shape[-2]}")
    return x + positions.unsqueeze(1)


def token(operation: Operation, x: Tensor, tokens: Tensor) -> Tensor:
    """Learned tokens (batch, tokens, features) in place of x, the same for every point of x."""
    return tokens.unsqueeze(1).expand(-1, x.shape[1], -1, -1)


def patches(operation: Operation, x: Tensor) -> Tensor:
    """Pictures (batch, points, channels, height, width) cut into square patches, row by row: one token a patch.

    Features of a token are ordered (channel, row, column), as in the kernel of a convolution.
    """
    size = int(operation.attribute("size", 1))
    height, width = x.shape[-2:]
    if height % size or width % size:
        raise GraphError(f"pictures of {height}x{width} do not divide into patches of {size}x{size}")
    grid: Tensor = x.unflatten(-1, (width // size, size)).unflatten(-3, (height // size, size))
    return grid.permute(0, 1, 3, 5, 2, 4, 6).flatten(4).flatten(2, 3)


def shift(operation: Operation, x: Tensor, bias: Tensor) -> Tensor:
    """x (batch, ..., features) plus a bias (batch, features)."""
    return x + bias.reshape(bias.shape[0], *[1] * (x.ndim - 2), -1)


def bilinear_scores(
    operation: Operation,
    x: Tensor,
    y: Tensor,
    matrix: Tensor,
    key_term: Tensor | None = None,
    query_term: Tensor | None = None,
    constant: Tensor | None = None,
) -> Tensor:
    """x_s A_j y_t^T for every head j, query s and key t, times the attribute ``scale`` (paper I, equation 10).

    Args:
        operation: Holds ``scale``; 1 where it says nothing.
        x: Tokens that ask.
        y: Tokens that are asked; x again where tokens attend to themselves.
        matrix: A, (batch, heads, features, features).
        key_term: u, (batch, heads, features): adds u_j · y_t.
        query_term: w, (batch, heads, features): adds w_j · x_s.
        constant: c, (batch, heads): adds c_j.
    """
    heads = matrix.shape[1]
    columns = matrix.transpose(1, 2).flatten(2)  # (batch, features of x, heads * features of y)
    queries: Tensor = linear(operation, x, columns.mT).unflatten(-1, (heads, -1)).transpose(-2, -3)
    if key_term is not None:
        queries = queries + key_term[:, None, :, None]
    scores = queries @ y.unsqueeze(2).mT
    if query_term is not None:
        scores = scores + linear(operation, x, query_term).mT.unsqueeze(-1)
    if constant is not None:
        scores = scores + constant[:, None, :, None, None]
    return scores * float(operation.attribute("scale", 1.0))


def dot_scores(operation: Operation, queries: Tensor, keys: Tensor) -> Tensor:
    """q_s · k_t within every head, times the attribute ``scale``.

    Attribute ``heads`` says how many heads there are; where ``groups`` is given, so many heads of keys, each for the
    next heads/groups heads of queries.
    """
    heads = int(operation.attribute("heads", 1))
    q, k = _split(queries, heads), _shared(operation, keys, heads)
    return (q @ k.mT) * float(operation.attribute("scale", 1.0))


def softmax(operation: Operation, scores: Tensor) -> Tensor:
    """Row by row, over the keys."""
    return scores.softmax(-1)


def attend(operation: Operation, attention: Tensor, values: Tensor) -> Tensor:
    """The values of every head, summed over keys with the head's attention; heads are concatenated.

    Where the attribute ``groups`` is given there are so many heads of values, shared as the keys are.
    """
    return (attention @ _shared(operation, values, attention.shape[2])).transpose(2, 3).flatten(3)


def attend_matrix(
    operation: Operation, attention: Tensor, x: Tensor, matrix: Tensor, constant: Tensor | None = None
) -> Tensor:
    """The sum over heads j of attention_j (x M_j^T + c_j).

    Args:
        operation: The step; it has no attributes.
        attention: (batch, points, heads, queries, keys).
        x: Tokens.
        matrix: M, (batch, heads, out, features): what head j writes into the tokens that follow.
        constant: c, (batch, heads, out).
    """
    values: Tensor = linear(operation, x, matrix.flatten(1, 2)).unflatten(-1, matrix.shape[1:3]).transpose(2, 3)
    if constant is not None:
        values = values + constant[:, None, :, None]
    return (attention @ values).sum(2)


def flatten_tokens(operation: Operation, x: Tensor) -> Tensor:
    """All tokens of a point as one vector, (batch, points, tokens * features)."""
    return x.flatten(2)


def mean_tokens(operation: Operation, x: Tensor) -> Tensor:
    """The mean over the tokens of a point, (batch, points, features)."""
    return x.mean(-2)


def _split(x: Tensor, heads: int) -> Tensor:
    """(batch, points, tokens, heads * d) to (batch, points, heads, tokens, d)."""
    return x.reshape(*x.shape[:-1], heads, -1).transpose(2, 3)


def _shared(operation: Operation, x: Tensor, heads: int) -> Tensor:
    """Keys or values of every head; those of a group come once for each of its heads."""
    groups = int(operation.attribute("groups", heads))
    return _split(x, groups).repeat_interleave(heads // groups, dim=2)


POINT_AXES = {
    "patches": 3,
    "position": 2,
    "token": 2,
    "bilinear_scores": 2,
    "dot_scores": 2,
    "attend": 2,
    "attend_matrix": 2,
    "flatten_tokens": 2,
    "mean_tokens": 2,
}
"""How many axes of one point the kinds read that need more than a vector of features: pictures 3, tokens 2."""
