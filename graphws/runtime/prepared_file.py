"""What a run keeps so that its models answer without its zoo.

``preparation.json`` says how networks are prepared and what the answers are called; ``preparation.safetensors`` holds
the graphs (their JSON, as bytes), the targets of the training networks, from which the task is made again exactly, and
for each gauge and order that some model of the run sees its statistics and its reference.  Runs of version 1 have one
gauge for all models and no order; older ones lack both files, and are asked through their zoo.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from graphws.align import Reference
from graphws.errors import GraphwsError, RunError
from graphws.graph import NetworkGraph
from graphws.layers.differences import difference
from graphws.runtime.files import read_json, write_bytes, write_json
from graphws.runtime.normal_form import GAUGES, NormalForm
from graphws.runtime.preparation import Preparation
from graphws.runtime.scaling import Scale
from graphws.spec import Align, ModelSection, Spec, TaskSection
from graphws.tasks import Task, TaskData
from graphws.tensor_bytes import tensor_bytes
from graphws.zoo import Statistics, Zoo

FORMAT, FORMAT_1 = "graphws-preparation-2", "graphws-preparation-1"
FACTS, TENSORS = "preparation.json", "preparation.safetensors"
LARGEST = 1 << 30
"""Bytes of the tensors that are read."""
MOST_GRAPHS = 10_000


@dataclass(frozen=True, eq=False)
class Prepared:
    """What is done to a network before a model of a run sees it, and what the model's answer means.

    Attributes:
        spec: What the run's spec says of the model (`graphws.runtime.named_models.named_specs`).
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
    """Why a trained model cannot read networks of a graph, as far as spaces and parameters tell; empty where it can.

    Keys of the state dict, activations and frequencies make no difference.  A model that reads networks of any graph
    (`ModelSection.reads_others`) says itself which ones it cannot.
    """
    known, aligned = prepared.graphs, prepared.reference is not None
    if (section.reads_others and not aligned) or any(graph.structure == one.structure for one in known):
        return ""
    what = f"it is of another architecture: {difference(known[0], graph)}"
    if aligned:
        return f"{what}; only networks of its own can be aligned to the run's"
    return f"{what}; train a model with `model.share: role` to read several"


def write_prepared(prepared: Mapping[str, Prepared], folder: Path) -> None:
    """Write both files, each whole or not at all; `RunError` where they cannot be written."""
    forms = _distinct(prepared)
    first = next(iter(prepared.values()))
    tensors, described = {"targets": first.targets}, []
    for number, names in enumerate(forms):
        one = prepared[names[0]]
        moments, roles = one.statistics.tensors(), True
        if {name: tuple(tensor.shape) for name, tensor in moments.items()} != Statistics.shapes(one.graphs):
            moments, roles = _of_orbits(one.statistics), False  # a zoo of version 1 does not know all roles
        tensors |= {f"{number}.statistics.{name}": tensor.clone() for name, tensor in moments.items()}
        if one.reference is not None:
            tensors |= {f"{number}.reference.{name}": tensor for name, tensor in one.reference.tensors().items()}
        described.append({"models": names, "roles": roles, **_asked(one.spec)})
    for number, graph in enumerate(first.graphs):
        tensors[f"graph.{number}"] = torch.from_numpy(np.frombuffer(graph.to_json().encode(), dtype=np.uint8).copy())
    write_bytes(folder / TENSORS, tensor_bytes({n: t.contiguous() for n, t in tensors.items()}, {"format": FORMAT}))
    facts = {
        "format": FORMAT,
        "forms": described,
        "normalize": {name: each.spec.preprocess.normalize for name, each in prepared.items()},
        "architectures": list(first.names),
        "target": list(first.spec.task.columns()) if first.spec.task is not None else [],
        "classes": None if first.classes is None else list(first.classes),
        **_moments(first.targets),
    }
    write_json(folder / FACTS, facts)


