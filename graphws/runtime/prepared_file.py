"""What a run and the file of each model keep, so that models answer without their zoo.

``preparation.json`` says how networks are prepared and what the answers are called; ``preparation.safetensors`` holds
the graphs (their JSON, as bytes), the targets of the training networks, from which the task is made again exactly, and
for each gauge and order that some model of the run sees its statistics and its reference.  Runs of version 1 have one
gauge for all models and no order; older ones lack both files, and are asked through their zoo.

The file of a model (`graphws.runtime.model_file`) holds the same of this model alone, with what its spec says of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from graphws.align import Reference
from graphws.errors import GraphwsError, RunError
from graphws.graph import NetworkGraph
from graphws.runtime.files import read_json, write_bytes, write_json
from graphws.runtime.prepared import Prepared
from graphws.spec import Align, Spec
from graphws.tensor_bytes import tensor_bytes
from graphws.zoo import Statistics

FORMAT, FORMAT_1 = "graphws-preparation-2", "graphws-preparation-1"
FACTS, TENSORS = "preparation.json", "preparation.safetensors"
LARGEST = 1 << 30
"""Bytes of the tensors that are read."""
MOST_GRAPHS = 10_000
DAMAGES = (GraphwsError, ValueError, KeyError, TypeError, AttributeError, RuntimeError)
"""What reading parts that do not fit raises."""


def write_prepared(prepared: Mapping[str, Prepared], folder: Path) -> None:
    """Write both files, each whole or not at all; `RunError` where they cannot be written."""
    facts, tensors = packed(prepared)
    write_bytes(folder / TENSORS, tensor_bytes({n: t.contiguous() for n, t in tensors.items()}, {"format": FORMAT}))
    write_json(folder / FACTS, facts)


def packed(prepared: Mapping[str, Prepared]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """As plain facts and tensors, for a file; `unpacked` is the inverse, given what the specs say."""
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
    facts = {
        "format": FORMAT,
        "forms": described,
        "normalize": {name: each.spec.preprocess.normalize for name, each in prepared.items()},
        "architectures": list(first.names),
        "target": list(first.spec.task.columns()) if first.spec.task is not None else [],
        "classes": None if first.classes is None else list(first.classes),
        **_moments(first.targets),
    }
    return facts, tensors


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
        return unpacked(specs, facts, _tensors(path, facts["format"]))
    except (*DAMAGES, SafetensorError, OSError) as error:
        raise RunError(f"{folder / FACTS} or {path.name} is damaged: {error}; {cure}") from error


def unpacked(specs: Mapping[str, Spec], facts: Any, tensors: Mapping[str, Tensor]) -> dict[str, Prepared]:
    """The inverse of `packed`, by the names of the models; one of `DAMAGES` where the parts do not fit."""
    names, classes = _texts(facts["architectures"]), facts["classes"]
    if facts["format"] not in (FORMAT, FORMAT_1) or not 0 < len(names) <= MOST_GRAPHS:
        raise ValueError("it is of another run")
    known = None if classes is None else _texts(classes)
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
    return {name: found[name] for name in specs}


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
