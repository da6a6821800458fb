"""Which free axes are made smaller before the layers: decided once, from the graphs that a model is built for.

Free indices may be mixed at will without touching equivariance (paper D, appendix J), and layers cost the square of
their width: 784 inputs or 10 classes at 32 channels mean matrices with billions of entries.  There are three ways:

* ``auto``: where an entry has more than `WIDEST` free numbers (a kernel, inputs, classes, a vocabulary), these become
  its channels, by one linear map for each parameter (or role): the 9 numbers of a 3 x 3 kernel or the 784 of an input
  go to as many channels as the layers have, and the first layer reads those;
* a mapping: chosen free spaces are mapped to chosen sizes, each by a matrix for each parameter that they index;
* ``none``: nothing is mapped, and the layers are every linear map that is equivariant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from graphws.errors import UsageError, nearest
from graphws.graph import Axis, NetworkGraph, Parameter
from graphws.layers.plan import role
from graphws.shown import Shown

WIDEST = 4
"""Free numbers of an entry up to which ``auto`` leaves them as they are: 2 coordinates, 3 colours, 2 x 2 taps."""


def resized(graph: NetworkGraph, sizes: Mapping[str, int]) -> NetworkGraph:
    """The graph with some free spaces of another size.

    Raises:
        UsageError: On an unknown space, one that is not free, or a size that is not between 1 and its own.
    """
    for name, size in sizes.items():
        known = {space.name: space for space in graph.spaces}
        if name not in known:
            raise UsageError(f"reduce: no space {name!r} in this graph" + nearest(name, known))
        space = known[name]
        if space.moves:
            raise UsageError(f"reduce: {name!r} is a {space.kind} space; only free spaces can be reduced")
        if not 1 <= size <= space.size:
            raise UsageError(f"reduce: {name!r} has {space.size} entries, a reduction to {size} is wider than its axis")
        graph = graph.replace_space(replace(space, size=size))
    return graph


def owner(graph: NetworkGraph, parameter: str, share: str) -> str:
    """What learned tensors of a parameter go by: its name, or its role where weights are shared."""
    return parameter if share == "none" else role(graph, parameter)


def free_sizes(graph: NetworkGraph, parameter: str) -> tuple[int, ...]:
    """Length of each free level of a parameter's axes."""
    layout = graph.layout(parameter)
    return tuple(n for n, moves in zip(layout.split, layout.moving, strict=True) if not moves)


@dataclass(frozen=True, repr=False)
class Reduction(Shown):
    """What the layers see of free axes.

    Args:
        sizes: New sizes of free spaces, by the space's name or role.
        lifted: Owners (names, or roles) whose free numbers become channels.
        channels: Channels of every entry behind the reduction.
        share: ``none`` or ``role``.
    """

    sizes: tuple[tuple[str, int], ...] = ()
    lifted: frozenset[str] = frozenset()
    channels: int = 1
    share: str = "none"

    @property
    def empty(self) -> bool:
        """Whether nothing is changed."""
        return not self.sizes and not self.lifted

    def chosen(self, graph: NetworkGraph) -> dict[str, int]:
        """The new size of each space of a graph that the mapping names."""
        sizes = dict(self.sizes)
        return {
            space.name: sizes.get(space.name, sizes.get(space.role, 0))
            for space in graph.spaces
            if space.name in sizes or (space.role in sizes and not space.moves)
        }

    def inner(self, graph: NetworkGraph) -> NetworkGraph:
        """The graph as the layers see it."""
        return graph if self.empty else _inner(self, graph.structure)

    def rows(self) -> Iterator[str]:
        """What is done, for readers, a line each."""
        for name, size in self.sizes:
            yield f"{name}: mapped to {size}"
        for name in sorted(self.lifted):
            yield f"{name}: free numbers become {self.channels} channels"


@lru_cache(4096)
def _inner(reduction: Reduction, graph: NetworkGraph) -> NetworkGraph:
    graph = resized(graph, reduction.chosen(graph))
    parameters = tuple(
        replace(p, axes=tuple(_moving(graph, p))) if owner(graph, p.name, reduction.share) in reduction.lifted else p
        for p in graph.parameters
    )
    return NetworkGraph(graph.spaces, parameters).structure


def _moving(graph: NetworkGraph, parameter: Parameter) -> Iterator[Axis]:
    """The parameter's axes without what is free."""
    for axis in parameter.axes:
        *above, space = graph.lineage(axis.space)
        if space.moves:
            yield axis
        elif above and not axis.inner:  # free children move with their parents
            yield Axis(above[-1].name)


def reduction_of(
    graphs: Sequence[NetworkGraph], reduce: str | Mapping[str, int] | None, channels: int, share: str = "none"
) -> Reduction:
    """The reduction that a model's option asks for.

    Args:
        graphs: The graphs that the model is built for.
        reduce: ``auto``, ``none`` (or None), or a mapping from free spaces, by name or role, to their new sizes.
        channels: Channels of the layers.
        share: ``none`` or ``role``.

    Raises:
        UsageError: On another word, on a space that no graph has, that is not free, or smaller than its new size.
    """
    if reduce is None or reduce == "none":
        return Reduction(share=share)
    if reduce == "auto":
        widths: dict[str, set[int]] = {}
        for graph in graphs:
            for parameter in graph.parameters:
                free = graph.layout(parameter.name).free
                widths.setdefault(owner(graph, parameter.name, share), set()).add(free)
        wide = frozenset(name for name, sizes in widths.items() if max(sizes) > WIDEST or len(sizes) > 1)
        return Reduction(lifted=wide, channels=channels if wide else 1, share=share)
    if isinstance(reduce, str):
        raise UsageError(
            f"reduce must be 'auto', 'none' or a mapping from free spaces to sizes; got {reduce!r}"
            + nearest(reduce, ("auto", "none"))
        )
    known = {name: None for graph in graphs for space in graph.spaces for name in (space.name, space.role) if name}
    for name in reduce:
        if name not in known:
            raise UsageError(f"reduce: no space {name!r} in this graph" + nearest(name, known))
    found = Reduction(tuple(sorted(reduce.items())), share=share)
    for graph in graphs:
        found.inner(graph)
    return found
