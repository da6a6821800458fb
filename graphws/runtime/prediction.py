"""Asking a trained model about networks that it has never seen.

>>> from graphws import Run                                                             # doctest: +SKIP
>>> found = Run.load("runs/digits").predict(["mine.pt", "a/folder/of/checkpoints"])      # doctest: +SKIP
>>> found.columns["class"]                                                              # doctest: +SKIP
[3, 7, 7]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from graphws.errors import DataError, GraphwsError, RunError, UsageError, nearest
from graphws.graph import NetworkGraph, Weights
from graphws.reporter import Reporter
from graphws.runtime.environment import Processes
from graphws.runtime.files import brief, read_json
from graphws.runtime.folder import RunFolder
from graphws.runtime.job import kept_model, prepared_of, spec_of
from graphws.runtime.model_file import load_state, read_model
from graphws.runtime.network_sources import Bad, Named, read_networks
from graphws.runtime.prepared import Prepared
from graphws.runtime.results import Results
from graphws.runtime.sections import builder, models
from graphws.runtime.trained_model import TrainedModel, typed_like
from graphws.shown import Shown
from graphws.spec import ModelSection

BATCH = 256
"""Networks of one graph that are asked about at a time."""

What = str | Path | Weights | Sequence[str | Path]


@dataclass(frozen=True, eq=False, repr=False)
class Predictions(Shown):
    """What a model answered.

    Attributes:
        names: Of the networks: files, or numbers in a zoo or a batch.
        columns: What was predicted, by name: one entry a network; empty where the answers are networks.
        networks: For each network those that the model gave back, a batch of one, or of as many as `head.networks`
            says: then the answer is the mean of their outputs.  Empty where answers are numbers.
        skipped: What held no network that the model can read, and why.
    """

    names: tuple[str, ...]
    columns: dict[str, list[Any]]
    networks: tuple[Weights, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The `rows`."""
        return iter(self.rows())

    def __str__(self) -> str:
        what = ", ".join(self.columns) or f"{len(self.networks)} answers that are networks"
        skipped = f", {len(self.skipped)} skipped" if self.skipped else ""
        return f"Predictions({len(self)} networks: {what}{skipped})"

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a network: ``file`` and the columns."""
        return [
            {"file": name, **{key: column[k] for key, column in self.columns.items()}}
            for k, name in enumerate(self.names)
        ]


@dataclass(frozen=True, eq=False, repr=False)
class Run(Shown):
    """A run whose models answer; make one with `Run.load`.

    Attributes:
        folder: Its folder.
        preparations: How networks are prepared for each of its models, and what answers mean.
        sections: What its spec says of each of its models; the run's own first.
    """

    folder: RunFolder
    preparations: Mapping[str, Prepared]
    sections: dict[str, ModelSection]
    _models: dict[str, TrainedModel] = field(default_factory=dict)

    @staticmethod
    def load(folder: str | Path, reporter: Reporter | None = None) -> Run:
        """The run in a folder; its zoo is not needed.

        Args:
            folder: That `graphws run` made.
            reporter: Hears of a zoo that must be fitted again, for runs of older versions.

        Raises:
            RunError: When there is no run, or something of it is damaged.
            UsageError: When it trains no models.
        """
        place = RunFolder(Path(folder))
        prepared = prepared_of(place, Processes(), reporter or Reporter())
        graphs = next(iter(prepared.values())).graphs
        return Run(place, prepared, models(spec_of(place), graphs))

    def __str__(self) -> str:
        graphs = len(self.prepared.graphs)
        reads = f"networks of {self.prepared.graphs[0].numel:,} numbers" if graphs == 1 else f"{graphs} graphs"
        return f"Run({str(self.folder.path)!r}: {', '.join(self.models)}; reads {reads})"

    @property
    def models(self) -> tuple[str, ...]:
        """The names of its models, its own first."""
        return tuple(self.sections)

    @property
    def prepared(self) -> Prepared:
        """How networks are prepared for its own model; graphs, names, targets and classes are those of all."""
        return self.prepared_for(None)

    def prepared_for(self, name: str | None) -> Prepared:
        """How networks are prepared for a model; for the run's own where `name` is None."""
        return self.preparations[self.models[0] if name is None else name]

    @cached_property
    def results(self) -> Results | None:
        """The scores of its models; None while it is not complete.

        Raises:
            RunError: When they are damaged.
        """
        path = self.folder.path / "results.json"
        if not path.is_file():
            return None
        try:
            return Results.from_json(read_json(path, "a finished run"))
        except ValueError as error:
            raise RunError(f"{path} is damaged: {brief(error)}") from None

    @cached_property
    def answers_networks(self) -> bool:
        """Whether the answers are networks."""
        assert self.prepared.spec.task is not None
        return self.prepared.spec.task.answers_networks

    def model(self, name: str | None = None) -> TrainedModel:
        """A trained model, in evaluation: networks as they are in, answers in units of the target out.

        The module that learnt, which sees networks prepared, is its attribute `bare`.

        Args:
            name: Which model; the run's own where None.

        Raises:
            UsageError: On a name that no model has.
            RunError: When it is not trained yet, or its file is damaged.
        """
        name, section = self.models[0] if name is None else name, self.section(name)
        if name not in self._models:
            path = kept_model(self.folder, name)
            state, _ = read_model(path)
            with torch.random.fork_rng(devices=[]):
                bare = builder(section, self.prepared.spec, self.prepared.graphs)()
            load_state(bare, state, path)
            model = TrainedModel(bare, section, self.prepared_for(name), name)
            self._models[name] = model.eval().requires_grad_(False)
        return self._models[name]

    def section(self, name: str | None = None) -> ModelSection:
        """What the spec says of a model; of the run's own where `name` is None.

        Raises:
            UsageError: On a name that no model has.
        """
        name = self.models[0] if name is None else name
        if name not in self.sections:
            raise UsageError(f"no model {name!r}; the run has {', '.join(self.models)}" + nearest(name, self.models))
        return self.sections[name]

    def predict(
        self, what: What, model: str | None = None, *, probabilities: bool = False, skip_bad: bool = False
    ) -> Predictions:
        """What a model says of networks.

        Args:
            what: A file, a folder, a zoo, or several of these (`graphws.runtime.network_sources`); or `Weights`.
            model: Which model of the run; its own where None.
            probabilities: Whether to give the probability of every class.
            skip_bad: Whether what cannot be read is left out and listed in `Predictions.skipped`.

        Raises:
            GraphwsError: On something that holds no network, or one that the model cannot read; it is named.
        """
        asked = _Asking(self, model, probabilities, skip_bad)
        if isinstance(what, Weights):
            found: Iterator[Named | Bad] = iter([Named(tuple(map(str, range(what.batch))), what)])
        else:
            places = [what] if isinstance(what, str | Path) else list(what)
            found = read_networks(places, self.prepared.graphs, self.prepared.names)
        for item in found:
            asked.take(item)
        return asked.result()


