"""``graphws reduce``: a smaller checkpoint of the same function."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from graphws.cli.console import output, table
from graphws.errors import DataError, UsageError, nearest

if TYPE_CHECKING:
    from graphws.actions.reduction.tolerance import Choice

_SUFFIX = ".safetensors"


def reduce_command(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A checkpoint, or a converted network.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The smaller checkpoint: a .safetensors file.")],
    activation: Annotated[
        list[str] | None,
        typer.Option(help="Of the hidden layers; a state dict does not say it: once for all, or repeated, one each."),
    ] = None,
    omega: Annotated[float | None, typer.Option(help="Frequency of sine activations, sin(omega x).")] = None,
    tolerance: Annotated[
        str, typer.Option(help="What counts as zero: dtype (exact redundancy), gap (seen in the weights), or a number.")
    ] = "dtype",
    allowed: Annotated[
        float | None, typer.Option(help="Largest relative change of the outputs; by default ten tolerances.")
    ] = None,
) -> None:
    """Take neurons, channels, heads and dimensions that do nothing out of the network in FILE."""
    from safetensors.torch import save

    from graphws.actions.reduction import reduce
    from graphws.converting import load_graph_file
    from graphws.runtime.files import write_bytes

    if out.suffix != _SUFFIX:
        raise UsageError(f"{out.name}: the smaller checkpoint must end in {_SUFFIX}")
    hint = None if not activation else activation[0] if len(activation) == 1 else activation
    found = load_graph_file(path, activation=hint, omega=omega)
    if found.weights is None:
        raise DataError(f"{path}: holds a graph without weights, so there is nothing to reduce")
    reduced = reduce(found.weights, run=found.run, tolerance=_choice(tolerance), allowed=allowed)
    graph = reduced.graph
    metadata = {"format": "pt", "graphws_graph": graph.to_json()}
    write_bytes(out, save(reduced.weights.to_state_dict(), metadata))
    console = output()
    rows = []
    for name, space in reduced.maps.items():
        reasons = [removal.reason for removal in space.removals]
        counts = ", ".join(f"{reasons.count(reason)} {reason}" for reason in dict.fromkeys(reasons))
        rows.append([name, str(space.size), str(space.reduced), counts or reduced.left_alone.get(name, "")])
    console.print(table(["space", "before", "after", "removed"], rows))
    console.print()
    used = ", ".join(f"{rule} {value}" for rule, value in reduced.tolerances.items())
    console.print(f"{reduced.source.numel:,} -> {graph.numel:,} numbers; tolerance: {used}", markup=False)
    console.print(f"outputs change by {reduced.change:.1e} (allowed {reduced.allowed:.1e})", markup=False)
    console.print(f"smaller checkpoint: {out}", markup=False)


def _choice(text: str) -> Choice:
    if text == "dtype":
        return "dtype"
    if text == "gap":
        return "gap"
    try:
        return float(text)
    except ValueError:
        allowed = "--tolerance must be dtype, gap or a number"
        raise UsageError(f"{allowed}; got {text!r}" + nearest(text, ("dtype", "gap"))) from None
