"""Aligning the data of a run, once: the reference, and the element of each network, kept in the run's folder.

A file ``alignments/NAME.safetensors`` holds both.  Its name says what was asked for; it has a checksum, and one that is
damaged or of other data is made again.  With several processes the first one aligns and the others read.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from graphws.align import Reference, find_reference
from graphws.errors import DataError, GraphError, RunError
from graphws.graph import GroupElement, LinearMap, Monomial, NetworkGraph
from graphws.graph.element import SpaceElement, concatenate
from graphws.reporter import Reporter
from graphws.runtime.data import Data
from graphws.runtime.environment import Processes
from graphws.runtime.files import brief, make_folder, write_bytes
from graphws.spec import Align
from graphws.tensor_bytes import tensor_bytes

FORMAT = "graphws-alignment-1"
LARGEST = 1 << 32
"""Bytes of a file that is read."""
NUMBERS = 1 << 22
"""Of networks that are matched at a time."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """What aligning the data came to.

    Attributes:
        reference: What every network was brought to.
        elements: One for each network of the data.
        before: Mean closeness of the pairs of the networks that the reference is made of, 1 where all are equal.
        after: The same, aligned.
        seconds: That it took.
    """

    reference: Reference
    elements: GroupElement
    before: float
    after: float
    seconds: float

    def apply(self, data: Data) -> Data:
        """The data that were aligned, aligned."""
        return data.moved(self.elements)

    def facts(self) -> str:
        """In words, for a report."""
        count = next((element.batch for element in self.elements.maps.values()), None)
        rate = f", {count / self.seconds:,.0f} networks/s" if count and self.seconds else ""
        return f"{self.seconds:.1f} s{rate}; mean closeness of pairs {self.before:.3g} → {self.after:.3g}"


@dataclass(frozen=True)
class Aligner:
    """Aligns data, or reads what was found before.

    Attributes:
        folder: Where what is found is kept; nowhere where None.
        group: The processes.
        reporter: Hears of the progress.
    """

    folder: Path | None = None
    group: Processes = field(default_factory=Processes)
    reporter: Reporter = field(default_factory=Reporter)

    def align(self, data: Data, section: Align, gauge: str) -> Alignment:
        """The alignment of all networks of the data.

        Args:
            data: In the gauge.
            section: How.
            gauge: The name of the gauge.

        Raises:
            DataError: On networks of several graphs, or one with a space that no parameter speaks about.
        """
        if len(data.graphs) > 1:
            raise DataError(
                f"{data.origin}: preprocess.align brings networks of one architecture to one order, "
                f"and these are of {len(data.graphs)}"
            )
        asked = json.dumps([section.model_dump(mode="json"), gauge, len(data.members["train"])])
        path = None if self.folder is None else self.folder / f"{_digest(asked.encode())[:16]}.safetensors"
        found = self._kept(path, asked, data) if path is not None else None
        self.group.barrier()
        if found is None and (self.group.first or path is None):
            found = self._make(data, section)
            if path is not None:
                make_folder(path.parent)
                write_bytes(path, _file(found, asked))
        self.group.barrier()
        if found is None:
            assert path is not None
            found = _read(path, asked, data, section)
        return found

    def _kept(self, path: Path, asked: str, data: Data) -> Alignment | None:
        """What is there already; None, with a word, where it is damaged."""
        if not path.exists():
            return None
        try:
            return _read(path, asked, data, Align(**json.loads(asked)[0]))
        except RunError as error:
            if self.group.first:
                self.reporter.note(f"{error}: the networks are aligned again")
            return None

    def _make(self, data: Data, section: Align) -> Alignment:
        since = time.perf_counter()
        generator = torch.Generator().manual_seed(section.seed)
        members = data.members["train"]
        chosen = members[torch.randperm(len(members), generator=generator)[: section.networks]]
        try:
            self.reporter.start("alignment, reference", section.iterations * len(chosen), "networks")
            try:
                gathering = find_reference(
                    data.collection.weights(chosen),
                    generator=generator,
                    actions=section.group,
                    rounds=section.iterations,
                    progress=lambda done: self._step(done, since),
                )
            finally:
                self.reporter.end()
            elements = self._elements(data, gathering.reference)
        except GraphError as error:
            raise DataError(f"{data.origin}: preprocess.align: {error}") from error
        found = Alignment(
            gathering.reference, elements, gathering.before, gathering.record[-1], time.perf_counter() - since
        )
        self.reporter.note(f"alignment: {found.facts()}")
        return found

    def _elements(self, data: Data, reference: Reference) -> GroupElement:
        count, since = len(data.targets), time.perf_counter()
        self.reporter.start("alignment", count, "networks")
        try:
            parts, done = [], 0
            for index in torch.arange(count).split(max(1, NUMBERS // max(1, data.graph.numel))):
                parts.append(reference.elements(data.collection.weights(index)).to("cpu"))
                done += len(index)
                self._step(done, since)
        finally:
            self.reporter.end()
        maps = {name: concatenate([part.maps[name] for part in parts]) for name in parts[0].maps}
        return GroupElement(data.graph, maps)

    def _step(self, done: int, since: float) -> None:
        self.reporter.step(done, {"networks_per_second": done / max(time.perf_counter() - since, 1e-9)})


def _file(found: Alignment, asked: str) -> bytes:
    tensors = {f"reference.{name}": tensor for name, tensor in found.reference.tensors().items()}
    for name, element in found.elements.maps.items():
        if isinstance(element, LinearMap):
            tensors[f"matrix.{name}"] = element.weight
            continue
        tensors[f"perm.{name}"] = element.perm.to(torch.int32)
        if element.scale is not None:
            tensors[f"scale.{name}"] = element.scale
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    facts = {"before": found.before, "after": found.after, "seconds": found.seconds}
    about = {"format": FORMAT, "asked": asked, "facts": json.dumps(facts), "checksum": _checksum(tensors)}
    return tensor_bytes(tensors, about)


def _read(path: Path, asked: str, data: Data, section: Align) -> Alignment:
    """What a file holds; `RunError` where it is damaged or of something else."""
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"it has more than {LARGEST} bytes")
        with safe_open(str(path), framework="pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        if about.get("format") != FORMAT or about.get("asked") != asked:
            raise ValueError("it is of another alignment")
        if about.get("checksum") != _checksum(tensors):
            raise ValueError("its checksum is another")
        facts = _numbers(json.loads(about["facts"]))
        own = {n.partition(".")[2]: t for n, t in tensors.items() if n.startswith("reference.")}
        reference = Reference.from_tensors(data.graph, section.group, own)
        elements = _elements(data.graph, tensors, len(data.targets))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, GraphError) as error:
        raise RunError(f"{path} is damaged: {brief(error)}") from error
    return Alignment(reference, elements, facts["before"], facts["after"], facts["seconds"])


def _numbers(facts: Any) -> dict[str, float]:
    return {name: float(facts[name]) for name in ("before", "after", "seconds")}


def _elements(graph: NetworkGraph, tensors: dict[str, Tensor], count: int) -> GroupElement:
    maps: dict[str, SpaceElement] = {}
    for name, tensor in tensors.items():
        kind, _, space = name.partition(".")
        if kind == "perm":
            perm, scale = tensor.long(), tensors.get(f"scale.{space}")
            whole = perm.ndim == 2 and bool((perm.sort(1).values == torch.arange(graph.extent(space))).all())
            if not whole or len(perm) != count or (scale is not None and scale.shape != perm.shape):
                raise ValueError(f"{name!r} is no permutation for each network")
            maps[space] = Monomial(perm, scale)
        elif kind == "matrix":
            if tensor.shape != (count, graph.extent(space), graph.extent(space)):
                raise ValueError(f"{name!r} is no matrix for each network")
            maps[space] = LinearMap(tensor)
    return GroupElement(graph, maps)


def _checksum(tensors: dict[str, Tensor]) -> str:
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.contiguous().numpy().tobytes())
    return found.hexdigest()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
