"""From the sections of a spec to models, tasks and transforms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from graphws.errors import UsageError
from graphws.graph import NetworkGraph, Weights
from graphws.models import DWSNet, FlatMLP, width_for
from graphws.runtime.data import Data
from graphws.runtime.experiment import Contender
from graphws.runtime.learner import Transform
from graphws.runtime.tasks import Classification, Denoising, Regression, Task, class_targets
from graphws.spec import Classification as ClassificationSection
from graphws.spec import DwsnetModel, InvariantHead, MlpModel, Spec, expand_messages
from graphws.spec import Regression as RegressionSection
from graphws.spec import WeightsTask as WeightsSection
from graphws.spec.train import Train
from graphws.zoo.augment import RandomElement


@dataclass(frozen=True)
class ModelSection:
    """A model section with the head that all models of a spec share.

    Attributes:
        section: ``model`` of the spec or of a baseline.
        head: ``head`` of the spec.
    """

    section: Any
    head: Any

    @property
    def outputs(self) -> int | None:
        """Length of the invariant output, None for an equivariant one."""
        return self.head.outputs if isinstance(self.head, InvariantHead) else None

    def build(self, graph: NetworkGraph) -> nn.Module:
        """A model with fresh parameters from torch's generator.

        A kind that an installed package adds builds itself: its section has a method ``build(graph, head)``.

        Raises:
            UsageError: On a head or a kind that cannot be built.
        """
        section, head = self.section, self.head
        if self.outputs is None and getattr(head, "channels", 1) != 1:
            raise UsageError(f"head.channels is {head.channels}, but a network has 1 channel a weight")
        if isinstance(section, DwsnetModel):
            return DWSNet(
                graph,
                self.outputs,
                layers=section.layers,
                channels=section.channels,
                messages=expand_messages(section),
                pooling=section.pooling,
                norm=section.norm,
                activation=section.activation,
                dropout=section.dropout,
                residual=section.residual,
                bias=section.bias,
                reduce=section.reduce,
                share=section.share,
                heads=section.heads,
                init_scale=section.init_scale,
                head_hidden=getattr(head, "hidden", ()),
                head_dropout=getattr(head, "dropout", 0.0),
            )
        if isinstance(section, MlpModel):
            return FlatMLP(
                graph,
                self.outputs,
                layers=section.layers + 1,
                width=section.width,
                activation=section.activation,
                norm=section.norm,
                dropout=section.dropout,
                head_hidden=getattr(head, "hidden", ()),
                head_dropout=getattr(head, "dropout", 0.0),
            )
        if not hasattr(section, "build"):
            raise UsageError(f"model.kind {section.kind!r} comes from a package that does not say how to build it")
        model: nn.Module = section.build(graph, head)
        return model

    def count(self, graph: NetworkGraph) -> int:
        """How many numbers the model learns."""
        with torch.random.fork_rng(devices=[]):
            return sum(parameter.numel() for parameter in self.build(graph).parameters())

    def with_parameters(self, graph: NetworkGraph, count: int) -> ModelSection:
        """The same MLP at the width at which it has about `count` parameters."""
        section = self.section
        assert isinstance(section, MlpModel)
        hidden = getattr(self.head, "hidden", ())
        width = width_for(graph, self.outputs, section.layers + 1, count, section.norm, hidden)
        return ModelSection(section.model_copy(update={"width": width}), self.head)


def task_of(spec: Spec, data: Data, deviation: Tensor) -> Task:
    """The task of a spec on its data.

    Args:
        spec: With a ``task``.
        data: Its targets.
        deviation: Of each flat weight as the models see it: what noise is measured by.

    Raises:
        DataError: On labels that do not fit the head, or a target that never changes.
        UsageError: On a task that is missing or unknown.
    """
    section = spec.task
    if isinstance(section, ClassificationSection):
        assert isinstance(spec.head, InvariantHead)
        class_targets(data.targets, spec.head.outputs, section.target)
        return Classification(spec.head.outputs)
    if isinstance(section, RegressionSection):
        return Regression.of(data.targets[data.members["train"]], section.targets)
    if isinstance(section, WeightsSection) and section.target == "denoise":
        return Denoising(deviation, spec.augment.noise, spec.augment.dropout)
    if isinstance(section, WeightsSection):
        raise UsageError(f"task.target {section.target!r} is unknown for networks; there is: denoise")
    raise UsageError("the spec has no task; add `task: {kind: classification, target: label}` or another one")


def target_columns(spec: Spec) -> tuple[tuple[str, ...], bool]:
    """The columns of the zoo's table that a task learns, and whether they hold class indices."""
    if isinstance(spec.task, ClassificationSection):
        return (spec.task.target,), True
    return (spec.task.targets, False) if isinstance(spec.task, RegressionSection) else ((), False)


def contenders(spec: Spec, graph: NetworkGraph, augment: Transform | None) -> list[Contender]:
    """The spec's model and its baselines.

    Args:
        spec: With ``model`` and ``head``.
        graph: Of the networks.
        augment: What the spec does to training networks.

    Raises:
        UsageError: When the spec has no model or no head, or they cannot be built.
    """
    for name in ("model", "head"):
        if getattr(spec, name) is None:
            raise UsageError(f"the spec has no {name}; training needs a section `{name}`")
    own = ModelSection(spec.model, spec.head)
    taken = [baseline.name for baseline in spec.compare]
    name = next(name for name in (own.section.kind, spec.name, "model", "main") if name not in taken)
    found = [_contender(name, own, spec.train, graph, augment)]
    for baseline in spec.compare:
        section = ModelSection(baseline.model, spec.head)
        if baseline.match_parameters:
            section = section.with_parameters(graph, own.count(graph))
        found.append(_contender(baseline.name, section, baseline.train or spec.train, graph, augment))
    return found


def _contender(
    name: str, model: ModelSection, train: Train, graph: NetworkGraph, augment: Transform | None
) -> Contender:
    changes = [RandomElement()] if getattr(model.section, "group_augment", False) else []
    description = {
        "name": name,
        "model": model.section.model_dump(mode="json", by_alias=True),
        "head": model.head.model_dump(mode="json", by_alias=True),
        "graph": graph.to_json(),
    }
    transform = chain([*([augment] if augment else []), *changes])
    return Contender(name, lambda: model.build(graph), train, transform, description)


def chain(transforms: list[Transform]) -> Transform | None:
    """One after the other; None for none."""
    if len(transforms) < 2:
        return transforms[0] if transforms else None

    def both(weights: Weights, generator: torch.Generator) -> Weights:
        for transform in transforms:
            weights = transform(weights, generator)
        return weights

    return both
