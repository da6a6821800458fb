"""``model.messages``: a layer is a list of messages.

A message goes *from* a kind of parameter *via* a level of summary *to* a kind of parameter, or is carried along by the
networks' weights: see `graphws.messages`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema

from graphws.messages import Message, Pairs, Via, weight_faults
from graphws.pooling import Pool
from graphws.spec.section import Section
from graphws.spec.tree import Path, dotted
from graphws.spec.violations import Violation

Kind = Literal["weight", "bias", "neuron", "any"]


def _kinds(value: Any) -> Any:
    """One kind or a list of them as a list without repetitions."""
    return tuple(dict.fromkeys(value)) if _is_names(value) else (value,) if isinstance(value, str) else value


def _is_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


_ITEM = {"enum": list(get_args(Kind))}
_LIST = {"type": "array", "items": _ITEM, "minItems": 1}
Kinds = Annotated[
    tuple[Kind, ...], Field(min_length=1), BeforeValidator(_kinds), WithJsonSchema({"anyOf": [_ITEM, _LIST]})
]


class MessageSection(Section):
    """One message of a layer, as it is written.

    In YAML the fields `sources` and `targets` are called ``from`` and ``to``.
    """

    model_config = ConfigDict(populate_by_name=True)

    sources: Annotated[
        Kinds,
        Field(
            alias="from",
            description="What sends: weight, bias, neuron (features of neurons), a list, or any; any takes in neurons "
            "only where some message names them.",
        ),
    ]
    via: Annotated[
        Via,
        Field(
            description="The summary it passes: edge, entry by entry where two neurons are shared; neuron, one summary "
            "for each shared neuron; network, one for all; or weight: the networks' weights carry features of neurons."
        ),
    ]
    targets: Annotated[Kinds, Field(alias="to", description="What receives: weight, bias, neuron, a list, or any.")]
    pool: Annotated[Pool | None, Field(description="How the summary is made; null: as `model.pooling` says.")] = None
    pairs: Annotated[
        Pairs, Field(description="all: every pair of parameters; sharing: only pairs that share a set of neurons.")
    ] = "all"

    def violations(self, at: Path) -> Iterator[Violation]:
        """What has no meaning via weight is not said."""
        if self.via != "weight":
            return
        keys = {"source": "from", "target": "to", "pairs": "pairs"}
        for field, fault in weight_faults(self.sources, self.targets, self.pairs).items():
            here = (*at, keys[field])
            yield Violation(here, f"{dotted(here)}: {fault}")
        if self.pool is not None:
            here = (*at, "pool")
            yield Violation(here, f"{dotted(here)}: weights carry every entry, nothing is pooled; leave out `pool`")

    def build(self, pooling: Pool) -> Message:
        """The message; without a pooling of its own it gets the one that is given.

        Raises:
            UsageError: On a message with `violations`.
        """
        if self.via == "weight":
            return Message(self.sources, self.via, self.targets, pairs=self.pairs)
        return Message(self.sources, self.via, self.targets, self.pool or pooling, self.pairs)
