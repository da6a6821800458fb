"""Operations: what the network computes, as symbols.

An operation names its kind, the values and parameters that it reads, the values that it writes and its constants.  The
kind is a row of `graphws.kinds`, the closed table of what each kind reads and computes; an operation of an unknown
kind, with an unknown constant or with too few inputs cannot be made.

>>> print(Operation("leaky_relu", ("z1",), ("x1",), {"negative_slope": 0.2}))
x1 = leaky_relu(z1, negative_slope=0.2)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from graphws.kinds import Attribute as Attribute
from graphws.kinds import Kind
from graphws.kinds import kind as kind_called
from graphws.shown import Shown


@dataclass(frozen=True, repr=False)
class Operation(Shown):
    """One step of the computation.

    Law: two are equal where kind, inputs, outputs and constants are, these with their types: adding 1 to whole numbers
    is not adding 1.0, while a NaN equals itself.

    Args:
        kind: A row of the table of kinds: ``linear``, ``relu``, ``sine``, ``add``…
        inputs: Names of values and parameters read, in the order of the kind's operands; ``""`` for one left out.
        outputs: Names of the values written.
        attributes: Constants of the step (``omega`` of a sine), as a mapping or as sorted pairs.

    Raises:
        GraphError: On an unknown kind or attribute, an attribute of another type, and inputs that do not fit.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: tuple[tuple[str, Attribute], ...] = field(default=(), compare=False)
    _constants: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", tuple(self.inputs))
        object.__setattr__(self, "outputs", tuple(self.outputs))
        row = kind_called(self.kind)
        attributes = row.checked(dict(self.attributes))
        object.__setattr__(self, "attributes", tuple(sorted(attributes.items())))
        object.__setattr__(self, "_constants", repr(self.attributes))
        row.arranged(self.inputs, attributes)

    @property
    def row(self) -> Kind:
        """The row of the table of kinds."""
        return kind_called(self.kind)

    @property
    def operands(self) -> dict[str, Any]:
        """The names read, by the operands that they fill; of a list of operands a list, None where one is left out."""
        return self.row.arranged(self.inputs, dict(self.attributes))

    @property
    def reads(self) -> tuple[str, ...]:
        """The names read, without those left out."""
        return tuple(name for name in self.inputs if name)

    @property
    def numbers(self) -> tuple[str, ...]:
        """The names read whose numbers count: without those of which only the shape does."""
        if not self.row.shape_of:
            return self.reads
        found = [x for operand, x in self.operands.items() if operand not in self.row.shape_of]
        flat = [name for x in found for name in (x if isinstance(x, list) else [x])]
        return tuple(name for name in flat if name)

    def attribute(self, name: str, default: Attribute | None = None) -> Any:
        """The constant called `name`; where nothing is said, `default`, or that of the kind."""
        found = dict(self.attributes)
        if name in found:
            return found[name]
        if default is not None:
            return default
        return self.row.attributes[name].default

    def __call__(self, *operands: Any, **context: Any) -> Any:
        """The function of the step, on tensors; for steps whose constants do not follow the batch."""
        return self.row(*operands, **dict(self.attributes), **context)

    def __str__(self) -> str:
        constants = (f"{name}={_shown(value)}" for name, value in self.attributes)
        return f"{', '.join(self.outputs)} = {self.kind}({', '.join([*(x or '-' for x in self.inputs), *constants])})"


def _shown(value: Attribute) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
