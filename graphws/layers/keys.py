"""Names of learned tensors, made from names of spaces, parameters and roles.

Modules of torch take no dots in names, and none of their own attributes' names.  What they do not take is written as in
a URL, %2E for a dot; so different names never become one.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

_SPECIAL = str.maketrans({character: f"%{ord(character):02X}" for character in "%.+/"})
_NETWORK = "network"
_TAKEN = frozenset(dir(nn.ParameterDict())) | frozenset(dir(nn.ModuleDict())) | {_NETWORK}


def state_key(name: str) -> str:
    """The key of a name in a ParameterDict or ModuleDict.

    >>> state_key("h.1"), state_key("h_1"), state_key("keys")
    ('h%2E1', 'h_1', '%6Beys')
    """
    key = name.translate(_SPECIAL)
    return f"%{ord(key[0]):02X}{key[1:]}" if key in _TAKEN else key


def matrix_key(nodes: Iterable[tuple[str, int | None]], part: str = "") -> str:
    """The key of a matrix, from the nodes at which it stands and the part of it.

    Args:
        nodes: Name of each node, and the position of its parent where it has one.
        part: Tells matrices at the same nodes apart.

    >>> matrix_key([("h.1", None), ("h2", None)], "1"), matrix_key([("heads", None), ("k", 0)]), matrix_key([])
    ('h%2E1+h2/1', 'heads+k/in0', 'network')
    """
    names = (state_key(name) + ("" if parent is None else f"/in{parent}") for name, parent in nodes)
    name = "+".join(names) or _NETWORK
    return f"{name}/{part}" if part else name
