"""Mapping free axes before the layers, and back where the output is a network: the maps of a `Reduction`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from graphws.errors import GraphError
from graphws.graph import NetworkGraph
from graphws.layers.features import Features
from graphws.layers.keys import state_key
from graphws.layers.reduction import Reduction, free_sizes, owner


class FreeAxes(nn.Module):
    """Linear maps of the free numbers of each entry, the same for all entries of a parameter (or of a role).

    Args:
        graphs: The graphs that may come; with shared weights also others, of the same roles and free sizes.
        reduction: What is mapped to what.
        back: Maps from what the layers see to networks, instead of to it.

    Shapes:
        Features of a graph, one channel -> Features of ``reduction.inner(graph)``, ``reduction.channels`` channels; or,
        with ``back``, the other way (the graph is then the inner one's original, see `forward`).
    """

    def __init__(self, graphs: Sequence[NetworkGraph], reduction: Reduction, back: bool = False) -> None:
        super().__init__()
        self.reduction, self.back = reduction, back
        self.maps = nn.ParameterDict()
        self._owners = {owner(g, p.name, reduction.share) for g in graphs for p in g.parameters}
        for graph in graphs:
            for parameter in graph.parameters:
                for key, (rows, columns) in self._shapes(graph, parameter.name).items():
                    if key not in self.maps:
                        self.maps[key] = nn.Parameter(torch.randn(rows, columns) / math.sqrt(rows))

    def _shapes(self, graph: NetworkGraph, parameter: str) -> dict[str, tuple[int, int]]:
        """The learned matrices of a parameter: by key, rows and columns."""
        name, channels = owner(graph, parameter, self.reduction.share), self.reduction.channels
        frees = free_sizes(graph, parameter)
        if name in self.reduction.lifted:
            # the free sizes are part of the key: inputs of two widths share all but this map
            shapes = {f"{name}:{'x'.join(map(str, frees))}": (math.prod(frees), channels)}
        elif channels > 1:
            shapes = {name: (1, channels)}
        else:
            inner = free_sizes(self.reduction.inner(graph), parameter)
            changed = ((k, pair) for k, pair in enumerate(zip(frees, inner, strict=True)) if pair[0] != pair[1])
            shapes = {self._axis(name, k, pair[0]): pair for k, pair in changed}
        turned = (lambda pair: pair[::-1]) if self.back else (lambda pair: pair)
        return {state_key(key): turned(pair) for key, pair in shapes.items()}

    def _axis(self, name: str, place: int, size: int) -> str:
        """Names the map of one free axis; of a role, axes of several lengths each have one."""
        return f"{name}:{place}" if self.reduction.share == "none" else f"{name}:{place}:{size}"

    def matrix(self, graph: NetworkGraph, parameter: str) -> Tensor | None:
        """The map of a parameter's folded channels, (before, after); None where they stay as they are.

        Raises:
            GraphError: On a role that comes with a number of free entries that was never seen.
        """
        name, channels = owner(graph, parameter, self.reduction.share), self.reduction.channels
        shapes = self._shapes(graph, parameter)
        for key, shape in shapes.items():
            known = self.maps[key].shape if key in self.maps else None
            if known != shape:
                raise GraphError(self._unknown(graph, parameter, shape, known))
        if name in self.reduction.lifted:
            lifting: Tensor = self.maps[next(iter(shapes))]
            return lifting
        frees = free_sizes(graph, parameter)
        if channels > 1:
            eye = torch.eye(math.prod(frees), dtype=self._like.dtype, device=self._like.device)
            return torch.kron(eye, self.maps[next(iter(shapes))])
        if not shapes:
            return None
        whole = torch.ones(1, 1, dtype=self._like.dtype, device=self._like.device)
        for place, size in enumerate(frees):
            key = state_key(self._axis(name, place, size))
            here = self.maps[key] if key in shapes else torch.eye(size, dtype=whole.dtype, device=whole.device)
            whole = torch.kron(whole, here)
        return whole

    @property
    def _like(self) -> Tensor:
        like: Tensor = next(iter(self.maps.values()))
        return like

    def _unknown(
        self, graph: NetworkGraph, parameter: str, shape: tuple[int, int], known: tuple[int, ...] | None
    ) -> str:
        name = owner(graph, parameter, self.reduction.share)
        start = state_key(f"{name}:")
        seen = sorted({m.shape[self.back] for key, m in self.maps.items() if key.startswith(start)})
        said = f", with {' and '.join(map(str, seen))}" if seen else f"; it knows {', '.join(sorted(self._owners))}"
        what = f"{name!r} with {shape[self.back]} free entries"
        return f"parameter {parameter!r} is of {what}, which this model was not built for{said}"

    def forward(self, features: Features, graph: NetworkGraph | None = None) -> Features:
        """Applies the maps.

        Args:
            features: What comes in.
            graph: With ``back``, the graph of the networks that go out.
        """
        source = features.graph if graph is None else graph
        tensors = {}
        for name in features.tensors:
            matrix = self.matrix(source, name)
            x = features[name]
            tensors[name] = x if matrix is None else x @ matrix.to(x.dtype)
        if self.back:
            return Features(source, tensors, 1)
        return Features(self.reduction.inner(source), tensors, self.reduction.channels)
