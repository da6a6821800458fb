"""Zoos of networks that represent signals: one network, or one a view, of every sample of a source.

The networks stand view after view of all samples; each is a unit of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from graphws.errors import ZooError
from graphws.graph import NetworkGraph
from graphws.zoo.architecture import Architecture
from graphws.zoo.fit import FitOptions, Fitted, fit_networks
from graphws.zoo.fit_job import Progress, fit_all
from graphws.zoo.fitting import News, Part
from graphws.zoo.sources import Samples
from graphws.zoo.split import Split, SplitOptions
from graphws.zoo.store import Zoo

_MOST_DECIBELS = 200.0  # a perfect fit has infinitely many, of which no mean can be taken


class SignalFitting:
    """Networks fitted to the samples of a source (a `graphws.zoo.fitting.Fitting`).

    Args:
        samples: What to fit.
        architecture: Its input and output widths must be those of the samples.
        options: How to fit.
        split: How to split the samples, by shares or by a table; by sample, so that all views share a split.

    Raises:
        ZooError: Where samples and architecture do not fit, or a split stays empty.
    """

    rows = 1
    most = 1 << 30
    measured: ClassVar[Mapping[str, type[np.generic]]] = {"loss": np.float64, "psnr": np.float64, "steps": np.int64}

    def __init__(self, samples: Samples, architecture: Architecture, options: FitOptions, split: Split) -> None:
        channels = samples.values.shape[2]
        if (architecture.widths[0], architecture.widths[-1]) != (samples.coordinates.shape[1], channels):
            raise ZooError(
                f"source {samples.source!r} has {samples.coordinates.shape[1]} coordinates and {channels} channels, "
                f"the architecture {architecture.widths[0]} inputs and {architecture.widths[-1]} outputs"
            )
        self.samples, self.architecture, self.options, self._split = samples, architecture, options, split
        self.name = "-".join(map(str, architecture.widths))
        self.graph: NetworkGraph = architecture.graph()
        self.units = len(samples) * options.views
        self._splits = split.of(samples)

    def settings(self) -> dict[str, Any]:
        """Source, architecture, options and split."""
        samples = self.samples
        return {
            "source": {"kind": samples.source, "samples": len(samples), "sha256": samples.digest()},
            "architecture": self.architecture.settings(),
            "options": self.options.settings(),
            "split": self._split.settings(self._splits),
        }

    def about(self) -> dict[str, Any]:
        """The signals' grid."""
        samples = self.samples
        return {
            "signal": {
                "shape": list(samples.shape),
                "peak": samples.peak,
                "classes": list(samples.classes),
                "coordinates": hashlib.sha256(samples.coordinates.numpy().tobytes()).hexdigest(),
            }
        }

    def table(self) -> dict[str, np.ndarray]:
        """Sample, view, split, and what the source says of its samples."""
        sample, view = self._numbers(0, self.units)
        table: dict[str, np.ndarray] = {"sample": sample, "view": view, "split": self._splits[sample]}
        return table | {name: column[sample] for name, column in self.samples.table.items() if name not in table}

    def fit(
        self, low: int, high: int, device: torch.device, dtype: torch.dtype, news: News, stop: Callable[[], bool]
    ) -> Part:
        """Fits the networks from `low` up to `high`, a group at a time."""
        sample, view = self._numbers(low, high)

        def tell(group: Fitted) -> None:
            news(len(group.psnr), {"psnr": float(np.minimum(group.psnr, _MOST_DECIBELS).sum())})

        fitted = fit_networks(
            self.architecture,
            self.samples.coordinates.to(device=device, dtype=dtype),
            self.samples.targets(sample, dtype).to(device),
            sample,
            view,
            self.options,
            peak=self.samples.peak,
            progress=tell,
            stop=stop,
        )
        return Part(fitted.weights, {"loss": fitted.loss, "psnr": fitted.psnr, "steps": fitted.steps})

    def _numbers(self, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
        """Sample and view of networks."""
        numbers = np.arange(low, high)
        return numbers % len(self.samples), numbers // len(self.samples)


def fit_zoo(
    path: str | Path,
    samples: Samples,
    architecture: Architecture,
    options: FitOptions | None = None,
    split: Split | None = None,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    threads: int | None = None,
    rank: int = 0,
    world_size: int = 1,
    patience: float = 3600.0,
    progress: Callable[[Progress], None] | None = None,
) -> Zoo | None:
    """Fits one network (or several, `options.views`) a sample and makes a zoo of them.

    A finished zoo of the same name and settings is opened as it is; an unfinished one is gone on with.

    Args:
        path: The zoo's folder.
        samples: What to fit.
        architecture: Its input and output widths must be those of the samples.
        options: How to fit.
        split: How to split the samples, by shares or by a table; by sample, so that all views share a split.
        device: As `graphws.zoo.fit_job.fit_all` has it, and so all that follow.
        dtype: Of computation and weights.
        threads: Parts fitted at the same time.
        rank: Which of several processes this is.
        world_size: How many processes share the work.
        patience: Seconds that rank 0 waits for another part.
        progress: Called now and then, from the calling thread.

    Returns:
        Zoo: The finished zoo; None on ranks other than 0.

    Raises:
        ZooError: Where samples and architecture do not fit, and as `fit_all`.
        KeyboardInterrupt: On Ctrl-C; what is finished stays for the next run.
    """
    return fit_all(
        path,
        SignalFitting(samples, architecture, options or FitOptions(), split or SplitOptions()),
        device=device,
        dtype=dtype,
        threads=threads,
        rank=rank,
        world_size=world_size,
        patience=patience,
        progress=progress,
    )
