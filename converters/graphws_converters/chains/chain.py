"""A chain of linear layers and activations as a `NetworkGraph`.

The graph is that of `graphws.operations.mlp_graph`, with the layers' own state dict keys, constants and missing biases.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from graphws.errors import GraphError
from graphws.graph import NetworkGraph, Storage
from graphws.operations import Activation, mlp_graph


@dataclass(frozen=True)
class Layer:
    """One linear layer.

    Args:
        name: Its path in the module; the module itself where empty.
        inputs: d_in.
        outputs: d_out.
        bias: Whether it has one.
        activation: What follows it; None for nothing.
    """

    name: str
    inputs: int
    outputs: int
    bias: bool
    activation: Activation | None = None

    def key(self, tensor: str) -> str:
        """State dict key of its ``weight`` or ``bias``."""
        return f"{self.name}.{tensor}" if self.name else tensor


def chain_graph(layers: Sequence[Layer]) -> NetworkGraph:
    """The graph of layers that run one after the other.

    Raises:
        GraphError: Where a layer does not read what the one before it writes.
    """
    for before, after in itertools.pairwise(layers):
        if before.outputs != after.inputs:
            raise GraphError(
                f"{before.name!r} writes {before.outputs} numbers, {after.name!r} reads {after.inputs}: no chain"
            )
    hidden = [layer.activation or Activation("identity") for layer in layers[:-1]]
    last = layers[-1].activation
    base = mlp_graph(
        [layers[0].inputs, *(layer.outputs for layer in layers)],
        hidden,
        output_activation=last,
    )
    absent = {f"b{m}" for m, layer in enumerate(layers, start=1) if not layer.bias}
    keys = {f"W{m}": layer.key("weight") for m, layer in enumerate(layers, start=1)}
    keys |= {f"b{m}": layer.key("bias") for m, layer in enumerate(layers, start=1)}
    parameters = tuple(
        replace(p, storage=Storage(keys[p.name], base.shape(p.name))) for p in base.parameters if p.name not in absent
    )
    operations = tuple(
        replace(operation, inputs=tuple(name for name in operation.inputs if name not in absent))
        for operation in base.operations
    )
    return replace(base, parameters=parameters, operations=operations)
