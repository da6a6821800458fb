"""From the sections of a spec to the models that a run trains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from graphws.graph import NetworkGraph, Weights
from graphws.runtime.comparison import Contender
from graphws.runtime.data import Data
from graphws.runtime.files import checksum
from graphws.runtime.learner import Transform
from graphws.runtime.named_models import given, models, named_specs
from graphws.runtime.scaling import Scale
from graphws.spec import ModelSection, Spec
from graphws.tasks import Task


@dataclass(frozen=True, eq=False)
class Terms:
    """On what terms a model takes part.

    Attributes:
        data: The networks as it sees them, but for their scale.
        augment: What the spec does to its training networks.
        scale: How networks are scaled for a model.
        task: What a model is to learn, in the units of the weights that it sees.
    """

    data: Data
    augment: Transform | None
    scale: Callable[[ModelSection], Scale]
    task: Callable[[ModelSection], Task]


def contenders(spec: Spec, graphs: Sequence[NetworkGraph], terms: Callable[[str, Spec], Terms]) -> list[Contender]:
    """The spec's model and its baselines.

    Args:
        spec: With ``model`` and ``head``.
        graphs: Of the networks: one, or those of each architecture.
        terms: Those of a model by its name, given what the spec says of it (`named_specs`).

    Raises:
        UsageError: When a model cannot be built on these networks.
    """
    found, specs = [], named_specs(spec)
    for name, section in models(spec, graphs).items():
        own = terms(name, specs[name])
        transforms = [transform for transform in (own.augment, section.augmentation()) if transform is not None]
        found.append(
            Contender(
                name,
                builder(section, spec, graphs, own.scale(section)),
                specs[name].train,
                chain(transforms),
                _description(name, section, spec, graphs),
                own.task(section),
                own.scale(section).change,
                section.access,
                own.data,
            )
        )
    return found


@runtime_checkable
class Calibrated(Protocol):
    """A model that keeps the units in which it reads weights."""

    def calibrate(self, measure: Callable[[NetworkGraph, str], float]) -> None:
        """Learns the unit of each parameter of a graph, before any training."""


def builder(
    section: ModelSection, spec: Spec, graphs: Sequence[NetworkGraph], scale: Scale | None = None
) -> Callable[[], nn.Module]:
    """What makes a model, untrained, with the head of the spec and what the task adds.

    It is in the units of `scale`, until a file has others.
    """
    head = spec.head
    assert head is not None

    def build() -> nn.Module:
        model = section.build(given(graphs), head)
        if isinstance(model, Calibrated) and scale is not None:
            model.calibrate(scale.unit)
        return model if spec.task is None else spec.task.completed(model, head)

    return build


def _description(name: str, model: ModelSection, spec: Spec, graphs: Sequence[NetworkGraph]) -> dict[str, Any]:
    """What is kept with the weights of a model."""
    assert spec.head is not None
    description: dict[str, Any] = {
        "name": name,
        "model": model.model_dump(mode="json", by_alias=True),
        "head": spec.head.model_dump(mode="json", by_alias=True),
    }
    texts = [graph.to_json() for graph in graphs]
    if len(texts) == 1:
        description["graph"] = texts[0]
    else:  # thousands may be too long for the header of a file; the run keeps them
        description["graphs"] = [checksum(text.encode()) for text in texts]
    return description


def chain(transforms: list[Transform]) -> Transform | None:
    """One after the other; None for none."""
    if len(transforms) < 2:
        return transforms[0] if transforms else None

    def both(weights: Weights, generator: torch.Generator) -> Weights:
        for transform in transforms:
            weights = transform(weights, generator)
        return weights

    return both
