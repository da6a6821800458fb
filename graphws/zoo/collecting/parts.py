"""Reading networks part by part: a finished part is on disk, so that what stops the work loses little.

Part 7 of a zoo that is built is ``parts/00007.json`` and, for each signature met in it, a file ``00007-0.safetensors``
with the stacked tensors.  The JSON is written last; it says for each entry which signature it has, or why it cannot be
read, and what the entries were, so that a part of other files is read anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from graphws.errors import GraphwsError, ZooError
from graphws.zoo.collecting.entry import Entry, Plain, Reading
from graphws.zoo.collecting.signature import Signature
from graphws.zoo.files import read_bounded, write_whole
from graphws.zoo.shards import DTYPES, read_shard, write_shard

FOLDER = "parts"
PART, PART_BYTES = 256, 256 << 20
"""Networks of a part, and about how many bytes at most (one network is never divided)."""
LARGEST_JSON = 256 << 20
_AHEAD = 2  # parts that wait for each process


@dataclass(frozen=True, eq=False)
class Part:
    """A part that has been read.

    Args:
        number: Its place.
        low: The number of its first entry.
        found: For each entry the place of its signature, or why it could not be read.
        signatures: Those that are met, in order.
        beside: For each entry the numbers and texts that stood beside its tensors.
    """

    number: int
    low: int
    found: tuple[int | str, ...]
    signatures: tuple[Signature, ...]
    beside: tuple[Mapping[str, Plain], ...]

    def states(self, folder: Path, signature: int) -> dict[str, Tensor]:
        """The stacked tensors of all networks of a signature."""
        each, count = self.signatures[signature], sum(place == signature for place in self.found)
        return read_shard(_tensors(folder, self.number, signature), {k: (count, *s) for k, s in each.shapes.items()})


def read_parts(
    entries: Sequence[Entry],
    folder: Path,
    workers: int,
    progress: Callable[[int, int], None],
) -> list[Part]:
    """Reads all entries, those parts first that are there already.

    Args:
        entries: What to read.
        folder: The partial folder of the zoo.
        workers: Processes; in this one where it is 1.
        progress: Called with the number of networks read, and of all.
    """
    (folder / FOLDER).mkdir(exist_ok=True)
    cuts = _cuts(entries)
    done = 0
    parts: dict[int, Part] = {}
    missing: list[int] = []
    stamps: dict[Path, Any] = {}
    digests = [_digest(entries[low:high], stamps) for low, high in cuts]
    for number, (low, high) in enumerate(cuts):
        part = _there(folder, number, low, digests[number])
        if part is None:
            missing.append(number)
        else:
            parts[number] = part
            done += high - low
    progress(done, len(entries))
    work = [(entries[slice(*cuts[number])], folder, number, digests[number]) for number in missing]
    for number in _done(work, min(workers, len(work))):
        part = _there(folder, number, cuts[number][0], digests[number])
        if part is None:
            raise ZooError(f"{folder}: part {number} was removed while it was in use")
        parts[number] = part
        done += len(part.found)
        progress(done, len(entries))
    return [parts[number] for number in range(len(cuts))]


def _done(work: Sequence[tuple[Sequence[Entry], Path, int, str]], workers: int) -> Iterator[int]:
    if workers <= 1:
        for task in work:
            yield read_part(*task)
        return
    # Spawned, not forked: PyTorch's threads do not survive a fork.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_alone) as pool:
        waiting = iter(work)
        tasks = {pool.submit(read_part, *task) for task in islice(waiting, _AHEAD * workers)}
        try:
            while tasks:
                finished, tasks = wait(tasks, return_when=FIRST_COMPLETED)
                for each in finished:
                    following = next(waiting, None)
                    if following is not None:
                        tasks.add(pool.submit(read_part, *following))
                    yield each.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _alone() -> None:
    """One thread for each process."""
    torch.set_num_threads(1)


def read_part(entries: Sequence[Entry], folder: Path, number: int, digest: str) -> int:
    """Reads the entries of a part and writes it."""
    signatures: dict[str, int] = {}
    first: list[Signature] = []
    stacks: list[list[Reading]] = []
    found: list[int | str] = []
    beside: list[Mapping[str, Plain]] = []
    for entry in entries:
        try:
            reading = entry.source.read()
            _check(entry.source.place, reading.state)
        except GraphwsError as error:
            found.append(str(error))
            beside.append({})
            continue
        signature = Signature.of(reading.state, reading.structure, entry.source.stated)
        place = signatures.setdefault(signature.digest, len(signatures))
        if place == len(stacks):
            first.append(signature)
            stacks.append([])
        stacks[place].append(reading)
        found.append(place)
        beside.append(reading.beside)
    for place, (signature, readings) in enumerate(zip(first, stacks, strict=True)):
        stacked = {key: torch.stack([each.state[key] for each in readings]) for key in signature.shapes}
        write_shard(_tensors(folder, number, place), stacked)
    document = {
        "digest": digest,
        "found": found,
        "signatures": [json.loads(signature.written()) for signature in first],
        "beside": beside,
    }
    write_whole(folder / FOLDER / f"{number:05d}.json", [json.dumps(document).encode()])
    return number


def _check(place: str, state: Mapping[str, Tensor]) -> None:
    """What a zoo can hold."""
    if not state:
        raise ZooError(f"{place}: its state dict is empty")
    for name, tensor in state.items():
        if tensor.dtype not in DTYPES.values():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise ZooError(f"{place}: {name!r} is of type {kind}, which a zoo does not hold")
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ZooError(f"{place}: {name!r} holds NaN or inf")


def _there(folder: Path, number: int, low: int, digest: str) -> Part | None:
    """A part that is whole and of the same files."""
    file = folder / FOLDER / f"{number:05d}.json"
    if not file.is_file():
        return None
    try:
        document = json.loads(read_bounded(file, LARGEST_JSON))
        if document["digest"] != digest:
            return None
        signatures = tuple(Signature.parsed(text) for text in document["signatures"])
        return Part(number, low, tuple(document["found"]), signatures, tuple(document["beside"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _tensors(folder: Path, number: int, signature: int) -> Path:
    return folder / FOLDER / f"{number:05d}-{signature:05d}.safetensors"


def _cuts(entries: Sequence[Entry]) -> list[tuple[int, int]]:
    """From which entry up to which each part goes."""
    cuts, low, held = [], 0, 0
    for number, entry in enumerate(entries):
        held += entry.source.bytes
        if number + 1 - low >= PART or held >= PART_BYTES or number + 1 == len(entries):
            cuts.append((low, number + 1))
            low, held = number + 1, 0
    return cuts


def _digest(entries: Sequence[Entry], stamps: dict[Path, Any]) -> str:
    """Of what the entries are: names, sources, and when their files were written."""
    texts = []
    for entry in entries:
        path = entry.source.path
        if path not in stamps:
            stamps[path] = _stamp(path)
        texts.append(repr((entry.name, entry.source, stamps[path])))
    return hashlib.sha256("\n".join(texts).encode("utf-8", "surrogateescape")).hexdigest()


def _stamp(path: Path) -> tuple[tuple[str, int, int], ...]:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return tuple((file.name, (about := file.stat()).st_size, about.st_mtime_ns) for file in files)
