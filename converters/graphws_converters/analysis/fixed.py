"""Numbers that the network does not change: tensors that depend on no input and no parameter.

Tables of positions, permutations and masks are computed in many ways (a buffer, a literal, ``arange`` and arithmetic
on it); what they hold is found by running those few operations.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from graphws.kinds.declare import aten
from graphws_converters.analysis.ir import Node, Program, Value

MOST_FIXED = 1 << 20
"""Numbers of a tensor that is computed."""


@dataclass(eq=False)
class Fixed:
    """The constant tensors of a program, computed when they are asked for."""

    program: Program
    _writers: dict[Value, Node] = field(default_factory=dict)
    _found: dict[Value, Tensor | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        moving = self.program.from_data()
        for node in self.program.nodes:
            for value in node.outputs:
                if value is not None and value not in moving and "random" not in node.tags:
                    self._writers[value] = node
        self._found.update((v, None if x.is_meta else x) for v, x in self.program.constants.items())

    def __call__(self, value: Value) -> Tensor | None:
        """A tensor's numbers; None where they depend on data, or cannot be computed."""
        todo = [value]
        while todo:
            current = todo[-1]
            node = self._writers.get(current)
            if current in self._found or node is None:
                self._found.setdefault(current, None)
                todo.pop()
                continue
            missing = [v for v in node.values() if v not in self._found]
            if missing:
                todo += missing
                continue
            self._run(node)
            self._found.setdefault(current, None)
        return self._found[value]

    def _run(self, node: Node) -> None:
        written = [value for value in node.outputs if value is not None]
        if any(self._found[v] is None for v in node.values()) or any(v.numel() > MOST_FIXED for v in written):
            return
        given = pytree.tree_map_only(Value, lambda v: self._found[v], dict(node.arguments))
        try:
            with torch.no_grad():
                result = aten(node.op, given)
        except Exception:  # an operation of the front end's own, or of another device: nothing is known then
            return
        made = [x for x in (result if isinstance(result, tuple | list) else [result]) if isinstance(x, Tensor)]
        self._found.update(
            (v, x) for v, x in zip(written, made, strict=False) if tuple(x.shape) == v.shape and not x.is_meta
        )