def _asked(spec: Spec) -> dict[str, Any]:
    """What a spec says of gauge and order."""
    return spec.preprocess.model_dump(mode="json", include={"gauge", "align"})


def _distinct(prepared: Mapping[str, Prepared]) -> list[list[str]]:
    """The names of the models of each gauge and order."""
    found: dict[str, list[str]] = {}
    for name, each in prepared.items():
        found.setdefault(json.dumps(_asked(each.spec)), []).append(name)
    return list(found.values())


def _moments(targets: Tensor) -> dict[str, Any]:
    """Mean and deviation of numbers, for people to read."""
    if not targets.is_floating_point() or not targets.numel():
        return {}
    return {"mean": targets.mean(0).tolist(), "deviation": targets.std(0, unbiased=False).tolist()}


def read_prepared(specs: Mapping[str, Spec], folder: Path) -> dict[str, Prepared] | None:
    """What a run keeps, by the names of its models; None where it is one of an older version, which kept nothing.

    Args:
        specs: What the run's spec says of each model.
        folder: Of the run.

    Raises:
        RunError: Where a file is missing, damaged, or not of this spec.
    """
    if not (folder / FACTS).exists() and not (folder / TENSORS).exists():
        return None
    facts, path = read_json(folder / FACTS, "a run"), folder / TENSORS
    cure = f"make it again with: graphws train {folder}"
    try:
        names, classes = _texts(facts["architectures"]), facts["classes"]
        if facts["format"] not in (FORMAT, FORMAT_1) or not 0 < len(names) <= MOST_GRAPHS:
            raise ValueError("it is of another run")
        known = None if classes is None else _texts(classes)
        tensors = _tensors(path, facts["format"])
        graphs = tuple(_graph(tensors[f"graph.{number}"]) for number in range(len(names)))
        targets = tensors["targets"]
        if targets.ndim not in (1, 2):
            raise ValueError("its targets are no table")
        found = {}
        for prefix, form in _forms(facts, list(specs)).items():
            own = {name[len(prefix) :]: each for name, each in tensors.items() if name.startswith(prefix)}
            statistics, models = _statistics(graphs, own, form["roles"] is True), _texts(form["models"])
            if not models:
                raise ValueError("a gauge is of no model")
            reference = _reference(specs[models[0]], graphs[0], own)
            for name in models:
                if name in found or {key: form[key] for key in ("gauge", "align")} != _asked(specs[name]):
                    raise ValueError("it is of another run")
                found[name] = Prepared(specs[name], graphs, names, statistics, targets, known, reference)
        ordered = {name: found[name] for name in specs}
    except (GraphwsError, SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise RunError(f"{folder / FACTS} or {path.name} is damaged: {error}; {cure}") from error
    return ordered


def _forms(facts: dict[str, Any], models: list[str]) -> dict[str, dict[str, Any]]:
    """What was kept for each gauge and order, by the beginning of the names of its tensors."""
    if facts["format"] == FORMAT_1:
        return {"": {"models": models, "gauge": facts["gauge"], "align": "none", "roles": facts["roles"]}}
    return {f"{number}.": form for number, form in enumerate(facts["forms"])}


def _reference(spec: Spec, graph: NetworkGraph, tensors: dict[str, Tensor]) -> Reference | None:
    align = spec.preprocess.align
    if not isinstance(align, Align):
        return None
    own = {name.removeprefix("reference."): each for name, each in tensors.items() if name.startswith("reference.")}
    return Reference.from_tensors(graph, align.group, own)


def _texts(found: Any) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise ValueError("a list of names is none")
    return tuple(found)


def _tensors(path: Path, form: str) -> dict[str, Tensor]:
    if path.stat().st_size > LARGEST:
        raise ValueError(f"it has more than {LARGEST} bytes")
    with safe_open(str(path), framework="pt") as file:
        if (file.metadata() or {}).get("format") != form:
            raise ValueError(f"its format is not {form!r}")
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
