"""What all sections of a spec share: frozen models without unknown keys, and strict scalars.

A section is a pydantic model.  Scalars are strict (``channels: "32"`` is refused: it is a string), lists may be given
as any sequence and are kept as tuples.  Sections that come in several kinds: see `graphws.spec.kinds`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Strict

from graphws.shown import Shown, attributes_in_brief
from graphws.spec.tree import Path
from graphws.spec.violations import Violation


class Section(Shown, BaseModel):
    """Base of every section: immutable, compared by value, no unknown keys; shown by what was set."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        defer_build=True,
        protected_namespaces=(),
    )

    def __str__(self) -> str:
        return attributes_in_brief(self, [name for name in type(self).model_fields if name in self.model_fields_set])

    def violations(self, at: Path) -> Iterator[Violation]:
        """What values of the right types cannot be together here, at the path `at`; by default nothing."""
        yield from ()


NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
"""What a name that is also a folder's looks like, as a regular expression."""
NAME_IN_WORDS = "of at most 100 letters, digits, dots, dashes and underscores"

Flag = Annotated[bool, Strict()]
Text = Annotated[str, Strict(), Field(min_length=1)]
Name = Annotated[str, Strict(), Field(pattern=f"^{NAME}$", json_schema_extra={"$comment": NAME_IN_WORDS})]
"""A name that is also a folder's."""
Integer = Annotated[int, Strict()]
Natural = Annotated[int, Strict(), Field(ge=0)]
Count = Annotated[int, Strict(), Field(ge=1)]
Number = Annotated[float, Strict()]
NotNegative = Annotated[float, Strict(), Field(ge=0)]
Positive = Annotated[float, Strict(), Field(gt=0)]
Share = Annotated[float, Strict(), Field(gt=0, lt=1)]
Probability = Annotated[float, Strict(), Field(ge=0, lt=1)]

Activation = Literal["relu", "leaky_relu", "gelu", "silu", "elu", "tanh"]
"""Activations of the models that read weights."""

NetworkActivation = Literal[
    "sine",
    "tanh",
    "relu",
    "leaky_relu",
    "hardtanh",
    "softsign",
    "tanhshrink",
    "sigmoid",
    "gelu",
    "gelu_tanh",
    "silu",
    "elu",
    "selu",
    "softplus",
    "mish",
    "hardswish",
    "relu6",
]
"""Activations of the networks that are read."""


def _is_list(value: Any) -> str:
    return "list" if isinstance(value, list | tuple) else "one"


ONE_OR_LIST = Discriminator(_is_list)
"""For a key that takes a single value (tag one) or a list: which of them, is decided before the value is looked at."""
