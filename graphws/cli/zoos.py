"""``graphws zoo fit|pack|unpack|export|info``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from graphws.cli.arguments import Overrides, ScaleOption, SpecArgument
from graphws.cli.commands import Command
from graphws.cli.console import Bars, output, table
from graphws.cli.destinations import JsonOption, OverwriteOption, check_files, write_figures
from graphws.errors import UsageError

app = typer.Typer(
    help="Data sets of networks: fit, pack, unpack, export, look.", no_args_is_help=True, rich_markup_mode="markdown"
)

ZooArgument = Annotated[Path, typer.Argument(metavar="ZOO", help="Folder of a zoo.")]


@app.command("fit", cls=Command)
def fit_command(spec: SpecArgument, overrides: Overrides = None, scale: ScaleOption = None) -> None:
    """Fit or train the networks of the zoo that SPEC describes. A stopped fit goes on: run the same command again."""
    from graphws.reporter import Reporter
    from graphws.runtime.environment import join, leave, processes
    from graphws.runtime.zoo_fit import fit_section
    from graphws.spec import load_spec

    loaded = load_spec(spec, overrides or (), scale)
    if loaded.zoo is None:
        raise UsageError(f"{spec} has no section `zoo`, so there is nothing to fit")
    group = processes()
    join(group)
    try:
        zoo = fit_section(loaded.zoo, group, Bars(log=True) if group.first else Reporter())
    finally:
        leave(group)
    if group.first:
        output().print(str(zoo), markup=False)


LikeOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--like",
        metavar="NETWORK",
        help="A network that says what state dicts are: a converted file, an .onnx file, a Hugging Face folder. "
        "Repeatable.",
    ),
]


@app.command("pack", cls=Command)
def pack_command(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Networks, in one of many layouts: see docs/zoos.md.")
    ],
    out: Annotated[Path, typer.Argument(metavar="ZOO", help="Folder of the new zoo.")],
    layout: Annotated[str | None, typer.Option(help="How the networks lie in FOLDER; seen where not given.")] = None,
    like: LikeOption = None,
    activation: Annotated[
        str | None, typer.Option(help="Of the hidden layers of MLPs, which a state dict does not say; a,b one a layer.")
    ] = None,
    omega: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="Frequency of sines, sin(omega x); 30,1 one a layer.")
    ] = None,
    slope: Annotated[float | None, typer.Option(help="Of leaky_relu below 0.")] = None,
    exponent: Annotated[int | None, typer.Option(help="Of power.")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="CSV or Parquet; labels.csv or labels.parquet in FOLDER where not given.")
    ] = None,
    file_column: Annotated[str, typer.Option(help="Its column that names the networks.")] = "file",
    split_column: Annotated[str, typer.Option(help="Its column that says the split.")] = "split",
    splits: Annotated[Path | None, typer.Option(help="File of splits of a layout that has one.")] = None,
    split_at: Annotated[
        str | None, typer.Option(metavar="A,B", help="Of numbered samples: below A train, below B validation.")
    ] = None,
    where: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN=VALUE", help="Only networks with this value. Repeatable.")
    ] = None,
    validation: Annotated[float, typer.Option(help="Share of the networks kept for choosing models.")] = 0.1,
    test: Annotated[float, typer.Option(help="Share kept for the final score.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Decides which network is in which split.")] = 0,
    check: Annotated[float, typer.Option(help="Share of each architecture that is put through the gate.")] = 0.02,
    workers: Annotated[int, typer.Option(help="Processes that read.")] = 1,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out, and list, what cannot be packed.")] = False,
) -> None:
    """Make a zoo of a folder of networks. A stopped pack goes on: run the same command again."""
    from graphws.zoo import SplitOptions
    from graphws.zoo.pack import pack

    bars = Bars(log=True)
    work = ""

    def tell(now: str, done: int, total: int) -> None:
        nonlocal work
        if now != work:
            bars.end()
            bars.start(f"{now} {folder}", total, "networks")
            work = now
        bars.step(done, {})

    try:
        zoo = pack(
            folder,
            out,
            layout=layout,
            like=like or (),
            activation=_one_or_several(activation, str, "--activation"),
            omega=_one_or_several(omega, float, "--omega"),
            slope=slope,
            exponent=exponent,
            labels=labels,
            file_column=file_column,
            split_column=split_column,
            splits=splits,
            split_at=_points(split_at),
            where=[_pair(text) for text in where or ()],
            split=SplitOptions(validation, test, seed),
            check=check,
            workers=workers,
            skip_bad=skip_bad,
            progress=tell,
        )
    finally:
        bars.end()
    console = output()
    console.print(str(zoo), markup=False)
    for line in _story(zoo.provenance):
        console.print(line, markup=False)


MOST_LINES = 20


def _story(provenance: Any) -> list[str]:
    """What was checked and left out, in lines."""
    lines = []
    figures = provenance.get("check", {})
    for name, found in list(figures.items())[:MOST_LINES]:
        size = f"error {found['error']:.0e}, control {found['control']:.0e}" if "error" in found else ""
        reason = f"others: {found['reason']}" if "reason" in found else ""
        details = "; ".join(text for text in (size, reason) if text)
        lines.append(
            f"{name}: {found['networks']:,} networks, {found['verified']} of {found['tried']} tried are verified"
            + (f" ({details})" if details else "")
        )
    if len(figures) > MOST_LINES:
        lines.append(f"and {len(figures) - MOST_LINES} architectures more")
    skipped = provenance.get("skipped", [])
    if skipped:
        lines.append(f"left out: {len(skipped):,} networks")
        lines += [f"  {each['file']}: {each['reason']}" for each in skipped[:MOST_LINES]]
    return lines


def _one_or_several(text: str | None, kind: Any, option: str) -> Any:
    """A value, or a list of them between commas."""
    if text is None:
        return None
    try:
        values = [kind(part.strip()) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"{option} takes a number, or one a layer as in 30,1; got {text!r}") from None
    return values[0] if len(values) == 1 else values


def _points(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 2 or not all(part.strip().isdecimal() for part in parts):
        raise UsageError(f"--split-at takes two numbers as in 45000,50000; got {text!r}")
    return int(parts[0]), int(parts[1])


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--where takes COLUMN=VALUE; got {text!r}")
    return name, value


@app.command("export", cls=Command)
def export_command(
    path: ZooArgument,
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder, empty or new.")],
    layout: Annotated[
        str, typer.Option(help="state-dicts, dwsnets, nfn, neural-graphs or small-cnn-zoo.")
    ] = "state-dicts",
) -> None:
    """Write a zoo in the layout of a publication, bit for bit as `graphws zoo pack` reads it."""
    from graphws.zoo import Zoo
    from graphws.zoo.export import export

    zoo, bars = Zoo.open(path), Bars()
    bars.start(f"exporting {path}", len(zoo), "networks")
    try:
        export(zoo, out, layout, progress=lambda done, total: bars.step(done, {}))
    finally:
        bars.end()
    output().print(f"{len(zoo):,} networks in {out}", markup=False)


@app.command("unpack", cls=Command)
def unpack_command(
    path: ZooArgument,
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder for the state dicts.")],
    network: Annotated[
        list[int] | None,
        typer.Option("--network", "-n", help="Which network, counted from 0. Repeatable. Default: all."),
    ] = None,
    suffix: Annotated[str, typer.Option(help=".safetensors or .pt")] = ".safetensors",
) -> None:
    """Write networks of a zoo as state dicts, bit for bit as they were."""
    from graphws.zoo import Zoo
    from graphws.zoo.unpack import unpack

    files = unpack(Zoo.open(path), out, network, suffix=suffix, reporter=Bars())
    output().print(f"{len(files):,} state dicts in {out}" if len(files) != 1 else str(files[0]), markup=False)


@app.command("info", cls=Command)
def info_command(
    path: ZooArgument,
    verify: Annotated[bool, typer.Option("--verify", help="Read every file and compare its checksum.")] = False,
    as_json: JsonOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Say what a zoo holds and how it was made."""
    from graphws.zoo import Zoo

    check_files({"--json": as_json}, overwrite=overwrite)
    with Bars().work(f"comparing checksums of {path}" if verify else f"opening {path}"):
        zoo = Zoo.open(path, verify=verify)
    console = output(as_json)
    write_figures(_zoo_figures(zoo, verify), as_json)
    console.print(str(zoo), markup=False)
    if len(zoo.graphs) > 1:
        shelves = zip(zoo.names, zoo.graphs, zoo.manifest.architectures, strict=True)
        about = [[name, f"{shelf.count:,}", f"{graph.numel:,}", _spaces(graph)] for name, graph, shelf in shelves]
        console.print(table(["architecture", "networks", "numbers", "spaces that move"], about))
    rows = [[name, str(column.dtype), _range(column)] for name, column in zoo.table.items()]
    console.print(table(["column", "type", "values"], rows))
    if verify:
        console.print("every checksum agrees")


