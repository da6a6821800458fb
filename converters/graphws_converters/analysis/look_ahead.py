"""Look-ahead: which axes of a tensor are taken apart by what follows.

An axis from which operations only pick single elements, such as the 3 of ``view(..., 3, h, d)``, or the directions of a
recurrent layer whose weights are one tensor, does not run over alike things: what stands at its elements is kept apart.
"""

from __future__ import annotations

from collections.abc import Iterator

from graphws.kinds import spelled
from graphws_converters.analysis.ir import Node, Value, values_in

Users = dict[Value, list[Node]]

TAKING = {"select", "unbind", "split", "chunk", "split_with_sizes", "tensor_split"}
"""What takes an axis apart."""
_WITH_STATES = {"lstm", "gru", "rnn_tanh", "rnn_relu"}
"""Recurrent layers: the first axis of their states counts layers and directions."""
_DEEPEST = 8
"""How many views are followed."""
MOST_PARTS = 64
"""The longest axis of a parameter whose elements are kept apart."""

Places = list[int | None]
"""Where each axis of a tensor was in the first one; None for an axis that is new."""


def taken_apart(node: Node, users: Users) -> set[int]:
    """Axes of a node's output that later operations index by numbers, followed through other views."""
    assert node.outputs[0] is not None
    return {axis for axis in _ends(node.outputs[0], users) if axis is not None}


def only_taken_apart(value: Value, users: Users) -> int | None:
    """The axis of a parameter from which all that reads it picks single elements; None where there is none."""
    found = set(_ends(value, users, alone=True))
    axis = found.pop() if len(found) == 1 else None
    return axis if axis is not None and 1 < value.shape[axis] <= MOST_PARTS else None


def _ends(value: Value, users: Users, alone: bool = False) -> Iterator[int | None]:
    """For each operation behind views of a tensor the axis that it takes apart; None where it does anything else.

    Args:
        value: The tensor.
        users: Who reads what.
        alone: Whether pieces of more than one element are anything else.
    """
    todo: list[tuple[Value, Places, int]] = [(value, list(range(len(value.shape))), _DEEPEST)]
    while todo:
        seen, places, left = todo.pop()
        for user in users.get(seen, []) if left else []:
            following = _follow(user, places)
            if following is not None and user.outputs[0] is not None:
                todo.append((user.outputs[0], following, left - 1))
            else:
                yield _taken(user, seen, places, alone)
        if not left:
            yield None


def _taken(user: Node, value: Value, places: Places, alone: bool) -> int | None:
    """The axis that an operation takes apart."""
    if user.op in _WITH_STATES and "params" in user.arguments:
        rest = [argument for name, argument in user.arguments.items() if name != "hx"]
        return places[0] if len(places) > 1 and value not in values_in(rest) else None
    if user.op not in TAKING:
        return None
    axis = user.arguments.get("dim", 0)
    pieces = [piece for piece in user.outputs if piece is not None and len(piece.shape) == len(places)]
    return None if alone and any(piece.shape[axis] > 1 for piece in pieces) else places[axis]


def _follow(user: Node, places: Places) -> Places | None:
    """Where the axes are after a view; None for anything else."""
    arguments, rank = user.arguments, len(places)
    row = spelled(user.op)
    if row is not None and row.name in ("identity", "cast"):
        return places
    if "pointwise" in user.tags and len(list(user.values())) == 1:
        return places
    if user.op in ("expand", "repeat") and user.outputs[0] is not None:
        after, before = user.outputs[0].shape, next(user.values()).shape
        kept = [
            place if size == n else None
            for place, n, size in zip(places, before, after[len(after) - rank :], strict=True)
        ]
        return [*[None] * (len(after) - rank), *kept]
    if user.op == "permute":
        return [places[k] for k in arguments["dims"]]
    if user.op == "transpose":
        moved = list(places)
        a, b = arguments["dim0"], arguments["dim1"]
        moved[a], moved[b] = moved[b], moved[a]
        return moved
    if user.op == "unsqueeze":
        axis = arguments["dim"] % (rank + 1)
        return [*places[:axis], None, *places[axis:]]
    if user.op == "squeeze" and isinstance(arguments.get("dim"), int) and places[arguments["dim"]] is None:
        axis = arguments["dim"] % rank
        return [*places[:axis], *places[axis + 1 :]]
    if user.op == "slice":
        size = next(user.values()).shape[arguments.get("dim") or 0]
        whole = range(*slice(arguments.get("start"), arguments.get("end"), arguments.get("step")).indices(size))
        return places if len(whole) == size else None
    return None
