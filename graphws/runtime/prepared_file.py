"""What a run keeps so that its models answer without its zoo.

``preparation.json`` says how networks are prepared and what the answers are called; ``preparation.safetensors`` holds
the graphs (their JSON, as bytes), the statistics of the training networks and their targets, from which the task is
made again exactly.  Older runs lack both, and are asked through their zoo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from graphws.errors import GraphwsError, RunError
from graphws.graph import NetworkGraph
from graphws.layers.differences import difference
from graphws.runtime.data import Data
from graphws.runtime.files import read_json, write_bytes, write_json
from graphws.runtime.preparation import GAUGES, Preparation
from graphws.runtime.scaling import Change, Scale
from graphws.spec import ModelSection, Spec, TaskSection
from graphws.tasks import Task, TaskData
from graphws.tensor_bytes import tensor_bytes
from graphws.zoo import Statistics, Zoo

FORMAT = "graphws-preparation-1"
FACTS, TENSORS = "preparation.json", "preparation.safetensors"
LARGEST = 1 << 30
"""Bytes of the tensors that are read."""
MOST_GRAPHS = 10_000


@dataclass(frozen=True, eq=False)
class Prepared:
    """What is done to a network before a model of a run sees it, and what the model's answer means.

    Attributes:
        spec: Of the run.
        graphs: Of the networks that were learnt from.
        names: Of these architectures.
        statistics: Of the training networks, in the run's gauge.
        targets: Of the training networks, in the units of the table.
        classes: Names of the classes, where the target is one and they are known.
    """

    spec: Spec
    graphs: tuple[NetworkGraph, ...]
    names: tuple[str, ...]
    statistics: Statistics
    targets: Tensor
    classes: tuple[str, ...] | None

    @staticmethod
    def of(spec: Spec, zoo: Zoo, data: Data, preparation: Preparation) -> Prepared:
        """From what a run works with."""
        targets = data.targets[data.members["train"]].cpu()
        return Prepared(spec, zoo.graphs, zoo.names, preparation.statistics, targets, data.classes)

    @property
    def gauge(self) -> Change | None:
        """Fixes the gauge; None where the spec does not ask for it."""
        return GAUGES[self.spec.preprocess.gauge]

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
    """Why a trained model cannot read networks of a graph, as far as spaces and parameters tell; empty where it can.

    Keys of the state dict, activations and frequencies make no difference.  A model that reads networks of any graph
    (`ModelSection.reads_others`) says itself which ones it cannot.
    """
    known = prepared.graphs
    if section.reads_others or any(graph.structure == one.structure for one in known):
        return ""
    what = difference(known[0], graph)
    return f"it is of another architecture: {what}; train a model with `model.share: role` to read several"


def write_prepared(prepared: Prepared, folder: Path) -> None:
    """Write both files, each whole or not at all; `RunError` where they cannot be written."""
    moments, roles = prepared.statistics.tensors(), True
    if {name: tuple(tensor.shape) for name, tensor in moments.items()} != Statistics.shapes(prepared.graphs):
        moments, roles = _of_orbits(prepared.statistics), False  # a zoo of version 1 does not know all roles
    tensors = {f"statistics.{name}": tensor for name, tensor in moments.items()}
    tensors["targets"] = prepared.targets
    for number, graph in enumerate(prepared.graphs):
        tensors[f"graph.{number}"] = torch.from_numpy(np.frombuffer(graph.to_json().encode(), dtype=np.uint8).copy())
    write_bytes(folder / TENSORS, tensor_bytes({n: t.contiguous() for n, t in tensors.items()}, {"format": FORMAT}))
    facts = {
        "format": FORMAT,
        "gauge": prepared.spec.preprocess.gauge,
        "normalize": prepared.spec.preprocess.normalize,
        "architectures": list(prepared.names),
        "roles": roles,
        "target": list(prepared.spec.task.columns()) if prepared.spec.task is not None else [],
        "classes": None if prepared.classes is None else list(prepared.classes),
        **_moments(prepared.targets),
    }
    write_json(folder / FACTS, facts)


def _moments(targets: Tensor) -> dict[str, Any]:
    """Mean and deviation of numbers, for people to read."""
    if not targets.is_floating_point() or not targets.numel():
        return {}
    return {"mean": targets.mean(0).tolist(), "deviation": targets.std(0, unbiased=False).tolist()}


def read_prepared(spec: Spec, folder: Path) -> Prepared | None:
    """What a run keeps; None where it is one of an older version, which kept nothing.

    Raises:
        RunError: Where a file is missing, damaged, or not of this spec.
    """
    if not (folder / FACTS).exists() and not (folder / TENSORS).exists():
        return None
    facts, path = read_json(folder / FACTS, "a run"), folder / TENSORS
    cure = f"make it again with: graphws train {folder}"
    try:
        names, classes = _texts(facts["architectures"]), facts["classes"]
        if facts["format"] != FORMAT or facts["gauge"] != spec.preprocess.gauge or not 0 < len(names) <= MOST_GRAPHS:
            raise ValueError("it is of another run")
        known = None if classes is None else _texts(classes)
        tensors = _tensors(path)
        graphs = tuple(_graph(tensors[f"graph.{number}"]) for number in range(len(names)))
        statistics = _statistics(graphs, tensors, facts["roles"] is True)
        targets = tensors["targets"]
        if targets.ndim not in (1, 2):
            raise ValueError("its targets are no table")
    except (GraphwsError, SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise RunError(f"{folder / FACTS} or {path.name} is damaged: {error}; {cure}") from error
    return Prepared(spec, graphs, names, statistics, targets, known)


def _texts(found: Any) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise ValueError("a list of names is none")
    return tuple(found)


def _tensors(path: Path) -> dict[str, Tensor]:
    if path.stat().st_size > LARGEST:
        raise ValueError(f"it has more than {LARGEST} bytes")
    with safe_open(str(path), framework="pt") as file:
        if (file.metadata() or {}).get("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT!r}")
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping


def _graph(text: Tensor) -> NetworkGraph:
    if text.dtype != torch.uint8:
        raise ValueError("a graph is no text")
    return NetworkGraph.from_json(text.numpy().tobytes().decode())


def _of_orbits(statistics: Statistics) -> dict[str, Tensor]:
    """The moments of the orbits of the only graph, as zoos of version 1 keep them."""
    return {
        f"{kind}.{name}": getattr(moments, kind)
        for kind in ("mean", "std")
        for name, moments in statistics.orbits[0].items()
    }


def _statistics(graphs: Sequence[NetworkGraph], tensors: dict[str, Tensor], roles: bool) -> Statistics:
    found = {}
    for name, shape in (Statistics.shapes(graphs) if roles else Statistics.shapes_of_version_1(graphs[0])).items():
        tensor = tensors[f"statistics.{name}"]
        if tuple(tensor.shape) != shape or tensor.dtype != torch.float64 or not bool(tensor.isfinite().all()):
            raise ValueError(f"its statistics {name!r} do not fit the graphs")
        found[name] = tensor
    return Statistics.from_tensors(graphs, found) if roles else Statistics.from_version_1(graphs[0], found)
