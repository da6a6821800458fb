"""What a converter gives: a graph, its weights, and whether the claim behind them was put to the test.

A *converter* turns a foreign network (a module, a checkpoint) into a `NetworkGraph`.  Converters are plug-ins: packages
register an object of type `Converter` under the entry point group ``graphws.converters``, and `graphws.convert` finds
them there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from graphws.graph.network import NetworkGraph
from graphws.graph.verify import Verification
from graphws.graph.weights import Weights


@dataclass(frozen=True, eq=False)
class Conversion:
    """A converted network.

    Attributes:
        graph: The graph.
        weights: Its numbers, a batch of one in the source's dtype; None where the source has none (a graph file).
        verification: Figures of the numeric gate, where it was passed.
        reason: Why it was not put to the test, where it was not.
    """

    graph: NetworkGraph
    weights: Weights | None = None
    verification: Verification | None = None
    reason: str = ""

    @property
    def verified(self) -> bool:
        """Whether graph and group were confirmed by numbers."""
        return self.verification is not None

    @property
    def verdict(self) -> str:
        """``VERIFIED (figures)`` or ``UNVERIFIED (reason)``."""
        return f"UNVERIFIED ({self.reason})" if self.verification is None else str(self.verification)

    def __str__(self) -> str:
        return f"{self.verdict}\n{self.graph}"


@dataclass(frozen=True, eq=False)
class Hints:
    """What the caller knows about a network, for what a converter cannot see.

    Attributes:
        example_inputs: A batch of inputs; only its shape has to be right.
        activation: Of the hidden layers: one name for all, or one each.
        omega: Frequency of sine activations: one for all, or one each.
        exponent: Power of ``power`` activations.
        generator: Source of randomness of the numeric gate.
    """

    example_inputs: Tensor | None = None
    activation: str | Sequence[str] | None = None
    omega: float | Sequence[float] | None = None
    exponent: int | None = None
    generator: torch.Generator | None = None


class Converter(Protocol):
    """A plug-in that turns one kind of source into graphs."""

    def accepts(self, source: object) -> bool:
        """Whether this converter is for such a source (a cheap look, no reading)."""
        ...

    def convert(self, source: object, hints: Hints) -> Conversion:
        """The conversion; a `GraphwsError` where it is refused."""
        ...
