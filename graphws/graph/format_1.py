"""Operations of graph files of format 1, in which traced networks were written without all their arguments.

The steps that graphws could run itself were whole, and are read as what they are now.  Of others only the name can be
trusted: they come back as ``opaque``, so that such a graph can be drawn and its group used, and says what to do when it
is asked to run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphws.errors import GraphError
from graphws.graph.operation import Operation

WHY = "the file is of format 1, which did not keep all arguments: convert the network again"
_WHOLE = {
    *("linear", "add", "position", "token", "patches", "bilinear_scores", "dot_scores", "softmax", "attend"),
    *("attend_matrix", "flatten_tokens", "mean_tokens", "relu", "tanh", "sine", "hardtanh", "softsign", "tanhshrink"),
    *("power", "identity", "sigmoid", "gelu", "silu", "elu", "selu", "softplus", "mish", "hardswish", "relu6"),
    "leaky_relu",
}
_KNOWN = {"omega", "exponent", "reads", "size", "scale", "heads", "groups", "slope"}


def operation_of_format_1(
    kind: str, inputs: Sequence[str], outputs: Sequence[str], attributes: Mapping[str, Any]
) -> Operation:
    """The operation that an entry of format 1 stands for.

    What does not fit its kind is opaque too: a tensor that had become several parameters was read as all of them.
    """
    known = {"negative_slope" if name == "slope" else name: value for name, value in attributes.items()}
    name = {"shift": "add", "gelu_tanh": "gelu"}.get(kind, kind)
    if kind == "gelu_tanh":
        known["approximate"] = "tanh"
    if name in _WHOLE and set(attributes) <= _KNOWN:
        try:
            return Operation(name, tuple(inputs), tuple(outputs), tuple(known.items()))
        except GraphError:
            pass
    return Operation("opaque", tuple(inputs), tuple(outputs), (("name", kind[:100]), ("why", WHY)))
