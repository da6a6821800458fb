"""Preparing networks for a model: gauge, order, augmentation and normalisation, from the sections of a spec.

The sequence matters and is this: gauge and order are fixed when networks are drawn (once and for all where they are
held in memory); training networks then have their signals moved, which calls for fixing the gauge again, and get noise
in units of each orbit's deviation; every network is scaled last, as each model asks for it
(`graphws.runtime.scaling`).  Networks whose signals were moved are not aligned anew: they stay in the order of the
network that they were made from.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch

from graphws.graph import Weights, parts_of
from graphws.runtime.alignment import Aligner, Alignment
from graphws.runtime.data import Data
from graphws.runtime.learner import Transform
from graphws.runtime.normal_form import GAUGES, NormalForm
from graphws.runtime.scaling import Change, Scale
from graphws.runtime.signals import check_signals
from graphws.runtime.targets import first_views
from graphws.spec import Align, Augment, ModelSection, Spec
from graphws.zoo import Statistics, Zoo, orbit_statistics
from graphws.zoo.augmentations import augmentation


@dataclass(frozen=True, eq=False)
class Preparation:
    """What is done to networks before a model sees them.

    Attributes:
        spec: What asks for it, as `graphws.runtime.sections.named_specs` gives it for a model.
        data: The networks in the gauge and the order that the spec asks for.
        form: That gauge and that order.
        statistics: Moments of the training networks there.
        alignment: What aligning them came to; None where they are not.
    """

    spec: Spec
    data: Data
    form: NormalForm
    statistics: Statistics
    alignment: Alignment | None = None

    @property
    def augment(self) -> Transform | None:
        """Done to training batches first, to the networks of each graph; noise that is the task's is left to it."""
        return self.changes(self.spec.task is not None and self.spec.task.takes_noise)

    def changes(self, without_noise: bool = False) -> Transform | None:
        """All that `augment` says, or all but noise and dropout; None for nothing."""
        return _changes(self.spec.augment, without_noise, self.statistics, self.form)

    def scale(self, section: ModelSection) -> Scale:
        """How every batch is scaled last for a model."""
        return Scale.of(section, self.spec.preprocess, self.statistics)


@dataclass(frozen=True, eq=False)
class _Formed:
    """Networks in a gauge and an order, which preparations share."""

    data: Data
    form: NormalForm
    statistics: Statistics
    alignment: Alignment | None


_Key = tuple[str, str | Align, int | None, int | None]
"""Gauge, order, and from how many networks and views is learnt."""


@dataclass(frozen=True, eq=False)
class Preparations:
    """Makes the preparations of a run; networks of the same gauge and order are held once.

    Attributes:
        data: The networks as they are stored.
        zoo: Where they are from.
        aligner: Aligns them where a spec asks for it.
    """

    data: Data
    zoo: Zoo
    aligner: Aligner = field(default_factory=Aligner)
    _known: dict[_Key, _Formed] = field(default_factory=dict)

    def of(self, spec: Spec) -> Preparation:
        """The preparation that a spec asks for, with statistics of the training split.

        Raises:
            ZooError: On an augmentation that these networks do not allow, as a rotation of signals on a line.
            DataError: On networks that cannot be aligned.
        """
        check_signals(spec.augment, self.data.graphs)
        limit, views = (None, None) if spec.input is None else (spec.input.learnt_from, spec.input.learnt_views)
        key = (spec.preprocess.gauge, spec.preprocess.align, limit, views)
        if key not in self._known:
            self._known[key] = self._formed(*key)
        found = self._known[key]
        return Preparation(spec, found.data, found.form, found.statistics, found.alignment)

    def _formed(self, gauge: str, align: str | Align, limit: int | None, views: int | None) -> _Formed:
        form = NormalForm(GAUGES[gauge])
        learnt = self.data.learning_from(
            limit, None if views is None else first_views(self.zoo.table, views, self.data.origin)
        )
        data, alignment = formed(learnt, form), None
        if isinstance(align, Align):
            alignment = self.aligner.align(data, align, gauge)
            data, form = alignment.apply(data), replace(form, reference=alignment.reference)
        statistics = self.zoo.statistics if form.trivial and limit is None and views is None else _statistics(data)
        return _Formed(data, form, statistics, alignment)


def formed(data: Data, form: NormalForm) -> Data:
    """The same networks in a gauge and an order: at once where they are held in memory, as they are drawn otherwise."""
    return data if form.trivial else replace(data, collection=data.collection.changed(form.apply))


def _statistics(data: Data) -> Statistics:
    drawn = (data.collection.draw(part)[0] for part in data.members["train"].split(4096))
    return orbit_statistics(data.graphs, (weights for networks in drawn for weights in parts_of(networks)))


def _changes(section: Augment, without_noise: bool, statistics: Statistics, form: NormalForm) -> Transform | None:
    """Random changes of training networks."""
    moves = augmentation(
        group=section.group, rotation=section.rotation, translation=section.translation, scaling=section.scaling
    )
    blurs = augmentation(
        noise=0.0 if without_noise else section.noise,
        dropout=0.0 if without_noise else section.dropout,
        statistics=statistics,
    )
    moved = bool(section.rotation or section.translation or section.scaling)
    again: Change | None = form.in_gauge if moved and form.gauge is not None else None
    if not moves.augmentations and not blurs.augmentations:
        return None

    def augment(weights: Weights, generator: torch.Generator) -> Weights:
        weights = moves(weights, generator)
        return blurs(weights if again is None else again(weights), generator)

    return augment