class _Asking:
    """Collects networks graph by graph, asks about whole batches, and keeps the order in which they came."""

    def __init__(self, run: Run, name: str | None, probabilities: bool, skip_bad: bool) -> None:
        self.run, self.name, self.probabilities, self.skip_bad = run, name, probabilities, skip_bad
        self.model = run.model(name)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model.to(self.device)
        self.waiting: dict[NetworkGraph, list[tuple[int, str, Weights, str]]] = {}
        self.answers: dict[int, tuple[str, dict[str, Any], Weights | None]] = {}
        self.skipped: dict[int, tuple[str, str]] = {}
        self.count = 0

    def take(self, item: Named | Bad) -> None:
        """Networks, or something that is none."""
        if isinstance(item, Bad):
            self._refuse(self.count, item.name, item.error)
            self.count += 1
            return
        graph = item.weights.graph
        for k, name in enumerate(item.names):
            self.waiting.setdefault(graph, []).append((self.count, name, item.weights.select([k]), item.why))
            self.count += 1
        if len(self.waiting[graph]) >= BATCH:
            self._ask(graph)

    def _refuse(self, number: int, name: str, error: GraphwsError) -> None:
        if not self.skip_bad:
            raise error
        self.skipped[number] = (name, str(error))

    def _ask(self, graph: NetworkGraph) -> None:
        waiting = self.waiting.pop(graph)
        try:
            answers = self._answers(Weights.cat([_floats(weights) for _, _, weights, _ in waiting]))
        except GraphwsError as error:  # of the graph, hence of all of them
            for number, name, _, why in waiting:
                reason = f"{why}; and the model cannot read it" if why else "the model cannot read it"
                self._refuse(number, name, DataError(f"{name}: {reason}: {error}"))
            return
        for (number, name, weights, _), (row, network) in zip(waiting, answers, strict=True):
            self.answers[number] = (name, row, None if network is None else typed_like(network, weights))

    @torch.no_grad()
    def _answers(self, weights: Weights) -> list[tuple[dict[str, Any], Weights | None]]:
        outputs: list[Tensor] = []
        returned: list[Weights] = []
        for part in torch.arange(weights.batch).split(BATCH):
            given = weights.select(part).to(self.device)
            if self.model.answers_networks:
                found = self.model(given)
                assert isinstance(found, Weights)
                returned.append(found.to("cpu"))
            else:
                outputs.append(self.model.outputs(given).cpu())
        if returned:
            networks, count = Weights.cat(returned), self.model.answers
            return [({}, networks.select(slice(k * count, (k + 1) * count))) for k in range(weights.batch)]
        task = self.model.task(weights.graph)
        columns = task.columns(torch.cat(outputs), self.model.classes, self.probabilities)
        return [({name: column[k] for name, column in columns.items()}, None) for k in range(weights.batch)]

    def result(self) -> Predictions:
        """All answers, in the order in which the networks came."""
        for graph in list(self.waiting):
            self._ask(graph)
        found = [self.answers[number] for number in sorted(self.answers)]
        names = list(found[0][1]) if found else []
        return Predictions(
            tuple(name for name, _, _ in found),
            {name: [row[name] for _, row, _ in found] for name in names},
            tuple(network for _, _, network in found if network is not None),
            tuple(self.skipped[number] for number in sorted(self.skipped)),
        )


def _floats(weights: Weights) -> Weights:
    """In single precision, whatever each file has; whole numbers as they are."""
    return weights.to(dtype=torch.float32)
