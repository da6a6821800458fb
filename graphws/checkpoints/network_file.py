"""A converted network in one file: its tensors, its graph, and what is known about both.

The file is an ordinary ``.safetensors`` file, so that any tool can read the tensors under the names that the network's
own state dict has (tied tensors once).  The graph's constants lie beside them, under names with a prefix of their own.
The metadata hold the graph as JSON, the figures of the numeric gate and the reasons; a reader checks all of it, and a
file is written whole or not at all.

Format 1 had no constants, and steps without all their arguments: its graphs are read, those that are whole run.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from graphws.checkpoints.conversion import ActionCheck, Conversion, OutputChoice, SelfRun, Verdict
from graphws.checkpoints.repeated_gate import LEAST_CONTROL, POINTS, SHARE, repeat_gate
from graphws.checkpoints.state_dict import read_state_dict
from graphws.errors import DataError, GraphwsError, VerificationError
from graphws.files import sweep, whole_file
from graphws.graph.format_1 import WHY as OF_FORMAT_1
from graphws.graph.network import NetworkGraph
from graphws.graph.space import Action
from graphws.graph.weights import Weights
from graphws.operations.plan import why_not
from graphws.operations.verify import Verification
from graphws.tensor_bytes import tensor_bytes

FORMAT = "2"
FORMATS = ("1", FORMAT)
"""Formats that are read."""
MARK = "graphws_network"
"""The metadata key that tells these files from other safetensors."""
CONSTANTS = "graphws.constants/"
"""What stands before the names of constants among the tensors of the file."""
MOST_NOTES = 1000
LARGEST_ERROR = 5e-2
"""Largest error that any version of the gate took for rounding."""
MOST_OUTPUTS = 1000
"""Most names of outputs that are written and read."""
LONGEST_NAME = 1000
"""Most characters of a name of an output that are written and read."""
LONGEST_REASON = 10_000
"""Characters of the reason why a network does not run."""


def save_network(conversion: Conversion, path: str | Path) -> None:
    """Writes a converted network; the file's name should end in ``.safetensors``.

    Law: `load_network` gives the same graph and constants, weights (bit for bit), verification, reason, notes,
    verdicts, choice of outputs and the figure of the network run from its file.

    Raises:
        DataError: Where the name is another, a tensor of the network has the prefix that constants have, or the file
            cannot be written; then what was there stays.
    """
    file = Path(path)
    if file.suffix != ".safetensors":
        raise DataError(f"{file}: a converted network is a .safetensors file; name it {file.stem}.safetensors")
    metadata = {MARK: FORMAT, "graph": conversion.graph.to_json(inline=False), "reason": conversion.reason}
    metadata["notes"] = json.dumps(list(conversion.notes)[:MOST_NOTES])
    metadata["actions"] = json.dumps([asdict(check) for check in conversion.actions])
    if conversion.verification is not None:
        metadata["verification"] = json.dumps(asdict(conversion.verification))
    if conversion.runs is not None:
        metadata["runs"] = json.dumps(asdict(conversion.runs))
    if conversion.outputs is not None:
        named = {what: [name[:LONGEST_NAME] for name in names] for what, names in asdict(conversion.outputs).items()}
        metadata["outputs"] = json.dumps({what: names[:MOST_OUTPUTS] for what, names in named.items()})
    tensors = _tensors(conversion)
    taken = next((key for key in tensors if key.startswith(CONSTANTS)), None)
    if taken is not None:
        raise DataError(f"{file}: tensor {taken[:100]!r} has the prefix {CONSTANTS!r}, which constants have")
    sweep(file.parent, file.name)
    with whole_file(file) as stream:
        stream.write(tensor_bytes(tensors | _constants(conversion.graph), metadata))


def _tensors(conversion: Conversion) -> dict[str, Tensor]:
    """The state dict, each tied tensor once."""
    if conversion.weights is None:
        return {}
    aliases = {a for p in conversion.graph.parameters if p.storage for a in p.storage.aliases}
    state = conversion.weights.to_state_dict()
    return {key: tensor.contiguous() for key, tensor in state.items() if key not in aliases}


def _constants(graph: NetworkGraph) -> dict[str, Tensor]:
    """The constants under their names in the file; complex ones as pairs, since safetensors holds few of those types.

    Constants of a file may share no memory, and do not: each is a copy.
    """
    return {
        CONSTANTS + constant.name: torch.view_as_real(constant.tensor).clone()
        if constant.tensor.is_complex()
        else constant.tensor
        for constant in graph.constants
    }


def is_network_file(path: Path) -> bool:
    """Whether a file is a converted network (a cheap look at its metadata)."""
    return path.suffix == ".safetensors" and path.is_file() and MARK in _metadata(path)


def load_network(path: str | Path, *, effort: float = 0.0, generator: torch.Generator | None = None) -> Conversion:
    """The converted network in a file.

    The figures in it are its writer's, and are called so (`Conversion.by_writer`).  With some effort the gate is run
    again where the graph runs by itself (`graphws.checkpoints.repeated_gate`), and the verdict is then ours.

    Args:
        path: The file.
        effort: Most numbers that running the gate again may make; 0 for not at all, `math.inf` for any.
        generator: Source of its randomness; seeded with 0 where None.

    Raises:
        DataError: Where it is none, damaged, of another version, its parts contradict each other, or its figures are
            such as the gate never passes.
        VerificationError: Where the gate, run again, refutes it.
    """
    file = Path(path)
    metadata = _metadata(file)
    if MARK not in metadata:
        raise DataError(f"{file}: a safetensors file, but not of a converted network")
    if metadata[MARK] not in FORMATS:
        known = " and ".join(FORMATS)
        raise DataError(f"{file}: a network file of format {metadata[MARK][:20]}; this version reads formats {known}")
    tensors = read_state_dict(file)
    constants = {key.removeprefix(CONSTANTS): x for key, x in tensors.items() if key.startswith(CONSTANTS)}
    state = {key: x for key, x in tensors.items() if not key.startswith(CONSTANTS)}
    try:
        graph = NetworkGraph.from_json(metadata.get("graph", ""), constants)
        weights = Weights.from_state_dict(graph, state) if state else None
    except GraphwsError as error:
        raise DataError(f"{file}: {error}") from None
    surplus = set(constants) - {constant.name for constant in graph.constants}
    if surplus:
        raise DataError(f"{file}: its graph has no constant {min(surplus)[:100]!r}")
    verification = _verification(file, metadata["verification"]) if "verification" in metadata else None
    reason, notes = metadata.get("reason", ""), _notes(file, metadata.get("notes", "[]"))
    actions = _actions(file, graph, metadata.get("actions", "[]"))
    runs = _runs(file, graph, metadata["runs"]) if "runs" in metadata else _of_format_1(graph, metadata[MARK])
    if verification is not None and verification.error > SHARE * verification.control:
        reason = f"its writer saw an error of {_figures(verification)}: too close to tell"
        verification = None
    stated = {"verification": verification, "actions": actions or None, "runs": metadata.get("runs")}
    found = Conversion(
        graph, weights, verification, reason, notes=notes, actions=actions, runs=runs,
        by_writer=frozenset(name for name, value in stated.items() if value is not None),
        outputs=_outputs(file, metadata["outputs"]) if "outputs" in metadata else None,
    )  # fmt: skip
    return _tried_again(file, found, effort, generator)


def _tried_again(file: Path, found: Conversion, effort: float, generator: torch.Generator | None) -> Conversion:
    """With figures of our own in the place of the writer's, where they can be had."""
    if not effort or found.verification is None or found.weights is None:
        return found
    points = int(found.runs.batch) if found.runs is not None and found.runs.batch != "any" else POINTS
    random = torch.Generator().manual_seed(0) if generator is None else generator
    try:
        again = repeat_gate(found.graph, found.weights, generator=random, effort=effort, points=points)
    except VerificationError as error:
        raise VerificationError(f"{file}: {error}") from None
    if not again.tried:
        return replace(found, notes=(*found.notes, f"the figures are its writer's: {again.reason}"))
    return replace(
        found,
        verification=again.verification,
        reason=again.reason,
        by_writer=found.by_writer - {"verification"},
        repeated=True,
    )


