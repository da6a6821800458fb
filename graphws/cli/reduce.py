"""``graphws reduce``: a smaller checkpoint of the same function."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graphws.cli.arguments import read_shape
from graphws.cli.console import Bars, output, table
from graphws.cli.destinations import JsonOption, OverwriteOption, check_files, name_files, output_option, write_figures
from graphws.errors import DataError, UsageError, nearest

if TYPE_CHECKING:
    from graphws.actions.reduction import Reduction
    from graphws.actions.reduction.running import Run
    from graphws.actions.reduction.tolerance import Choice
    from graphws.checkpoints.conversion import Conversion
    from graphws.operations.runner import Inputs

_SUFFIX = ".safetensors"


def reduce_command(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A checkpoint, or a converted network.")],
    out: Annotated[Path, output_option("The smaller checkpoint: a .safetensors file.")],
    activation: Annotated[
        list[str] | None,
        typer.Option(help="Of the hidden layers; a state dict does not say it: once for all, or repeated, one each."),
    ] = None,
    omega: Annotated[float | None, typer.Option(help="Frequency of sine activations, sin(omega x).")] = None,
    tolerance: Annotated[
        str, typer.Option(help="What counts as zero: dtype (exact redundancy), gap (seen in the weights), or a number.")
    ] = "dtype",
    input_shape: Annotated[
        str | None,
        typer.Option(help="Shape of one input, as 3,14,14, where FILE does not show it; outputs are compared on such."),
    ] = None,
    allowed: Annotated[
        float | None, typer.Option(help="Largest relative change of the outputs; by default ten tolerances.")
    ] = None,
    as_json: JsonOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Take neurons, channels, heads and dimensions that do nothing out of the network in FILE."""
    from graphws.actions.reduction import reduce
    from graphws.actions.reduction.running import runner
    from graphws.checkpoints.network_file import save_network
    from graphws.converting import load_stated_network

    if out.suffix != _SUFFIX:
        raise UsageError(f"{out.name}: the smaller checkpoint must end in {_SUFFIX}")
    check_files({"--output": out, "--json": as_json}, overwrite=overwrite)
    bars = Bars()
    hint = None if not activation else activation[0] if len(activation) == 1 else activation
    found = load_stated_network(path, activation=hint, omega=omega, reporter=bars)
    if found.weights is None:
        raise DataError(f"{path}: holds a graph without weights, so there is nothing to reduce")
    inputs, run = _compared(path, found, input_shape)
    reduced = reduce(found.weights, inputs, run=run, tolerance=_choice(tolerance), allowed=allowed, reporter=bars)
    graph = reduced.graph
    made = _checked(reduced, run or runner(found.weights, inputs, None))
    save_network(made, out)
    write_figures(_figures(reduced, made), as_json)
    console = output(as_json)
    rows = [[row["space"], str(row["before"]), str(row["after"]), _said(row)] for row in _rows(reduced)]
    console.print(table(["space", "before", "after", "removed"], rows))
    console.print()
    used = ", ".join(f"{rule} {value}" for rule, value in reduced.tolerances.items())
    console.print(f"{reduced.source.numel:,} -> {graph.numel:,} numbers; tolerance: {used}", markup=False)
    console.print(f"outputs change by {reduced.change:.1e} (allowed {reduced.allowed:.1e})", markup=False)
    console.print(f"smaller checkpoint: {out}, {made.verdict}", markup=False)
    name_files({"figures": as_json}, console)


def _rows(reduced: Reduction) -> list[dict[str, Any]]:
    """What went from each space, by its reason, and why the rest had to stay."""
    rows = []
    for name, space in reduced.maps.items():
        removed = Counter(removal.reason for removal in space.removals)
        stays = reduced.left_alone.get(name, "")
        rows.append({"space": name, "before": space.size, "after": space.reduced, "removed": removed, "stays": stays})
    for name, why in reduced.left_alone.items():
        if name not in reduced.maps and reduced.source.space(name).moves:
            size = reduced.source.extent(name)
            rows.append({"space": name, "before": size, "after": size, "removed": Counter(), "stays": why})
    return rows


def _said(row: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{count} {reason}" for reason, count in row["removed"].items())
    return "; ".join(part for part in (counts, row["stays"]) if part)


def _figures(reduced: Reduction, made: Conversion) -> dict[str, Any]:
    return {
        "spaces": _rows(reduced),
        "numbers": {"before": reduced.source.numel, "after": reduced.graph.numel},
        "tolerances": {rule: str(value) for rule, value in reduced.tolerances.items()},
        "change": reduced.change,
        "allowed": reduced.allowed,
        "verdict": made.verdict,
    }


def _compared(path: Path, found: Conversion, shape: str | None) -> tuple[Inputs | None, Run | None]:
    """The inputs on which networks like the one found are compared, or its own code where its graph does not run."""
    import torch

    from graphws.actions.reduction.running import POINTS, runner
    from graphws.operations import why_not

    assert found.weights is not None
    why = why_not(found.graph)
    if why and found.run is not None:
        if shape is not None:
            raise UsageError(f"{path.name}: runs on its own example inputs: --input-shape is not used")
        return None, found.run
    if why:
        raise UsageError(f"{path.name}: nothing can be compared before and after: {why}")
    given, _ = found.inputs
    tensors = [x for x in given if isinstance(x, torch.Tensor)]
    inputs: Inputs | None = tensors if tensors and len(tensors) == len(given) == len(found.graph.inputs) else None
    if shape is not None and len(found.graph.inputs) > 1:
        raise UsageError(f"{path.name}: reads {len(found.graph.inputs)} inputs: --input-shape is for one")
    if shape is not None:
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randn(POINTS, *read_shape(shape), generator=generator, dtype=torch.float64)
    try:
        runner(found.weights, inputs, None)
    except UsageError:
        raise UsageError(f"{path.name}: does not show the shape of its inputs: give --input-shape") from None
    return inputs, None


def _checked(reduced: Reduction, run: Run) -> Conversion:
    """The reduced network, its group tried once more."""
    import torch

    from graphws.checkpoints.conversion import Conversion
    from graphws.errors import VerificationError
    from graphws.operations.verify import verify

    note = f"reduced from {reduced.source.numel:,} numbers; outputs changed by {reduced.change:.1e}"
    precise = reduced.weights.to(device="cpu", dtype=torch.float64)
    try:
        found = verify(reduced.graph, precise, generator=torch.Generator().manual_seed(0), run=run)
    except VerificationError as error:
        return Conversion(reduced.graph, reduced.weights, None, str(error), notes=(note,))
    return Conversion(reduced.graph, reduced.weights, found, notes=(note,))


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
