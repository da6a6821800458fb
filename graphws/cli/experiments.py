"""``graphws run``, ``train`` and ``eval``: the jobs that specs describe.

Imports of the runtime are inside the functions: they take seconds, which ``--help`` and mistakes should not cost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graphws.cli.arguments import Overrides, ScaleOption, SpecArgument
from graphws.cli.console import Bars, output, table
from graphws.cli.destinations import JsonOption, OverwriteOption, check_files, write_figures
from graphws.errors import Interrupted, RunError, UsageError, nearest

if TYPE_CHECKING:
    from rich.table import Table

    from graphws.reporter import Reporter
    from graphws.runtime.environment import Processes
    from graphws.runtime.folder import RunFolder
    from graphws.runtime.request import Request
    from graphws.runtime.results import Outcome
    from graphws.spec import Spec
    from graphws.tasks import Answers

# no option of these commands may be a prefix of one of torchrun's, which takes abbreviations (--run: --run-path)
RunOption = Annotated[
    Path | None,
    typer.Option("--folder", metavar="FOLDER", help="Folder of the run. Default: runs/NAME, or runs/NAME-2 and so on."),
]


def run_command(
    spec: SpecArgument, overrides: Overrides = None, scale: ScaleOption = None, run: RunOption = None
) -> None:
    """Fit the zoo of SPEC, train its model and the baselines, compare, and write a report; or do its experiment.

    With a section `sweep`, all of that once for each of its values.

    Stopped runs go on: run the same command again.
    """
    start(spec, overrides, scale, run)


def train_command(
    target: Annotated[str, typer.Argument(metavar="SPEC|RUN", help="A spec to train, or a run to go on with.")],
    overrides: Overrides = None,
    scale: ScaleOption = None,
    run: RunOption = None,
) -> None:
    """Train the model of a spec and its baselines, or go on with a run that was stopped.

    On several processes or machines: torchrun --nproc-per-node 2 -m graphws train SPEC
    """
    folder = Path(target)
    if not folder.is_dir():
        start(target, overrides, scale, run)
        return
    given = [name for name, value in (("--set", overrides), ("--scale", scale), ("--folder", run)) if value]
    if given:
        names = "--set and --folder belong" if "--scale" not in given else "--set, --scale and --folder belong"
        raise UsageError(f"a run goes on as it was started; {names} to a new run: graphws train SPEC")
    _execute(_spec_of(folder), folder, None)


def eval_command(
    target: Annotated[str, typer.Argument(metavar="RUN|SPEC", help="A run, or the spec of the latest finished run.")],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    zoo: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Another zoo of the same architecture, instead of the run's.")
    ] = None,
    as_json: JsonOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Score the trained models of a run on a split of its zoo, or of another zoo."""
    from graphws.runtime.data import SPLITS
    from graphws.runtime.environment import Processes, processes
    from graphws.runtime.folder import RunFolder
    from graphws.runtime.job import evaluate_run
    from graphws.runtime.sweep import point_folders
    from graphws.spec import load_spec

    if split not in SPLITS:
        raise UsageError(f"no split {split!r}; there are {', '.join(SPLITS)}" + nearest(split, SPLITS))
    check_files({"--json": as_json}, overwrite=overwrite)
    if not processes().first:  # one of those that torchrun started does it
        return
    folder = RunFolder(Path(target) if Path(target).is_dir() else _latest(load_spec(target)))
    spec = _spec_of(folder.path)
    if spec.experiment is not None:
        raise UsageError(f"{folder.path} holds an experiment, whose figures are in {folder.report}; eval is for models")
    points = {"": folder} if spec.sweep is None else point_folders(spec, folder)
    key = "" if spec.sweep is None else spec.sweep.key
    found = []
    for name, point in points.items():
        answers = evaluate_run(point, split, Processes(), Bars(), zoo)
        found.append(({key: name} if key else {}) | _scores(answers, point, _spec_of(point.path), split, zoo))
    console = output(as_json)
    write_figures(found if key else found[0], as_json)
    for each in found:
        console.print(_score_table(each, f"{key} = {each[key]}, " if key else ""))


