"""Kills of commands that write: the same command again must end as if nothing had happened.

A command is killed (SIGKILL) before one of its file operations (`scripts.trust.forked`), or at a random moment; every
third time the command that should heal is killed too.  Then it is run once more: it must end with code 0 and leave the
files of a run that nobody killed, byte for byte but for the seconds that it took, and no others.
"""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
import random
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from rich.progress import track

from scripts.trust.figures import Part
from scripts.trust.forked import Command, Ended, run, warm_up
from tests.cli.specs import EXPERIMENT

SPEC = """\
graphws: 1
name: quick
zoo:
  source: {kind: digits, limit: 300}
  network: {hidden: [6, 6], activation: sine, omega: 5.0}
  fit: {steps: 3, lr: 2e-2, views: 1, psnr: null}
  split: {validation: 0.2, test: 0.2}
input: {kind: zoo}
model: {kind: dwsnet, layers: 1, channels: 4}
head: {kind: invariant, outputs: 10}
task: {kind: classification, target: label}
train: {optimizer: {kind: adamw, lr: 1e-2}, epochs: 4, batch_size: 64, seeds: [0]}
"""
PACK = ["zoo", "pack", "checkpoints", "packed", "--validation", "0.2", "--test", "0.2"]
RANDOM = 4
"""One kill of so many comes at a random moment."""
DOUBLE = 3
"""After one kill of so many the next command is killed too."""
TIMED = ("seconds", "files")
"""Keys and columns that depend on time: how long something took, and the checksums of files that say it."""
CODE = -9
"""Of a process that was killed."""


@dataclass(frozen=True)
class Scene:
    """A command and where it runs.

    Attributes:
        name: What the row is called.
        command: What is run.
        prepare: Puts into a folder what is there before.
    """

    name: str
    command: Command
    prepare: Callable[[Path], None]


@dataclass(frozen=True)
class Staged:
    """A scene with what it leaves when nobody kills it.

    Attributes:
        scene: The scene.
        template: The folder with what is there before.
        whole: How it ends.
        content: What it leaves.
    """

    scene: Scene
    template: Path
    whole: Ended
    content: dict[str, bytes]


@dataclass(frozen=True)
class Kill:
    """A kill.

    Attributes:
        scene: The number of the scene.
        point: The file operation before which it comes; None at a random moment.
        share: Of the time that the command takes, for a random moment.
        second: The same for the command that should heal; None where that is left alone.
    """

    scene: int
    point: int | None
    share: float
    second: float | None


@dataclass(frozen=True)
class Outcome:
    """What came of a kill.

    Attributes:
        kill: The kill.
        hits: How often a command was killed before its end; 0 where it was faster.
        fault: What is lost, in words; empty where nothing is.
    """

    kill: Kill
    hits: int
    fault: str


def content(place: Path) -> dict[str, bytes]:
    """Every file and folder below a place, without what depends on time (`TIMED`) and the place's own name."""
    found = {}
    for path in sorted(place.rglob("*")):
        name = str(path.relative_to(place))
        found[name] = b"folder" if path.is_dir() else _timeless(path).replace(str(place).encode(), b"PLACE")
    return found


