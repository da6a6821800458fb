"""Which front end to ask: torch.export first, the recorder where that fails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import nn

from graphws.errors import UsageError
from graphws_converters.analysis.ir import Program
from graphws_converters.fronts.errors import TraceFailure
from graphws_converters.fronts.exported import export_program
from graphws_converters.fronts.recorder import record_program

Front = Literal["auto", "export", "recorder"]


def trace(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], front: Front = "auto") -> Program:
    """What a module in eval mode computes on the given inputs.

    Args:
        module: The module; on the meta device only torch.export can follow it.
        args: Positional inputs.
        kwargs: Inputs by name.
        front: ``export``, ``recorder``, or ``auto``: the first that succeeds, in this order.

    Raises:
        UsageError: Where no front end can follow the module; what each said is in the message.
    """
    fronts = {"export": export_program, "recorder": record_program}
    said = []
    for name in fronts if front == "auto" else [front]:
        try:
            return fronts[name](module, args, kwargs)
        except TraceFailure as failure:
            said.append(str(failure))
    raise UsageError(f"the module cannot be run on these inputs: {'; '.join(said)}")