def _scores(
    answers: Mapping[str, Answers], folder: RunFolder, spec: Spec, split: str, zoo: Path | None
) -> dict[str, Any]:
    """What the models of a run come to."""
    from graphws.runtime.sections import named_sections

    sections = named_sections(spec)
    return {
        "run": str(folder.path),
        "zoo": None if zoo is None else str(zoo),
        "split": split,
        "networks": len(next(iter(answers.values())).index),
        "models": {
            name: {"access": sections[name].access, "metrics": dict(found.metrics)} for name, found in answers.items()
        },
    }


def _score_table(scores: Mapping[str, Any], what: str) -> Table:
    from graphws.runtime.results import in_words

    models = scores["models"]
    metrics = list(next(iter(models.values()))["metrics"])
    rows = [
        [name, model["access"], *(in_words(m, [model["metrics"][m]]) for m in metrics)]
        for name, model in models.items()
    ]
    where = scores["zoo"] or scores["run"]
    title = f"{what}{where}, {scores['split']} split, {scores['networks']:,} networks"
    return table(["model", "access", *metrics], rows, title=title)


def start(name: str, overrides: list[str] | None, scale: str | None, path: Path | None) -> Path:
    """Do what a spec says, and remember how it was asked for; the folder of the run."""
    from graphws.runtime.request import Request
    from graphws.spec import load_spec

    spec = load_spec(name, overrides or (), scale)
    return _execute(spec, path, Request.of(name, scale, tuple(overrides or ())))


def _execute(spec: Spec, path: Path | None, request: Request | None) -> Path:
    """Do what a spec says, on this process or together with the others that torchrun started."""
    from graphws.reporter import Reporter
    from graphws.runtime import job
    from graphws.runtime.environment import join, leave, processes, share
    from graphws.runtime.folder import RunFolder

    group = processes()
    join(group)
    try:
        folder = RunFolder(share(group, job.choose_folder(spec, path, group).path))
        reporter = Bars(log=True) if group.first else Reporter()
        started = time.perf_counter()
        if group.first and folder.path.exists():
            done = folder.complete() and not folder.altered()
            reporter.note(f"{folder.path}: " + ("done already" if done else "going on"))
        try:
            results = _work(spec)(spec, folder, group, reporter, request)
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted; go on with: graphws train {folder.path}") from None
    finally:
        leave(group)
    if group.first:
        _show(results, folder, time.perf_counter() - started)
    return folder.path


def _work(spec: Spec) -> Callable[[Spec, RunFolder, Processes, Reporter, Request | None], Outcome]:
    """What does a spec: an experiment, a sweep or one run."""
    from graphws import trainings
    from graphws.runtime import job, sweep

    if spec.experiment is not None:
        return trainings.run
    return job.run if spec.sweep is None else sweep.run


def _show(results: Outcome, folder: RunFolder, seconds: float) -> None:
    from graphws.report.actions_page import brief

    console = output()
    console.print()
    console.print(table(*brief(*results.table())))
    console.print()
    console.print(results.sentence(), markup=False)
    console.print(f"{seconds:.0f} s in all; report: {folder.report}", markup=False)


def _spec_of(folder: Path) -> Spec:
    from graphws.runtime.folder import RunFolder
    from graphws.runtime.job import spec_of

    if not RunFolder(folder).startable():
        RunFolder(folder).state()
    return spec_of(RunFolder(folder))


def _latest(spec: Spec) -> Path:
    from graphws.runtime.folder import RUNS, RunFolder

    found = [path.parent for path in RUNS.glob(f"{spec.name}*/run.json")]
    complete = [path for path in found if RunFolder(path).complete() and _name_of(path) == spec.name]
    if not complete:
        raise RunError(f"no finished run of {spec.name!r} under {RUNS}/; make one with: graphws run {spec.name}")
    return max(complete, key=lambda path: (path / "run.json").stat().st_mtime)


def _name_of(folder: Path) -> str | None:
    """The name in the spec of a run; None where that is damaged."""
    try:
        return _spec_of(folder).name
    except RunError:
        return None
