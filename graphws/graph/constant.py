"""Constants: tensors that a computation needs and no network owns, such as masks, positions and tables of indices.

Their sizes are bounded: a graph says what a network is, and is no place for its numbers.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from graphws.errors import GraphError
from graphws.shown import Shown

LARGEST = 16 << 20
"""Bytes of one constant, at most."""
MOST = 64 << 20
"""Bytes of all constants of a graph, at most."""


@dataclass(frozen=True, eq=False, repr=False)
class Constant(Shown):
    """A named tensor; equal to another where name, type, shape and bits are.

    Args:
        name: By which operations read it.
        tensor: Its numbers, on the CPU; copied.
        follows: Whether a floating tensor takes the type of the weights when it is used.

    Raises:
        GraphError: On a tensor of more than 16 MiB.
    """

    name: str
    tensor: Tensor
    follows: bool = False

    def __post_init__(self) -> None:
        size = self.tensor.numel() * self.tensor.element_size()
        if size > LARGEST:
            raise GraphError(f"constant {self.name!r} has {size} bytes, at most {LARGEST} are kept")
        object.__setattr__(self, "tensor", self.tensor.detach().to("cpu").clone().contiguous())

    @property
    def bits(self) -> bytes:
        """The numbers, as they lie in memory."""
        return bytes(self.tensor.reshape(-1).view(torch.uint8).numpy().tobytes()) if self.tensor.numel() else b""

    @cached_property
    def _key(self) -> tuple[str, str, tuple[int, ...], bool, str]:
        digest = hashlib.sha256(self.bits).hexdigest()
        return self.name, str(self.tensor.dtype), tuple(self.tensor.shape), self.follows, digest

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constant) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __str__(self) -> str:
        kind = str(self.tensor.dtype).removeprefix("torch.")
        return f"{self.name}: {kind} {'x'.join(map(str, self.tensor.shape)) or 'scalar'}"
