"""Preparing networks for a model: gauge, augmentation and normalisation, from the sections of a spec.

The order matters and is this: the gauge is fixed when networks are drawn (once and for all where they are held in
memory); training networks then have their signals moved, which calls for fixing the gauge again, and get noise in units
of each orbit's deviation; every network is normalised last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from graphws.graph import Weights
from graphws.operations.canonical_gauge import canonical_gauge
from graphws.runtime.batches import Changed, Held
from graphws.runtime.data import Data
from graphws.runtime.learner import Transform
from graphws.spec import Augment, Spec
from graphws.zoo import Statistics, Zoo, orbit_statistics
from graphws.zoo.augmentations import augmentation

GAUGE_PART = 8192  # networks whose gauge is fixed at a time

Change = Callable[[Weights], Weights]

GAUGES: dict[str, Change | None] = {"none": None, "canonical": canonical_gauge}
"""By the name that `preprocess.gauge` gives."""


@dataclass(frozen=True, eq=False)
class Preparation:
    """What is done to networks before a model sees them.

    Attributes:
        data: The networks in the gauge that the spec asks for.
        normalise: Done to every batch last; None for nothing.
        augment: Done to training batches first; None for nothing.
        deviation: Of every flat weight as the model sees it.
        gauge: Fixes the gauge; None where the spec does not ask for it.
    """

    data: Data
    normalise: Change | None
    augment: Transform | None
    deviation: Tensor
    gauge: Change | None


def prepare(spec: Spec, data: Data, zoo: Zoo) -> Preparation:
    """The preparation that a spec asks for, with statistics of the training split.

    Raises:
        ZooError: On an augmentation that these networks do not allow, as a rotation of signals on a line.
    """
    gauge = GAUGES[spec.preprocess.gauge]
    data = in_gauge(data, gauge)
    statistics = zoo.statistics if gauge is None else _statistics(data)
    normalise = statistics.normalise if spec.preprocess.normalize else None
    augment = _augment(spec.augment, spec.task is not None and spec.task.takes_noise, statistics, gauge)
    return Preparation(data, normalise, augment, _deviation(statistics, normalise is not None), gauge)


def in_gauge(data: Data, gauge: Change | None) -> Data:
    """The same networks in a gauge: fixed at once where they are held in memory, as they are drawn otherwise."""
    if gauge is None:
        return data
    if not isinstance(data.collection, Held):
        return replace(data, collection=Changed(data.collection, gauge))
    networks = data.collection.networks
    parts = torch.arange(networks.batch, device=networks.device).split(GAUGE_PART)
    return replace(data, collection=Held(Weights.cat([gauge(networks.select(part)) for part in parts])))


def _statistics(data: Data) -> Statistics:
    return orbit_statistics(data.graph, (data.collection.weights(part) for part in data.members["train"].split(4096)))


def _deviation(statistics: Statistics, normalised: bool) -> Tensor:
    graph, like = statistics.graphs[0], torch.zeros(())
    if normalised:
        return torch.ones(graph.numel)
    return torch.cat([statistics.spread(graph, parameter.name, like)[1].flatten() for parameter in graph.parameters])


def _augment(section: Augment, of_task: bool, statistics: Statistics, gauge: Change | None) -> Transform | None:
    """Random changes of training networks; noise that is the task's is left to the task."""
    moves = augmentation(
        group=section.group, rotation=section.rotation, translation=section.translation, scaling=section.scaling
    )
    blurs = augmentation(
        noise=0.0 if of_task else section.noise,
        dropout=0.0 if of_task else section.dropout,
        statistics=statistics,
    )
    moved = bool(section.rotation or section.translation or section.scaling)
    again = gauge if moved else None
    if not moves.augmentations and not blurs.augmentations:
        return None

    def augment(weights: Weights, generator: torch.Generator) -> Weights:
        weights = moves(weights, generator)
        return blurs(weights if again is None else again(weights), generator)

    return augment
