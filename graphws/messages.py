"""Messages: what an equivariant layer is made of.

A message goes *from* kinds of parameters, *via* a level of summary nodes, *to* kinds of parameters:

* via ``edge``: entry by entry, where source and target share two or more spaces;
* via ``neuron``: through a summary per element of one shared space (per head and dimension, if nested);
* via ``network``: through one summary of everything.

``pairs: sharing`` keeps only pairs of tensors that share a moving space (paper D, appendix K.3, calls a layer of such
blocks diagonal).  The four block families of paper D (figure 2) are presets that expand to messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from graphws.errors import UsageError, nearest
from graphws.pooling import POOLINGS

Via = Literal["edge", "neuron", "network"]
Pairs = Literal["all", "sharing"]
Family = Literal["full", "diagonal", "none"]

LEVELS: tuple[Via, ...] = get_args(Via)
FAMILIES = ("weight_to_weight", "weight_to_bias", "bias_to_weight", "bias_to_bias")


@dataclass(frozen=True)
class Message:
    """One way for information to move inside a layer.

    Args:
        source: Kinds of parameters that send; ``any`` for all.
        via: The level of the summary.
        target: Kinds of parameters that receive; ``any`` for all.
        pool: How entries are summarised: a word of `graphws.pooling.POOLINGS`.
        pairs: All ordered pairs of tensors, or only those that share a moving space.
    """

    source: tuple[str, ...] = ("any",)
    via: Via = "neuron"
    target: tuple[str, ...] = ("any",)
    pool: str = "max"
    pairs: Pairs = "all"

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("via", self.via, LEVELS),
            ("pool", self.pool, tuple(POOLINGS)),
            ("pairs", self.pairs, get_args(Pairs)),
        ):
            if value not in allowed:
                raise UsageError(
                    f"message {name} must be one of {', '.join(allowed)}; got {value!r}" + nearest(value, allowed)
                )

    def sends(self, kind: str) -> bool:
        """Whether a parameter of this kind sends."""
        return "any" in self.source or kind in self.source

    def reaches(self, kind: str) -> bool:
        """Whether a parameter of this kind receives."""
        return "any" in self.target or kind in self.target

    def __str__(self) -> str:
        pairs = ", sharing pairs only" if self.pairs == "sharing" else ""
        return f"{'+'.join(self.source)} -> {self.via} ({self.pool}) -> {'+'.join(self.target)}{pairs}"


def expand_blocks(blocks: Mapping[str, str] | None = None, pool: str = "max") -> tuple[Message, ...]:
    """The messages of paper D's block families.

    Args:
        blocks: For each of ``weight_to_weight``, ``weight_to_bias``, ``bias_to_weight`` and ``bias_to_bias`` whether it
            is ``full``, ``diagonal`` or ``none``; ``full`` where left out.
        pool: How entries are summarised.

    Returns:
        tuple[Message, ...]: As few as say it: three from any to any where all four families are full.

    Raises:
        UsageError: On an unknown family or value.
    """
    given = dict(blocks or {})
    for family, value in given.items():
        if family not in FAMILIES:
            raise UsageError(f"unknown block family {family!r}" + nearest(family, FAMILIES))
        if value not in get_args(Family):
            raise UsageError(
                f"{family} must be full, diagonal or none; got {value!r}" + nearest(value, get_args(Family))
            )
    values = {family: given.get(family, "full") for family in FAMILIES}
    if len(set(values.values())) == 1:
        return tuple(_levels(("any",), ("any",), next(iter(values.values())), pool))
    messages: list[Message] = []
    for family, value in values.items():
        source, target = family.split("_to_")
        messages += _levels((source,), (target,), value, pool)
    return tuple(messages)


def _levels(source: tuple[str, ...], target: tuple[str, ...], value: str, pool: str) -> Iterable[Message]:
    if value == "none":
        return ()
    pairs: Pairs = "sharing" if value == "diagonal" else "all"
    return (Message(source, via, target, pool, pairs) for via in LEVELS)
