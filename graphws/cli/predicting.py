"""``graphws predict`` and ``graphws export``: a trained model asked about new networks, or taken elsewhere.

Imports of the runtime are inside the functions: they take seconds, which ``--help`` and mistakes should not cost.
"""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from graphws.cli.console import Bars, output, table
from graphws.cli.destinations import (
    JsonOption,
    OverwriteOption,
    check_files,
    check_folder,
    name_files,
    output_option,
    write_figures,
)
from graphws.errors import UsageError

if TYPE_CHECKING:
    from graphws.runtime.prediction import Predictions

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]
ModelOption = Annotated[
    str | None, typer.Option("--model", metavar="NAME", help="Which model of the run. Default: its own.")
]
_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def predict_command(
    run: RunArgument,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILES...",
            help="Checkpoints, .onnx files, converted networks, Hugging Face folders, zoos, or folders of these.",
        ),
    ],
    out: Annotated[
        Path | None, output_option("Write a .csv or .json file; a folder where the answers are networks.")
    ] = None,
    model: ModelOption = None,
    probabilities: Annotated[bool, typer.Option(help="The probability of every class, too.")] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out what holds no network that the model can read.")
    ] = False,
    as_json: JsonOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Ask a trained model about networks: what it says of each, in the units of the target."""
    from graphws.runtime.prediction import Run

    bars = Bars()
    asked = Run.load(run, bars)
    _check(out, asked.answers_networks, overwrite)
    check_files({"--json": as_json}, overwrite=overwrite)
    with bars.work(f"asking {model or asked.models[0]}"):
        found = asked.predict(files, model, probabilities=probabilities, skip_bad=skip_bad)
    for name, reason in found.skipped:
        bars.note(f"skipped {name}: {reason}" if name not in reason else f"skipped: {reason}")
    console = output(as_json)
    write_figures({"networks": found.rows(), "skipped": [list(each) for each in found.skipped]}, as_json)
    if asked.answers_networks:
        assert out is not None
        written = _write_networks(found, out)
        each = written // max(1, len(found.networks))
        more = f": {each} for each, of which the mean of the outputs is the answer" if each > 1 else ""
        console.print(f"{written:,} networks in {out}{more}")
    elif out is not None:
        _write_table(found, out)
        console.print(f"{len(found):,} networks in {out}")
    elif len(found):
        rows = [[name, *(_cell(column[k]) for column in found.columns.values())] for k, name in enumerate(found.names)]
        console.print(table(["file", *found.columns], rows))
    if found.skipped:
        console.print(f"{len(found.skipped):,} skipped")
    name_files({"figures": as_json}, console)


def export_command(
    run: RunArgument,
    out: Annotated[Path, typer.Argument(metavar="MODEL.pt2", help="The file to write.")],
    model: ModelOption = None,
    architecture: Annotated[
        str | None, typer.Option(metavar="NAME", help="For networks of which architecture, where the run has several.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Fix the number of networks. Default: any number.")
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Write a trained model as one file that PyTorch alone loads, preparation and units included."""
    from graphws.runtime.exporting import export_model
    from graphws.runtime.prediction import Run

    check_files({"MODEL.pt2": out}, overwrite=overwrite)
    keys = export_model(Run.load(run, Bars()), out, model, architecture, batch)
    many = "any number of networks" if batch is None else f"{batch} networks"
    output().print(f"{out}: takes {len(keys)} tensors of {many}, by the keys of their state dict: {', '.join(keys)}")


def _check(out: Path | None, networks: bool, overwrite: bool) -> None:
    """Refuses what could not be written, before the work begins."""
    if networks:
        if out is None:
            raise UsageError("this model answers with networks; say where to write them: -o FOLDER")
        if out.suffix in (".csv", ".json") or out.is_file():
            raise UsageError(f"{out}: this model answers with networks; give a folder")
        check_folder("--output", out, overwrite=overwrite)
    elif out is not None and out.suffix not in (".csv", ".json"):
        raise UsageError(f"{out}: predictions are written as .csv or .json; got {out.suffix or 'no suffix'!r}")
    else:
        check_files({"--output": out}, overwrite=overwrite)


def _cell(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _write_table(found: Predictions, out: Path) -> None:
    from graphws.files import whole_file

    rows = found.rows()
    if out.suffix == ".json":
        text = json.dumps(rows, indent=1) + "\n"
    else:
        stream = io.StringIO()
        writer = csv.DictWriter(stream, fieldnames=["file", *found.columns], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        text = stream.getvalue()
    with whole_file(out) as file:
        file.write(text.encode())


def _write_networks(found: Predictions, out: Path) -> int:
    """Each network as a state dict, under the name of its file; in the format of that file where it has one.

    Several answers for one have their number behind the name.  Returns how many files there are.
    """
    import torch
    from safetensors.torch import save

    from graphws.files import whole_file
    from graphws.runtime.files import make_folder

    make_folder(out)
    taken: set[str] = set()
    for number, (name, network) in enumerate(zip(found.names, found.networks, strict=True)):
        source = Path(name)
        stem = source.stem if _SAFE.fullmatch(source.stem) else f"network-{number:06d}"
        suffix = ".safetensors" if source.suffix == ".safetensors" else ".pt"
        if stem + suffix in taken:
            stem = f"{stem}-{number:06d}"
        taken.add(stem + suffix)
        for answer in range(network.batch):
            state = network.to_state_dict(answer)
            name = stem + suffix if network.batch == 1 else f"{stem}.answer-{answer + 1}{suffix}"
            with whole_file(out / name) as file:
                if suffix == ".safetensors":
                    file.write(save({key: tensor.clone() for key, tensor in state.items()}))
                else:
                    torch.save(state, file)
    return sum(network.batch for network in found.networks)
