"""From the sections of a spec to the models that a run trains."""

from __future__ import annotations

import torch

from graphws.graph import NetworkGraph, Weights
from graphws.runtime.comparison import Contender
from graphws.runtime.learner import Transform
from graphws.spec import HeadSection, ModelSection, Spec, Train


def contenders(spec: Spec, graph: NetworkGraph, augment: Transform | None) -> list[Contender]:
    """The spec's model and its baselines.

    Args:
        spec: With ``model`` and ``head``.
        graph: Of the networks.
        augment: What the spec does to training networks.

    Raises:
        UsageError: When a model cannot be built on these networks.
    """
    own, head = spec.model, spec.head
    assert own is not None
    assert head is not None
    taken = [baseline.name for baseline in spec.compare]
    name = next(name for name in (own.kind, spec.name, "model", "main") if name not in taken)
    found = [_contender(name, own, head, spec.train, graph, augment)]
    for baseline in spec.compare:
        model = baseline.model
        if baseline.match_parameters:
            model = model.sized(graph, head, count_parameters(own, graph, head))
        found.append(_contender(baseline.name, model, head, baseline.train or spec.train, graph, augment))
    return found


def count_parameters(model: ModelSection, graph: NetworkGraph, head: HeadSection) -> int:
    """How many numbers a model learns."""
    return model.parameters(graph, head)


def _contender(
    name: str, model: ModelSection, head: HeadSection, train: Train, graph: NetworkGraph, augment: Transform | None
) -> Contender:
    description = {
        "name": name,
        "model": model.model_dump(mode="json", by_alias=True),
        "head": head.model_dump(mode="json", by_alias=True),
        "graph": graph.to_json(),
    }
    transforms = [transform for transform in (augment, model.augmentation()) if transform is not None]
    return Contender(name, lambda: model.build(graph, head), train, chain(transforms), description)


def chain(transforms: list[Transform]) -> Transform | None:
    """One after the other; None for none."""
    if len(transforms) < 2:
        return transforms[0] if transforms else None

    def both(weights: Weights, generator: torch.Generator) -> Weights:
        for transform in transforms:
            weights = transform(weights, generator)
        return weights

    return both
