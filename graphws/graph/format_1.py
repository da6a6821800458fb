"""Operations of graph files of format 1, in which traced networks were written without all their arguments.

The steps that graphws could run itself were whole, and are read as what they are now.  Of others only the name can be
trusted: they come back as ``opaque``, so that such a graph can be drawn and its group used, and says what to do when it
is asked to run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphws.graph.operation import Operation

WHY = "the file is of format 1, which did not keep all arguments: convert the network again"
_WHOLE = frozenset(
    "linear add position token patches bilinear_scores dot_scores softmax attend attend_matrix flatten_tokens "
    "mean_tokens relu tanh sine hardtanh softsign tanhshrink power identity sigmoid gelu silu elu selu softplus mish "
    "hardswish relu6 leaky_relu".split()
)
_KNOWN = frozenset("omega exponent reads size scale heads groups slope".split())


def operation_of_format_1(
    kind: str, inputs: Sequence[str], outputs: Sequence[str], attributes: Mapping[str, Any]
) -> Operation:
    """The operation that an entry of format 1 stands for."""
    if kind == "shift":
        return Operation("add", tuple(inputs), tuple(outputs))
    if kind == "gelu_tanh":
        return Operation("gelu", tuple(inputs), tuple(outputs), (("approximate", "tanh"),))
    if kind in _WHOLE and set(attributes) <= _KNOWN:
        renamed = {"negative_slope" if name == "slope" else name: value for name, value in attributes.items()}
        return Operation(kind, tuple(inputs), tuple(outputs), tuple(renamed.items()))
    return Operation("opaque", tuple(inputs), tuple(outputs), (("name", kind[:100]), ("why", WHY)))
