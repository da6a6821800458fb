"""``graphws actions``: how a symmetry of the data acts inside a trained network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graphws.cli.console import output, table
from graphws.errors import DataError, UsageError

UNKNOWN = "unknown"
"""The group that stands for a search."""

if TYPE_CHECKING:
    from torch import Tensor

    from graphws.actions.lie import LieFigures
    from graphws.graph.conversion import Conversion


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
) -> None:
    """Say how a group acts on every layer of MODEL, or why it cannot be said."""
    import json

    import torch

    from graphws.actions.extract import find_actions
    from graphws.actions.symmetry_file import read_symmetry
    from graphws.converting import load_graph_file
    from graphws.report.actions_neurons import neuron_file
    from graphws.report.actions_page import COLUMNS, actions_page, actions_table
    from graphws.runtime.files import write_bytes

    hint = None if not activation else activation[0] if len(activation) == 1 else activation
    found = load_graph_file(path, activation=hint, omega=omega)
    if group == UNKNOWN:
        _unknown(found, json_file)
        return
    if input_shape is None:
        raise UsageError("--input-shape says what the group moves: give it, as 3,14,14")
    shape = _shape(input_shape)
    result = find_actions(
        found,
        read_symmetry(group),
        shape,
        output_action,
        data=None if data is None else _probes(data),
        decoys=decoys,
        generator=torch.Generator().manual_seed(seed),
    )
    rates = _lie(found, lie or [], shape, output_action, None if data is None else _probes(data))
    console = output()
    console.print(result.verdict.text, markup=False)
    if result.identifiability is not None:
        theorem = result.identifiability.theorem
        status = "proven" if theorem.proven else "not proven"
        console.print(f"Theory: {theorem.name}, {status}; {result.identifiability.licence}.", markup=False)
    for line in (result.note, *(rate.text for rate in rates)):
        if line:
            console.print(line, markup=False)
    console.print()
    console.print(table(COLUMNS, actions_table(result)))
    if json_file is not None:
        figures = result.to_dict()
        if rates:
            figures["lie"] = [rate.to_dict() for rate in rates]
        write_bytes(json_file, (json.dumps(figures, indent=2, allow_nan=False) + "\n").encode())
        console.print(f"figures: {json_file}", markup=False)
    if neurons is not None:
        write_bytes(neurons, neuron_file(result.to_networkx(), neurons.suffix))
        console.print(f"neurons: {neurons}", markup=False)
    if report is not None:
        assert found.weights is not None
        write_bytes(report, actions_page(result, found.weights, shape, path.name, rates).encode())
        console.print(f"report: {report}", markup=False)


def _unknown(found: Conversion, json_file: Path | None) -> None:
    """Searches for symmetries that nobody named, and says what they move."""
    import json

    from graphws.actions.automorphism import automorphisms
    from graphws.actions.result import map_to_dict
    from graphws.runtime.files import write_bytes

    if found.weights is None:
        raise UsageError("this graph has no weights: give a checkpoint, or a converted network's file")
    result = automorphisms(found.weights)
    console = output()
    if result.order == 1:
        console.print("No symmetry found: only the identity leaves all weights as they are.", markup=False)
    else:
        count = f"{len(result.generators)} generator" + ("s" if len(result.generators) > 1 else "")
        console.print(f"{result.order} exact symmetries, from {count}.", markup=False)
        rows = [
            [str(number), space.name, _cycles(result.on(space.name)[number - 1].tolist())]
            for number in range(1, len(result.generators) + 1)
            for space in found.graph.spaces
        ]
        console.print(table(["generator", "space", "moves"], rows))
    if json_file is not None:
        spaces = [space.name for space in found.graph.spaces]
        generators = [{name: map_to_dict(g.maps.get(name)) for name in spaces} for g in result.generators]
        figures = {"order": result.order, "generators": generators}
        write_bytes(json_file, (json.dumps(figures, indent=2, allow_nan=False) + "\n").encode())
        console.print(f"figures: {json_file}", markup=False)


def _cycles(perm: list[int], most: int = 6) -> str:
    """A permutation in cycles, the first few of them."""
    seen: set[int] = set()
    cycles = []
    for start in range(len(perm)):
        cycle, here = [], start
        while here not in seen:
            seen.add(here)
            cycle.append(here)
            here = perm[here]
        if len(cycle) > 1:
            cycles.append("(" + " ".join(map(str, cycle)) + ")")
    rest = f" and {len(cycles) - most} more" if len(cycles) > most else ""
    return " ".join(cycles[:most]) + rest if cycles else "-"


def _lie(
    found: Conversion, names: list[str], shape: tuple[int, ...], output_action: str, data: Tensor | None
) -> list[LieFigures]:
    """The Lie derivatives that were asked for."""
    from graphws.actions.lie import lie_derivative

    if names and data is None:
        raise UsageError("a Lie derivative is measured on probes: give --data")
    if data is None:
        return []
    action: Any = "invariant" if output_action == "invariant" else "same"
    return [lie_derivative(found, name, shape, action, data=data) for name in names]


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
