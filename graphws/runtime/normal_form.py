"""The network that stands for all that differ from it by a group element: in the gauge and in the order of a spec.

The gauge comes first, then the order: a canonical gauge commutes with permutations, so both hold in the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from graphws.align import Reference
from graphws.graph import GroupElement, Weights
from graphws.operations.canonical_gauge import canonical_element

Element = Callable[[Weights], GroupElement]

GAUGES: dict[str, Element | None] = {"none": None, "canonical": canonical_element}
"""By the name that `preprocess.gauge` gives: the element that fixes it, one for each network."""


@dataclass(frozen=True)
class NormalForm:
    """How networks are moved, each by itself, before a model sees them; equal where gauge and reference are the same.

    Attributes:
        gauge: Gives the elements that fix the gauge; None where the spec does not ask for one.
        reference: What networks are aligned to; None where they are not.
    """

    gauge: Element | None = None
    reference: Reference | None = None

    @property
    def trivial(self) -> bool:
        """Whether networks stay as they are."""
        return self.gauge is None and self.reference is None

    def in_gauge(self, weights: Weights) -> Weights:
        """The same functions in the gauge; their order stays."""
        return weights if self.gauge is None else self.gauge(weights).act(weights)

    def apply(self, weights: Weights) -> Weights:
        """The same functions in the gauge and, where there is a reference, in its order."""
        weights = self.in_gauge(weights)
        return weights if self.reference is None else self.reference.elements(weights).act(weights)

    def restore(self, networks: Weights, sources: Weights) -> Weights:
        """Networks that a model gave back, in the gauge and the order in which those that it saw had come."""
        if self.reference is not None:
            elements = self.reference.elements(self.in_gauge(sources))
            networks = elements.inverse().act(networks)
        return networks if self.gauge is None else self.gauge(sources).inverse().act(networks)
