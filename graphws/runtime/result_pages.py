"""From run folders to a page of results, and slim copies of runs from which the same page can be made again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from graphws.errors import RunError, UsageError
from graphws.report import Picture, Table, stored
from graphws.report.results_page import Entry
from graphws.runtime.files import brief, checksum, make_folder, read_json, write_bytes, write_json, write_text
from graphws.runtime.folder import FORMAT, RunFolder
from graphws.runtime.job import spec_of
from graphws.runtime.request import Request, placeless
from graphws.runtime.results import Outcome, Results
from graphws.runtime.sweep import SweepResults
from graphws.runtime.what_ran import duration
from graphws.spec import Spec, dump_spec

FIGURES = {
    "sweep": "The same as a curve: means over seeds, bars their deviation; dashed: the paper's.",
    "predictions": "Test split, predicted against true: the closer to the diagonal, the better.",
    "embeddings": "Test split: representations in a plane (t-SNE), coloured by what they are of.",
    "adapted": "Accuracy on corrupted pictures, a dot a test network: above the line it gained.",
    "edited": "What test networks draw before and after, and what they should.",
    "kept": "Share of each parameter that is kept, mean and spread over test networks.",
    "pruned": "What test networks draw whole and pruned.",
    "filters": "Filters of the first layer, sorted and framed by what the group does to them.",
    "attention": "Where each head looks in pictures (upper rows) and in moved ones; heads that permute are framed.",
}
"""Figures of a run that a page shows, where there are, and what it says of them."""
_VERSIONS = ("graphws", "torch")
_FACTS = ("request", "seconds", "machine")  # of run.json, kept in a copy
NOTES = "notes.md"
"""In a copy, what people write of it: why an order is another than the paper's.  A new copy of the run leaves it."""
LONGEST_CHANGE = 60
"""Characters of options in a heading; longer ones stand in the command below it alone."""
_LONGEST = 1 << 16


Reader = Callable[[Spec, object], tuple[Outcome, dict[str, str]]]
"""From a spec and the content of a run's ``results.json`` to the outcome, and facts for the page.

It raises a `ValueError` where the content is damaged.
"""


def entry_of(folder: RunFolder, page: Path | None, experiment: Reader) -> Entry:
    """What a page says of a run.

    Args:
        folder: Of a complete run of any kind, or a copy that `keep` made.
        page: The Markdown file of the page, which links to pictures beside it; None where they are not linked to.
        experiment: Reads the results of runs that are experiments.

    Raises:
        RunError: Where the run is not complete, or is damaged or altered.
    """
    spec, state = _checked(folder)
    path = folder.path / "results.json"
    try:
        results, facts = (_scores if spec.experiment is None else experiment)(spec, read_json(path, "a finished run"))
    except ValueError as error:
        raise RunError(f"{path} is damaged: {brief(error)}") from None
    columns, rows = results.table()
    request = Request.from_json(state.get("request"))
    return Entry(
        title=spec.question(),
        changes=_changes(spec, request),
        notes=_notes(spec, folder),
        lead=results.sentence(),
        results=Table(columns, rows),
        source="" if spec.published is None else spec.published.source,
        command="" if request is None else request.placeless().command(),
        facts={**_with_fit(facts, state), **_facts(folder, state)},
        pictures=_pictures(folder, page),
    )


def keep(folders: Sequence[RunFolder], into: Path) -> list[RunFolder]:
    """Copies what a page needs of each run into a folder of its name: spec, results, figures, and a short ``run.json``.

    Copies name no folder of the machine, and what was there of the same name is replaced.

    Raises:
        RunError: As `entry_of`, or where files cannot be written.
        UsageError: On two runs of one name.
    """
    names = [folder.path.resolve().name for folder in folders]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two runs have the name {name!r}; rename the folder of one of them")
    places = [RunFolder(into / name) for name in names]
    for folder, place in zip(folders, places, strict=True):
        if place.path.exists() and not _is_copy(place) and folder.path.resolve() != place.path.resolve():
            raise RunError(f"{place.path} is there already and no copy that graphws made; choose another folder")
    return [_kept(folder, place) for folder, place in zip(folders, places, strict=True)]


def _is_copy(folder: RunFolder) -> bool:
    try:
        return bool(folder.state().get("kept"))
    except RunError:
        return False


def _kept(folder: RunFolder, place: RunFolder) -> RunFolder:
    if folder.path.resolve() == place.path.resolve():
        return place
    spec, state = _checked(folder)
    written = _written(place)
    if place.path.exists():
        shutil.rmtree(place.path)
    make_folder(place.path / "figures")
    content = {"results.json": (folder.path / "results.json").read_bytes()}
    content |= {f"figures/{name}.png": folder.figure(name).read_bytes() for name in FIGURES if _has(folder, name)}
    for name, data in content.items():
        write_bytes(place.path / name, data)
    write_text(place.spec, dump_spec(_placeless(spec)))
    if written:
        write_text(place.path / NOTES, written)
    facts = {name: state[name] for name in _FACTS if name in state}
    if (request := Request.from_json(facts.get("request"))) is not None:
        facts["request"] = request.placeless().to_json()
    files = {name: checksum(data) for name, data in content.items()}
    write_json(
        place.path / "run.json",
        {"format": FORMAT, "status": "complete", "kept": True, **facts, "versions": _versions(folder, state),
         "files": files},
    )  # fmt: skip
    return place