def _timeless(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix == ".json":
        return json.dumps(_without_time(json.loads(data))).encode()
    if path.suffix == ".csv":
        rows = list(csv.DictReader(io.StringIO(data.decode())))
        return json.dumps(_without_time(rows)).encode()
    if path.suffix == ".html":
        return re.sub(rb"<td>\d+</td></tr>|\d+ s in all", b"", data)
    return data


def _without_time(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_time(inner) for key, inner in value.items() if key not in TIMED}
    return [_without_time(inner) for inner in value] if isinstance(value, list) else value


def difference(left: dict[str, bytes], right: dict[str, bytes]) -> str:
    """The first file that differs, in words; empty where none does."""
    for name in sorted({*left, *right}):
        if name not in right:
            return f"{name} is left over"
        if name not in left:
            return f"{name} is missing"
        if left[name] != right[name]:
            return f"{name} differs"
    return ""


def scenes() -> list[Scene]:
    """The commands that write, each on something small."""
    small = ["reduce", "net.safetensors", "--activation", "tanh", "-o", "small.safetensors"]
    return [
        Scene("zoo fit", ["zoo", "fit", "quick.yaml"], _spec),
        Scene("zoo pack", PACK, _checkpoints),
        Scene("zoo unpack", ["zoo", "unpack", "packed", "out"], _packed),
        Scene("run", ["run", "quick.yaml"], _spec),
        Scene("train", ["train", "runs/quick"], _stopped),
        Scene("run, an experiment", ["run", "tiny.yaml"], _experiment),
        Scene("convert -o", ["convert", "net.safetensors", "--activation", "tanh", "-o", "graph.safetensors"], _nets),
        Scene("reduce -o", small, _nets),
    ]


def _spec(place: Path) -> None:
    (place / "quick.yaml").write_text(SPEC)


def _experiment(place: Path) -> None:
    (place / "tiny.yaml").write_text(EXPERIMENT)


def _state(seed: int, *widths: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for layer, (inner, outer) in enumerate(pairwise(widths)):
        state[f"{2 * layer}.weight"] = torch.randn(outer, inner, generator=generator)
        state[f"{2 * layer}.bias"] = torch.randn(outer, generator=generator)
    return state


def _checkpoints(place: Path) -> None:
    (place / "checkpoints").mkdir()
    for number in range(5):
        torch.save(_state(number, 2, 4, 1), place / "checkpoints" / f"net-{number}.pt")


def _packed(place: Path) -> None:
    _checkpoints(place)
    _done(run(PACK, place))


def _nets(place: Path) -> None:
    from safetensors.torch import save_file

    state = _state(0, 3, 6, 2)
    state["2.weight"][:, 0] = 0  # so that there is something to reduce
    save_file(state, place / "net.safetensors")
    for name in ("graph", "small"):  # what is there before is replaced
        save_file(_state(1, 3, 2), place / f"{name}.safetensors")


def _stopped(place: Path) -> None:
    """A run that was killed when the first epoch had been kept."""
    _spec(place)
    whole = _done(run(["run", "quick.yaml"], place))
    kept = next(k for k, point in enumerate(whole.points) if point.startswith("rename .last.ckpt"))
    for child in list(place.iterdir()):
        shutil.rmtree(child) if child.is_dir() else child.unlink()
    _spec(place)
    assert run(["run", "quick.yaml"], place, kill=kept + 1).code == CODE


def _done(ended: Ended) -> Ended:
    if ended.code:
        raise RuntimeError(f"ended with {ended.code}:\n{ended.output}")
    return ended


def stage(scene: Scene, root: Path) -> Staged:
    """Runs a scene twice to its end.

    Raises:
        RuntimeError: Where it fails, or two runs leave different files, so that nothing can be compared.
    """
    template = root / scene.name
    template.mkdir()
    scene.prepare(template)
    found = []
    for _ in range(2):
        place = _copy(template, root / "place")
        ended = _done(run(scene.command, place))
        found.append(content(place))
    if fault := difference(*found):
        raise RuntimeError(f"{scene.name}: two runs that nobody killed: {fault}")
    return Staged(scene, template, ended, found[0])


def _copy(template: Path, place: Path) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(template, place)
    return place


def try_kill(staged: Staged, kill: Kill, place: Path) -> Outcome:
    """Kills a command, runs it again, and compares."""
    _copy(staged.template, place)
    command, hits = staged.scene.command, 0
    moments = [None if share is None else share * staged.whole.seconds for share in (kill.share, kill.second)]
    ended = run(command, place, kill=kill.point, after=moments[0] if kill.point is None else None)
    for after in (moments[1], None):
        if ended.code == CODE:
            hits += 1
            ended = run(command, place, after=after)
    if ended.code:
        return Outcome(kill, hits, f"code {ended.code}: {ended.output.splitlines()[-1:]}")
    return Outcome(kill, hits, difference(content(place), staged.content))


def plan(points: Sequence[int], number: int) -> list[Kill]:
    """So many kills, shared out between scenes with so many points: spread over the points, and at random."""
    chance, kills = random.Random(0), []
    for scene, count in enumerate(points):
        share = number // len(points) + (scene < number % len(points))
        chosen = [k for k in range(share) if k % RANDOM != RANDOM - 1][:count]
        for k in range(share):
            point = chosen.index(k) * count // len(chosen) if k in chosen else None
            second = chance.uniform(0.05, 0.9) if k % DOUBLE == DOUBLE - 1 else None
            kills.append(Kill(scene, point, chance.uniform(0.05, 0.9), second))
    return kills


def _kills(number: int, jobs: int) -> tuple[Sequence[str], Sequence[Sequence[str | int]]]:
    warm_up()
    with tempfile.TemporaryDirectory() as folder:
        return tried(scenes(), number, jobs, Path(folder).resolve())


def tried(
    chosen: Sequence[Scene], number: int, jobs: int, root: Path
) -> tuple[Sequence[str], Sequence[Sequence[str | int]]]:
    """The table of so many kills of some scenes, done in a folder."""
    global _STAGED, _ROOT
    _ROOT = root
    _STAGED = [stage(scene, root) for scene in chosen]
    kills = plan([len(staged.whole.points) for staged in _STAGED], number)
    outcomes = []
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        for outcome in track(pool.imap_unordered(_try, kills), "kills", len(kills), disable=not sys.stderr.isatty()):
            outcomes.append(outcome)
            if outcome.fault:
                print(f"{chosen[outcome.kill.scene].name}, {_where(outcome.kill)}: {outcome.fault}", file=sys.stderr)
    columns = ["command", "kills", "file operations covered", "healed exactly", "lost"]
    return columns, [_row(number, staged, outcomes) for number, staged in enumerate(_STAGED)]


_STAGED: list[Staged] = []
_ROOT = Path()


def _try(kill: Kill) -> Outcome:
    return try_kill(_STAGED[kill.scene], kill, _ROOT / f"place-{multiprocessing.current_process().pid}")


def _where(kill: Kill) -> str:
    if kill.point is None:
        return f"after {kill.share:.0%} of its time"
    return f"before {_STAGED[kill.scene].whole.points[kill.point]!r}" + ("" if kill.second is None else ", and again")


def _row(number: int, staged: Staged, outcomes: Sequence[Outcome]) -> list[str | int]:
    mine = [outcome for outcome in outcomes if outcome.kill.scene == number and outcome.hits]
    covered = {outcome.kill.point for outcome in mine} - {None}
    lost = sum(bool(outcome.fault) for outcome in mine)
    kills = sum(outcome.hits for outcome in mine)
    return [staged.scene.name, kills, f"{len(covered)} of {len(staged.whole.points)}", len(mine) - lost, lost]


PART = Part(200, _kills)
