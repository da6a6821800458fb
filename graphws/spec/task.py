"""``head`` and ``task``: what the model returns and what is asked of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Tag

from graphws.spec.section import ONE_OR_LIST, Count, OneOf, Probability, Section, Text


class InvariantHead(Section):
    """Numbers that do not change when neurons are relabelled: classes, properties."""

    kind: Annotated[Literal["invariant"], Field(description="Numbers that a relabelling of neurons leaves alone.")]
    outputs: Annotated[Count, Field(description="How many numbers the model returns.")]
    hidden: Annotated[
        tuple[Count, ...], Field(description="Widths of hidden layers between the invariants and the outputs.")
    ] = ()
    dropout: Annotated[Probability, Field(description="Fraction of invariants dropped in training.")] = 0.0


class EquivariantHead(Section):
    """Weights of the same architecture, relabelled together with the input."""

    kind: Annotated[Literal["equivariant"], Field(description="Weights of the same architecture as the input.")]
    channels: Annotated[Count, Field(description="Channels of every weight that is returned.")] = 1


Head = Annotated[InvariantHead | EquivariantHead, OneOf("graphws.heads", InvariantHead, EquivariantHead)]


class Classification(Section):
    """Which class a network belongs to; cross entropy, accuracy."""

    kind: Annotated[Literal["classification"], Field(description="Name the class of a network.")]
    target: Annotated[Text, Field(description="Column of the zoo's table that holds the class.")] = "label"


class Regression(Section):
    """One or several properties of a network; mean squared error."""

    kind: Annotated[Literal["regression"], Field(description="Predict properties of a network.")]
    target: Annotated[
        Annotated[Text, Tag("one")] | Annotated[tuple[Text, ...], Field(min_length=1), Tag("list")],
        ONE_OR_LIST,
        Field(description="Column of the zoo's table that holds the property, or a list of columns."),
    ]

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns, also where the spec names only one."""
        return self.target if isinstance(self.target, tuple) else (self.target,)


class WeightsTask(Section):
    """Networks from networks."""

    kind: Annotated[Literal["weights"], Field(description="Return a network for a network.")]
    target: Annotated[
        Text, Field(description="What the returned network is: denoise gives back the one without `augment.noise`.")
    ] = "denoise"


Task = Annotated[
    Classification | Regression | WeightsTask, OneOf("graphws.tasks", Classification, Regression, WeightsTask)
]
