"""What a fit fits: the protocol between the job that survives every interruption and the networks that it is about.

A fitting has units, numbered from 0, each of which becomes one or several networks (`rows`): a signal becomes one, a
training of which checkpoints are kept becomes several.  The networks of the zoo are those of unit 0, then of unit 1, ….

Law: a unit depends on its number and the settings alone, never on the units that are fitted beside it, on the device's
other work or on the process: the same numbers, bit for bit in groups of one size; in groups of another size some
processors round products otherwise (1e-7).  `graphws.zoo.fit_job` stands on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from graphws.graph import NetworkGraph, Weights

News = Callable[[int, Mapping[str, float]], None]
"""Told how many more networks are there, and the sum over them of each figure that people watch."""


class Interrupted(Exception):
    """A fit was told to stop; nothing of the group is kept."""


@dataclass(frozen=True, eq=False)
class Part:
    """The networks that a range of units became.

    Args:
        weights: On the CPU, unit after unit.
        columns: What was measured of each, (networks,) float64: one entry for each name of `Fitting.measured`.
    """

    weights: Weights
    columns: Mapping[str, np.ndarray]


class Fitting(Protocol):
    """Something that a zoo is fitted to."""

    @property
    def name(self) -> str:
        """What the table calls the architecture."""

    @property
    def graph(self) -> NetworkGraph:
        """The graph of all networks."""

    @property
    def units(self) -> int:
        """How many there are."""

    @property
    def rows(self) -> int:
        """Networks that a unit becomes."""

    @property
    def most(self) -> int:
        """Units of a part, at most."""

    @property
    def measured(self) -> Mapping[str, type[np.generic]]:
        """The columns that come from the fit, in their order, with their types in the table."""

    def settings(self) -> dict[str, Any]:
        """All that the networks depend on but type and device, as JSON."""

    def about(self) -> dict[str, Any]:
        """More for the zoo's provenance, as JSON."""

    def table(self) -> dict[str, np.ndarray]:
        """The columns that are known before the fit, one entry a network: ``sample``, ``view``, ``split``, …."""

    def fit(
        self, low: int, high: int, device: torch.device, dtype: torch.dtype, news: News, stop: Callable[[], bool]
    ) -> Part:
        """Fits the units from `low` up to `high`.

        Raises:
            ZooError: Where one cannot be fitted.
            Interrupted: Where `stop` said so.
        """
