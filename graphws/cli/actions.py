"""``graphws actions``: how a symmetry of the data acts inside a trained network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graphws.cli.actions_unknown import search_unknown
from graphws.cli.arguments import read_shape
from graphws.cli.console import Bars, output, table
from graphws.cli.destinations import JsonOption, OverwriteOption, check_files, name_files, write_figures
from graphws.cli.ran import what_ran
from graphws.errors import DataError, UsageError

UNKNOWN = "unknown"
"""The group that stands for a search."""

if TYPE_CHECKING:
    from torch import Tensor

    from graphws.actions.analysis.result import Actions
    from graphws.actions.lie import LieFigures
    from graphws.checkpoints.conversion import Conversion
    from graphws.cli.console import Terminal


def actions_command(
    path: Annotated[Path, typer.Argument(metavar="MODEL", help="A checkpoint, or a converted network.")],
    group: Annotated[
        str,
        typer.Option(
            help="mirror, flip, rotations:4, dihedral, translations, ... or a .yaml file with generators; "
            "unknown searches an exactly symmetric network for permutations of inputs and outputs."
        ),
    ],
    input_shape: Annotated[
        str | None, typer.Option(help="Shape of one input, as 3,14,14 or tokens,features; not for unknown.")
    ] = None,
    output_action: Annotated[
        str,
        typer.Option(
            "--output-action",
            help="How outputs transform: same, invariant, or a .yaml file with a map for each generator, or a shape.",
        ),
    ] = "same",
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
    as_json: JsonOption = None,
    neurons: Annotated[
        Path | None,
        typer.Option(
            "--neurons", metavar="FILE", help="Write the neurons with their orbits, networkx's .json or .graphml."
        ),
    ] = None,
    lie: Annotated[
        list[str] | None,
        typer.Option(help="Lie derivative besides: rotation, scaling, translation-x, translation-y; needs --data."),
    ] = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write an .html report with figures.")] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Say how a group acts on every layer of MODEL, or why it cannot be said."""
    import torch

    from graphws.actions.analysis.extraction import find_actions
    from graphws.actions.groups.symmetry_file import read_symmetry
    from graphws.converting import load_stated_network

    _can_be_written(as_json, neurons, report, overwrite)
    hint = None if not activation else activation[0] if len(activation) == 1 else activation
    if group == UNKNOWN:
        _only_named({"--report": report, "--data": data, "--lie": lie})
        found = load_stated_network(path, activation=hint, omega=omega, reporter=Bars())
        search_unknown(found, path.name, as_json, neurons)
        return
    if input_shape is None:
        raise UsageError("--input-shape says what the group moves: give it, as 3,14,14")
    shape = read_shape(input_shape)
    wanted, acting = read_symmetry(group), read_symmetry(output_action)
    _check_lie(lie or [], shape, acting, data)
    probes = None if data is None else _probes(data)
    bars = Bars()
    found = load_stated_network(path, activation=hint, omega=omega, reporter=bars)
    result = find_actions(
        found, wanted, shape, acting, data=probes, decoys=decoys, generator=torch.Generator().manual_seed(seed),
        reporter=bars,
    )  # fmt: skip
    rates = _lie(found, lie or [], shape, output_action, probes)
    _write(result, rates, shape, path.name, as_json, neurons, report)
    _show(result, rates, output(as_json))
    _name_files(as_json, neurons, report)


def _only_named(given: Mapping[str, object]) -> None:
    """Refuses options that the search for unknown symmetries has no use for."""
    for name, value in given.items():
        if value:
            raise UsageError(f"{name} is for a group that has a name; --group unknown takes --json and --neurons")


def _can_be_written(as_json: str | None, neurons: Path | None, report: Path | None, overwrite: bool) -> None:
    """Refuses files that could not be written in the end, before the work begins."""
    from graphws.report.actions_neurons import check_suffix

    if neurons is not None:
        check_suffix(neurons.suffix)
    check_files({"--json": as_json, "--neurons": neurons, "--report": report}, overwrite=overwrite)


def _show(result: Actions, rates: list[LieFigures], console: Terminal) -> None:
    """The verdict, what theory says, and the table of layers."""
    from graphws.report.actions_page import COLUMNS, actions_table, brief, taken_out

    console.print(result.verdict.text, markup=False)
    if result.identifiability is not None:
        theorem = result.identifiability.theorem
        status = "proven" if theorem.proven else "not proven"
        console.print(f"Theory: {theorem.name}, {status}; {result.identifiability.licence}.", markup=False)
        which = "These weights" if result.reduction is None else "The weights that are left"
        console.print(f"{which}: {result.identifiability.standing}.", markup=False)
    if result.adjunction is not None:
        console.print(str(result.adjunction), markup=False)
    owns = (f"{own}." for own in result.hidden_by_streams)
    for line in (taken_out(result), result.note, *owns, *(rate.text for rate in rates)):
        if line:
            console.print(line, markup=False)
    console.print()
    console.print(table(*brief(COLUMNS, actions_table(result))))


def _write(
    result: Actions,
    rates: list[LieFigures],
    shape: tuple[int, ...],
    source: str,
    as_json: str | None,
    neurons: Path | None,
    report: Path | None,
) -> None:
    """The files that were asked for, before anything is said: whoever reads that may stop at any line."""
    from graphws.report.actions_neurons import neuron_file
    from graphws.report.actions_page import actions_page
    from graphws.runtime.files import write_bytes

    if as_json is not None:
        figures = result.to_dict()
        if rates:
            figures["lie"] = [rate.to_dict() for rate in rates]
        write_figures(figures, as_json)
    if neurons is not None:
        write_bytes(neurons, neuron_file(result.to_networkx(), neurons.suffix))
    if report is not None:
        write_bytes(report, actions_page(result, shape, source, rates, what_ran()).encode())


def _name_files(as_json: str | None, neurons: Path | None, report: Path | None) -> None:
    name_files({"figures": as_json, "neurons": neurons, "report": report}, output(as_json))


def _check_lie(
    names: list[str], shape: tuple[int, ...], output_action: str | Mapping[str, Any], data: Path | None
) -> None:
    from graphws.actions.lie import named_generator

    for name in names:
        named_generator(name, shape)  # refuses unknown names, and inputs that are no pictures
    if names and data is None:
        raise UsageError("a Lie derivative is measured on probes: give --data")
    if names and output_action not in ("same", "invariant"):
        raise UsageError(
            "a Lie derivative needs --output-action same or invariant: no file says how a rate acts on outputs"
        )


def _lie(
    found: Conversion, names: list[str], shape: tuple[int, ...], output_action: str, data: Tensor | None
) -> list[LieFigures]:
    """The Lie derivatives that were asked for."""
    from graphws.actions.lie import lie_derivative

    if data is None:
        return []
    action: Any = output_action
    return [lie_derivative(found, name, shape, action, data=data) for name in names]


def _probes(path: Path) -> Tensor:
    """The tensor `inputs` of a file, or its only tensor."""
    from graphws.checkpoints.state_dict import read_state_dict

    tensors = read_state_dict(path)
    if "inputs" in tensors:
        return tensors["inputs"]
    if len(tensors) == 1:
        return next(iter(tensors.values()))
    raise DataError(f"{path}: holds {len(tensors)} tensors, none of them called 'inputs'")
