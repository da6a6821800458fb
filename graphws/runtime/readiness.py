"""What would keep a run from being done, found before any of its work: the one owner that `check` and `run` both ask.

What a spec says too little of is found by `graphws.spec.lacks_for_training`, from the spec alone.  Here come the
machine and the data: devices, the source of a zoo or the zoo itself, its columns, classes and splits, the task on its
targets, every model on its graphs, and room on the disk.  A zoo that is still to be fitted is looked at as far as what
it is fitted to tells (`graphws.zoo.prospect`).

Nothing is fitted, trained or written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from graphws.errors import DataError, GraphwsError, RunError, UsageError
from graphws.files import check_place
from graphws.graph import NetworkGraph, Weights
from graphws.runtime.devices import check_devices
from graphws.runtime.environment import Processes
from graphws.runtime.published import published_of
from graphws.runtime.sections import given, models, named_specs
from graphws.runtime.signals import check_signals
from graphws.runtime.targets import (
    SPLITS,
    check_parts,
    check_type,
    class_names,
    first_views,
    label_names,
    learnt_part,
    targets_of,
)
from graphws.runtime.zoo_fit import check_fit
from graphws.spec import Spec, lacks_for_training, points
from graphws.spec.sweep import in_words
from graphws.tasks import Task, TaskData
from graphws.tasks.denoising import ONE_GRAPH
from graphws.zoo.prospect import Prospect

NUMBER = 4
"""Bytes of a number that a model learns."""
IN_TRAINING = 3
"""So many times a model's numbers are in its last checkpoint: themselves, and two moments of the optimiser."""


@dataclass
class Looks:
    """Looks at the networks that specs read; those of the latest are kept, as the points of a sweep share them."""

    _latest: dict[str, Prospect | None] = field(default_factory=dict)

    def at(self, spec: Spec) -> Prospect | None:
        """What is known of a spec's networks before any work; None where its kind of input does not tell.

        Raises:
            GraphwsError: When they, or what they are to be fitted to, are missing, damaged or not what is asked for.
        """
        assert spec.input is not None
        key = spec.model_dump_json(include={"input", "zoo"})
        if key not in self._latest:
            found = spec.input.prospect(spec.zoo)
            if found is not None and found.fitting is not None and spec.zoo is not None:
                check_fit(spec.zoo, found.fitting)
            self._latest.clear()
            self._latest[key] = found
        return self._latest[key]


def refusal(spec: Spec, group: Processes | None = None, folder: Path | None = None) -> GraphwsError | None:
    """The first reason why `graphws run` would refuse a valid spec here and now; None where it would begin.

    Args:
        spec: Of models that read networks.
        group: The processes that would do it; this one alone where None.
        folder: Of the run; None: not looked at.
    """
    here = group or Processes()
    try:
        if spec.sweep is None:
            require(spec, here, folder)
        else:
            require_points(spec, here, folder, {})
    except GraphwsError as error:
        return error
    return None


def require(
    spec: Spec, group: Processes, folder: Path | None = None, known: Prospect | None = None, looks: Looks | None = None
) -> Prospect | None:
    """Raises what `refusal` tells, and nothing where a run can be done.

    Args:
        spec: Of models that read networks, without a sweep.
        group: The processes that do it.
        folder: Of a run that is not begun yet; None: not looked at.
        known: The networks, where the run has met them before.
        looks: At the networks of other specs.

    Returns:
        What is known of the networks; None where the kind of input does not tell.

    Raises:
        GraphwsError: Where the run cannot be done.
    """
    if lacking := lacks_for_training(spec):
        raise UsageError(lacking[0])
    assert spec.task is not None
    for own in named_specs(spec).values():
        check_devices(own.train, group)
    spec.task.ready()
    found = (looks or Looks()).at(spec) if known is None else known
    if found is not None:
        _check_data(spec, found)
    needed = 0 if found is None else _bytes_of_models(spec, found)
    if folder is not None:
        check_place(folder, needed, RunError)
    return found


