"""The graph of PyTorch's `nn.MultiheadAttention`, or of several one after another.

The state dict is the module's own, bit for bit: the fused ``in_proj_weight`` is three blocks of rows, one parameter
each.  A list of modules is read as an `nn.ModuleList`, each module attending to the outputs of the one before.

>>> import torch
>>> from torch import nn
>>> from graphws.graph import Weights
>>> from graphws.operations import forward
>>> module = nn.MultiheadAttention(8, 2, batch_first=True).eval()
>>> graph = multihead_graph(module)
>>> weights = Weights.from_state_dict(graph, module.state_dict())
>>> x = torch.randn(3, 5, 8)
>>> torch.allclose(forward(graph, weights, x)[0], module(x, x, x)[0], atol=1e-6)
True
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from graphws.errors import GraphError
from graphws.graph.network import NetworkGraph
from graphws.graph.parameter import Parameter, Storage
from graphws.operations.builders.attention import AttentionLayer, attention_graph


def multihead_graph(modules: nn.MultiheadAttention | Sequence[nn.MultiheadAttention]) -> NetworkGraph:
    """The graph of self-attention by one module, or by several in turn.

    Args:
        modules: One module, or the entries of an `nn.ModuleList` (state dict keys ``0.in_proj_weight``, …).

    Raises:
        GraphError: On no module, different widths or biases, keys or values of a width of their own, and learned extra
            keys (``add_bias_kv``, ``add_zero_attn``).
    """
    single = isinstance(modules, nn.MultiheadAttention)
    chain = [modules] if isinstance(modules, nn.MultiheadAttention) else list(modules)
    if not chain:
        raise GraphError("no attention module given")
    width, bias = chain[0].embed_dim, chain[0].in_proj_bias is not None
    for k, module in enumerate(chain):
        if module.embed_dim != width or (module.in_proj_bias is not None) != bias:
            raise GraphError(f"attention module {k}: its width and biases must be those of the first")
        if module.in_proj_weight is None:
            raise GraphError(f"attention module {k}: keys or values of a width of their own (kdim, vdim) are not read")
        if module.bias_k is not None or module.add_zero_attn:
            raise GraphError(f"attention module {k}: add_bias_kv and add_zero_attn are not read")
    layers = [
        AttentionLayer(module.num_heads, module.head_dim, width if k else None, module.head_dim)
        for k, module in enumerate(chain)
    ]
    graph = attention_graph(width, layers, output=width, bias=bias)
    return replace(graph, parameters=tuple(_stored(parameter, width, single) for parameter in graph.parameters))


def _stored(parameter: Parameter, width: int, single: bool) -> Parameter:
    """The parameter with its place in the module's state dict."""
    part, layer = parameter.name.lstrip("b")[0], int(parameter.name.lstrip("b")[1:])
    module = layer - 2 if part == "O" else layer - 1  # O{i} belongs to the module before
    prefix = "" if single else f"{module}."
    shape = (width,) if parameter.kind == "bias" else (width, width)
    kind = "bias" if parameter.kind == "bias" else "weight"
    if part == "O":
        return replace(parameter, storage=Storage(f"{prefix}out_proj.{kind}", shape))
    start = "QKV".index(part) * width
    block = ((start, start + width), *((0, n) for n in shape[1:]))
    return replace(parameter, storage=Storage(f"{prefix}in_proj_{kind}", (3 * width, *shape[1:]), block))
