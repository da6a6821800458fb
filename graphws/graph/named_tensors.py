"""Containers of tensors by name, which work as mappings do."""

from __future__ import annotations

from collections.abc import Hashable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from typing import Generic, TypeVar

from torch import Tensor

Name = TypeVar("Name", bound=Hashable)


class NamedTensors(Generic[Name]):
    """What holds ``tensors`` by name and gives each by ``self[name]``.

    Law: iterating gives the names, in order; ``in``, ``dict(...)`` and ``keys``, ``values``, ``items`` agree with it.
    Without these Python would ask for ``self[0]``, ``self[1]``….  What `len` counts is the container's own matter.
    """

    tensors: Mapping[Name, Tensor]

    def __getitem__(self, name: Name) -> Tensor:
        return self.tensors[name]

    def __iter__(self) -> Iterator[Name]:
        return iter(self.tensors)

    def __contains__(self, name: object) -> bool:
        return name in self.tensors

    def _given(self) -> Mapping[Name, Tensor]:
        return {name: self[name] for name in self.tensors}

    def keys(self) -> KeysView[Name]:
        """The names, in order."""
        return self.tensors.keys()

    def values(self) -> ValuesView[Tensor]:
        """The tensors, in the order of the names."""
        return self._given().values()

    def items(self) -> ItemsView[Name, Tensor]:
        """Name and tensor of each, in order."""
        return self._given().items()
