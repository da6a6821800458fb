"""From the sections of a spec to the models that a run trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from graphws.graph import NetworkGraph, Weights
from graphws.runtime.comparison import Contender
from graphws.runtime.files import checksum
from graphws.runtime.learner import Transform
from graphws.spec import HeadSection, ModelSection, Spec, Train


def contenders(spec: Spec, graphs: Sequence[NetworkGraph], augment: Transform | None) -> list[Contender]:
    """The spec's model and its baselines.

    Args:
        spec: With ``model`` and ``head``.
        graphs: Of the networks: one, or those of each architecture.
        augment: What the spec does to training networks.

    Raises:
        UsageError: When a model cannot be built on these networks.
    """
    own, head = spec.model, spec.head
    assert own is not None
    assert head is not None
    taken = [baseline.name for baseline in spec.compare]
    name = next(name for name in (own.kind, spec.name, "model", "main") if name not in taken)
    found = [_contender(name, own, head, spec.train, graphs, augment)]
    for baseline in spec.compare:
        model = baseline.model
        if baseline.match_parameters:
            model = model.sized(given(graphs), head, count_parameters(own, graphs, head))
        found.append(_contender(baseline.name, model, head, baseline.train or spec.train, graphs, augment))
    return found


def count_parameters(model: ModelSection, graphs: NetworkGraph | Sequence[NetworkGraph], head: HeadSection) -> int:
    """How many numbers a model learns."""
    return model.parameters(given(graphs), head)


def _contender(
    name: str,
    model: ModelSection,
    head: HeadSection,
    train: Train,
    graphs: Sequence[NetworkGraph],
    augment: Transform | None,
) -> Contender:
    description: dict[str, Any] = {
        "name": name,
        "model": model.model_dump(mode="json", by_alias=True),
        "head": head.model_dump(mode="json", by_alias=True),
    }
    texts = [graph.to_json() for graph in graphs]
    if len(texts) == 1:
        description["graph"] = texts[0]
    else:  # thousands may be too long for the header of a file; the run keeps them
        description["graphs"] = [checksum(text.encode()) for text in texts]
    transforms = [transform for transform in (augment, model.augmentation()) if transform is not None]
    return Contender(name, lambda: model.build(given(graphs), head), train, chain(transforms), description)


def given(graphs: NetworkGraph | Sequence[NetworkGraph]) -> NetworkGraph | list[NetworkGraph]:
    """What a model is built on: the one graph, or all of them."""
    if isinstance(graphs, NetworkGraph):
        return graphs
    return graphs[0] if len(graphs) == 1 else list(graphs)


def section_of(spec: Spec, name: str) -> ModelSection:
    """The section of the model of a name: a baseline's, or the spec's own."""
    assert spec.model is not None
    return next((baseline.model for baseline in spec.compare if baseline.name == name), spec.model)


def chain(transforms: list[Transform]) -> Transform | None:
    """One after the other; None for none."""
    if len(transforms) < 2:
        return transforms[0] if transforms else None

    def both(weights: Weights, generator: torch.Generator) -> Weights:
        for transform in transforms:
            weights = transform(weights, generator)
        return weights

    return both
