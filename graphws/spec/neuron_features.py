"""``model.features: neurons``: a `kind: dwsnet` whose features live on neurons, along weights that act.

What such a model has of the keys of ``kind: dwsnet`` is said here, once: which messages it knows, and which keys say
nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field

from graphws.messages import NEURON, Message
from graphws.spec.section import Count, Flag, Section
from graphws.spec.tree import Path, dotted
from graphws.spec.violations import Violation

if TYPE_CHECKING:
    from graphws.spec.heads import HeadSection
    from graphws.spec.layer_messages import MessageSection

SILENT = ("blocks", "pooling", "heads", "norm", "activation", "residual", "bias", "reduce")
"""Keys of layers whose features live on parameters."""
MESSAGES = (
    Message(("weight", "bias"), "neuron", (NEURON,)),
    Message((NEURON,), "weight", (NEURON,)),
    Message((NEURON,), "network", (NEURON,), "mean"),
)
"""What a layer is made of where a spec does not say it: the weights are the start, and act; all meet in the network."""


class ProbesSection(Section):
    """Points at which the networks are run; what their neurons say there joins the features: query access."""

    points: Annotated[Count, Field(description="How many points.")] = 16
    learned: Annotated[
        Flag, Field(description="Whether the points are learned; not possible for whole numbers such as tokens.")
    ] = True


@dataclass(frozen=True)
class NeuronLayers:
    """What a list of messages says of layers whose features live on neurons.

    Attributes:
        acts: Whether weights carry features.
        network: Whether all neurons meet in features of the network.
    """

    acts: bool
    network: bool

    @staticmethod
    def of(messages: Sequence[Message]) -> NeuronLayers:
        """Reads messages that have no violations."""
        acts = any(message.acts and NEURON in message.target for message in messages)
        return NeuronLayers(acts, any(message.via == "network" for message in messages))


def message_violations(messages: Sequence[Message], networks: bool, at: Path) -> Iterator[Violation]:
    """Which messages have no meaning where features live on neurons.

    Args:
        messages: The list.
        networks: Whether networks are returned; then weights may be written on.
        at: Where the list stands.
    """
    for k, message in enumerate(messages):
        here = (*at, k)
        start = message.via == "neuron" and NEURON not in message.source
        written = networks and message.acts and message.target == ("weight",)
        if set(message.target) != {NEURON} and not written:
            what = f"features live on neurons, and this message goes to {' and '.join(message.target)}"
            yield Violation((*here, "to"), f"{dotted(here)}: {what}; write `to: neuron`")
        elif set(message.source) != {NEURON} and not start:
            what = f"features live on neurons, and this message comes from {' and '.join(message.source)}"
            cure = "write `from: neuron`, or `via: neuron` for what features start from"
            yield Violation((*here, "from"), f"{dotted(here)}: {what}; {cure}")
        elif message.via == "edge":
            what = "features live on neurons, so that no entry meets an entry; write `via: weight`"
            yield Violation((*here, "via"), f"{dotted(here)}: {what}")


def pool_violations(messages: Sequence[MessageSection], at: Path) -> Iterator[Violation]:
    """Which messages ask for what features of neurons do not have: another pooling than the mean, or chosen pairs."""
    for k, message in enumerate(messages):
        if message.pool not in (None, "mean"):
            here = (*at, k, "pool")
            yield Violation(here, f"{dotted(here)}: features of neurons meet in their mean; leave out `pool`")
        if message.pairs != "all":
            here = (*at, k, "pairs")
            yield Violation(here, f"{dotted(here)}: all features of neurons meet; leave out `pairs`")


def key_violations(section: BaseModel, at: Path) -> Iterator[Violation]:
    """Which keys say something that a model whose features live on neurons does not have."""
    for name in SILENT:
        default: Any = type(section).model_fields[name].default
        if getattr(section, name) != default:
            here = (*at, name)
            yield Violation(
                here, f"{dotted(here)} is for features on parameters; leave it out where they live on neurons"
            )


def build_options(head: HeadSection) -> dict[str, Any]:
    """What the head says to the model."""
    return {"outputs": None, "networks": head.answers} if head.size() is None else {"outputs": head.build}