def _written(folder: RunFolder) -> str:
    """What people wrote beside a run; empty where they did not.

    Raises:
        RunError: Where that is no short text.
    """
    path = folder.path / NOTES
    if not path.is_file():
        return ""
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST + 1)
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{path} cannot be read: {brief(error)}") from None
    if len(data) > _LONGEST:
        raise RunError(f"{path} has more than {_LONGEST:,} bytes")
    return text


def _notes(spec: Spec, folder: RunFolder) -> str:
    """The spec's, and what people wrote beside the run."""
    return " ".join(part for part in (spec.notes or "", " ".join(_written(folder).split())) if part)


def _checked(folder: RunFolder) -> tuple[Spec, dict[str, Any]]:
    """The spec and the state of a run of which nothing that a page shows was altered."""
    state = folder.state()
    if state["status"] != "complete":
        raise RunError(f"{folder.path} is {state['status']}; finish it with: graphws train {folder.path}")
    spec = spec_of(folder)
    altered = folder.altered()
    for name in ("results.json", *(f"figures/{name}.png" for name in FIGURES)):
        if name in altered:
            again = "graphws results RUN --keep FOLDER" if state.get("kept") else f"graphws train {folder.path}"
            raise RunError(f"{altered[name]}; make it again with: {again}")
    return spec, state


def _scores(spec: Spec, content: object) -> tuple[Results | SweepResults, dict[str, str]]:
    """The scores of models, and how many networks, seeds and seconds they took."""
    kind: type[Results] | type[SweepResults] = Results if spec.sweep is None else SweepResults
    results = kind.from_json(content)
    runs = [results] if isinstance(results, Results) else [point.results for point in results.points]
    counts = {name: sorted({run.networks.get(name, 0) for run in runs}) for name in runs[0].networks}
    seeds = sorted({len(score.seeds) for run in runs for score in run.scores})
    return results, {
        "networks": ", ".join(f"{_range(numbers)} {name}" for name, numbers in counts.items()),
        "seeds": _range(seeds),
        "time": f"training {duration(sum(score.seconds for run in runs for score in run.scores))}",
    }


def _changes(spec: Spec, request: Request | None) -> str:
    """In what a run is not the spec as it stands for the paper's experiment."""
    found = [] if spec.scaled is None else [f"scale {spec.scaled}, not the paper's"]
    overrides = () if request is None else tuple(map(placeless, request.overrides))
    told = [text for text in overrides if text.partition("=")[0] != "scale"]
    texts = ", ".join(told)
    several = f"{len(told)} options" if len(told) > 1 else "one option"
    said = f"changed: {texts}" if len(texts) <= LONGEST_CHANGE else f"{several} changed, see the command"
    return "; ".join([*found, *([said] if told else [])])


def _facts(folder: RunFolder, state: dict[str, Any]) -> dict[str, str]:
    found = {}
    machine = state.get("machine", {})
    if "device" in machine:
        found["device"] = f"{machine['device']}, {machine.get('threads', '?')} threads"
    return found | {"versions": ", ".join(f"{name} {value}" for name, value in _versions(folder, state).items())}


def _with_fit(facts: dict[str, str], state: dict[str, Any]) -> dict[str, str]:
    """The facts with the time that the zoo took before that of training."""
    fit = state.get("seconds", {}).get("zoo")
    if fit is None or "time" not in facts:
        return facts
    return facts | {"time": f"fit of the zoo {duration(float(fit))}, {facts['time']}"}


def _range(numbers: Sequence[int]) -> str:
    low, high = f"{min(numbers):,}", f"{max(numbers):,}"
    return low if low == high else f"{low} to {high}"


def _versions(folder: RunFolder, state: dict[str, Any]) -> dict[str, str]:
    known = state.get("versions")
    found = folder.versions() if known is None else {str(name): str(value) for name, value in known.items()}
    return {name: found[name] for name in _VERSIONS if name in found}


def _has(folder: RunFolder, figure: str) -> bool:
    return f"figures/{figure}.png" in folder.state().get("files", {})


def _pictures(folder: RunFolder, page: Path | None) -> list[tuple[str, Picture]]:
    """Figures with their paths from the page; those of runs that lie elsewhere are copied to a folder beside it."""
    found = []
    for name, caption in FIGURES.items():
        if _has(folder, name):
            path, content = folder.figure(name), folder.figure(name).read_bytes()
            if page is None:
                found.append(("", stored(caption, content)))
                continue
            beside = page.resolve().parent
            if not path.resolve().is_relative_to(beside):
                path = make_folder(beside / f"{page.stem}-figures") / f"{folder.path.resolve().name}-{name}.png"
                write_bytes(path, content)
            found.append((Path(os.path.relpath(path.resolve(), beside)).as_posix(), stored(caption, content)))
    return found


def _placeless(spec: Spec) -> Spec:
    """The spec without folders of a machine."""
    return Spec.model_validate(_cut(spec.model_dump(mode="json", by_alias=True)), by_alias=True, by_name=False)


def _cut(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _cut(found) for name, found in value.items()}
    if isinstance(value, list):
        return [_cut(found) for found in value]
    return placeless(value) if isinstance(value, str) else value
