"""Preparing networks for a model: gauge, augmentation and normalisation, from the sections of a spec.

The order matters and is this: the gauge is fixed when networks are drawn (once and for all where they are held in
memory); training networks then have their signals moved, which calls for fixing the gauge again, and get noise in units
of each orbit's deviation; every network is scaled last, as each model asks for it (`graphws.runtime.scaling`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from graphws.errors import ZooError
from graphws.graph import NetworkGraph, Weights, parts_of
from graphws.operations.canonical_gauge import canonical_gauge
from graphws.runtime.data import Data
from graphws.runtime.learner import Transform
from graphws.runtime.scaling import Change, Scale
from graphws.spec import Augment, ModelSection, Preprocess, Spec
from graphws.zoo import Statistics, Zoo, orbit_statistics
from graphws.zoo.augmentations import augmentation, first_layer

GAUGES: dict[str, Change | None] = {"none": None, "canonical": canonical_gauge}
"""By the name that `preprocess.gauge` gives."""


@dataclass(frozen=True, eq=False)
class Preparation:
    """What is done to networks before a model sees them.

    Attributes:
        data: The networks in the gauge that the spec asks for.
        augment: Done to training batches first, to the networks of each graph; None for nothing.
        gauge: Fixes the gauge; None where the spec does not ask for it.
        statistics: Moments of the training networks in that gauge.
        preprocess: What the spec does to every network.
    """

    data: Data
    augment: Transform | None
    gauge: Change | None
    statistics: Statistics
    preprocess: Preprocess

    def scale(self, section: ModelSection) -> Scale:
        """How every batch is scaled last for a model."""
        return Scale.of(section, self.preprocess, self.statistics)


def prepare(spec: Spec, data: Data, zoo: Zoo) -> Preparation:
    """The preparation that a spec asks for, with statistics of the training split.

    Raises:
        ZooError: On an augmentation that these networks do not allow, as a rotation of signals on a line.
    """
    _check_signals(spec.augment, data.graphs)
    gauge = GAUGES[spec.preprocess.gauge]
    limit, views = (None, None) if spec.input is None else (spec.input.learnt_from, spec.input.learnt_views)
    data = in_gauge(data.learning_from(limit, None if views is None else _of_views(zoo, views)), gauge)
    statistics = zoo.statistics if gauge is None and limit is None and views is None else _statistics(data)
    augment = _augment(spec.augment, spec.task is not None and spec.task.takes_noise, statistics, gauge)
    return Preparation(data, augment, gauge, statistics, spec.preprocess)


def _of_views(zoo: Zoo, views: int) -> Tensor:
    """Whether each network is one of the first so many views of its sample.

    Raises:
        ZooError: Where a sample has fewer.
    """
    view = torch.from_numpy(np.asarray(zoo.table["view"]).astype(np.int64))
    if (there := int(view.max()) + 1) < views:
        raise ZooError(f"input.views is {views}, but the zoo {zoo.path} has {there} of a sample")
    return view < views


def in_gauge(data: Data, gauge: Change | None) -> Data:
    """The same networks in a gauge: fixed at once where they are held in memory, as they are drawn otherwise."""
    return data if gauge is None else replace(data, collection=data.collection.changed(gauge))


def _check_signals(section: Augment, graphs: Sequence[NetworkGraph]) -> None:
    """Signals can be moved, and turned, where that is asked for."""
    asked = [name for name in ("rotation", "translation", "scaling") if getattr(section, name)]
    for graph in graphs if asked else ():
        try:
            weight, _ = first_layer(graph)
            inputs = graph.shape(weight)[-1]
            if section.rotation and inputs != 2:
                raise ZooError(f"rotation needs signals on a plane; these networks have {inputs} inputs")
        except ZooError as error:
            raise ZooError(f"augment.{asked[0]} changes the signal that a network draws, but {error}") from None


def _statistics(data: Data) -> Statistics:
    drawn = (data.collection.draw(part)[0] for part in data.members["train"].split(4096))
    return orbit_statistics(data.graphs, (weights for networks in drawn for weights in parts_of(networks)))


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
