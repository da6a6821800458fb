"""``graphws actions``: how a symmetry of the data acts inside a trained network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from graphws.cli.console import output, table
from graphws.errors import DataError, UsageError

if TYPE_CHECKING:
    from torch import Tensor


def actions_command(
    path: Annotated[Path, typer.Argument(metavar="MODEL", help="A checkpoint, or a converted network.")],
    group: Annotated[
        str,
        typer.Option(help="mirror, flip, rotations:4, dihedral, translations, ... or a .yaml file with generators."),
    ],
    input_shape: Annotated[str, typer.Option(help="Shape of one input, as 3,14,14 or tokens,features.")],
    output_action: Annotated[str, typer.Option("--output", help="How outputs transform: same or invariant.")] = "same",
    activation: Annotated[
        list[str] | None,
        typer.Option(help="Of the hidden layers; a state dict does not say it: once for all, or repeated, one each."),
    ] = None,
    omega: Annotated[float | None, typer.Option(help="Frequency of sine activations, sin(omega x).")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Probes: a .safetensors or .pt file with a tensor `inputs` (points first).")
    ] = None,
    decoys: Annotated[int, typer.Option(min=0, max=50, help="Decoy groups to compare with.")] = 3,
    seed: Annotated[int, typer.Option(help="Of the search and the decoys.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all figures as JSON.")] = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write an .html report with figures.")] = None,
) -> None:
    """Say how a group acts on every layer of MODEL, or why it cannot be said."""
    import torch

    from graphws.actions.extract import find_actions
    from graphws.actions.naming import read_symmetry
    from graphws.converting import load_graph_file
    from graphws.report.actions_page import COLUMNS, actions_page, actions_table
    from graphws.runtime.files import write_bytes

    shape = _shape(input_shape)
    hint = None if not activation else activation[0] if len(activation) == 1 else activation
    found = load_graph_file(path, activation=hint, omega=omega)
    result = find_actions(
        found,
        read_symmetry(group),
        shape,
        output_action,
        data=None if data is None else _probes(data),
        decoys=decoys,
        generator=torch.Generator().manual_seed(seed),
    )
    console = output()
    console.print(result.verdict.text, markup=False)
    console.print()
    console.print(table(COLUMNS, actions_table(result)))
    if json_file is not None:
        write_bytes(json_file, (result.to_json() + "\n").encode())
        console.print(f"figures: {json_file}", markup=False)
    if report is not None:
        assert found.weights is not None
        write_bytes(report, actions_page(result, found.weights, shape, path.name).encode())
        console.print(f"report: {report}", markup=False)


def _shape(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.strip().isdecimal() and 0 < int(part) < 1 << 20 for part in parts):
        raise UsageError(f"--input-shape is like 3,14,14: positive numbers with commas; got {text!r}")
    return tuple(int(part) for part in parts)


def _probes(path: Path) -> Tensor:
    """The tensor `inputs` of a file, or its only tensor."""
    from graphws.graph.checkpoint import read_state_dict

    tensors = read_state_dict(path)
    if "inputs" in tensors:
        return tensors["inputs"]
    if len(tensors) == 1:
        return next(iter(tensors.values()))
    raise DataError(f"{path}: holds {len(tensors)} tensors, none of them called 'inputs'")
