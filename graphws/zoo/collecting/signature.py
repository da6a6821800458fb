"""What tells architectures apart before anything is converted: keys, shapes and types, and what a format says besides.

Networks of one signature have one graph.  Stored order does not count, since safetensors files forget it; it is kept
for the chains of layers that are read off it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from graphws.graph.network import NetworkGraph


@dataclass(frozen=True)
class Signature:
    """Of one network, and of all that are like it.

    Args:
        keys: For each key its shape and the name of its type, in stored order.
        structure: Of a whole network, what else decides its graph.
        stated: What the layout says of the network.
    """

    keys: tuple[tuple[str, tuple[int, ...], str], ...]
    structure: str = ""
    stated: tuple[tuple[str, str], ...] = ()

    @staticmethod
    def of(state: Mapping[str, Tensor], structure: str, stated: tuple[tuple[str, str], ...]) -> Signature:
        """That of a state dict."""
        keys = tuple((key, tuple(x.shape), str(x.dtype).removeprefix("torch.")) for key, x in state.items())
        return Signature(keys, structure, stated)

    @cached_property
    def digest(self) -> str:
        """The same for two signatures that differ in the order of their keys only."""
        return hashlib.sha256(repr((sorted(self.keys), self.structure, self.stated)).encode()).hexdigest()[:32]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each key."""
        return {key: shape for key, shape, _ in self.keys}

    @property
    def types(self) -> dict[str, str]:
        """The type of each key."""
        return {key: dtype for key, _, dtype in self.keys}

    @property
    def numel(self) -> int:
        """Numbers of one network."""
        return sum(math.prod(shape) for _, shape, _ in self.keys)

    def written(self) -> str:
        """As JSON."""
        return json.dumps({"keys": self.keys, "structure": self.structure, "stated": self.stated})

    @staticmethod
    def parsed(text: Any) -> Signature:
        """The inverse of `written`, after `json.loads`."""
        keys = tuple((str(key), tuple(map(int, shape)), str(dtype)) for key, shape, dtype in text["keys"])
        return Signature(keys, str(text["structure"]), tuple((str(k), str(v)) for k, v in text["stated"]))


def difference(shapes: Mapping[str, tuple[int, ...]], graph: NetworkGraph) -> str:
    """The first way in which a state dict is not one of a graph's, in words; empty where it is one."""
    left = set(shapes)
    for parameter in graph.parameters:
        storage = parameter.storage
        key = storage.key if storage else parameter.name
        shape = storage.shape if storage else graph.shape(parameter.name)
        if key not in shapes:
            return f"no {key!r} in it"
        if shapes[key] != shape:
            return f"{key!r} has shape {_written(shapes[key])}, not {_written(shape)}"
        left -= {key, *(storage.aliases if storage else ())}
    return f"{min(left)!r} is too much" if left else ""


def _written(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "no axes"
