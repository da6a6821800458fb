"""What would keep an experiment from being done, found before any of its work.

The counterpart of `graphws.runtime.readiness` for specs with a section ``experiment``.
"""

from __future__ import annotations

from pathlib import Path

from graphws.errors import GraphwsError, RunError, UsageError
from graphws.files import check_place
from graphws.runtime.environment import Processes
from graphws.spec import Spec
from graphws.trainings.design import design_of
from graphws.trainings.pictures import load_pictures_of
from graphws.zoo.sources.labelled_pictures import Pictures

NUMBER = 4
"""Bytes of a number that the network learns."""
WRITTEN = 4
"""So many times its numbers are written: the network, and the state of its training with two moments."""


def refusal(spec: Spec, group: Processes | None = None, folder: Path | None = None) -> GraphwsError | None:
    """As `graphws.runtime.readiness.refusal`, of an experiment."""
    try:
        require(spec, group or Processes(), folder)
    except GraphwsError as error:
        return error
    return None


def require(spec: Spec, group: Processes, folder: Path | None = None) -> Pictures:
    """Raises what `refusal` tells, and nothing where an experiment can be done.

    Args:
        spec: With ``experiment``.
        group: The processes that do it.
        folder: Of a run that is not begun yet; None: not looked at.

    Returns:
        The pictures.

    Raises:
        GraphwsError: On several processes, pictures that are missing, damaged or too small, or a group that does not
            act on them; where there is no room.
    """
    experiment = spec.experiment
    assert experiment is not None
    if group.world > 1:
        raise UsageError(
            f"an experiment trains one network on one device, but {group.world} processes were started; "
            "start it without torchrun"
        )
    pictures = load_pictures_of(experiment)
    design = design_of(experiment, pictures)
    design.crop.central(pictures.pixels[:1])
    if folder is not None:
        check_place(folder, WRITTEN * NUMBER * design.graph.numel, RunError)
    return pictures
