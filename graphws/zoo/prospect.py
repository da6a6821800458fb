"""What is known of a zoo before any work: all of its table where it is there, else what its fitting knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from graphws.graph import NetworkGraph
from graphws.zoo.fitting import Fitting
from graphws.zoo.store import Zoo
from graphws.zoo.table import Table


@dataclass(frozen=True, eq=False)
class Prospect:
    """A zoo that is there, or one that is still to be fitted.

    Attributes:
        origin: What it is called in errors.
        graphs: Of its networks.
        table: The columns that are known.
        provenance: What is known of how it was, or will be, made.
        measured: The columns that only the fit gives, with their types; none of a zoo that is there.
        fitting: What makes it, where the spec describes that.
    """

    origin: str
    graphs: tuple[NetworkGraph, ...]
    table: Table
    provenance: Mapping[str, Any]
    measured: Mapping[str, np.dtype[Any]] = field(default_factory=dict)
    fitting: Fitting | None = None

    @staticmethod
    def of_zoo(zoo: Zoo, fitting: Fitting | None = None) -> Prospect:
        """Of a zoo that is there."""
        return Prospect(f"the zoo {zoo.path}", zoo.graphs, zoo.table, zoo.provenance, fitting=fitting)

    @staticmethod
    def of_fitting(path: Path, fitting: Fitting) -> Prospect:
        """Of a zoo that will be at a path."""
        measured = {name: np.dtype(kind) for name, kind in fitting.measured.items()}
        origin = f"the zoo {path} (still to be fitted)"
        return Prospect(origin, (fitting.graph,), fitting.table(), fitting.about(), measured, fitting)
