"""Zoos of classifiers: what the job of `graphws.zoo.fit_job` fits where networks name the classes of pictures.

A unit is a training; its networks are its checkpoints, which share a split: a model would otherwise be tested on
networks that it has seen a few steps earlier.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, ClassVar

import numpy as np
import torch

from graphws.graph import NetworkGraph, Weights
from graphws.zoo.classifiers.architecture import ClassifierArchitecture
from graphws.zoo.classifiers.streams import pairs_of
from graphws.zoo.classifiers.training import ClassifierOptions, Material, Trained, counts_of, train_group
from graphws.zoo.fitting import News, Part
from graphws.zoo.sources.labelled_pictures import Pictures
from graphws.zoo.split import Numbered, Split

PART_BYTES = 512 << 20
"""Bytes of the networks of a part, at most."""
_TOGETHER = 32
"""Trainings of a part, at most: a fit on many cores has few to share out, and each takes long."""


class ClassifierFitting:
    """Classifiers trained on pictures (a `graphws.zoo.fitting.Fitting`).

    Args:
        pictures: For training, and held out to measure.
        architecture: Its picture and classes must be those of the pictures.
        options: How to train.
        split: How to split the trainings.
        source: What the pictures come from, in a word, for provenance.
        group: Networks that are trained together; None for what fits the processor's cache.  Results do not depend on
            it.

    Raises:
        ZooError: Where a class of a pair has no pictures, or a split stays empty.
    """

    measured: ClassVar[Mapping[str, type[np.generic]]] = dict.fromkeys(("accuracy", "loss", "error"), np.float64)

    def __init__(
        self,
        pictures: Pictures,
        architecture: ClassifierArchitecture,
        options: ClassifierOptions,
        split: Split,
        source: str = "pictures",
        group: int | None = None,
    ) -> None:
        self._pictures, self._architecture, self._options, self._split = pictures, architecture, options, split
        self._source, self._group, self._material = source, group, dict[tuple[torch.device, torch.dtype], Material]()
        self.name = architecture.name
        self.graph: NetworkGraph = architecture.graph()
        self.units = options.number
        self.pairs = pairs_of(options.pairs, options.seed, options.number, pictures.classes)
        counts_of(pictures, self.pairs, test=True)
        counts_of(pictures, self.pairs, test=False)
        seen = int((~pictures.test).sum()) * (1.0 if self.pairs is None else 2 / pictures.classes)
        self.checkpoints = options.checkpoints(seen)
        self.rows = len(self.checkpoints)
        self.most = max(1, min(_TOGETHER, PART_BYTES // (4 * self.graph.numel * self.rows)))
        self._splits = split.of(Numbered(options.number))

    def settings(self) -> dict[str, Any]:
        """Pictures, architecture, options and split."""
        pictures = self._pictures
        return {
            "source": {
                "kind": "classifiers",
                "data": self._source,
                "pictures": len(pictures.pixels),
                "held_out": int(pictures.test.sum()),
                "sha256": pictures.digest,
            },
            "architecture": self._architecture.settings(),
            "options": asdict(self._options),
            "split": self._split.settings(self._splits),
        }

    def about(self) -> dict[str, Any]:
        """What the networks read: pixels from 0 to 1, (channels, rows, columns), flattened for an MLP."""
        return {
            "pictures": {
                "shape": list(self._architecture.picture),
                "classes": self._pictures.classes,
                "range": [0, 1],
                "axes": ["channels", "rows", "columns"],
            }
        }

    def table(self) -> dict[str, np.ndarray]:
        """The training and the checkpoint of each network, its split, its step, and its pair of classes."""
        sample = np.repeat(np.arange(self.units), self.rows)
        table: dict[str, np.ndarray] = {
            "sample": sample,
            "view": np.tile(np.arange(self.rows), self.units),
            "split": self._splits[sample],
            "step": np.tile(np.array(self.checkpoints, dtype=np.int64), self.units),
        }
        if self.pairs is not None:
            table |= {"class_a": self.pairs[sample, 0], "class_b": self.pairs[sample, 1]}
        return table

    def fit(
        self, low: int, high: int, device: torch.device, dtype: torch.dtype, news: News, stop: Callable[[], bool]
    ) -> Part:
        """Trains the networks from `low` up to `high`, a group at a time."""
        size = self.group(device)
        groups: list[Trained] = []
        for first in range(low, high, size):
            numbers = range(first, min(first + size, high))
            groups.append(
                train_group(
                    self._architecture, self._held(device, dtype), numbers, self._options, self.checkpoints, stop
                )
            )
            news(groups[-1].accuracy.size, {"accuracy": float(groups[-1].accuracy.sum())})
        layers = zip(*(group.matrices for group in groups), strict=True)
        weights: Weights = self._architecture.weights([torch.cat(layer).flatten(0, 1) for layer in layers])
        accuracy, loss = (np.concatenate([getattr(group, name) for group in groups]) for name in ("accuracy", "loss"))
        columns = {"accuracy": accuracy, "loss": loss, "error": 1 - accuracy}
        return Part(weights, {name: column.reshape(-1) for name, column in columns.items()})

    def _held(self, device: torch.device, dtype: torch.dtype) -> Material:
        """The pictures on a device, put there once."""
        key = (device, dtype)
        if key not in self._material:
            self._material[key] = Material(self._architecture, self._pictures, self.pairs, device, dtype)
        return self._material[key]

    def group(self, device: torch.device) -> int:
        """How many networks are trained together; on a CPU about 8 MB of numbers, from 4 to 32 networks."""
        if self._group is not None or device.type == "cuda":
            return self._group or _TOGETHER
        pixels = math.prod(self._architecture.picture)
        numbers = 5 * self.graph.numel + 2 * pixels * self._options.batch_size
        return max(4, min(_TOGETHER, round(8e6 / (4 * numbers))))
