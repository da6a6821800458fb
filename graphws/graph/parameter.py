"""Parameters: tensors whose axes are labelled by spaces.

A parameter is the typed (hyper)edge of the graph.  An axis also says how it follows its space's action, by an integer
*power* p: if a group element scales neuron i by s_i, the axis is multiplied by s_i^p.

* ``h``    (p = 1): values written into the space: rows of a weight, a bias, the shift of a norm;
* ``h*``   (p = -1): values that read from the space: columns of the next weight;
* ``h^2``: a running variance;  ``h^0``: moves with the permutation but does not scale.

Under a general linear map A, ``h`` is multiplied by A and ``h*`` by the inverse transpose of A.

An axis of a nested space runs over all children of all parents (heads × dimensions).  Where a tensor keeps parents and
children on axes of their own, as in (experts, in, hidden), the axis ``~h`` runs over the children of one parent only;
which parent, an earlier axis of the same tensor says: ``e d* ~h``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.errors import GraphError
from graphws.shown import Shown, in_brief

_AXIS = re.compile(r"(?P<inner>~)?(?P<space>[\w./-]+)(?:(?P<dual>\*)|\^(?P<power>-?[0-9]{1,3}))?")


@dataclass(frozen=True)
class Axis:
    """One axis of a parameter: the space that indexes it and the power with which it follows the action.

    >>> Axis.parse("hidden1*")
    Axis(space='hidden1', power=-1)
    >>> str(Axis("hidden1", 2))
    'hidden1^2'
    >>> Axis.parse("~hidden").inner
    True

    Args:
        space: The space's name.
        power: See `graphws.graph.parameter`.
        inner: The axis runs over the children of one parent; the parent's index is that of an earlier axis.
    """

    space: str
    power: int = 1
    inner: bool = False

    def __repr__(self) -> str:
        inner = ", inner=True" if self.inner else ""
        return f"Axis(space={in_brief(self.space)}, power={self.power}{inner})"

    @classmethod
    def parse(cls, text: str) -> Axis:
        """The inverse of `str`: ``h``, ``h*`` or ``h^p``, each with or without a leading ``~``."""
        match = _AXIS.fullmatch(text)
        if match is None:
            raise GraphError(f"axis {text!r}: write a space's name, then nothing, '*' or '^power', as in 'h1*'")
        power = -1 if match["dual"] else int(match["power"] or 1)
        return cls(match["space"], power, match["inner"] is not None)

    def __str__(self) -> str:
        return ("~" if self.inner else "") + self.space + {1: "", -1: "*"}.get(self.power, f"^{self.power}")


MOST_AXES = 64
"""Axes of a tensor, at most."""


@dataclass(frozen=True, repr=False)
class Storage(Shown):
    """Where a parameter lives in a state dict.

    The parameter is the block ``block`` (start, stop for each stored axis; None: all) of the tensor ``key`` of shape
    ``shape``, read row-major into the parameter's own axes; so one stored tensor can hold several parameters (a fused
    q, k, v projection) and one stored axis several spaces (channels × pixels after a flatten).  Where the parts do not
    lie in one block (q, k and v of each head side by side), ``view`` is the shape to see the tensor in first: the block
    is then one of the view.  Where the network reads an axis in another sequence (``h[:, [2, 0, 1]]``), ``orders`` says
    where the elements lie: the tensor is put in order before it is viewed, so that element k of an ordered axis a is
    stored at ``orders[a][k]``.  All parameters of a tensor share its view and its orders.

    Args:
        key: The state dict's key.
        shape: Shape of the whole stored tensor.
        block: The part of it, or None for all of it.
        aliases: Further keys that hold the same tensor (tied weights).
        view: The shape, with as many numbers, in which the block is meant; ``shape`` where None.
        orders: For each stored axis the places of its elements in order, empty where they stand in order; empty where
            all do.
    """

    key: str
    shape: tuple[int, ...]
    block: tuple[tuple[int, int], ...] | None = None
    aliases: tuple[str, ...] = ()
    view: tuple[int, ...] | None = None
    orders: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        object.__setattr__(self, "orders", tuple(tuple(order) for order in self.orders))
        object.__setattr__(self, "aliases", tuple(self.aliases))
        if max(len(self.shape), len(self.view or ())) > MOST_AXES:
            raise GraphError(f"storage {self.key!r}: {len(self.shape)} axes, at most {MOST_AXES} are allowed")
        if self.view is not None:
            object.__setattr__(self, "view", tuple(self.view))
            if math.prod(self.view) != math.prod(self.shape):
                raise GraphError(f"storage {self.key!r}: a view {self.view} of a tensor of shape {self.shape}")
        if self.orders and len(self.orders) != len(self.shape):
            raise GraphError(f"storage {self.key!r}: {len(self.orders)} orders for {len(self.shape)} axes")
        for order, size in zip(self.orders, self.shape, strict=False):
            if order and sorted(order) != list(range(size)):
                raise GraphError(f"storage {self.key!r}: an order of an axis of {size} that is no permutation of it")
        if self.block is None:
            return
        object.__setattr__(self, "block", tuple((start, stop) for start, stop in self.block))
        if len(self.block) != len(self.seen):
            raise GraphError(f"storage {self.key!r}: a block of {len(self.block)} axes in {len(self.seen)} axes")
        for (start, stop), size in zip(self.block, self.seen, strict=True):
            if not 0 <= start < stop <= size:
                raise GraphError(f"storage {self.key!r}: block {start}:{stop} outside of an axis of {size}")

    @property
    def seen(self) -> tuple[int, ...]:
        """The shape in which the block is meant."""
        return self.shape if self.view is None else self.view

    @property
    def index(self) -> tuple[slice, ...]:
        """The block as slices of the stored tensor, or of its view."""
        bounds = self.block or tuple((0, n) for n in self.seen)
        return tuple(slice(start, stop) for start, stop in bounds)

    @property
    def block_shape(self) -> tuple[int, ...]:
        """Shape of the block."""
        return tuple(s.stop - s.start for s in self.index)

    def ordered(self, held: Tensor) -> Tensor:
        """Stored tensors, (batch, *shape), with the elements of each axis in order."""
        return self._rearranged(held, self.orders)

    def restored(self, ordered: Tensor) -> Tensor:
        """The inverse of `ordered`."""
        return self._rearranged(ordered, [sorted(range(len(order)), key=order.__getitem__) for order in self.orders])

    @staticmethod
    def _rearranged(x: Tensor, orders: Sequence[Sequence[int]]) -> Tensor:
        for axis, order in enumerate(orders, start=1):
            if order:
                x = x.index_select(axis, torch.tensor(order, device=x.device))
        return x


@dataclass(frozen=True, repr=False)
class Parameter(Shown):
    """A tensor labelled by spaces.

    Args:
        name: Unique in its graph.
        axes: One `Axis` for each axis, or their text separated by blanks: ``"hidden1 input*"``.
        kind: ``weight``, ``bias`` or whatever message specs shall call it.
        role: What layers that share their weights across depth go by; the name where empty.
        storage: Where it lives in a state dict; under its own name and shape where None.
    """

    name: str
    axes: tuple[Axis, ...]
    kind: str = "weight"
    role: str = ""
    storage: Storage | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise GraphError("a parameter needs a name")
        if not self.name.isprintable():
            raise GraphError(f"parameter name {self.name!r}: only printable characters are allowed")
        if isinstance(self.axes, str):
            object.__setattr__(self, "axes", tuple(Axis.parse(text) for text in self.axes.split()))
        object.__setattr__(self, "axes", tuple(self.axes))
        if len(self.axes) > MOST_AXES:
            raise GraphError(f"parameter {self.name!r}: {len(self.axes)} axes, at most {MOST_AXES} are allowed")

    @property
    def spaces(self) -> tuple[str, ...]:
        """Name of the space of each axis."""
        return tuple(axis.space for axis in self.axes)

    def __str__(self) -> str:
        return f"{self.name}[{', '.join(map(str, self.axes))}]"
