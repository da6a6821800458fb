"""Points at which a model asks networks, fixed or learned.

Graphs whose inputs are alike, in shape, type and range, are asked at the same points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from graphws.errors import UsageError
from graphws.graph import NetworkGraph
from graphws.graph.value import Value
from graphws.kinds.attributes import WEIGHTS
from graphws.operations.query_points import fixed_points, floating, values_of

Signature = tuple[tuple[tuple[int | str, ...], str, int | None], ...]
"""Shape, type and largest whole number of each input."""


class Points(nn.Module):
    """Inputs for the networks of given graphs.

    Args:
        graphs: Of the networks.
        count: Points; n in the shapes of the inputs.
        grid: Whether networks with 2 inputs are asked on a regular grid; see `fixed_points`.
        learned: Whether the points, which start there, are learned.
        seed: Of the draws where there is no grid.

    Raises:
        UsageError: On what `fixed_points` refuses, and where whole numbers are to be learned.
    """

    def __init__(
        self, graphs: Sequence[NetworkGraph], count: int, grid: bool = True, learned: bool = False, seed: int = 0
    ) -> None:
        super().__init__()
        self.places: dict[Signature, list[str]] = {}
        for graph in graphs:
            start, signature = fixed_points(graph, count, grid, seed), _signature(graph)
            if learned and (fixed := _whole(graph)):
                raise UsageError(f"points are learned for floating inputs only, and {fixed}; take `learned: false`")
            if signature in self.places:
                continue
            names = [f"at{len(self.places)}_{number}" for number in range(len(signature))]
            self.places[signature] = names
            for name, tensor in zip(names, start, strict=True):
                if learned:
                    self.register_parameter(name, nn.Parameter(tensor))
                else:
                    self.register_buffer(name, tensor)

    def of(self, graph: NetworkGraph) -> Mapping[str, Tensor]:
        """The inputs of a graph by their names.

        Raises:
            UsageError: On a graph whose inputs are like those of none that the points were made for.
        """
        found = self.places.get(_signature(graph))
        if found is None:
            shapes = ", ".join(_words(value) for value in values_of(graph))
            raise UsageError(f"there are no points for networks that read {shapes}; the model was built for other ones")
        return {name: getattr(self, place) for name, place in zip(graph.inputs, found, strict=True)}


def _signature(graph: NetworkGraph) -> Signature:
    """What graphs that are asked at the same points have in common."""
    return tuple((value.shape, value.dtype, value.highest) for value in values_of(graph))


def _whole(graph: NetworkGraph) -> str:
    """Which input no gradient can move; empty where there is none."""
    for name, value in zip(graph.inputs, values_of(graph), strict=True):
        if not floating(value):
            return f"the input {name!r} is {value.dtype}"
    return ""


def _words(value: Value) -> str:
    kind = "" if value.dtype == WEIGHTS else f" {value.dtype}"
    most = "" if value.highest is None else f" up to {value.highest}"
    return f"({', '.join(map(str, value.shape))}){kind}{most}"
