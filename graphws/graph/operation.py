"""Operations: what the network computes, as symbols.

An operation names its kind, the values and parameters that it reads and the values that it writes.  The kinds that
graphws can run itself are in `graphws.operations.forward`; other kinds describe a traced model, which is run by its own
module.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from graphws.errors import GraphError

Attribute = bool | int | float | str


@dataclass(frozen=True)
class Operation:
    """One step of the computation.

    Args:
        kind: ``linear``, ``relu``, ``sine``, ``add``…
        inputs: Names of values and parameters read, in the order that the kind defines.
        outputs: Names of the values written.
        attributes: Constants of the step (``omega`` of a sine), as a mapping or as sorted pairs.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: tuple[tuple[str, Attribute], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", tuple(self.inputs))
        object.__setattr__(self, "outputs", tuple(self.outputs))
        object.__setattr__(self, "attributes", tuple(sorted(dict(self.attributes).items())))
        for name, value in self.attributes:
            if isinstance(value, float) and not math.isfinite(value):
                raise GraphError(f"operation {self.kind!r}: attribute {name!r} must be finite, got {value}")

    def attribute(self, name: str, default: Attribute) -> Attribute:
        """The constant called `name`, or `default`."""
        return dict(self.attributes).get(name, default)

    def __str__(self) -> str:
        constants = "".join(f", {name}={value}" for name, value in self.attributes)
        return f"{', '.join(self.outputs)} = {self.kind}({', '.join(self.inputs)}{constants})"
