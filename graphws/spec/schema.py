"""The spec as a whole: every section, in the order in which a spec is written.

`json_schema` is the same for editors; ``specs/schema.json`` holds it, and a test keeps that file in step.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from graphws.spec.experiment import SymmetryExperiment
from graphws.spec.heads import HEADS, HeadSection
from graphws.spec.inputs import INPUTS, InputSection
from graphws.spec.model_kinds import MODELS
from graphws.spec.models import ModelSection
from graphws.spec.preparation import Augment, Preprocess
from graphws.spec.published import PublishedSection
from graphws.spec.section import Flag, Name, Section, Text
from graphws.spec.source_kinds import SOURCES
from graphws.spec.sweep import SweepSection
from graphws.spec.tasks import EDITS, TARGETS, TASKS, TaskSection
from graphws.spec.train import Train
from graphws.spec.zoo import ZooSection


def _version(value: Any) -> Any:
    return value if type(value) is int else repr(value)  # 1 == True == 1.0, but only 1 is a version


def _by_name_too(schema: dict[str, Any]) -> None:
    """Before a spec is resolved, a list of baselines or changes by their names."""
    listed = {key: schema.pop(key) for key in ("items", "type") if key in schema}
    changes = {"type": "object", "additionalProperties": {"type": ["object", "null"]}}
    schema["anyOf"] = [listed, changes]


class Baseline(Section):
    """Another model, trained on the same data."""

    name: Annotated[Name, Field(description="Its name in tables and figures, and of its folder in the run.")]
    model: Annotated[ModelSection, MODELS, Field(description="The model; head and task are the spec's.")]
    preprocess: Annotated[
        Preprocess | None,
        Field(description="What differs from the spec's own `preprocess`, over which this is merged; null: nothing."),
    ] = None
    augment: Annotated[
        Augment | None,
        Field(description="What differs from the spec's own `augment`, over which this is merged; null: nothing."),
    ] = None
    train: Annotated[
        Train | None,
        Field(description="What differs from the spec's own `train`, over which this is merged; null: nothing."),
    ] = None
    match_parameters: Annotated[
        Flag,
        Field(description="Choose its width or channels so that it has about as many parameters as the spec's model."),
    ] = False


class Spec(Section):
    """A spec: what the networks are, the model, the task, the data and the training; or an experiment.

    What a command does not need may be left out: fitting needs `zoo`, explaining `input` and `model`, training also
    `head` and `task`.
    """

    graphws: Annotated[Literal[1], BeforeValidator(_version), Field(description="Version of the format: 1.")]
    extends: Annotated[
        Text | None,
        Field(
            exclude=True,
            description="A spec that this one is laid over, in the same folder or below, or a shipped one: mappings "
            "merge, everything else replaces, another `kind` replaces all its options. Gone once resolved.",
        ),
    ] = None
    name: Annotated[Name, Field(description="Name of the run, and of its folder.")] = "run"
    title: Annotated[Text | None, Field(description="What the experiment asks, for the heads of its pages.")] = None
    notes: Annotated[
        Text | None, Field(description="What a reader of its results should know, as why an order is another.")
    ] = None
    scales: Annotated[
        dict[Name, dict[str, Any]] | None,
        Field(
            exclude=True,
            description="Sizes of the experiment by name, each with the keys that differ; `compare` may be a mapping "
            "of baselines' names to what differs in each, null to leave one out. Gone once resolved.",
        ),
    ] = None
    scale: Annotated[
        Name | None, Field(exclude=True, description="The scale that is laid over the spec. Gone once resolved.")
    ] = None
    scaled: Annotated[
        Name | None, Field(description="Of a resolved spec: the scale that was laid over it; null: none.")
    ] = None
    zoo: Annotated[ZooSection | None, Field(description="How a data set of networks is made.")] = None
    input: Annotated[
        Annotated[InputSection, INPUTS] | None, Field(description="The networks that the model reads.")
    ] = None
    preprocess: Annotated[Preprocess, Field(description="Done once to every network.")] = Field(
        default_factory=Preprocess
    )
    augment: Annotated[Augment, Field(description="Random changes of the training networks.")] = Field(
        default_factory=Augment
    )
    model: Annotated[Annotated[ModelSection, MODELS] | None, Field(description="What reads the networks.")] = None
    head: Annotated[Annotated[HeadSection, HEADS] | None, Field(description="What the model returns.")] = None
    task: Annotated[Annotated[TaskSection, TASKS] | None, Field(description="What is asked of the model.")] = None
    train: Annotated[Train, Field(description="How the model is trained.")] = Field(default_factory=Train)
    compare: Annotated[
        tuple[Baseline, ...],
        Field(
            description="Other models, trained on the same data for comparison. Over a parent's or a scale's also a "
            "mapping of their names to what differs in each, null to leave one out.",
            json_schema_extra=_by_name_too,
        ),
    ] = ()
    sweep: Annotated[
        SweepSection | None, Field(description="Run the spec once for each of several values of one key.")
    ] = None
    published: Annotated[
        PublishedSection | None, Field(description="What a paper reports, shown beside what the run finds.")
    ] = None
    experiment: Annotated[
        SymmetryExperiment | None,
        Field(
            description="Another kind of job, which excludes the other sections: a network trained on symmetric data."
        ),
    ] = None

    def question(self) -> str:
        """What the experiment asks, for the head of its page: the title, else what its task or experiment says."""
        asks = self.experiment or self.task
        return self.title or (self.name if asks is None else asks.question())


KINDS = (SOURCES, INPUTS, MODELS, HEADS, TASKS, TARGETS, EDITS)
"""What installed packages may add to: see `graphws.spec.kinds`."""

READING = (
    "zoo", "input", "preprocess", "augment", "model", "head", "task", "train", "compare", "sweep",
    "published",
)  # fmt: skip
"""The sections of a job that reads networks; an experiment has none of them."""


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of specs, with the kinds that installed packages add."""
    schema = Spec.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "graphws spec"}
