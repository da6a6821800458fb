"""``model.messages``: a layer is a list of messages.

A message goes *from* a kind of parameter *via* a level of summary *to* a kind of parameter: see `graphws.messages`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema

from graphws.messages import Message, Pairs, Via
from graphws.pooling import Pool
from graphws.spec.section import Section

Kind = Literal["weight", "bias", "any"]


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
        Kinds, Field(alias="from", description="What sends: weight, bias, a list of both, or any parameter.")
    ]
    via: Annotated[
        Via,
        Field(
            description="The summary it passes: edge, entry by entry where two neurons are shared; neuron, one summary "
            "for each shared neuron; network, one for all."
        ),
    ]
    targets: Annotated[
        Kinds, Field(alias="to", description="What receives: weight, bias, a list of both, or any parameter.")
    ]
    pool: Annotated[Pool | None, Field(description="How the summary is made; null: as `model.pooling` says.")] = None
    pairs: Annotated[
        Pairs, Field(description="all: every pair of parameters; sharing: only pairs that share a set of neurons.")
    ] = "all"

    def build(self, pooling: Pool) -> Message:
        """The message; without a pooling of its own it gets the one that is given."""
        return Message(self.sources, self.via, self.targets, self.pool or pooling, self.pairs)
