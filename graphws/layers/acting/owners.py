"""What the learned tensors of a layer go by: names, or roles where weights are shared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from graphws.errors import GraphError, nearest
from graphws.graph import NetworkGraph
from graphws.layers.keys import state_key


@dataclass(frozen=True)
class Owners:
    """Names of what is learned on one graph.

    Args:
        graph: The graph.
        share: ``none``: by name; ``role``: by role.
    """

    graph: NetworkGraph
    share: str

    def space(self, name: str | None) -> str:
        """Of a space; of the network where None."""
        if name is None:
            return "network"
        return self.graph.space(name).role or name if self.share == "role" else name

    def parameter(self, name: str) -> str:
        """Of a parameter."""
        return self.graph.role_of(name) if self.share == "role" else name


class Modules(nn.ModuleDict):
    """Modules by any names; what is asked for and missing is an error that names what is there."""

    def make(self, name: str, make: Callable[[], nn.Module]) -> None:
        """Adds a module unless there is one of the name."""
        key = state_key(name)
        if key not in self:
            self[key] = make()

    def find(self, name: str) -> nn.Module:
        """The module of a name.

        Raises:
            GraphError: Where the model has none, because it was built for networks of other roles.
        """
        key = state_key(name)
        if key not in self:
            raise GraphError(f"this model was not built for {name!r}" + nearest(name, list(self)))
        return self[key]


def check_widths(widths: dict[str, tuple[int, str]], found: Mapping[str, int], graph: NetworkGraph) -> None:
    """Notes how many free numbers the entries of each owner have; they must agree wherever weights are shared.

    Raises:
        GraphError: Where they differ.
    """
    for owner, free in found.items():
        known = widths.setdefault(owner, (free, owner))
        if known[0] != free:
            raise GraphError(
                f"role {owner!r} has {known[0]} free numbers an entry in one network and {free} in another "
                f"({len(graph.parameters)} parameters); give them different roles"
            )
