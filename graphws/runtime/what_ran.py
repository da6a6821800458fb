"""What ran, and on what: what a page says under its fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphws.runtime.folder import RunFolder
from graphws.runtime.request import Request
from graphws.spec import Spec


def what_ran(spec: Spec, folder: RunFolder) -> dict[str, str]:
    """The name of a run, the command, seeds, times, the device and versions, as far as they are known.

    Raises:
        RunError: Where the run's own files are damaged.
    """
    state = folder.state()
    request = Request.from_json(state.get("request"))
    machine: Mapping[str, str] = state.get("machine", {})
    found = {"run": spec.name}
    if request is not None:
        found["command"] = request.placeless().command()
    found["seeds"] = ", ".join(map(str, _seeds(spec)))
    found |= {f"time, {name}": duration(float(value)) for name, value in state.get("seconds", {}).items()}
    if "threads" in machine:
        found["threads"] = str(machine["threads"])
    return found | folder.versions()


def _seeds(spec: Spec) -> Sequence[int]:
    return spec.train.seeds if spec.experiment is None else (spec.experiment.train.seed,)


def duration(seconds: float) -> str:
    """A time in words.

    >>> duration(42.4), duration(600), duration(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
