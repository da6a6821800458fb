"""The fit of the zoo that a spec describes."""

from __future__ import annotations

import torch

from graphws.runtime.environment import Processes
from graphws.runtime.reporter import Reporter
from graphws.spec import ZooSection
from graphws.zoo import Zoo, fit_all
from graphws.zoo.fit_job import Progress


def fit_section(section: ZooSection, group: Processes, reporter: Reporter) -> Zoo:
    """Fit the zoo of a section, go on with an unfinished one, or open the finished one.

    Raises:
        GraphwsError: When the source is missing, damaged or too small.
        ZooError: When the fit is impossible or cannot be written.
        KeyboardInterrupt: On Ctrl-C; calling again goes on.
    """
    path = section.folder()
    fitting = section.build()

    def tell(state: Progress) -> None:
        reporter.step(state.done, dict(state.figures))

    finished = path.exists()
    if not finished:
        reporter.start(f"fitting {path.name}", fitting.units * fitting.rows, "networks")
    try:
        fit_all(
            path,
            fitting,
            device="cuda" if torch.cuda.is_available() else "cpu",
            rank=group.rank,
            world_size=group.world,
            progress=tell,
        )
    finally:
        if not finished:
            reporter.end()
    group.barrier()
    return Zoo.open(path)
