"""``graphws inspect``: a checkpoint, a zoo or a graph file as a typed graph."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphws.cli.console import Bars, output, table
from graphws.cli.destinations import JsonOption, OverwriteOption, check_files, name_files, write_figures
from graphws.cli.network_figures import conversion_figures
from graphws.cli.picturing import FigureOption, check_figure, model_name, write_figure

EFFORT = 1e8
"""Numbers that the gate may make when a converted network is looked at: a second or so."""


def inspect_command(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="A .pt, .pth or .safetensors file, a zoo, a graph.json.")
    ],
    activation: Annotated[
        str | None, typer.Option(help="Of the hidden layers; a state dict does not say it: relu, sine, tanh, ...")
    ] = None,
    omega: Annotated[float | None, typer.Option(help="Frequency of sine activations, sin(omega x).")] = None,
    figure: FigureOption = None,
    as_json: JsonOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Print the spaces, parameters, orbits and the symmetry group of the network in FILE."""
    from graphws.converting import load_graph_file
    from graphws.graph.summary import summary_table

    check_files({"--figure": figure, "--json": as_json}, overwrite=overwrite)
    if figure is not None:
        check_figure(figure)
    found = load_graph_file(path, activation=activation, omega=omega, effort=EFFORT, reporter=Bars())
    console = output(as_json)
    if figure is not None:
        write_figure(found, figure, model_name(path))
    write_figures(conversion_figures(found), as_json)
    summary = summary_table(found.graph)
    spaces = [
        [row.name, row.kind, str(row.extent), row.action, row.factor, row.reason or row.role] for row in summary.spaces
    ]
    parameters = [
        [row.name, row.axes, "x".join(map(str, row.shape)) or "1", f"{row.numel:,}", f"{row.orbits:,}", row.key]
        for row in summary.parameters
    ]
    console.print(table(["space", "kind", "size", "action", "group", "why"], spaces))
    console.print()
    console.print(table(["parameter", "axes", "shape", "numbers", "orbits", "stored as"], parameters))
    console.print()
    group = " x ".join(summary.factors) or "trivial"
    console.print(f"{summary.numel:,} numbers in {summary.orbits:,} orbits", markup=False)
    console.print(f"group: {group}, 10^{summary.log10_order:.1f} relabellings", markup=False)
    console.print(found.verdict, markup=False)
    if found.counting:
        console.print(found.counting, markup=False)
    if found.running:
        console.print(found.running, markup=False)
    name_files({"graph": figure, "figures": as_json}, console)
