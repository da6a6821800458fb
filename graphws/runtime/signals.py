"""Whether the signals that networks represent can be moved, as a section ``augment`` asks."""

from __future__ import annotations

from collections.abc import Sequence

from graphws.errors import ZooError
from graphws.graph import NetworkGraph
from graphws.spec import Augment
from graphws.zoo.augmentations import first_layer


def check_signals(section: Augment, graphs: Sequence[NetworkGraph]) -> None:
    """`ZooError` where networks of one of the graphs do not let their signals be moved, or turned, as is asked."""
    asked = [name for name in ("rotation", "translation", "scaling") if getattr(section, name)]
    for graph in graphs if asked else ():
        try:
            weight, _ = first_layer(graph)
            inputs = graph.shape(weight)[-1]
            if section.rotation and inputs != 2:
                raise ZooError(f"rotation needs signals on a plane; these networks have {inputs} inputs")
        except ZooError as error:
            raise ZooError(f"augment.{asked[0]} changes the signal that a network draws, but {error}") from None