def require_points(spec: Spec, group: Processes, folder: Path | None, known: Mapping[str, Prospect | None]) -> None:
    """`require` of every point of a sweep, before the first is run.

    Args:
        spec: With a sweep.
        group: The processes that do it.
        folder: Of a sweep that is not begun yet; None: not looked at.
        known: The networks of points that have met them before, by the names of the points.

    Raises:
        GraphwsError: Where a point cannot be done; it says which, unless that is so of all.
    """
    assert spec.sweep is not None
    looks, reasons = Looks(), dict[str, list[GraphwsError]]()
    for (name, point), value in zip(points(spec), spec.sweep.values, strict=True):
        try:
            require(point, group, folder, known.get(name), looks)
        except GraphwsError as error:
            place = f"at {spec.sweep.key} = {in_words(value)} of the sweep: "
            reasons.setdefault(str(error), []).append(type(error)(place + str(error)))
    for text, errors in reasons.items():
        raise type(errors[0])(text) if len(errors) == len(spec.sweep.values) else errors[0]


def _check_data(spec: Spec, found: Prospect) -> None:
    """Splits, targets, signals and the task fit."""
    members = {name: torch.from_numpy(np.flatnonzero(found.table["split"] == name)) for name in SPLITS}
    check_parts(members, SPLITS, found.origin)
    targets = _targets(spec, found)
    for own in named_specs(spec).values():
        check_signals(own.augment, found.graphs)
        if targets is not None:
            task = _task(own, found, targets, members["train"])
            task.check(targets)
            published_of(own, task)


def _targets(spec: Spec, found: Prospect) -> Tensor | None:
    """The targets; None where one of them is what only the fit gives."""
    assert spec.task is not None
    columns, whole = spec.task.columns(), spec.task.classes
    known = [name for name in columns if name not in found.measured]
    for name in columns:
        if name in found.measured:
            check_type(found.measured[name], name, whole, found.origin)
    names = class_names(found.table, columns[0], label_names(found.provenance)) if whole and columns else None
    targets = targets_of(found.table, known, whole, names, found.origin)
    return targets if len(known) == len(columns) else None


def _task(spec: Spec, found: Prospect, targets: Tensor, train: Tensor) -> Task:
    """The task on its targets, in units of 1, as nobody knows yet in which units the models will see weights."""
    assert spec.task is not None
    assert spec.head is not None
    assert spec.input is not None
    if spec.task.answers_networks and len(found.graphs) > 1:
        raise DataError(f"{found.origin}: {ONE_GRAPH.format(len(found.graphs))}")
    views = spec.input.learnt_views
    chosen = None if views is None else first_views(found.table, views, found.origin)
    learnt = learnt_part(train, spec.input.learnt_from, chosen)
    check_parts({"train": learnt}, ("train",), found.origin)
    graph = found.graphs[0]
    units = torch.ones(graph.numel if spec.task.answers_networks else 0)
    return spec.task.build(spec.head, spec.augment, TaskData(targets, learnt, units, graph, _unchanged, _Units()))


def _bytes_of_models(spec: Spec, found: Prospect) -> int:
    """What the models of a run will take on the disk; `UsageError` where one cannot be built on the networks."""
    assert spec.head is not None
    specs, kept, largest = named_specs(spec), 0, 0
    for name, section in models(spec, found.graphs).items():
        train, count = specs[name].train, section.parameters(given(found.graphs), spec.head)
        kept += count * (len(train.optimizer.grid) + len(train.seeds))  # the best of each training, and the chosen one
        largest = max(largest, count)
    return NUMBER * (kept + IN_TRAINING * largest)


class _Units:
    """Measures every weight by mean 0 and deviation 1 (a `graphws.zoo.augmentations.Spread`)."""

    def spread(self, graph: NetworkGraph, name: str, like: Tensor) -> tuple[Tensor, Tensor]:
        """0 and 1."""
        return like.new_zeros(graph.shape(name)), like.new_ones(graph.shape(name))


def _unchanged(weights: Weights) -> Weights:
    return weights
