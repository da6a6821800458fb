"""From a bare state dict to a graph: a hypothesis, said aloud.

Names and shapes do not show what runs between the layers, in which order, or what is added past them; guessing from
them was wrong silently on 7 of 32 models that we tried.  So the caller names the activation, the keys must be those of
linear layers and nothing else, the shapes must chain, and the result says UNVERIFIED with what was assumed.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence

from torch import Tensor

from graphws.checkpoints.conversion import Conversion, Hints
from graphws.errors import GraphError, UsageError
from graphws.graph import Weights
from graphws.operations import ACTIVATIONS, Activation
from graphws_converters.chains.activations import Hint
from graphws_converters.chains.chain import Layer, chain_graph
from graphws_converters.chains.hidden_hints import hidden_hints


def convert_state_dict(state: Mapping[str, Tensor], hints: Hints, source: str = "a state dict") -> Conversion:
    """The chain of linear layers in a state dict, under the caller's activation.

    Args:
        state: The tensors.
        hints: ``activation`` is required, ``omega`` too for sines, ``exponent`` for powers.
        source: What to call it in messages.

    Raises:
        UsageError: Where the activation is not named.
        GraphError: Where the tensors are not those of a chain of linear layers.
    """
    layers = _ordered(_linear_layers(state), source)
    if hints.activation is None and len(layers) > 1:
        raise UsageError(
            f"{source} does not say what runs between its {len(layers)} linear layers: "
            "name it with activation= (and omega= for sines), or convert the module"
        )
    given = hidden_hints(hints, len(layers) - 1)
    activations = [_activation(hint, source) for hint in given]
    layers = [
        Layer(layer.name, layer.inputs, layer.outputs, layer.bias, activation)
        for layer, activation in zip(layers, [*activations, None], strict=True)
    ]
    graph = chain_graph(layers)
    between = ", ".join(dict.fromkeys(map(str, activations))) or "nothing"
    order = " -> ".join(layer.name or "the layer" for layer in layers)
    reason = f"{source} holds no code: taken as the chain {order} with {between} in between; the module would show it"
    return Conversion(graph, Weights.from_state_dict(graph, state), reason=reason)


def is_chain(state: Mapping[str, Tensor]) -> bool:
    """Whether the tensors are those of linear layers that chain, and nothing else."""
    try:
        _ordered(_linear_layers(state), "")
    except GraphError:
        return False
    return True


def _activation(hint: Hint, source: str) -> Activation:
    assert hint.kind is not None
    if hint.kind == "sine":
        if hint.omega is None:
            raise UsageError(f"{source} does not hold the frequency of its sines: give omega=")
        return Activation("sine", {"omega": hint.omega})
    if hint.kind == "power":
        if hint.exponent is None:
            raise UsageError(f"{source} does not hold the power of its activations: give exponent=")
        return Activation("power", {"exponent": hint.exponent})
    return ACTIVATIONS[hint.kind]


def _linear_layers(state: Mapping[str, Tensor]) -> list[Layer]:
    """The linear layers, in stored order; nothing may be left over."""
    layers, left = [], set(state)
    for key, weight in state.items():
        name, _, tensor = key.rpartition(".")
        if tensor != "weight" or weight.ndim != 2:
            continue
        bias = f"{name}.bias" if name else "bias"
        outputs, inputs = weight.shape
        has_bias = bias in state and tuple(state[bias].shape) == (outputs,)
        layers.append(Layer(name, int(inputs), int(outputs), has_bias))
        left -= {key, bias} if has_bias else {key}
    if left:
        key = next(key for key in state if key in left)
        raise GraphError(
            f"{key!r} of shape {tuple(state[key].shape)} belongs to no linear layer; "
            "a bare state dict is read as a chain of linear layers only: convert the module"
        )
    if not layers:
        raise GraphError("the state dict holds no linear layer")
    return layers


def _ordered(layers: Sequence[Layer], source: str) -> list[Layer]:
    """In stored order where the shapes chain, else by the numbers in the names."""
    for order in (list(layers), sorted(layers, key=_natural)):
        if all(a.outputs == b.inputs for a, b in itertools.pairwise(order)):
            return order
    shapes = ", ".join(f"{layer.name} {layer.outputs}x{layer.inputs}" for layer in layers)
    raise GraphError(f"the linear layers of {source} do not chain ({shapes}): convert the module")


def _natural(layer: Layer) -> list[tuple[int, str]]:
    """Sorts net.2 before net.10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", layer.name)]
