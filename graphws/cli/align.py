"""``graphws align``: bring networks to the order, signs and scales of the first, merge them, say what that changed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphws.cli.align_results import Files, show_comparison, show_merging
from graphws.cli.arguments import read_shape
from graphws.cli.console import Bars
from graphws.cli.destinations import JsonOption, OverwriteOption, output_option
from graphws.errors import UsageError, nearest

NOISE = "noise"
"""The word for points that are drawn."""
METHODS = "weights", "activations", "attributions"


def align_command(
    networks: Annotated[
        list[Path],
        typer.Argument(
            metavar="A B [C ...]",
            help="The network to be met, and those to be moved: checkpoints or converted graphs of one architecture.",
        ),
    ],
    out: Annotated[
        Path | None, output_option("Write B, aligned, to this .safetensors file; all of many to a folder.", "OUT")
    ] = None,
    merge: Annotated[
        Path | None,
        typer.Option("--merge", metavar="FILE", help="Write the mean of the aligned networks to a .safetensors file."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="A .safetensors or .pt file with `inputs` and, if there are, `labels`: measures the barrier."
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            help="What to match: weights, activations (needs --data) or attributions (needs --data); many: weights."
        ),
    ] = "weights",
    actions: Annotated[str, typer.Option(help="rich (signs, scales, linear maps too) or permutation.")] = "rich",
    activation: Annotated[
        str | None, typer.Option(help="Of the hidden layers; a state dict does not say it: relu, sine, tanh, ...")
    ] = None,
    omega: Annotated[float | None, typer.Option(help="Frequency of sine activations, sin(omega x).")] = None,
    statistics: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA",
            help="A file with `inputs` over which batch-norm statistics of merged networks are measured anew; "
            "those of --data where it is not given.",
        ),
    ] = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Rescale the neurons of merged networks to what they carry in the networks, over the same."
        ),
    ] = False,
    refine: Annotated[
        str | None,
        typer.Option(
            metavar="DATA|noise",
            help="A file with `inputs` and, if there are, `labels`, to learn on: two transformers are brought closer "
            "by gradient, so that their mean has a small loss there. Take other points than those of --data; or "
            "`noise`, which takes no data at all, with --input-shape.",
        ),
    ] = None,
    input_shape: Annotated[str | None, typer.Option(help="Shape of one input, as 1,8,8, for --refine noise.")] = None,
    restarts: Annotated[int, typer.Option(min=0, help="Random starts besides the two fixed ones.")] = 2,
    seed: Annotated[int, typer.Option(help="Of the random starts and orders.")] = 0,
    as_json: JsonOption = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write an .html report with a figure.")] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Align networks with the first, A: the same functions, neurons in A's order.

    Two are matched with one another. More are matched in turn, each with the mean of all others (MergeMany), until
    nothing changes. With --data permutations and no alignment are tried as well, and the mean of least loss is kept.
    """
    import torch

    from graphws.align import compare, merge_many
    from graphws.cli.align_inputs import Data, points_to_learn_on, read_data, read_networks
    from graphws.graph import Weights

    files = Files(out, merge, as_json, report, overwrite)
    _check(networks, data, method, actions, files)
    if refine is not None and (len(networks) > 2 or method != "weights" or actions != "rich"):
        raise UsageError("--refine is for two networks, matched by their weights with rich actions")
    if (refine == NOISE) != (input_shape is not None):
        raise UsageError("--refine noise and --input-shape go together: noise of that shape is drawn")
    shape = None if input_shape is None else read_shape(input_shape)
    if repair and data is None and statistics is None:
        raise UsageError("--repair needs inputs: give --data or --statistics")
    bars = Bars()
    read = read_networks(networks, activation, omega)
    given = Data() if data is None else read_data(data, read[0])
    over = None if statistics is None else read_data(statistics, read[0], "--statistics").inputs
    generator = torch.Generator().manual_seed(seed)
    learned = None if refine is None else points_to_learn_on(refine, read[0], shape)
    names = [path.name for path in networks]
    if len(read) == 2:
        with bars.work(f"aligning {names[1]} with {names[0]}"):
            found = compare(
                read[0],
                read[1],
                method=method,  # type: ignore[arg-type]
                inputs=given.inputs,
                labels=given.labels,
                run=given.run,
                values=given.values,
                actions=actions,  # type: ignore[arg-type]
                generator=generator,
                restarts=restarts,
                statistics=over,
                rescale=repair,
                refine=learned,
                reporter=bars,
            )
        show_comparison(found, read[0], names, files)
        return
    with bars.work(f"aligning {len(read)} networks"):
        merged = merge_many(
            Weights.cat(read),
            generator=generator,
            inputs=given.inputs,
            labels=given.labels,
            run=given.run,
            actions=actions,  # type: ignore[arg-type]
            statistics=over,
            rescale=repair,
        )
    show_merging(merged, read[0], names, files)


def _check(networks: list[Path], data: Path | None, method: str, actions: str, files: Files) -> None:
    """Refuses before the work begins what could not be done, or written in the end."""
    if len(networks) < 2:
        raise UsageError(f"aligning takes two networks or more; got {networks[0].name} alone")
    if actions not in ("rich", "permutation"):
        raise UsageError(
            f"--actions must be rich or permutation; got {actions!r}" + nearest(actions, ["rich", "permutation"])
        )
    if method not in METHODS:
        raise UsageError(f"--method must be one of {', '.join(METHODS)}; got {method!r}" + nearest(method, METHODS))
    if method != "weights" and len(networks) > 2:
        raise UsageError(f"--method {method} is for two networks; more are matched by their weights")
    if method != "weights" and data is None:
        raise UsageError(f"--method {method} needs --data")
    files.check(len(networks), [path.stem for path in networks])