def _figures(found: Verification) -> str:
    return f"{found.error:.1e} beside a control of {found.control:.1e}"


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
    wanted = {"error": float, "control": float, "draws": int, "actions": str, "unseen": int}
    if isinstance(entry, dict):
        entry = {"unseen": 0, **entry}  # older files do not say it
    fits = isinstance(entry, dict) and set(entry) == set(wanted)
    if not fits or not all(type(entry[name]) is kind for name, kind in wanted.items()):
        raise DataError(f"{file}: its verification needs error, control, draws and actions")
    good = math.isfinite(entry["error"]) and math.isfinite(entry["control"]) and entry["draws"] >= 1
    if (
        not good
        or min(entry["error"], entry["control"], entry["unseen"]) < 0
        or entry["actions"] not in ("permutation", "rich")
    ):
        raise DataError(f"{file}: its verification holds impossible figures")
    found = Verification(**entry)
    if found.error > LARGEST_ERROR or found.control < LEAST_CONTROL:
        raise DataError(f"{file}: its verification has an error of {_figures(found)}, which no gate passes")
    return found


def _runs(file: Path, graph: NetworkGraph, text: str) -> SelfRun:
    """The figure of the network run from its file; it must not say yes where the graph cannot run."""
    entry = _json(file, "figure of running", text)
    fits = isinstance(entry, dict) and set(entry) == {"error", "reason", "batch"}
    if not fits or not (entry["error"] is None or type(entry["error"]) is float):
        raise DataError(f"{file}: its figure of running needs error, reason and batch")
    error, reason, batch = entry["error"], entry["reason"], entry["batch"]
    if not isinstance(reason, str) or len(reason) > LONGEST_REASON or (error is None) != bool(reason):
        raise DataError(
            f"{file}: its figure of running needs a reason where there is no error, and none where there is"
        )
    if error is not None and not (math.isfinite(error) and error >= 0):
        raise DataError(f"{file}: its figure of running is impossible")
    if not isinstance(batch, str) or not (batch == "any" or re.fullmatch("[1-9][0-9]{0,11}", batch)):
        raise DataError(
            f"{file}: its figure of running is for a batch of {str(batch)[:40]!r}: 'any' or a number is allowed"
        )
    failure = why_not(graph) if error is not None else ""
    if failure:
        raise DataError(f"{file}: its figure says that it runs, but {failure[:LONGEST_REASON]}")
    return SelfRun(error, reason, batch)


def _of_format_1(graph: NetworkGraph, version: str) -> SelfRun | None:
    """What can be said of a file without the figure: of format 1 whether its steps are whole."""
    return SelfRun(None, OF_FORMAT_1) if version == "1" and graph.operations and why_not(graph) else None


def _outputs(file: Path, text: str) -> OutputChoice:
    """Which outputs counted: names, and no more than a container holds."""
    entry = _json(file, "choice of outputs", text)
    fits = isinstance(entry, dict) and set(entry) == {"counted", "left_out"}
    if not fits or not all(isinstance(names, list) and len(names) <= MOST_OUTPUTS for names in entry.values()):
        raise DataError(f"{file}: its choice of outputs needs counted and left_out, lists of at most {MOST_OUTPUTS}")
    names = [*entry["counted"], *entry["left_out"]]
    if not all(isinstance(name, str) and len(name) <= LONGEST_NAME for name in names) or not entry["counted"]:
        raise DataError(f"{file}: its choice of outputs must name some, by at most {LONGEST_NAME} characters each")
    return OutputChoice(tuple(entry["counted"]), tuple(entry["left_out"]))


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
