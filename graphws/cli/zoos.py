"""``graphws zoo fit|pack|unpack|info``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from graphws.cli.arguments import Overrides, SpecArgument
from graphws.cli.console import Bars, output, table
from graphws.errors import UsageError

app = typer.Typer(help="Data sets of networks: fit, pack, unpack, look.", no_args_is_help=True, rich_markup_mode=None)

ZooArgument = Annotated[Path, typer.Argument(metavar="ZOO", help="Folder of a zoo.")]


@app.command("fit")
def fit_command(spec: SpecArgument, overrides: Overrides = None) -> None:
    """Fit one network to every sample of SPEC's data source. A stopped fit goes on: run the same command again."""
    from graphws.runtime.environment import join, leave, processes
    from graphws.runtime.reporter import Reporter
    from graphws.runtime.zoo_fit import fit_section
    from graphws.spec import load_spec

    loaded = load_spec(spec, overrides or ())
    if loaded.zoo is None:
        raise UsageError(f"{spec} has no section `zoo`, so there is nothing to fit")
    group = processes()
    join(group)
    try:
        zoo = fit_section(loaded.zoo, group, Bars() if group.first else Reporter())
    finally:
        leave(group)
    if group.first:
        output().print(repr(zoo), markup=False)


@app.command("pack")
def pack_command(
    folder: Annotated[
        Path, typer.Argument(help="Holds .pt, .pth or .safetensors state dicts of one MLP architecture.")
    ],
    out: Annotated[Path, typer.Argument(metavar="ZOO", help="Folder of the new zoo.")],
    activation: Annotated[str, typer.Option(help="Of the hidden layers, which a state dict does not say.")] = "relu",
    omega: Annotated[float | None, typer.Option(help="Frequency of sine activations, sin(omega x).")] = None,
    validation: Annotated[float, typer.Option(help="Share of the networks kept for choosing models.")] = 0.1,
    test: Annotated[float, typer.Option(help="Share kept for the final score.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Decides which network is in which split.")] = 0,
) -> None:
    """Make a zoo of a folder of checkpoints. Labels and splits come from its labels.csv, if there is one."""
    from graphws.zoo import SplitOptions
    from graphws.zoo.pack import pack

    bars = Bars()
    started = False

    def tell(done: int, total: int) -> None:
        nonlocal started
        if not started:
            bars.start(f"packing {folder}", total, "files")
            started = True
        bars.step(done, {})

    try:
        zoo = pack(
            folder,
            out,
            activation=activation,
            omega=omega,
            split=SplitOptions(validation, test, seed),
            progress=tell,
        )
    finally:
        bars.end()
    output().print(repr(zoo), markup=False)


@app.command("unpack")
def unpack_command(
    path: ZooArgument,
    out: Annotated[Path, typer.Argument(help="Folder for the state dicts.")],
    network: Annotated[
        list[int] | None,
        typer.Option("--network", "-n", help="Which network, counted from 0. Repeatable. Default: all."),
    ] = None,
    suffix: Annotated[str, typer.Option(help=".safetensors or .pt")] = ".safetensors",
) -> None:
    """Write networks of a zoo as state dicts, bit for bit as they were."""
    from graphws.zoo import Zoo
    from graphws.zoo.pack import unpack

    files = unpack(Zoo.open(path), out, network, suffix=suffix)
    output().print(f"{len(files):,} state dicts in {out}" if len(files) != 1 else str(files[0]), markup=False)


@app.command("info")
def info_command(
    path: ZooArgument,
    verify: Annotated[bool, typer.Option("--verify", help="Read every file and compare its checksum.")] = False,
) -> None:
    """Say what a zoo holds and how it was made."""
    from graphws.zoo import Zoo

    zoo = Zoo.open(path, verify=verify)
    console = output()
    console.print(repr(zoo), markup=False)
    if len(zoo.graphs) > 1:
        shelves = zip(zoo.names, zoo.graphs, zoo.manifest.architectures, strict=True)
        about = [[name, f"{shelf.count:,}", f"{graph.numel:,}", _spaces(graph)] for name, graph, shelf in shelves]
        console.print(table(["architecture", "networks", "numbers", "spaces that move"], about))
    rows = [[name, str(column.dtype), _range(column)] for name, column in zoo.table.items()]
    console.print(table(["column", "type", "values"], rows))
    if verify:
        console.print("every checksum agrees")


def _spaces(graph: Any) -> str:
    sizes = [str(graph.extent(space.name)) for space in graph.spaces if space.moves]
    return ", ".join(sizes[:8]) + (", ..." if len(sizes) > 8 else "")


def _range(column: Any) -> str:
    values = set(column.tolist())
    if column.dtype.kind in "iuf" and len(values) > 12:
        return f"{column.min():.4g} to {column.max():.4g}"
    shown = ", ".join(str(value) for value in sorted(values)[:12])
    return shown + (", ..." if len(values) > 12 else "")
