"""A trained model with everything that its answers need: weights as they are go in, answers in their units come out.

A bare model reads weights in a gauge, an order and units of their own, and answers in the units in which it was
trained; called on weights as they are it gives numbers without a meaning.  `TrainedModel` is the one owner of the way
from the ones to the others; a run, the file of a model and an exported program give it.

>>> import graphws                                                                      # doctest: +SKIP
>>> model = graphws.load_model("runs/digits/models/dwsnet.safetensors")                 # doctest: +SKIP
>>> model(zoo.weights([0, 1])).shape  # the probability of each class                   # doctest: +SKIP
torch.Size([2, 10])
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from graphws.errors import RunError, UsageError
from graphws.graph import Mixed, NetworkGraph, Weights, parts_of
from graphws.models.given import given_networks
from graphws.runtime.model_file import Kept, check_state, cure, load_state, read_whole_model, run_around
from graphws.runtime.prepared import Prepared, unfit
from graphws.runtime.prepared_file import DAMAGES, packed, unpacked
from graphws.runtime.sections import builder
from graphws.spec import ModelSection, Spec, dump_spec, parse_spec
from graphws.tasks import Task


class TrainedModel(nn.Module):
    """What a run has learnt: networks in, answers out.

    Args:
        bare: The model itself, which sees networks prepared and answers in units of the training.
        section: What the spec says of it, in the size that it has.
        prepared: What is done to networks before it sees them, and what its answers mean.
        name: What the run calls it.

    Shapes:
        Weights (batch) -> (batch, outputs) in the units of the target, or the probability of each class (`classes`
        names them); Weights (batch · networks) of the same graph where the answer is a network, in the units, the gauge
        and the order of those that came.  A list of Weights of several graphs, where the model reads several, gives one
        result in the order of the list.

    Raises:
        UsageError: When called on anything but Weights, and on networks that it cannot read; the first difference is
            named.
    """

    def __init__(self, bare: nn.Module, section: ModelSection, prepared: Prepared, name: str) -> None:
        super().__init__()
        assert prepared.spec.task is not None
        assert prepared.spec.head is not None
        self.bare, self.section, self.prepared, self.name = bare, section, prepared, name
        self.answers_networks = prepared.spec.task.answers_networks
        self.answers = prepared.spec.head.answers if self.answers_networks else 1
        self.targets: tuple[str, ...] = tuple(prepared.spec.task.columns())
        self._tasks: dict[NetworkGraph, Task] = {}
        self._read: set[NetworkGraph] = set()

    @property
    def graphs(self) -> tuple[NetworkGraph, ...]:
        """Of the networks that were learnt from."""
        return self.prepared.graphs

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes, in the order of the answers, where the target is one and they are known."""
        return self.prepared.classes

    def forward(self, weights: Mixed) -> Tensor | Weights:
        """The answers; see the class for shapes."""
        parts, seen = given_networks(self, weights), self.seen(weights)
        task = self.task(parts[0].graph)
        outputs = task.apply(self.bare, seen).float()
        if not self.answers_networks:
            return task.answer(outputs)
        sources = parts[0].map(lambda x: x.repeat_interleave(self.answers, 0))
        return self.restored(task.returned(outputs, parts_of(seen)[0], self.unscaled), sources)

    def outputs(self, weights: Mixed) -> Tensor:
        """What the task makes answers, columns and metrics of: the bare model's outputs for networks as they are."""
        task = self.task(given_networks(self, weights)[0].graph)
        return task.apply(self.bare, self.seen(weights)).float()

    def task(self, graph: NetworkGraph) -> Task:
        """The task for networks of a graph."""
        if graph not in self._tasks:
            self._tasks[graph] = self.prepared.task(graph, self.section)
        return self._tasks[graph]

    def seen(self, weights: Mixed) -> Mixed:
        """Networks as the bare model sees them: in its gauge, order and units, in single precision.

        Raises:
            UsageError: Where it cannot read them.
        """
        parts = given_networks(self, weights)
        for part in parts:
            if part.graph not in self._read:
                if reason := unfit(self.prepared, self.section, part.graph):
                    raise UsageError(reason)
                self._read.add(part.graph)
        form = self.prepared.form
        found = [self.scaled(form.apply(part.to(dtype=torch.float32))) for part in parts]
        return found[0] if len(found) == 1 else found

    def restored(self, networks: Weights, sources: Weights) -> Weights:
        """Networks in the bare model's gauge and order, in those of the sources, whose types and counters they get."""
        return typed_like(self.prepared.form.restore(networks, sources.to(dtype=torch.float32)), sources)

    def scaled(self, weights: Weights) -> Weights:
        """Networks in the units in which the model sees them."""
        return self.prepared.scale(self.section).apply(weights)

    def unscaled(self, weights: Weights) -> Weights:
        """The inverse of `scaled`."""
        return self.prepared.scale(self.section).restore(weights)

    def extra_repr(self) -> str:
        """The name, and what is asked."""
        return f"{self.name}: {', '.join(self.targets) or 'networks'}"


def kept_of(prepared: Prepared, section: ModelSection, name: str) -> Kept:
    """What the answers of a model need, for its file."""
    gone = {"input": None, "zoo": None, "compare": (), "sweep": None, "published": None, "title": None, "notes": None}
    spec = prepared.spec.model_copy(update={**gone, "name": name, "model": section})
    return Kept(dump_spec(spec), *packed({name: replace(prepared, spec=spec)}))


def load_model(path: str | Path) -> TrainedModel:
    """The trained model in a file that a run keeps (``models/NAME.safetensors``), with all that its answers need.

    Neither the run nor its zoo is needed.

    Raises:
        RunError: When the file is missing, damaged, no trained model, or one without what its answers need, as single
            trainings and older versions write it.
    """
    place = Path(path)
    state, description, kept = read_whole_model(place)
    name = str(description.get("name", "model"))
    if kept is None:
        folder = run_around(place)
        run = "FOLDER" if folder is None else repr(str(folder))
        raise RunError(
            f"{place} holds a model without what its answers need (units, classes, gauge); load its run: "
            f"graphws.load_run({run}).model({name!r})"
        )
    try:
        spec = parse_spec(kept.spec, place.name)
        prepared = unpacked({name: spec}, kept.facts, kept.tensors)[name]
        section = _section(spec)
        make = builder(section, spec, prepared.graphs)
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            check_state(make(), state, place)  # before memory is taken for what a file claims
    except DAMAGES as error:
        if isinstance(error, RunError):
            raise
        raise RunError(f"the checkpoint {place} is damaged: {error}; {cure(place)}") from error
    with torch.random.fork_rng(devices=[]):
        bare = make()
    load_state(bare, state, place)
    return TrainedModel(bare, section, prepared, name).eval().requires_grad_(False)


def _section(spec: Spec) -> ModelSection:
    if spec.model is None or spec.task is None or spec.head is None:
        raise ValueError("its spec trains no model")
    return spec.model


def typed_like(networks: Weights, sources: Weights) -> Weights:
    """Networks in the types of those that they were made from, whose counters and masks they keep."""
    tensors = {
        name: tensor.to(sources[name].dtype) if sources[name].is_floating_point() else sources[name].expand_as(tensor)
        for name, tensor in networks.items()
    }
    return Weights(sources.graph, tensors)
