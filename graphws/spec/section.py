"""What all sections of a spec share: frozen models without unknown keys, strict scalars, and tables of kinds.

A section is a pydantic model.  Scalars are strict (``channels: "32"`` is refused: it is a string), lists may be given
as any sequence and are kept as tuples.  Where a section comes in several kinds, `OneOf` picks the model by ``kind:``
from a closed table; an installed package adds a kind by an entry point that names a model:

    [project.entry-points."graphws.models"]
    transformer = "mypackage.specs:TransformerModel"     # a Section with  kind: Literal["transformer"]
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Discriminator, Field, GetCoreSchemaHandler, Strict
from pydantic_core import CoreSchema, core_schema

from graphws.errors import UsageError


class Section(BaseModel):
    """Base of every section: immutable, compared by value, no unknown keys."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        defer_build=True,
        protected_namespaces=(),
    )


Flag = Annotated[bool, Strict()]
Text = Annotated[str, Strict(), Field(min_length=1)]
Integer = Annotated[int, Strict()]
Natural = Annotated[int, Strict(), Field(ge=0)]
Count = Annotated[int, Strict(), Field(ge=1)]
Number = Annotated[float, Strict()]
NotNegative = Annotated[float, Strict(), Field(ge=0)]
Positive = Annotated[float, Strict(), Field(gt=0)]
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


class OneOf:
    """Annotation: the section is one of several kinds, named by ``kind:``.

    Args:
        group: Entry points of this group add kinds.
        models: The kinds that graphws has itself.
    """

    def __init__(self, group: str, *models: type[BaseModel]) -> None:
        self.group = group
        self.models = models

    def table(self) -> dict[str, type[BaseModel]]:
        """The models by kind, graphws's own and those of installed packages.

        Raises:
            UsageError: On an entry point that does not load, is no model of its kind, or takes a kind that is there.
        """
        table = {str(kind_of(model)): model for model in self.models}
        for point in entry_points(group=self.group):
            where = f"the entry point {point.name!r} in {self.group!r} ({point.value})"
            if point.name in table:
                raise UsageError(f"{where} takes a kind that exists already; rename it or uninstall its package")
            try:
                model = point.load()
            except Exception as error:
                raise UsageError(f"{where} does not load: {error}; repair or uninstall its package") from error
            if not (isinstance(model, type) and issubclass(model, BaseModel) and kind_of(model) == point.name):
                raise UsageError(f"{where} must be a pydantic model with a field `kind: Literal[{point.name!r}]`")
            table[point.name] = model
        return table

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices = {kind: handler.generate_schema(model) for kind, model in self.table().items()}
        return core_schema.tagged_union_schema(choices, discriminator="kind")


def kind_of(model: type[BaseModel]) -> str | None:
    """The one value that a model's `kind` may have, None where there is no such field."""
    field = model.model_fields.get("kind")
    values = get_args(field.annotation) if field and get_origin(field.annotation) is Literal else ()
    return values[0] if len(values) == 1 else None
