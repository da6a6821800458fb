"""Windows that slide over axes: what convolutions and poolings have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from graphws.errors import DataError
from graphws_converters.onnx.rules import Call


@dataclass(frozen=True)
class Window:
    """A window of given sides and how it slides; `before` and `after` are the padding at the ends of each axis."""

    sides: list[int]
    strides: list[int]
    dilations: list[int]
    before: list[int]
    after: list[int]

    @property
    def rank(self) -> int:
        """Over how many axes it slides."""
        return len(self.sides)

    @classmethod
    def of(cls, call: Call, x: Tensor, sides: Sequence[int]) -> Window:
        """The window that a node's attributes describe.

        Raises:
            DataError: Where they do not fit each other or the input.
        """
        rank = len(sides)
        strides = call.ints(None, "strides") or [1] * rank
        dilations = call.ints(None, "dilations") or [1] * rank
        pads = call.ints(None, "pads") or [0] * (2 * rank)
        if not len(strides) == len(dilations) == rank == x.ndim - 2 or len(pads) != 2 * rank or rank == 0:
            raise DataError(f"ONNX node {call.node}: its window has {rank} axes, its settings or input another number")
        if min([*sides, *strides, *dilations]) < 1 or min(pads) < 0:
            raise DataError(f"ONNX node {call.node}: a window has sides, strides and dilations of at least 1")
        before, after = pads[:rank], pads[rank:]
        auto = call.get("auto_pad", "NOTSET")
        if auto.startswith("SAME"):
            for k, n in enumerate(x.shape[2:]):
                reach = (sides[k] - 1) * dilations[k] + 1
                total = max((-(-n // strides[k]) - 1) * strides[k] + reach - n, 0)
                small, large = total // 2, total - total // 2
                before[k], after[k] = (small, large) if auto == "SAME_UPPER" else (large, small)
        elif auto == "VALID":
            before, after = [0] * rank, [0] * rank
        return cls(list(sides), strides, dilations, before, after)

    def lengths(self, axes: Sequence[int], ceil: bool = False) -> list[int]:
        """How often it fits along each axis; with `ceil`, also where it only begins inside."""
        found = []
        for k, n in enumerate(axes):
            room = n + self.before[k] + self.after[k] - (self.sides[k] - 1) * self.dilations[k] - 1
            count = (-(-room // self.strides[k]) if ceil else room // self.strides[k]) + 1
            if ceil and (count - 1) * self.strides[k] >= n + self.before[k]:
                count -= 1
            found.append(max(count, 0))
        return found


def pad_with(x: Tensor, window: Window, number: float = 0.0, more: Sequence[int] = ()) -> Tensor:
    """x with the window's padding, and `more` behind each axis."""
    beyond = list(more) or [0] * window.rank
    pairs = [n for k in reversed(range(window.rank)) for n in (window.before[k], window.after[k] + beyond[k])]
    return F.pad(x, pairs, value=number) if any(pairs) else x
