"""``train``: how a model is trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema

from graphws.spec.section import ONE_OR_LIST, Count, Natural, NotNegative, Positive, Section
from graphws.spec.tree import Path, dotted
from graphws.spec.violations import Violation, duplicates

PRECISIONS = ("32", "bf16-mixed", "16-mixed")


def _precision(value: Any) -> Any:
    return "32" if value == 32 and not isinstance(value, bool | float) else value


def _is_text(value: Any) -> str:
    return "text" if isinstance(value, str) else "number"


class Optimizer(Section):
    """The optimiser; a list of learning rates is a grid of which validation picks one (paper D, appendix J)."""

    kind: Annotated[Literal["adamw", "adam", "sgd"], Field(description="The algorithm.")] = "adamw"
    lr: Annotated[
        Annotated[Positive, Tag("one")] | Annotated[tuple[Positive, ...], Field(min_length=1), Tag("list")],
        ONE_OR_LIST,
        Field(description="Learning rate, or a list of them: each is tried and validation picks the best."),
    ] = 1e-3
    weight_decay: Annotated[NotNegative, Field(description="Weight decay.")] = 5e-4

    @property
    def grid(self) -> tuple[float, ...]:
        """The learning rates to try, also where the spec gives only one."""
        return self.lr if isinstance(self.lr, tuple) else (self.lr,)


class Train(Section):
    """Training: validation picks the epoch, the test part is looked at once."""

    optimizer: Annotated[Optimizer, Field(description="The optimiser and its learning rate.")] = Field(
        default_factory=Optimizer
    )
    schedule: Annotated[
        Literal["none", "cosine", "onecycle"], Field(description="How the learning rate changes during the epochs.")
    ] = "none"
    epochs: Annotated[Count, Field(description="Passes over the training part.")] = 100
    batch_size: Annotated[Count, Field(description="Networks per step, over all processes together.")] = 512
    seeds: Annotated[
        tuple[Natural, ...],
        Field(min_length=1, description="One training for each seed; results are mean ± deviation over them."),
    ] = (0,)
    patience: Annotated[
        Count | None, Field(description="Stop after so many epochs without a better validation; null: never early.")
    ] = None
    precision: Annotated[
        Literal["32", "bf16-mixed", "16-mixed"],
        BeforeValidator(_precision),
        WithJsonSchema({"enum": [32, *PRECISIONS]}),
        Field(description="Floating-point precision; mixed precision needs a GPU."),
    ] = "32"
    threads: Annotated[
        Count,
        Field(
            description="Processor threads of one operation. Layers work through cache-sized blocks, which more "
            "threads seldom speed up; several pay for wide models on cores that nothing else uses."
        ),
    ] = 1
    workers: Annotated[Natural, Field(description="Processes that load data; 0 loads in the training process.")] = 0
    devices: Annotated[
        Annotated[Literal["auto"], Tag("text")] | Annotated[Count, Tag("number")],
        Discriminator(_is_text),
        Field(description="auto: a GPU where there is one, otherwise the CPU; a number: so many of them."),
    ] = "auto"
    time_limit: Annotated[
        Positive | None, Field(description="Seconds after which a training ends with what it has; null: none.")
    ] = None

    def violations(self, at: Path) -> Iterator[Violation]:
        """Every learning rate and every seed only once."""
        for name, values in (("optimizer.lr", self.optimizer.grid), ("seeds", self.seeds)):
            here = (*at, *name.split("."))
            for position, value in duplicates(values):
                yield Violation((*here, position), f"{dotted(here)} has {value:g} twice")