def _zoo_figures(zoo: Any, verified: bool) -> dict[str, Any]:
    """What a zoo holds, for programs."""
    splits = ("train", "validation", "test")
    return {
        "networks": len(zoo),
        "splits": {name: len(zoo.split(name)) for name in splits},
        "architectures": [
            {"name": name, "networks": shelf.count, "numbers": graph.numel, "log10_order": graph.log10_order()}
            for name, graph, shelf in zip(zoo.names, zoo.graphs, zoo.manifest.architectures, strict=True)
        ],
        "columns": {name: {"type": str(column.dtype), "values": _range(column)} for name, column in zoo.table.items()},
        "provenance": zoo.provenance,
        "checksums": "agree" if verified else "not compared",
    }


def _spaces(graph: Any) -> str:
    sizes = [str(graph.extent(space.name)) for space in graph.spaces if space.moves]
    return ", ".join(sizes[:8]) + (", ..." if len(sizes) > 8 else "")


def _range(column: Any) -> str:
    values = set(column.tolist())
    if column.dtype.kind in "iuf" and len(values) > 12:
        return f"{column.min():.4g} to {column.max():.4g}"
    ordered = sorted(values, key=lambda value: (value is None, value))
    shown = ", ".join("(none)" if value is None else str(value) for value in ordered[:12])
    return shown + (", ..." if len(values) > 12 else "")
