"""Making the zoo that a spec describes."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from graphws.runtime.environment import Processes
from graphws.runtime.reporter import Reporter
from graphws.spec import ZooSection
from graphws.zoo import Architecture, FitOptions, Samples, SplitOptions, Zoo, fit_zoo, load_samples
from graphws.zoo.build import Progress

ZOOS = Path("zoos")


def zoo_path(section: ZooSection) -> Path:
    """Where the zoo of a section is kept: its ``path``, or a name made of what the zoo depends on, under ``zoos/``.

    >>> zoo_path(ZooSection(path="here"))
    PosixPath('here')
    >>> zoo_path(ZooSection()).name.startswith("digits-")
    True
    """
    if section.path is not None:
        return Path(section.path)
    content = section.model_dump(mode="json", exclude={"path": True, "fit": {"group"}})
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return ZOOS / f"{section.source.kind}-{digest[:8]}"


def samples_of(section: ZooSection) -> Samples:
    """The samples of a section's source.

    Raises:
        DataError: When the source is missing or damaged.
    """
    return load_samples(section.source.kind, **section.source.model_dump(exclude={"kind"}, exclude_none=True))


def architecture_of(section: ZooSection, samples: Samples) -> Architecture:
    """The architecture of a section's networks; inputs and outputs are those of the samples."""
    widths = (samples.coordinates.shape[1], *section.network.hidden, samples.values.shape[2])
    return Architecture(widths, **_common(Architecture, section.network.model_dump(exclude={"hidden"})))


def make_zoo(section: ZooSection, group: Processes, reporter: Reporter) -> Zoo:
    """Fit the zoo of a section, go on with an unfinished one, or open the finished one.

    Raises:
        DataError: When the source is missing or damaged.
        ZooError: When the fit is impossible or cannot be written.
        KeyboardInterrupt: On Ctrl-C; calling again goes on.
    """
    path = zoo_path(section)
    samples = samples_of(section)

    def tell(state: Progress) -> None:
        reporter.step(state.done, {} if math.isnan(state.psnr) else {"psnr": state.psnr})

    finished = path.exists()
    if not finished:
        reporter.start(f"fitting {path.name}", len(samples) * section.fit.views, "networks")
    try:
        fit_zoo(
            path,
            samples,
            architecture_of(section, samples),
            FitOptions(**_common(FitOptions, section.fit.model_dump())),
            SplitOptions(**_common(SplitOptions, section.split.model_dump())),
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


def _common(target: type, values: dict[str, Any]) -> dict[str, Any]:
    """The values that a dataclass has a field for."""
    names = {field.name for field in fields(target)}
    return {name: value for name, value in values.items() if name in names}
