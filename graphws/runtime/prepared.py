"""What is done to a network before a model sees it, what the model's answer means, and which networks it can read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from graphws.align import Reference
from graphws.graph import NetworkGraph
from graphws.layers.differences import difference
from graphws.operations.other_computation import other_computation
from graphws.runtime.normal_form import GAUGES, NormalForm
from graphws.runtime.scaling import Scale
from graphws.shown import Shown
from graphws.spec import ModelSection, Spec, TaskSection
from graphws.tasks import Task, TaskData
from graphws.zoo import Statistics, Zoo

if TYPE_CHECKING:
    from graphws.runtime.preparation import Preparation


@dataclass(frozen=True, eq=False, repr=False)
class Prepared(Shown):
    """What is done to a network before a model of a run sees it, and what the model's answer means.

    Attributes:
        spec: What the run's spec says of the model (`graphws.runtime.sections.named_specs`).
        graphs: Of the networks that were learnt from.
        names: Of these architectures.
        statistics: Of the training networks, in the gauge and the order that the model sees.
        targets: Of the training networks, in the units of the table.
        classes: Names of the classes, where the target is one and they are known.
        reference: What networks are aligned to; None where they are not.
    """

    spec: Spec
    graphs: tuple[NetworkGraph, ...]
    names: tuple[str, ...]
    statistics: Statistics
    targets: Tensor
    classes: tuple[str, ...] | None
    reference: Reference | None = None

    @staticmethod
    def of(zoo: Zoo, preparation: Preparation) -> Prepared:
        """From what a run works with."""
        data, reference = preparation.data, preparation.form.reference
        targets = data.targets[data.members["train"]].cpu()
        names, statistics = zoo.names, preparation.statistics
        return Prepared(preparation.spec, zoo.graphs, names, statistics, targets, data.classes, reference)

    @cached_property
    def form(self) -> NormalForm:
        """The gauge and the order that the model sees."""
        return NormalForm(GAUGES[self.spec.preprocess.gauge], self.reference)

    def scale(self, section: ModelSection) -> Scale:
        """How networks are scaled for a model."""
        return Scale.of(section, self.spec.preprocess, self.statistics)

    def task(self, graph: NetworkGraph, section: ModelSection) -> Task:
        """The task of the run for networks of a graph as a model sees them: in its units, with its noise."""
        assert self.spec.task is not None
        assert self.spec.head is not None
        members = torch.arange(len(self.targets))
        known = task_data(self.spec.task, self.targets, members, graph, self.scale(section))
        return self.spec.task.build(self.spec.head, self.spec.augment, known)


def task_data(task: TaskSection, targets: Tensor, members: Tensor, graph: NetworkGraph, scale: Scale) -> TaskData:
    """What a task looks at when it is made.

    Args:
        task: Of the spec.
        targets: One row a network.
        members: Which of them are for training.
        graph: Of the networks; of several, the first.
        scale: From the networks to what a model sees of them.
    """
    if not task.answers_networks:
        return TaskData(targets, members, torch.ones(0), measure=scale)
    return TaskData(targets, members, scale.deviation(graph), graph, scale.restore, scale)


def unfit(prepared: Prepared, section: ModelSection, graph: NetworkGraph) -> str:
    """Why a trained model cannot read networks of a graph: the first difference; empty where it can.

    Keys of the state dict make no difference.  A model that reads networks of any graph
    (`ModelSection.reads_others`) says itself which ones it cannot.
    """
    known, aligned = prepared.graphs, prepared.reference is not None
    if section.reads_others and not aligned:
        return ""
    alike = [one for one in known if one.structure == graph.structure]
    if alike:
        reasons = [other_computation(one, graph) for one in alike]
        return "" if "" in reasons else f"it computes something else: {reasons[0]}; train a model on networks like it"
    what = f"it is of another architecture: {difference(known[0], graph)}"
    if aligned:
        return f"{what}; only networks of its own can be aligned to the run's"
    return f"{what}; train a model with `model.share: role` to read several"
