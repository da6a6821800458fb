"""``graphws convert``: a foreign network as a typed graph with its weights, in one file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from graphws.cli.console import Bars, output
from graphws.cli.destinations import JsonOption, OverwriteOption, check_files, name_files, output_option, write_figures
from graphws.cli.network_figures import conversion_figures
from graphws.cli.picturing import FigureOption, check_figure, model_name, write_figure
from graphws.cli.wording import in_options

InputsOption = Annotated[
    str | None,
    typer.Option(
        "--inputs", metavar="SPEC|FILE", help="Example inputs: 1x3x32x32, ids=2x16:int64<1000, or .npz, .safetensors."
    ),
]
OutputsOption = Annotated[
    str | None,
    typer.Option(
        "--outputs",
        metavar="NAMES",
        help="Outputs that count: names or positions with commas between, or 'all'; else what SOURCE is for.",
    ),
]
ExpectedOption = Annotated[
    str | None,
    typer.Option(
        "--expected",
        metavar="FILE",
        help="What SOURCE computes from --inputs FILE, to check (.npy, .npz, .safetensors).",
    ),
]
CodeOption = Annotated[
    bool, typer.Option("--allow-code", help="Run a source that is a program (TorchScript); only if you trust it.")
]
ActivationOption = Annotated[
    str | None, typer.Option(help="Of the hidden layers; a state dict does not say it: relu, sine, tanh, ...")
]
OmegaOption = Annotated[float | None, typer.Option(help="Frequency of sine activations, sin(omega x).")]


def convert_command(
    source: Annotated[
        Path,
        typer.Argument(metavar="SOURCE", help="A checkpoint, an .onnx or TorchScript file, a Hugging Face folder."),
    ],
    out: Annotated[Path | None, output_option("The .safetensors file to write.", "OUT")] = None,
    inputs: InputsOption = None,
    outputs: OutputsOption = None,
    expected: ExpectedOption = None,
    activation: ActivationOption = None,
    omega: OmegaOption = None,
    allow_code: CodeOption = False,
    why: Annotated[
        str | None, typer.Option("--why", metavar="SPACE", help="Explain why a space is what it is.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the numeric gate.")] = 0,
    figure: FigureOption = None,
    as_json: JsonOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Convert SOURCE to a typed graph, try its symmetry on the network itself, and write both into OUT."""
    import torch

    from graphws.checkpoints.example_inputs import example_inputs, example_outputs
    from graphws.checkpoints.network_file import save_network
    from graphws.converting import convert
    from graphws.errors import DataError

    if not source.exists():
        raise DataError(f"{source}: no such file or folder")
    check_files({"--output": out, "--figure": figure, "--json": as_json}, overwrite=overwrite)
    if figure is not None:
        check_figure(figure)
    generator = torch.Generator().manual_seed(seed)
    given = None if inputs is None else example_inputs(inputs, generator)
    wanted = None if expected is None else example_outputs(expected, inputs)
    found = convert(
        source, given, example_outputs=wanted, activation=activation, omega=omega, generator=generator,
        allow_code=allow_code, outputs=None if outputs is None else chosen_outputs(outputs), reporter=Bars(),
    )  # fmt: skip
    graph, console = found.graph, output(as_json)
    if out is not None:
        save_network(found, out)
    if figure is not None:
        write_figure(found, figure, model_name(source))
    write_figures(conversion_figures(found), as_json)
    if why is not None:
        space = graph.space(why)
        users = ", ".join(p.name for p in graph.parameters if why in p.spaces)
        console.print(str(space))
        console.print(f"why: {space.reason or 'no operation pins it down'}")
        console.print(f"in: {users or 'no parameter'}")
    moving = sum(space.moves for space in graph.spaces)
    console.print(
        f"{len(graph.spaces)} spaces ({moving} move), {len(graph.parameters)} parameters, {graph.numel:,} numbers, "
        f"{found.coverage:.1%} of what outputs depend on follows the group; 10^{graph.log10_order():.1f} relabellings",
        markup=False,
    )
    for note in found.notes:
        console.print(f"note: {in_options(note, {'outputs': '--outputs'})}", markup=False)
    if found.counting:
        console.print(found.counting, markup=False)
    if found.story:
        console.print(found.story, markup=False)
    console.print(found.verdict, markup=False)
    if found.running:
        console.print(found.running, markup=False)
    name_files({"written": out, "graph": figure, "figures": as_json}, console)


def chosen_outputs(text: str) -> str | list[str | int]:
    """What ``--outputs`` names: ``all``, or names and positions.

    Raises:
        UsageError: Where one of them is empty, or is a file.
    """
    from graphws.checkpoints.conversion import EVERY
    from graphws.errors import UsageError

    names = [name.strip() for name in text.split(",")]
    if names == [EVERY]:
        return EVERY
    if "" in names:
        raise UsageError(f"--outputs takes names or positions with commas between, got {text[:80]!r}")
    if Path(names[0]).suffix in (".npy", ".npz", ".safetensors") and Path(names[0]).is_file():
        raise UsageError(f"--outputs takes names of outputs; numbers to compare with go to --expected {names[0]}")
    return [int(name) if re.fullmatch("-?[0-9]{1,9}", name) else name for name in names]
