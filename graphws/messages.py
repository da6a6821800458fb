"""Messages: what an equivariant layer is made of.

A message goes *from* kinds of parameters, *via* a level of summary nodes, *to* kinds of parameters:

* via ``edge``: entry by entry, where source and target share two or more spaces;
* via ``neuron``: through a summary per element of one shared space (per head and dimension, if nested);
* via ``network``: through one summary of everything;
* via ``weight``: carried along by the weights themselves (rule 3 of docs/layers.md), from neuron to neuron or onto the
  weights' own entries.

Kinds are those of a graph's parameters, ``weight`` and ``bias``, and ``neuron``: features that stand on the neurons of
a space.  ``any`` takes these in only where some message of the layer names them.

``pairs: sharing`` keeps only pairs of tensors that share a moving space (paper D, appendix K.3, calls a layer of such
blocks diagonal).  The four block families of paper D (figure 2) are presets that expand to messages.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from graphws.errors import UsageError, nearest
from graphws.pooling import POOLINGS
from graphws.shown import Shown

Level = Literal["edge", "neuron", "network"]
Via = Literal["edge", "neuron", "network", "weight"]
Pairs = Literal["all", "sharing"]
Family = Literal["full", "diagonal", "none"]

LEVELS: tuple[Level, ...] = get_args(Level)
NEURON = "neuron"
"""The kind of features that stand on neurons."""
FAMILIES = ("weight_to_weight", "weight_to_bias", "bias_to_weight", "bias_to_bias")


@dataclass(frozen=True, repr=False)
class Message(Shown):
    """One way for information to move inside a layer.

    Args:
        source: Kinds of parameters that send; ``any`` for all.
        via: The level of the summary, or ``weight``.
        target: Kinds of parameters that receive; ``any`` for all.
        pool: How entries are summarised: a word of `graphws.pooling.POOLINGS`; not read via ``weight``.
        pairs: All ordered pairs of tensors, or only those that share a moving space.

    Raises:
        UsageError: On an unknown word, and on what has no meaning via ``weight`` (see `weight_faults`).
    """

    source: tuple[str, ...] = ("any",)
    via: Via = "neuron"
    target: tuple[str, ...] = ("any",)
    pool: str = "max"
    pairs: Pairs = "all"

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("via", self.via, get_args(Via)),
            ("pool", self.pool, tuple(POOLINGS)),
            ("pairs", self.pairs, get_args(Pairs)),
        ):
            if value not in allowed:
                raise UsageError(
                    f"message {name} must be one of {', '.join(allowed)}; got {value!r}" + nearest(value, allowed)
                )
        for fault in weight_faults(self.source, self.target, self.pairs).values() if self.acts else ():
            raise UsageError(f"message via weight: {fault}")

    @property
    def acts(self) -> bool:
        """Whether the networks' weights carry it (rule 3)."""
        return self.via == "weight"

    def sends(self, kind: str) -> bool:
        """Whether a parameter of this kind sends."""
        return "any" in self.source or kind in self.source

    def reaches(self, kind: str) -> bool:
        """Whether a parameter of this kind receives."""
        return "any" in self.target or kind in self.target

    def __str__(self) -> str:
        pairs = ", sharing pairs only" if self.pairs == "sharing" else ""
        via = self.via if self.acts else f"{self.via} ({self.pool})"
        return f"{'+'.join(self.source)} -> {via} -> {'+'.join(self.target)}{pairs}"


def weight_faults(source: Sequence[str], target: Sequence[str], pairs: str) -> dict[str, str]:
    """What of a message via ``weight`` has no meaning: for each such field a sentence with a way out.

    Only neurons send, only neurons and weights receive, and the weight itself says which of them meet.
    """
    found = {}
    wrong = [kind for kind in source if kind != NEURON]
    if wrong:
        found["source"] = f"weights carry neurons only, not {' and '.join(wrong)}; write `from: neuron`"
    wrong = [kind for kind in target if kind not in (NEURON, "weight")]
    if wrong:
        found["target"] = (
            f"weights carry to neurons or write on weights, not to {' and '.join(wrong)}; write `to: neuron` or "
            "`to: weight`"
        )
    if pairs != "all":
        found["pairs"] = f"a weight joins the neurons that it joins; leave out `pairs: {pairs}`"
    return found


def names_neurons(messages: Iterable[Message]) -> bool:
    """Whether some message names features of neurons, so that the layers have them."""
    return any(NEURON in (*message.source, *message.target) for message in messages)


def no_start(messages: Sequence[Message], kinds: Collection[str] = ("weight", "bias")) -> str | None:
    """What is wrong where features of neurons have nothing to start from; None where they have."""
    if any(message.reaches(NEURON) and any(map(message.sends, kinds)) for message in messages if not message.acts):
        return None
    return (
        "nothing reaches the neurons but what starts from neurons; add "
        "`{from: [weight, bias], via: neuron, to: neuron}`"
    )


def lost_outputs(messages: Sequence[Message], kinds: Collection[str] = ("weight", "bias")) -> str | None:
    """What is wrong where the output is networks and some kind of their parameters receives nothing, or None."""
    lost = [kind for kind in kinds if not any(message.reaches(kind) for message in messages)]
    if not lost:
        return None
    return (
        f"the output is a network, and nothing reaches its parameters of the kind {' and '.join(lost)}; add "
        f"`{{from: neuron, via: neuron, to: [{', '.join(lost)}]}}`"
    )


def block_families(blocks: Mapping[str, str] | None = None) -> dict[str, str]:
    """Paper D's four block families, each with its value, ``full`` where left out.

    Args:
        blocks: For each of ``weight_to_weight``, ``weight_to_bias``, ``bias_to_weight`` and ``bias_to_bias`` whether it
            is ``full``, ``diagonal`` or ``none``.

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
    return {family: given.get(family, "full") for family in FAMILIES}


def expand_blocks(blocks: Mapping[str, str] | None = None, pool: str = "max") -> tuple[Message, ...]:
    """The messages of paper D's block families.

    Args:
        blocks: As for `block_families`.
        pool: How entries are summarised.

    Returns:
        tuple[Message, ...]: As few as say it: three from any to any where all four families are full.

    Raises:
        UsageError: On an unknown family or value.
    """
    values = block_families(blocks)
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
