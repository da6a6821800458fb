"""``graphws align``: bring one network to the order, signs and scales of another, and say what that changed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from graphws.cli.console import output, table

if TYPE_CHECKING:
    from torch import Tensor

    from graphws.graph import Weights


def align_command(
    first: Annotated[
        Path, typer.Argument(metavar="A", help="The network to be met: a checkpoint or a converted graph.")
    ],
    second: Annotated[Path, typer.Argument(metavar="B", help="The network to be moved, of the same architecture.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="OUT", help="Write B, aligned, to this .safetensors file.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="A .safetensors or .pt file with `inputs` and, if there are, `labels`: measures the barrier."
        ),
    ] = None,
    method: Annotated[
        str, typer.Option(help="What to match: weights, activations (needs --data) or attributions (needs --data).")
    ] = "weights",
    actions: Annotated[str, typer.Option(help="rich (signs, scales, linear maps too) or permutation.")] = "rich",
    activation: Annotated[
        str | None, typer.Option(help="Of the hidden layers; a state dict does not say it: relu, sine, tanh, ...")
    ] = None,
    omega: Annotated[float | None, typer.Option(help="Frequency of sine activations, sin(omega x).")] = None,
    restarts: Annotated[int, typer.Option(min=0, help="Random starts besides the two fixed ones.")] = 2,
    seed: Annotated[int, typer.Option(help="Of the random starts and orders.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all figures as JSON.")] = None,
) -> None:
    """Align network B with network A: the same function, neurons in A's order."""
    import json

    import torch

    from graphws.align import compare
    from graphws.errors import UsageError, nearest
    from graphws.graph import forward
    from graphws.runtime.files import write_bytes

    if actions not in ("rich", "permutation"):
        raise UsageError(
            f"--actions must be rich or permutation; got {actions!r}" + nearest(actions, ["rich", "permutation"])
        )
    if method != "weights" and data is None:
        raise UsageError(f"--method {method} needs --data")
    if out is not None and out.suffix != ".safetensors":
        raise UsageError(f"--out must end in .safetensors; got {out.name!r}")
    a, b = (_network(path, activation, omega) for path in (first, second))
    if a.graph != b.graph:
        raise UsageError(f"{first.name} and {second.name} are of different architectures: {_difference(a, b)}")
    inputs, labels = _data(data, a)
    points = None if inputs is None else inputs.double()
    found = compare(
        a,
        b,
        method=method,  # type: ignore[arg-type]
        inputs=inputs,
        labels=labels,
        run=None if points is None or method != "attributions" else lambda w: forward(w.graph, w, points),
        actions=actions,  # type: ignore[arg-type]
        generator=torch.Generator().manual_seed(seed),
        restarts=restarts,
    )
    console = output()
    rows = [
        [name, f"{found.alignment.before[name]:.3f}", f"{found.alignment.after[name]:.3f}"]
        for name in found.alignment.before
    ]
    console.print(
        table(["parameter", "agreement before", "after"], [*rows, ["all", *(f"{x:.3f}" for x in found.agreement)]])
    )
    console.print()
    if found.before is not None and found.after is not None:
        console.print(f"{found.loss}, before: {found.before}", markup=False)
        console.print(f"{found.loss}, after:  {found.after}", markup=False)
    if not math.isnan(found.error):
        console.print(f"B computes what it did: its outputs changed by {found.error:.1e}", markup=False)
    else:
        console.print("outputs were not compared: give --data; aligning is exact by the graph's symmetry", markup=False)
    if out is not None:
        from safetensors.torch import save

        state = found.alignment.aligned.to(dtype=b.dtype).to_state_dict()
        write_bytes(out, save({name: tensor.clone().contiguous() for name, tensor in state.items()}))
        console.print(f"aligned: {out}", markup=False)
    if json_file is not None:
        write_bytes(json_file, (json.dumps(found.to_dict(), indent=2) + "\n").encode())
        console.print(f"figures: {json_file}", markup=False)


def _network(path: Path, activation: str | None, omega: float | None) -> Weights:
    from graphws.converting import load_graph_file
    from graphws.errors import UsageError

    found = load_graph_file(path, activation=activation, omega=omega)
    if found.weights is None:
        raise UsageError(f"{path.name} is a graph without weights: there is nothing to align")
    return found.weights


def _difference(first: Weights, second: Weights) -> str:
    """The first parameter in which two graphs differ."""
    sides = [{p.name: f"{p} {tuple(w.graph.shape(p.name))}" for p in w.graph.parameters} for w in (first, second)]
    for name in [*sides[0], *sides[1]]:
        if sides[0].get(name) != sides[1].get(name):
            return f"{sides[0].get(name, f'no {name}')} against {sides[1].get(name, f'no {name}')}"
    return "their spaces or steps differ"


def _data(path: Path | None, weights: Weights) -> tuple[Tensor | None, Tensor | None]:
    from graphws.errors import DataError, UsageError
    from graphws.graph.checkpoint import read_state_dict

    if path is None:
        return None, None
    if not weights.graph.operations:
        raise UsageError(
            "--data: this network cannot be run from its graph alone; in Python, give `align` a run function"
        )
    tensors = read_state_dict(path)
    if "inputs" not in tensors or set(tensors) - {"inputs", "labels"}:
        raise DataError(
            f"{path.name} must hold `inputs` and may hold `labels`; it holds {', '.join(tensors) or 'nothing'}"
        )
    labels = tensors.get("labels")
    return tensors["inputs"], labels.long() if labels is not None else None
