"""Model Zoos (Schürholt et al. 2022): folders of trials, with checkpoints along training.

``TRIAL/checkpoint_000050/checkpoints`` is a state dict, ``TRIAL/params.json`` what it was trained with, and
``TRIAL/result.json`` one JSON document a line and an epoch.  All checkpoints of a trial share a split.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from graphws.errors import ZooError
from graphws.zoo.collecting.entry import Collected, Entry, Plain
from graphws.zoo.collecting.folders import LARGEST_DOCUMENT, folders_in, json_document, name_of, values_of
from graphws.zoo.collecting.layout import Choices, Layout
from graphws.zoo.collecting.sources import LARGEST_TEXT, StateFile
from graphws.zoo.files import read_bounded

PARAMS, RESULTS, STATE = "params.json", "result.json", "checkpoints"
ACTIVATION = "model::nlin"
"""The parameter that names the activation."""
MOST_COLUMNS = 200
_CHECKPOINT = re.compile(r"checkpoint_(\d{1,9})")


def _checkpoints(trial: Path) -> list[tuple[int, Path]]:
    found = [(match, place / STATE) for place in folders_in(trial) if (match := _CHECKPOINT.fullmatch(place.name))]
    return [(int(match[1]), file) for match, file in found if file.is_file()]


def _trials(folder: Path) -> Iterator[Path]:
    """The trials in a folder, or in those in it."""
    for place in folders_in(folder):
        inner = [place] if _is_trial(place) else [each for each in folders_in(place) if _is_trial(each)]
        yield from inner


def _is_trial(place: Path) -> bool:
    return (place / PARAMS).is_file() or (place / RESULTS).is_file()


def _plain(document: Any) -> dict[str, Plain]:
    """The numbers and short texts of a document."""
    if not isinstance(document, dict):
        return {}
    kept = {key: x for key, x in document.items() if isinstance(x, bool | int | float | str)}
    return {key: x for key, x in kept.items() if not isinstance(x, str) or len(x) <= LARGEST_TEXT}


def _results(file: Path) -> dict[int, dict[str, Plain]]:
    """What each epoch gave."""
    if not file.is_file():
        return {}
    found = {}
    for number, line in enumerate(read_bounded(file, LARGEST_DOCUMENT).splitlines(), start=1):
        if line.strip():
            try:
                document = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ZooError(f"{file}: line {number} is no JSON: {str(error)[:100]}") from None
            epoch = document.get("training_iteration") if isinstance(document, dict) else None
            if isinstance(epoch, int):
                found[epoch] = _plain({key: x for key, x in document.items() if not isinstance(x, str)})
    return found


def _collect(folder: Path, choices: Choices) -> Collected:
    entries: list[Entry] = []
    rows: list[dict[str, Plain]] = []
    for sample, trial in enumerate(_trials(folder)):
        params = _plain(json_document(trial / PARAMS)) if (trial / PARAMS).is_file() else {}
        results = _results(trial / RESULTS)
        nlin = params.get(ACTIVATION)
        stated = (("activation", nlin),) if isinstance(nlin, str) else ()
        for epoch, file in _checkpoints(trial):
            entries.append(Entry(name_of(file, folder), StateFile(file, file.stat().st_size, stated, ".pt")))
            own: dict[str, Plain] = {"sample": sample, "epoch": epoch, "trial": trial.name}
            rows.append({**params, **results.get(epoch, {}), **own})
    if not entries:
        raise ZooError(f"{folder}: no trials with checkpoints in it (TRIAL/checkpoint_000001/{STATE})")
    names = dict.fromkeys(name for row in rows for name in row if name not in ("file", "view", "split", "architecture"))
    return Collected(entries, {name: _column([row.get(name) for row in rows]) for name in list(names)[:MOST_COLUMNS]})


def _column(values: list[Plain | None]) -> np.ndarray:
    """Numbers with NaN where none is, or texts."""
    if all(x is None or isinstance(x, bool | int | float) for x in values):
        values = [float("nan") if x is None else x for x in values]
        return np.array(values) if any(isinstance(x, float) for x in values) else values_of(values)
    return np.array(["" if x is None else str(x) for x in values], dtype=object)


MODEL_ZOOS = Layout(
    "model-zoos",
    "TRIAL/checkpoint_000001/checkpoints with params.json and result.json, as Model Zoos",
    lambda folder: any(_checkpoints(trial) for trial in _trials(folder)),
    _collect,
    advice=f"the activation is {ACTIVATION} in {PARAMS}",
)
