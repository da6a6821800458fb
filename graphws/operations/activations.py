"""The activations that specs, builders and hints may name: pointwise kinds with their usual constants.

Which changes of neurons pass through each is measured (`graphws.operations.intertwiners`), never looked up.

>>> ACTIVATIONS["tanh"].action
<Action.SIGNED: 'signed'>
>>> print(ACTIVATIONS["gelu_tanh"].step("z1", "x1"))
x1 = gelu(z1, approximate=tanh)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from graphws.errors import GraphError, nearest
from graphws.graph.operation import Operation
from graphws.graph.space import Action
from graphws.kinds import Attribute
from graphws.operations.intertwiners import action_of
from graphws.shown import Shown


@dataclass(frozen=True, repr=False)
class Activation(Shown):
    """A pointwise kind with its constants.

    Attributes:
        kind: A row of `graphws.kinds`.
        attributes: Its constants.
    """

    kind: str
    attributes: Mapping[str, Attribute] = field(default_factory=dict)

    def step(self, read: str = "z", write: str = "x") -> Operation:
        """The activation as a step of a computation."""
        return Operation(self.kind, (read,), (write,), tuple(self.attributes.items()))

    def with_constants(self, constants: Mapping[str, Attribute | None]) -> Activation:
        """The same kind with those of the constants that it has, where they are given."""
        known = self.step().row.attributes
        given = {name: value for name, value in constants.items() if name in known and value is not None}
        return Activation(self.kind, {**self.attributes, **given})

    @property
    def action(self) -> Action:
        """The largest group that passes through it, as measured."""
        return action_of(self.step())

    def __call__(self, x: Tensor) -> Tensor:
        """σ(x)."""
        result: Tensor = self.step()(x)
        return result

    def __str__(self) -> str:
        constants = ", ".join(f"{name}={value}" for name, value in self.attributes.items())
        return f"{self.kind}({constants})" if constants else self.kind


ACTIVATIONS: Mapping[str, Activation] = {
    **{
        name: Activation(name)
        for name in (
            *("relu", "leaky_relu", "tanh", "sine", "hardtanh", "softsign", "tanhshrink", "power", "identity"),
            *("sigmoid", "gelu", "gelu_tanh", "silu", "elu", "selu", "softplus", "mish", "hardswish", "relu6"),
        )
    },
    "gelu_tanh": Activation("gelu", {"approximate": "tanh"}),
    "power": Activation("power", {"exponent": 2}),
}
"""Activations by the names that specs use."""


def activation(name: str, **constants: Attribute | None) -> Activation:
    """The activation of that name, with those of the constants that it has.

    Raises:
        GraphError: On an unknown name.
    """
    if name not in ACTIVATIONS:
        raise GraphError(f"unknown activation {name!r}" + nearest(name, ACTIVATIONS))
    return ACTIVATIONS[name].with_constants(constants)
