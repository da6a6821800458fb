"""A folder on its way to a zoo: listed, read, filed by architecture, checked, written."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphws.errors import GraphwsError, UsageError, ZooError
from graphws.graph import Weights
from graphws.zoo.collecting.architectures import Alike, Architecture, Like, gathered, likes_of, resolve
from graphws.zoo.collecting.check import check_all
from graphws.zoo.collecting.entry import Entry
from graphws.zoo.collecting.layout import Choices
from graphws.zoo.collecting.layouts import layout_of
from graphws.zoo.collecting.parts import PART, Part, read_parts
from graphws.zoo.collecting.signature import Signature
from graphws.zoo.collecting.tables import TableOptions, beside_columns, chosen, columns_of, split_shares
from graphws.zoo.manifest import NAME
from graphws.zoo.store import Zoo
from graphws.zoo.writer import LOCK, finish

MOST_SHOWN = 10
"""Bad files that a message names."""
MOST_LISTED = 10_000
"""Bad files that provenance lists."""
Progress = Callable[[str, int, int], None]


class Collection:
    """All networks of a folder.

    Args:
        folder: Where they are.
        layout: The name of its layout; seen where None.
        choices: About the layout.
        options: About the table.

    Raises:
        ZooError: Where there is no such folder, nothing in it, or its tables do not fit.
        UsageError: Where the caller must say something else.
    """

    def __init__(self, folder: Path, layout: str | None, choices: Choices, options: TableOptions) -> None:
        self.folder, self.choices, self.options = folder, choices, options
        self.layout = layout_of(folder, layout)
        found = self.layout.collect(folder, choices)
        self.about = dict(found.about)
        columns = columns_of(folder, found, options)
        self._split_known = "split" in found.columns or any(columns["split"] != "train")
        kept = chosen(columns, choices.where)
        self.entries: list[Entry] = [entry for entry, keep in zip(found.entries, kept, strict=True) if keep]
        self.columns = {name: column[kept] for name, column in columns.items()}
        self.parts: list[Part] = []
        self.partial = Path()
        self.bad: dict[int, str] = {}
        self.architectures: list[Architecture] = []
        self.table: dict[str, np.ndarray] = {}
        self._places: dict[str, list[tuple[int, int, int]]] = {}
        self._likes: dict[str, Like] = {}
        self._numbers: dict[str, list[int]] = {}

    @property
    def long(self) -> bool:
        """Whether reading takes more than a moment."""
        return len(self.entries) > PART

    def read(self, partial: Path, like: Sequence[Alike], workers: int, skip_bad: bool, progress: Progress) -> None:
        """Reads all networks and finds their architectures.

        Raises:
            ZooError: Naming the bad ones, unless they may be left out, or all are bad.
        """
        self.partial = partial
        for child in partial.iterdir():
            if child.name not in (LOCK, "parts"):
                shutil.rmtree(child) if child.is_dir() else child.unlink()
        self.parts = read_parts(self.entries, partial, workers, lambda done, total: progress("reading", done, total))
        self._resolve(likes_of(like))
        self._assemble()
        if self.bad and (not skip_bad or len(self.bad) == len(self.entries)):
            raise self._refusal()
        self._make_table()

    def _refusal(self) -> ZooError:
        if len(self.bad) == 1:
            return ZooError(next(iter(self.bad.values())))
        groups: dict[str, list[int]] = {}
        for number in sorted(self.bad):
            groups.setdefault(self._reason(number), []).append(number)
        shown = []
        for reason, numbers in list(groups.items())[:MOST_SHOWN]:
            places = ", ".join(self.entries[number].name for number in numbers[:MOST_SHOWN])
            more = f" and {len(numbers) - MOST_SHOWN} more" if len(numbers) > MOST_SHOWN else ""
            shown.append(f"{places}{more}: {reason}")
        others = f"; and {len(groups) - MOST_SHOWN} other reasons" if len(groups) > MOST_SHOWN else ""
        count = len(self.entries)
        cure = " (--skip-bad leaves them out)" if len(self.bad) < count else ""
        return ZooError(
            f"{self.folder}: {len(self.bad)} of {count} networks cannot be packed{cure}: {'; '.join(shown)}{others}"
        )

    def _resolve(self, likes: Sequence[Like]) -> None:
        """Finds what the networks of each signature are; marks those of which that fails."""
        known: dict[str, Like | str] = {}
        signatures: dict[str, Signature] = {}
        for part in self.parts:
            for place, found in enumerate(part.found):
                number = part.low + place
                if isinstance(found, str):
                    self.bad[number] = found
                    continue
                signature = part.signatures[found]
                digest = signature.digest
                if digest not in known:
                    signatures[digest] = signature
                    entry = self.entries[number]
                    try:
                        known[digest] = resolve(signature, entry, self.layout, self.choices.attributes, likes)
                    except UsageError:
                        raise
                    except GraphwsError as error:
                        known[digest] = str(error).removeprefix(f"{entry.source.place}: ")
                problem = known[digest]
                if isinstance(problem, str):
                    self.bad[number] = f"{self.entries[number].source.place}: {problem}"
        self._likes = {digest: like for digest, like in known.items() if isinstance(like, Like)}
        self.architectures = gathered([(signatures[digest], like) for digest, like in self._likes.items()])

    def _assemble(self) -> None:
        """Where the networks of each architecture are: part, signature, place among those of the signature."""
        owner = {digest: each.name for each in self.architectures for digest in each.likes}
        self._places = {each.name: [] for each in self.architectures}
        self._numbers = {each.name: [] for each in self.architectures}
        for part in self.parts:
            ranks = [0] * len(part.signatures)
            for place, found in enumerate(part.found):
                if isinstance(found, str):
                    continue
                rank, ranks[found] = ranks[found], ranks[found] + 1
                number = part.low + place
                if number not in self.bad:
                    name = owner[part.signatures[found].digest]
                    self._places[name].append((part.number, found, rank))
                    self._numbers[name].append(number)
        self._check_aliases()
        self.architectures = [each for each in self.architectures if self._numbers[each.name]]

    def _check_aliases(self) -> None:
        """Marks networks whose tied tensors differ: keys and shapes do not show it."""
        for each in self.architectures:
            if not any(p.storage and p.storage.aliases for p in each.graph.parameters):
                continue
            kept = []
            for rank, number in enumerate(self._numbers[each.name]):
                try:
                    self._network(each.name, rank)
                    kept.append(rank)
                except GraphwsError as error:
                    self.bad[number] = f"{self.entries[number].source.place}: {error}"
            self._places[each.name] = [self._places[each.name][rank] for rank in kept]
            self._numbers[each.name] = [self._numbers[each.name][rank] for rank in kept]

    def _network(self, name: str, rank: int) -> tuple[Like, Weights, str]:
        """One network of an architecture, how it is made, and where it was."""
        number, signature, place = self._places[name][rank]
        part = self.parts[number]
        states = part.states(self.partial, signature)
        like = self._likes[part.signatures[signature].digest]
        one = {key: x[place : place + 1].clone() for key, x in states.items()}
        return like, like.weights(one), self.entries[self._numbers[name][rank]].source.place

    def _weights(self, name: str, low: int, high: int) -> Weights:
        """Networks of an architecture, in order."""
        runs: list[tuple[int, int, list[int]]] = []
        for number, signature, place in self._places[name][low:high]:
            if not runs or runs[-1][:2] != (number, signature):
                runs.append((number, signature, []))
            runs[-1][2].append(place)
        batches = []
        for number, signature, places in runs:
            states: dict[str, Tensor] = self.parts[number].states(self.partial, signature)
            like = self._likes[self.parts[number].signatures[signature].digest]
            batches.append(like.weights({key: x[torch.tensor(places)] for key, x in states.items()}))
        graph = next(each.graph for each in self.architectures if each.name == name)
        whole = {key: torch.cat([batch[key] for batch in batches]) for key in batches[0].tensors}
        return Weights(graph, whole)

    def _make_table(self) -> None:
        kept = np.array([number not in self.bad for number in range(len(self.entries))])
        table = {name: column[kept] for name, column in self.columns.items()}
        names = np.full(len(self.entries), "", dtype=object)
        for name, numbers in self._numbers.items():
            names[numbers] = name
        rows = [row for part in self.parts for row in part.beside]
        beside = beside_columns([row for row, keep in zip(rows, kept, strict=True) if keep], table)
        if not self._split_known and self.options.split is not None:
            table["split"] = split_shares(table, self.options.split)
        self.table = {"architecture": names[kept], **table, **beside}

    def provenance(self) -> dict[str, Any]:
        """What zoo.json says of how the zoo was made, but for the figures of the check."""
        split = self.options.split
        listed = [
            {"file": self.entries[number].name, "reason": self._reason(number)[:300]} for number in sorted(self.bad)
        ]
        attributes = self.choices.attributes.settings()
        activation = attributes.pop("activation", self.layout.activation)
        return {
            "kind": "packed",
            "layout": self.layout.name,
            "activation": activation,
            **attributes,
            "split": None if split is None else asdict(split),
            "where": [list(pair) for pair in self.choices.where],
            "skipped": listed[:MOST_LISTED],
            "content": self._content(),
            **self.about,
        }

    def _reason(self, number: int) -> str:
        return self.bad[number].removeprefix(f"{self.entries[number].source.place}: ")

    def _content(self) -> str:
        """A digest of all numbers, in order."""
        total = hashlib.sha256()
        for each in self.architectures:
            total.update(each.graph.to_json().encode())
            count = len(self._places[each.name])
            for low in range(0, count, PART):
                for tensor in self._weights(each.name, low, min(low + PART, count)).tensors.values():
                    total.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return total.hexdigest()

    def opened(self, out: Path) -> Zoo:
        """The zoo that is there already; `ZooError` where it is not the one that would be packed."""
        other = ZooError(f"{out}: exists already; remove it, or give another name")
        try:
            zoo = Zoo.open(out, verify=True)
        except ZooError:
            raise other from None
        there = {name: value for name, value in zoo.provenance.items() if name != "check"}
        if there != self.provenance() or list(zoo.table) != list(self.table):
            raise other
        if any(not _equal(zoo.table[name], column) for name, column in self.table.items()):
            raise other
        return zoo

    def finish(self, out: Path, check: float, progress: Progress) -> None:
        """Checks a share of the networks and writes the zoo.

        Raises:
            ZooError: Naming a network whose outputs its group changes.
        """
        counts = {each.name: (each, len(self._places[each.name])) for each in self.architectures}
        figures, refuted = check_all(
            counts, self._network, check, lambda done, total: progress("checking", done, total)
        )
        if refuted:
            name, rank, reason = refuted[0]
            place = self.entries[self._numbers[name][rank]].source.place
            more = f"; and {len(refuted) - 1} more of those tried" if len(refuted) > 1 else ""
            raise ZooError(f"{place}: filed under {name!r}, but {reason}{more}; is it like another network?")
        graphs = {each.name: each.graph for each in self.architectures}
        assert NAME not in {child.name for child in self.partial.iterdir()}, "cleared before reading"
        finish(out, graphs, self._weights, self.table, {**self.provenance(), "check": figures})


def _equal(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two columns are equal, where NaN equals itself."""
    if first.dtype.kind == second.dtype.kind == "f":
        return bool(np.array_equal(first, second, equal_nan=True))
    return bool(np.array_equal(first, second))
