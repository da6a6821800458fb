"""What the learned tensors of a layer go by: names, or roles where weights are shared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

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

    def map(self, name: str, x: Tensor) -> Tensor:
        """A map of the last axis, by the module of a name.

        Raises:
            GraphError: Where the module reads another number of channels: networks of the same roles whose entries have
                other numbers of free entries.
        """
        module = self.find(name)
        if isinstance(module, nn.Linear) and module.in_features != x.shape[-1]:
            raise GraphError(
                f"{name!r} has {x.shape[-1]} numbers an entry, this model was built for {module.in_features}"
            )
        result: Tensor = module(x)
        return result

    def has(self, name: str) -> bool:
        """Whether there is a module of a name."""
        return state_key(name) in self

    def find(self, name: str) -> nn.Module:
        """The module of a name.

        Raises:
            GraphError: Where the model has none, because it was built for networks of other roles.
        """
        key = state_key(name)
        if key not in self:
            raise GraphError(f"this model was not built for {name!r}" + nearest(name, list(self)))
        return self[key]
