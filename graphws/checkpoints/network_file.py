"""A converted network in one file: its tensors, its graph, and what is known about both.

The file is an ordinary ``.safetensors`` file, so that any tool can read the tensors under the names that the network's
own state dict has (tied tensors once).  Its metadata hold the graph as JSON, the figures of the numeric gate and the
reasons; a reader checks all of it, and a file is written whole or not at all.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from graphws.checkpoints.conversion import ActionCheck, Conversion, Verdict
from graphws.checkpoints.state_dict import read_state_dict
from graphws.errors import DataError, GraphwsError
from graphws.files import whole_file
from graphws.graph.network import NetworkGraph
from graphws.graph.space import Action
from graphws.graph.weights import Weights
from graphws.operations.verify import Verification

FORMAT = "1"
MARK = "graphws_network"
"""The metadata key that tells these files from other safetensors."""
MOST_NOTES = 1000


def save_network(conversion: Conversion, path: str | Path) -> None:
    """Writes a converted network; the file's name should end in ``.safetensors``.

    Law: `load_network` gives the same graph, weights (bit for bit), verification, reason, notes and verdicts.

    Raises:
        DataError: Where the name is another, or the file cannot be written; then what was there stays.
    """
    file = Path(path)
    if file.suffix != ".safetensors":
        raise DataError(f"{file}: a converted network is a .safetensors file; name it {file.stem}.safetensors")
    metadata = {MARK: FORMAT, "graph": conversion.graph.to_json(), "reason": conversion.reason}
    metadata["notes"] = json.dumps(list(conversion.notes)[:MOST_NOTES])
    metadata["actions"] = json.dumps([asdict(check) for check in conversion.actions])
    if conversion.verification is not None:
        metadata["verification"] = json.dumps(asdict(conversion.verification))
    with whole_file(file) as stream:
        stream.write(save(_tensors(conversion), metadata))


def _tensors(conversion: Conversion) -> dict[str, Tensor]:
    """The state dict, each tied tensor once."""
    if conversion.weights is None:
        return {}
    aliases = {a for p in conversion.graph.parameters if p.storage for a in p.storage.aliases}
    state = conversion.weights.to_state_dict()
    return {key: tensor.contiguous() for key, tensor in state.items() if key not in aliases}


def is_network_file(path: Path) -> bool:
    """Whether a file is a converted network (a cheap look at its metadata)."""
    return path.suffix == ".safetensors" and path.is_file() and MARK in _metadata(path)


def load_network(path: str | Path) -> Conversion:
    """The converted network in a file.

    Raises:
        DataError: Where it is none, damaged, of another version, or its parts contradict each other.
    """
    file = Path(path)
    metadata = _metadata(file)
    if MARK not in metadata:
        raise DataError(f"{file}: a safetensors file, but not of a converted network")
    if metadata[MARK] != FORMAT:
        raise DataError(f"{file}: a network file of format {metadata[MARK][:20]}; this version reads format {FORMAT}")
    state = read_state_dict(file)
    try:
        graph = NetworkGraph.from_json(metadata.get("graph", ""))
        weights = Weights.from_state_dict(graph, state) if state else None
    except GraphwsError as error:
        raise DataError(f"{file}: {error}") from None
    verification = _verification(file, metadata["verification"]) if "verification" in metadata else None
    reason, notes = metadata.get("reason", ""), _notes(file, metadata.get("notes", "[]"))
    actions = _actions(file, graph, metadata.get("actions", "[]"))
    return Conversion(graph, weights, verification, reason, notes=notes, actions=actions)


def _metadata(file: Path) -> dict[str, str]:
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    try:
        with safe_open(str(file), framework="pt") as archive:
            return dict(archive.metadata() or {})
    except (SafetensorError, OSError, ValueError, RuntimeError, OverflowError) as error:
        text = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        raise DataError(f"{file}: not a safetensors file, or cut off: {text}") from None


def _json(file: Path, what: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: its {what} cannot be read: {str(error)[:200]}") from None


def _verification(file: Path, text: str) -> Verification:
    entry = _json(file, "verification", text)
    wanted = {"error": float, "control": float, "draws": int, "actions": str}
    fits = isinstance(entry, dict) and set(entry) == set(wanted)
    if not fits or not all(type(entry[name]) is kind for name, kind in wanted.items()):
        raise DataError(f"{file}: its verification needs error, control, draws and actions")
    good = math.isfinite(entry["error"]) and math.isfinite(entry["control"]) and entry["draws"] >= 1
    if not good or min(entry["error"], entry["control"]) < 0 or entry["actions"] not in ("permutation", "rich"):
        raise DataError(f"{file}: its verification holds impossible figures")
    return Verification(entry["error"], entry["control"], entry["draws"], entry["actions"])


def _actions(file: Path, graph: NetworkGraph, text: str) -> tuple[ActionCheck, ...]:
    """The verdicts; each must be about a space of the graph and the action that it has."""
    entries = _json(file, "verdicts on actions", text)
    wanted = {"space": str, "action": str, "verdict": str, "error": float, "reason": str}
    known = {space.name: space.action for space in graph.spaces}
    if not isinstance(entries, list) or len(entries) > len(known):
        raise DataError(f"{file}: its verdicts on actions must be a list, one for a space at most")
    found = []
    for entry in entries:
        fits = isinstance(entry, dict) and set(entry) == set(wanted)
        if not fits or not all(type(entry[name]) is kind for name, kind in wanted.items()):
            raise DataError(f"{file}: a verdict on an action needs {', '.join(wanted)}")
        if known.get(entry["space"]) != entry["action"] or entry["verdict"] not in get_args(Verdict):
            raise DataError(f"{file}: its verdict on {entry['space'][:100]!r} does not belong to its graph")
        if not math.isfinite(entry["error"]) or entry["error"] < 0:
            raise DataError(f"{file}: its verdict on {entry['space'][:100]!r} holds an impossible figure")
        found.append(ActionCheck(**{**entry, "action": Action(entry["action"])}))
    return tuple(found)


def _notes(file: Path, text: str) -> tuple[str, ...]:
    notes = _json(file, "notes", text)
    if not isinstance(notes, list) or len(notes) > MOST_NOTES or not all(isinstance(note, str) for note in notes):
        raise DataError(f"{file}: its notes must be a list of at most {MOST_NOTES} texts")
    return tuple(notes)
