"""A job: a spec and a run folder, from the zoo to the report.

`run` does all of it and may be called again after any kind of stop: the zoo, each training and the report are made
once.  `evaluate_run` asks the kept model of a finished run about a split, or about another zoo of the same
architecture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from graphws.errors import DataError, GraphwsError, RunError, UsageError, ZooError
from graphws.reporter import Reporter
from graphws.runtime.alignment import Aligner
from graphws.runtime.comparison import Comparison, answer
from graphws.runtime.contenders import Terms, contenders
from graphws.runtime.data import Data, load_data
from graphws.runtime.environment import Processes, machine, versions
from graphws.runtime.files import brief, read_json
from graphws.runtime.folder import RUNS, RunFolder, next_folder
from graphws.runtime.model_file import read_model
from graphws.runtime.preparation import Preparation, Preparations, formed
from graphws.runtime.prepared import Prepared, task_data, unfit
from graphws.runtime.prepared_file import read_prepared, write_prepared
from graphws.runtime.published import published_of
from graphws.runtime.readiness import require
from graphws.runtime.request import Request
from graphws.runtime.results import Results
from graphws.runtime.run_report import write_report
from graphws.runtime.scaling import Scale
from graphws.runtime.sections import models, named_specs, unmatched
from graphws.runtime.zoo_fit import fit_seconds, fit_section
from graphws.spec import ModelSection, Spec, dump_spec, lacks_for_training, load_spec
from graphws.tasks import Answers, Task
from graphws.tasks.denoising import ONE_GRAPH
from graphws.zoo import Fitting, Zoo
from graphws.zoo.files import digest
from graphws.zoo.manifest import NAME
from graphws.zoo.prospect import Prospect


@dataclass(frozen=True, eq=False)
class _Ready:
    """A spec with its zoo opened and everything made from it; `prepared` is what the run keeps of the preparations."""

    zoo: Zoo
    preparations: dict[str, Preparation]
    comparison: Comparison
    prepared: dict[str, Prepared]


def open_zoo(spec: Spec, group: Processes, reporter: Reporter, fitting: Fitting | None = None) -> Zoo:
    """The zoo that a spec reads: one that exists, or the one that ``zoo`` describes, fitted if need be.

    Args:
        spec: With ``input``.
        group: The processes that share the fit.
        reporter: Hears of its progress.
        fitting: What the section ``zoo`` builds, where it was built already.

    Raises:
        UsageError: When the spec reads no zoo.
        ZooError: When it is missing, unfinished or damaged.
    """
    if spec.input is None:
        raise UsageError(lacks_for_training(spec)[0])
    return spec.input.networks(spec.zoo, lambda section: fit_section(section, group, reporter, fitting))


def choose_folder(spec: Spec, path: Path | None, group: Processes) -> RunFolder:
    """The folder of a run: the one asked for, or the next free one under ``runs/``.

    Raises:
        RunError: When the folder asked for holds a run of another spec, or its spec was edited.
    """
    text = dump_spec(spec)
    if path is None:
        return next_folder(RUNS, spec.name, text)
    folder = RunFolder(path)
    if not (path / "run.json").exists() or folder.startable() or folder.reusable() or _is_of(folder, text):
        return folder
    if folder.state().get("kept"):
        raise RunError(f"{path} is a copy of a run for a page of results, which cannot go on")
    own = dump_spec(spec_of(folder))
    if folder.edited(own) and folder.edited(folder.spec.read_text(encoding="utf-8")):  # older specs lack newer keys
        raise RunError(
            f"{folder.spec} was edited after the run was started; put it back, or start a run of what it is now: "
            f"graphws run {folder.spec} --folder ANOTHER-FOLDER"
        )
    if own != text:
        raise RunError(
            f"{path} holds a run of another spec; choose another folder, or continue it: graphws train {path}"
        )
    return folder


def finished_run(spec: Spec) -> RunFolder | None:
    """The latest complete run of a spec under ``runs/``; None where there is none."""
    folders = [RunFolder(path.parent) for path in RUNS.glob(f"{spec.name}*/run.json")]
    found = [folder for folder in folders if folder.complete() and _is_of(folder, dump_spec(spec))]
    return max(found, key=lambda folder: (folder.path / "run.json").stat().st_mtime_ns, default=None)


def _is_of(folder: RunFolder, text: str) -> bool:
    """Whether a run was started with a spec, and its own copy is that one, or is lost."""
    if not folder.known_as(text):
        return False
    try:
        return dump_spec(spec_of(folder)) == text
    except RunError:
        return True


def spec_of(folder: RunFolder) -> Spec:
    """The spec that a run keeps.

    Raises:
        RunError: When it is missing or damaged.
    """
    try:
        return load_spec(folder.spec)
    except GraphwsError as error:
        what = f"is damaged ({str(error).splitlines()[0]})" if folder.spec.exists() else "is missing"
        raise RunError(
            f"{folder.spec} {what}; put it back with: graphws run SPEC --folder {folder.path}, "
            "SPEC being what the run was started with"
        ) from None


def run(spec: Spec, folder: RunFolder, group: Processes, reporter: Reporter, request: Request | None = None) -> Results:
    """Fit the zoo, train and score every model, write the report; or do what of it is missing.

    What can be refused before the work leaves no folder behind (`graphws.runtime.readiness`).

    Raises:
        GraphwsError: When something is wrong or fails; the run is marked ``failed`` and can go on.
        KeyboardInterrupt: On Ctrl-C; the run is marked ``interrupted`` and can go on.
    """
    done = _finished(folder, reporter) if folder.complete() else None
    group.barrier()  # before the first process makes it another state
    if done is not None:
        return done
    found = require(spec, group, None if folder.path.exists() else folder.path, known_networks(folder, group))
    if not group.first:
        return _work(spec, folder, group, reporter, found)
    facts = {"machine": machine(), **({} if request is None else {"request": request.to_json()})}
    with folder.work(dump_spec(spec), versions(), reporter.note, facts):
        results = _work(spec, folder, group, reporter, found)
        folder.finish(results.sentence())
    return results


def _finished(folder: RunFolder, reporter: Reporter) -> Results | None:
    """The results of a complete run, where they and the kept models are whole; None, with a word, where not."""
    try:
        for text in folder.altered().values():
            raise RunError(text)
        results = Results.from_json(read_json(folder.path / "results.json", "a finished run"))
        for score in results.scores:
            read_model(folder.model(score.name))
    except (RunError, ValueError) as error:
        reporter.note(f"{folder.path} is complete, but damaged, and is gone on with: {brief(error)}")
        return None
    return results


def _work(spec: Spec, folder: RunFolder, group: Processes, reporter: Reporter, found: Prospect | None) -> Results:
    group.barrier()
    ready = _ready(spec, folder, group, reporter, None if found is None else found.fitting)
    if group.first:
        _record(ready.zoo, folder)
        for line in unmatched(spec, ready.zoo.graphs):
            reporter.note(line)
    results, answers = ready.comparison.run(group, reporter)
    if group.first:
        _record_time(ready.zoo, folder, results)
        write_prepared(ready.prepared, folder.path)
        write_report(spec, ready.comparison.task, ready.zoo, folder, results, answers, ready.preparations)
    group.barrier()
    return results


def _ready(
    spec: Spec, folder: RunFolder, group: Processes, reporter: Reporter, fitting: Fitting | None = None
) -> _Ready:
    zoo = _recorded_zoo(folder, group) or open_zoo(spec, group, reporter, fitting)
    assert spec.task is not None
    on_gpu = torch.cuda.is_available() and spec.train.workers == 0
    device = torch.device("cuda", group.local_rank) if on_gpu else torch.device("cpu")
    stored = load_data(zoo, spec.task.columns(), spec.task.classes, device)
    making = Preparations(stored, zoo, Aligner(folder.alignments, group, reporter))
    preparations = {name: making.of(own) for name, own in named_specs(spec).items()}
    prepared = {name: Prepared.of(zoo, preparation) for name, preparation in preparations.items()}

    def terms(name: str, own: Spec) -> Terms:
        found = preparations[name]
        task = partial(_task, own, found)
        return Terms(found.data, found.augment, found.scale, task, prepared[name])

    data = next(iter(preparations.values())).data
    comparison = Comparison(contenders(spec, zoo.graphs, terms), data, folder)
    comparison = replace(comparison, published=published_of(spec, comparison.task))
    return _Ready(zoo, preparations, comparison, prepared)


def _task(spec: Spec, preparation: Preparation, section: ModelSection) -> Task:
    return task_of(spec, preparation.data, preparation.scale(section))


def task_of(spec: Spec, data: Data, scale: Scale) -> Task:
    """The task of a spec on its data.

    Args:
        spec: With ``task`` and ``head``.
        data: Its targets.
        scale: From the networks to what a model sees of them.

    Raises:
        DataError: On targets that cannot be learnt; on networks of several graphs where networks are the answer.
    """
    assert spec.task is not None
    assert spec.head is not None
    if spec.task.answers_networks and len(data.graphs) > 1:
        raise DataError(f"{data.origin}: {ONE_GRAPH.format(len(data.graphs))}")
    known = task_data(spec.task, data.targets, data.members["train"], data.graphs[0], scale)
    return spec.task.build(spec.head, spec.augment, known)


def _recorded_zoo(folder: RunFolder, group: Processes) -> Zoo | None:
    """The zoo that the run has used before, wherever graphws was started then; None the first time."""
    state = folder.state()
    group.barrier()
    return _zoo_of(state, folder)


def known_networks(folder: RunFolder, group: Processes) -> Prospect | None:
    """The networks that a run has used before; None where it has not begun, or nobody knows."""
    try:
        state = folder.state()
    except RunError:
        state = {}
    group.barrier()
    zoo = _zoo_of(state, folder)
    return None if zoo is None else Prospect.of_zoo(zoo)


def _zoo_of(state: Mapping[str, Any], folder: RunFolder) -> Zoo | None:
    if "zoo" not in state or not Path(state["zoo"]).exists():
        return None
    try:
        zoo = Zoo.open(state["zoo"])
    except ZooError as error:
        raise RunError(
            f"{error}; remove the zoo and make it again, then go on with: graphws train {folder.path}"
        ) from None
    if _fingerprint(zoo) != state.get("zoo_sha256"):
        raise RunError(f"the zoo {zoo.path} has changed since {folder.path} was started; start another run")
    return zoo


def _record(zoo: Zoo, folder: RunFolder) -> None:
    state = folder.state()
    if "zoo" not in state or state.get("zoo_sha256") != _fingerprint(zoo):
        folder.mark(state["status"], zoo=str(zoo.path.resolve()), zoo_sha256=_fingerprint(zoo))


def _record_time(zoo: Zoo, folder: RunFolder, results: Results) -> None:
    """Seconds of the fit, where the zoo knows them, and of all trainings."""
    fit = fit_seconds(zoo.path)
    seconds = {"training": round(sum(score.seconds for score in results.scores), 2)}
    folder.mark(folder.status(), seconds=seconds if fit is None else {"zoo": fit, **seconds})


def _fingerprint(zoo: Zoo) -> str:
    """Of the manifest, which holds the checksum of every file."""
    return digest(zoo.path / NAME)


def evaluate_run(
    folder: RunFolder, split: str, group: Processes, reporter: Reporter, zoo: Path | None = None
) -> dict[str, Answers]:
    """Ask the kept models of a run about the networks of a split.

    Args:
        folder: A run whose models are trained.
        split: ``train``, ``validation`` or ``test``.
        group: The processes; only a world of one evaluates.
        reporter: Hears of a zoo that must be fitted again.
        zoo: Another zoo whose networks the models can read, instead of the run's own, which may then be gone.

    Raises:
        RunError: When the run has no kept model yet, or one of another architecture.
        UsageError: On a zoo without the targets, or of networks that a model cannot read.
    """
    spec = spec_of(folder)
    if zoo is not None:
        return _evaluate_other(spec, folder, split, _labelled(Zoo.open(zoo), spec, folder), group, reporter)
    own = _ready(spec, folder, group, reporter)
    return {
        contender.name: answer(
            contender, kept_model(folder, contender.name), own.preparations[contender.name].data, split, 0
        )
        for contender in own.comparison.contenders
    }


def _evaluate_other(
    spec: Spec, folder: RunFolder, split: str, zoo: Zoo, group: Processes, reporter: Reporter
) -> dict[str, Answers]:
    """The answers of a run's models for another zoo; the run's own may be gone."""
    prepared = prepared_of(folder, group, reporter)
    known = next(iter(prepared.values()))
    assert spec.task is not None
    for model, section in models(spec, known.graphs).items():
        for name, graph in zip(zoo.names, zoo.graphs, strict=True):
            if reason := unfit(prepared[model], section, graph):
                which = f", architecture {name!r}" if len(zoo.names) > 1 else ""
                raise UsageError(f"the zoo {zoo.path}{which}: {model!r} of {folder.path} cannot read it: {reason}")
    if spec.task.answers_networks and len(zoo.graphs) > 1:
        raise UsageError(f"the zoo {zoo.path}: {ONE_GRAPH.format(len(zoo.graphs))}")
    columns, whole = spec.task.columns(), spec.task.classes
    stored = load_data(zoo, columns, whole, classes=known.classes, splits=(split,))
    seen = {form: formed(stored, form) for form in {each.form for each in prepared.values()}}

    def terms(name: str, own: Spec) -> Terms:
        found = prepared[name]
        return Terms(seen[found.form], None, found.scale, lambda section: found.task(zoo.graphs[0], section))

    return {
        each.name: answer(each, kept_model(folder, each.name), seen[prepared[each.name].form], split, 0)
        for each in contenders(spec, known.graphs, terms)
    }


def kept_model(folder: RunFolder, name: str) -> Path:
    """The file of a trained model of a run.

    Raises:
        RunError: When it is not there yet, or was altered.
    """
    path, altered = folder.model(name), folder.altered()
    place = f"models/{path.name}"
    if place in altered:
        raise RunError(f"{altered[place]}; make it again with: graphws train {folder.path}")
    if not path.exists():
        raise RunError(
            f"{folder.path} is {folder.status()} and has no trained {name!r} yet; "
            f"finish it with: graphws train {folder.path}"
        )
    return path


def prepared_of(folder: RunFolder, group: Processes, reporter: Reporter) -> dict[str, Prepared]:
    """What is done to networks before the models of a run see them, by their names, its own first.

    It comes from what the run keeps; of older runs, from their zoo.

    Raises:
        RunError: When what the run keeps was altered or is damaged.
        UsageError: When it is a run of no models.
    """
    altered = folder.altered()
    for name in ("preparation.json", "preparation.safetensors"):
        if name in altered:
            raise RunError(f"{altered[name]}; make it again with: graphws train {folder.path}")
    spec = spec_of(folder)
    if spec.model is None or spec.task is None or spec.head is None:
        raise UsageError(f"{folder.path} holds no models to ask: its spec trains none")
    if spec.sweep is not None:
        raise UsageError(
            f"{folder.path} holds a sweep, whose models are at its points; name one of them: "
            f"{folder.path / 'points' / spec.sweep.names()[0]}"
        )
    if (found := read_prepared(named_specs(spec), folder.path)) is not None:
        return found
    return _ready(spec, folder, group, reporter).prepared


def _labelled(zoo: Zoo, spec: Spec, folder: RunFolder) -> Zoo:
    """A zoo that has the columns of the task."""
    assert spec.task is not None
    for name in spec.task.columns():
        if name not in zoo.table:
            raise UsageError(
                f"the zoo {zoo.path} has no column {name!r}, so there is nothing to score; ask the models about its "
                f"networks with: graphws predict {folder.path} {zoo.path}"
            )
    return zoo
