"""From the sections of a spec to the models that a run trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from graphws.graph import NetworkGraph, Weights
from graphws.runtime.comparison import Contender
from graphws.runtime.data import Data
from graphws.runtime.files import checksum
from graphws.runtime.learner import Transform
from graphws.runtime.scaling import Scale
from graphws.spec import INHERITED, HeadSection, ModelSection, Spec
from graphws.tasks import Task

NEAR = 0.1
"""By how much of a model's number of parameters that of a matched baseline may differ without a word."""


def models(spec: Spec, graphs: Sequence[NetworkGraph]) -> dict[str, ModelSection]:
    """The sections of the spec's model and of its baselines by their names, its own first, in the sizes that they have.

    Args:
        spec: With ``model`` and ``head``.
        graphs: Of the networks: one, or those of each architecture.

    Raises:
        UsageError: When a model cannot be built on these networks.
    """
    own, head = spec.model, spec.head
    assert own is not None
    assert head is not None
    found = named_sections(spec)
    matched = [baseline for baseline in spec.compare if baseline.match_parameters]
    count = count_parameters(own, graphs, head) if matched else 0
    for baseline in matched:
        found[baseline.name] = baseline.model.sized(given(graphs), head, count)
    return found


def unmatched(spec: Spec, graphs: Sequence[NetworkGraph]) -> Iterator[str]:
    """What to say of baselines whose nearest size is not near: a line each.

    Raises:
        UsageError: When a model cannot be built on these networks.
    """
    if not any(baseline.match_parameters for baseline in spec.compare):
        return
    found, head = models(spec, graphs), spec.head
    assert head is not None
    own, wanted = next(iter(found)), count_parameters(next(iter(found.values())), graphs, head)
    for baseline in spec.compare:
        section = found[baseline.name]
        count = count_parameters(section, graphs, head)
        if baseline.match_parameters and abs(count - wanted) > NEAR * wanted:
            size = f"{section.size_key}: {getattr(section, section.size_key)}"
            what = f"{baseline.name} learns {count:,} numbers at `{size}`"
            yield f"{what}, which is as near as it comes to the {wanted:,} of {own}"


def named_specs(spec: Spec) -> dict[str, Spec]:
    """What the spec says of its model and of each of its baselines, as specs of one model, its own first."""
    assert spec.model is not None
    taken = [baseline.name for baseline in spec.compare]
    name = next(name for name in (spec.model.label, spec.name, "model", "main") if name not in taken)
    own = spec.model_copy(update={"compare": ()})
    found = {name: own}
    for baseline in spec.compare:
        laid = {section: value for section in INHERITED if (value := getattr(baseline, section)) is not None}
        found[baseline.name] = own.model_copy(update={"model": baseline.model, **laid})
    return found


def named_sections(spec: Spec) -> dict[str, ModelSection]:
    """The sections of the spec's model and of its baselines as they are written, by their names, its own first."""
    return {name: own.model for name, own in named_specs(spec).items() if own.model is not None}


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


def count_parameters(model: ModelSection, graphs: NetworkGraph | Sequence[NetworkGraph], head: HeadSection) -> int:
    """How many numbers a model learns."""
    return model.parameters(given(graphs), head)


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


def given(graphs: NetworkGraph | Sequence[NetworkGraph]) -> NetworkGraph | list[NetworkGraph]:
    """What a model is built on: the one graph, or all of them."""
    if isinstance(graphs, NetworkGraph):
        return graphs
    return graphs[0] if len(graphs) == 1 else list(graphs)


def chain(transforms: list[Transform]) -> Transform | None:
    """One after the other; None for none."""
    if len(transforms) < 2:
        return transforms[0] if transforms else None

    def both(weights: Weights, generator: torch.Generator) -> Weights:
        for transform in transforms:
            weights = transform(weights, generator)
        return weights

    return both
