"""How an operator of ONNX is written in torch: rules, and what a rule is given.

A rule is a function of a `Call` and the node's inputs.  To add an operator, write one in the file of its family:

    @rules("Softsign")
    def softsign(call, x):
        return torch.nn.functional.softsign(call.tensor(x))

An input is a tensor, or a numpy array where it is *known*: a constant of the file, a shape, or computed from such.
Sizes and axes reach a rule as known values, and `Call.ints` reads them.  A rule with a `known` form computes known
outputs of known inputs, so that arithmetic on shapes stays out of the computation that is traced.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graphws.errors import DataError
from graphws_converters.onnx.parse import Graph, Node

Known = NDArray[Any]
Value = Tensor | Known | None
Results = Value | Sequence[Value]
Function = Callable[..., Results]

MOST_NUMBERS = 1 << 28
"""Most numbers that one value of a run may have."""
MOST_TURNS = 10_000
"""Most turns of a loop, and most steps of a recurrent layer."""


@dataclass(frozen=True)
class Rule:
    """How one operator is computed.

    Attributes:
        function: Of a `Call` and the inputs.
        known: The same for numpy arrays, where the operator occurs in arithmetic on shapes.
    """

    function: Function
    known: Callable[..., Any] | None = None


class Rules(dict[str, Rule]):
    """The rules of one family of operators, by name; filled by using it as a decorator."""

    def __call__(self, *names: str, known: Callable[..., Any] | None = None) -> Callable[[Function], Function]:
        """Registers a function under these operators."""

        def register(function: Function) -> Function:
            for name in names:
                assert name not in self, f"two rules for {name}"
                self[name] = Rule(function, known)
            return function

        return register


class Call:
    """One node about to run: its attributes, and what its surroundings offer.

    Args:
        node: The node.
        opset: Version of the operators.
        dtypes: The floating type of the file, and the one that the module works in.
        subgraph: Runs a graph of the node's attributes on values for its inputs.
    """

    def __init__(
        self,
        node: Node,
        opset: int,
        dtypes: tuple[torch.dtype, torch.dtype],
        subgraph: Callable[[Graph, Mapping[str, Value]], list[Value]],
    ) -> None:
        self.node, self.opset, self.subgraph = node, opset, subgraph
        self._native, self._working = dtypes

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute: a number, a text, a list of numbers, an array or a graph."""
        return self.node.attributes.get(name, default)

    def refuse(self, what: str) -> DataError:
        """The error for a form of the operator that has no rule."""
        return DataError(f"ONNX node {self.node}: {what} is not supported")

    def float_dtype(self, dtype: torch.dtype = torch.float32) -> torch.dtype:
        """A floating type of the file as the module works in it: all float64 where the module was made float64."""
        return dtype if self._working == self._native else self._working

    def tensor(self, value: Value) -> Tensor:
        """A value as a tensor."""
        assert value is not None, f"{self.node} lacks an input"
        if isinstance(value, Tensor):
            return value
        made = torch.as_tensor(np.array(value))  # a copy: torch warns about arrays that it may not write to
        return made.to(self.float_dtype(made.dtype)) if made.is_floating_point() else made

    def tensors(self, *values: Value) -> list[Tensor]:
        """Values as tensors."""
        return [self.tensor(value) for value in values]

    def ints(self, value: Value, name: str = "") -> list[int] | None:
        """Whole numbers from an input, or from the attribute `name` (older opsets) where there is no input."""
        if value is None:
            found = self.get(name) if name else None
            return None if found is None else [int(number) for number in np.atleast_1d(found)]
        flat = value.reshape(-1)
        return [int(number) for number in flat.tolist()]

    def axes(self, value: Value, rank: int, name: str = "axes") -> list[int] | None:
        """Axes from an input or an attribute, counted from the front.

        Raises:
            DataError: Where there is no such axis.
        """
        found = self.ints(value, name)
        return None if found is None else [self.axis(axis, rank) for axis in found]

    def axis(self, axis: int, rank: int) -> int:
        """An axis, counted from the front."""
        if not -max(rank, 1) <= axis < max(rank, 1):
            raise DataError(f"ONNX node {self.node}: axis {axis} of a value with {rank} axes")
        return axis % rank if rank else 0

    def allow(self, *shape: int) -> tuple[int, ...]:
        """A shape that may be made.

        Raises:
            DataError: Where it is too large, or negative.
        """
        if min(shape, default=0) < 0 or math.prod(shape) > MOST_NUMBERS:
            text = "x".join(map(str, shape[:8]))
            raise DataError(
                f"ONNX node {self.node}: a value of shape {text} is larger than 2^28 numbers, or impossible"
            )
        return shape


def is_known(value: Value) -> bool:
    """Whether a value needs no tensor: a constant, a shape, or an input left out."""
    return not isinstance(value, Tensor)
