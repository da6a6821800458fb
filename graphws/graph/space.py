"""Spaces: the index sets that a network's tensors are indexed by.

A space is the typed node of a network's graph: the neurons of a layer, the channels of a convolution, the heads of an
attention layer, the classes of an output.  Its *kind* says how the symmetry group moves it:

* ``set``: its elements may be permuted (paper D calls this a set index);
* ``free``: they may not (D: free index); inputs, outputs, kernel taps;
* ``nested``: a set inside a parent space.  Every element of the parent has children of its own, permuted on their own,
  and permuting the parents moves whole families: a wreath product.  Head dimensions inside heads are the example.
  A free space may have a parent too (head dimensions that a rotary embedding pins down).

Its *action* says which linear maps commute with the activation that the space carries (paper I, section 5.1, calls
these intertwiners), so how large the symmetry really is.  Permutations are always among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal, get_args

from graphws.errors import GraphError, nearest
from graphws.shown import Shown

Kind = Literal["set", "free", "nested"]


class Action(str, Enum):
    """What may act on a space without changing the function, permutations included."""

    PERMUTATION = "permutation"
    """Permutation matrices: any pointwise activation."""
    SIGNED = "signed"
    """Permutations times signs: odd activations (tanh, sine)."""
    SCALING = "scaling"
    """Permutations times positive scales: positively homogeneous activations (ReLU, leaky ReLU)."""
    MONOMIAL = "monomial"
    """Permutations times non-zero scales: powers t^m."""
    LINEAR = "linear"
    """Every invertible matrix: no activation (GL; inside heads GL(d) wr S_h)."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, repr=False)
class Space(Shown):
    """An index set and how the group moves it.

    Args:
        name: Unique in its graph; letters, digits, ``_``, ``.``, ``-`` and ``/``.
        size: Number of elements; for a space with a parent, of children per parent element.  A free space may have
            none: some networks keep tensors without elements.
        kind: ``set``, ``free`` or ``nested``.
        parent: The parent space of a nested (or nested free) space.
        action: The rich action; ignored by a free space.
        role: What layers that share their weights across depth go by (``hidden``, ``input``, ``head``…).
        reason: Why the space is what it is, shown by ``graphws inspect`` and by converters.

    Raises:
        GraphError: On an impossible name, size, kind or parent.
    """

    name: str
    size: int
    kind: Kind = "set"
    parent: str | None = None
    action: Action = Action.PERMUTATION
    role: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        if not self.name or not all(c.isalnum() or c in "_.-/" for c in self.name):
            raise GraphError(f"space name {self.name!r}: use letters, digits, '_', '.', '-' and '/'")
        least = 0 if self.kind == "free" and self.parent is None else 1
        if isinstance(self.size, bool) or not isinstance(self.size, int) or self.size < least:
            raise GraphError(f"space {self.name!r}: size must be a whole number of at least {least}, got {self.size!r}")
        if self.kind not in get_args(Kind):
            raise GraphError(
                f"space {self.name!r}: kind must be set, free or nested, got {self.kind!r}"
                + nearest(str(self.kind), get_args(Kind))
            )
        if self.kind == "nested" and self.parent is None:
            raise GraphError(f"space {self.name!r}: a nested space needs a parent")
        if self.kind == "set" and self.parent is not None:
            raise GraphError(f"space {self.name!r}: a set with a parent is of kind 'nested', got kind 'set'")
        try:
            object.__setattr__(self, "action", Action(self.action))
        except ValueError:
            actions = [str(action) for action in Action]
            raise GraphError(
                f"space {self.name!r}: action must be one of {', '.join(actions)}; got {str(self.action)!r}"
                + nearest(str(self.action), actions)
            ) from None

    @property
    def moves(self) -> bool:
        """Whether the group permutes the elements of the space itself (a free child only moves with its parent)."""
        return self.kind != "free"

    def __str__(self) -> str:
        inside = f" in {self.parent}" if self.parent else ""
        action = f", {self.action}" if self.moves else ""
        return f"{self.name}: {self.kind}{inside}, {self.size}{action}"
