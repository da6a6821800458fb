"""Actions that are claimed on networks that have none, or not that one.

Each network is drawn from its number: an architecture in turn, a group, probes of some kind or none, 0 to 3 decoys.
Whether the group acts on its function is measured by running its module, apart from all that `find_actions` does.
*Exact action* and *action found* are false claims wherever the function is not equivariant by construction (true error
above the architecture's bar).  *Action in part* names layers: it is a false claim too, but where layers before the step
that breaks the symmetry truly have it (*deceptive* networks; `Architecture.partly`).
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import nn

from benchmarks.verdicts import Draw
from graphws.actions import find_actions, named_symmetry
from graphws.actions.groups.placing import place
from graphws.actions.groups.symmetry import DataSymmetry
from graphws.actions.pictures.joined_axes import picture_view, unfolded
from graphws.actions.planted.networks import plant
from graphws.checkpoints.conversion import Conversion
from graphws.converting import convert
from graphws.errors import GraphwsError
from graphws.graph import Weights
from scripts.trust.figures import Part
from scripts.trust.networks_tried import ARCHITECTURES, Architecture
from scripts.trust.probes_tried import KINDS

COLUMNS = (
    "architecture", "networks", "refused", "no action", "right claims", "in part", "false in part", "false claims",
    "crashes",
)  # fmt: skip
CLAIMS = ("exact action", "action found")
EXACT = 1e-4
"""The largest true error beside which "exact action" is right."""


@dataclass(frozen=True)
class Trial:
    """What came of one network.

    Attributes:
        number: Its number.
        architecture: Its architecture.
        outcome: The verdict's, ``refused`` or ``crash``.
        truth: How far its function is from equivariant on random inputs.
        words: The group, the probes, the decoys, and what was said.
    """

    number: int
    architecture: str
    outcome: str
    truth: float
    words: str


def column(trial: Trial, architecture: Architecture) -> str:
    """The column that a trial counts in."""
    if trial.outcome in ("refused", "no action found", "crash"):
        return {"refused": "refused", "no action found": "no action", "crash": "crashes"}[trial.outcome]
    if trial.outcome == "action in part":
        return "in part" if architecture.partly or trial.truth <= architecture.bar else "false in part"
    bar = min(EXACT, architecture.bar) if trial.outcome == "exact action" else architecture.bar
    return "right claims" if trial.truth <= bar else "false claims"


def true_error(module: nn.Module, symmetry: DataSymmetry, inputs: tuple[int, ...], seed: int) -> float:
    """‖f(g x) - g f(x)‖ / ‖f - mean‖ on random inputs, the largest over the group; 0 where f never changes."""
    x = torch.randn(256, *inputs, generator=torch.Generator().manual_seed(seed + 1_000_000), dtype=torch.float64)
    with torch.no_grad():
        base, worst = module(x).flatten(1), 0.0
        spread = float((base - base.mean(0)).norm())
        moved = symmetry.output[0].size == base.shape[1]
        for g in range(1, symmetry.order):
            wanted = symmetry.on_outputs(g, base) if moved else base
            gap = float((module(symmetry.on_inputs(g, x)).flatten(1) - wanted).norm())
            worst = max(worst, gap / spread if spread > 0 else 0.0)
    return worst


def drawn(architecture: Architecture, draw: Draw) -> nn.Module:
    """A module with random weights; running statistics of norms are random too."""
    torch.manual_seed(draw.number(0, 2**31))
    module = architecture.build(draw).double().eval()
    with torch.no_grad():
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.3 * draw.normal(*buffer.shape))
            elif name.endswith("running_var"):
                buffer.copy_(0.5 + draw.normal(*buffer.shape).abs())
    return module


def planted(
    module: nn.Module, conversion: Conversion, symmetry: DataSymmetry, shape: tuple[int, ...], draw: Draw
) -> None:
    """Gives a module weights on which the group acts as a hidden action does, drawn at random."""
    assert conversion.weights is not None
    view = picture_view(conversion.weights)
    found = plant(view.graph, place(view.graph, symmetry, shape), draw.rng).weights
    positive = {name: x.abs() + 0.5 if name.endswith("running_var") else x for name, x in found.items()}
    module.load_state_dict(unfolded(Weights(view.graph, positive), conversion.graph).to_state_dict())


def own_images(module: nn.Module, group: Any) -> None:
    """Makes every filter its own image under the moves of pictures that a named group has."""
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.Conv1d):
                layer.weight.copy_((layer.weight + layer.weight.flip(-1)) / 2)
            elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                table = layer.weight.clone()
                moves = named_symmetry(group, (1, *table.shape[2:]), "same")
                flat = table.flatten(2)
                images = [e.apply(flat, 2, 1).reshape(table.shape) for e in moves.input]
                layer.weight.copy_(torch.stack(images).mean(0))


def attempt(number: int) -> Trial:
    """Draws a network by its number and asks for an action."""
    torch.set_num_threads(1)
    name = list(ARCHITECTURES)[number % len(ARCHITECTURES)]
    architecture, draw = ARCHITECTURES[name], Draw(number)
    (group, shape), kind = architecture.group(draw), draw.one(*KINDS, "none", "none")
    decoys, how = draw.number(0, 3), draw.one("own images", "planted")
    output, truth = "same" if architecture.same else "invariant", float("nan")
    words = f"{group if isinstance(group, str) else dict(group)}, probes {kind}, {decoys} decoys"
    try:
        module = drawn(architecture, draw)
        sample = draw.normal(2, *architecture.inputs)
        outputs = module(sample)[0].numel()
        symmetry = named_symmetry(group, shape, output, outputs=outputs)
        conversion = convert(module, sample)
        if architecture.symmetric:
            words += f", {how}"
            if how == "planted" or not isinstance(group, str):
                planted(module, conversion, symmetry, shape, draw)
            else:
                own_images(module, group)
            conversion = convert(module, sample)
        truth = true_error(module, symmetry, architecture.inputs, number)
        make = KINDS[kind]
        data = None if make is None else make(draw, architecture.inputs, symmetry)
        found = find_actions(conversion, symmetry, shape, data=data, decoys=decoys)
    except GraphwsError as error:
        return Trial(number, name, "refused", truth, f"{words}: {error}")
    except Exception as error:
        return Trial(number, name, "crash", truth, f"{words}: {type(error).__name__}: {error}")
    return Trial(number, name, found.verdict.outcome, truth, f"{words}: {found.verdict.text}")


def counted(trials: Sequence[Trial]) -> list[list[str | int]]:
    """A row for each architecture, and one for all."""
    counts = Counter((trial.architecture, column(trial, ARCHITECTURES[trial.architecture])) for trial in trials)
    names = [name for name in ARCHITECTURES if any(trial.architecture == name for trial in trials)]
    rows: list[list[str | int]] = []
    for name in names:
        each = [counts[name, kind] for kind in COLUMNS[2:]]
        rows.append([name, sum(each), *each])
    return [*rows, ["all", *(sum(int(row[k]) for row in rows) for k in range(1, len(COLUMNS)))]]


def told(trial: Trial) -> str:
    """A line on a trial that is at fault; nothing for others."""
    kind = column(trial, ARCHITECTURES[trial.architecture])
    if kind not in ("false claims", "false in part", "crashes"):
        return ""
    return f"{kind}: network {trial.number} ({trial.architecture}; true error {trial.truth:.2g}; {trial.words})"


def _attempts(number: int, jobs: int) -> Iterator[Trial]:
    if jobs == 1:
        yield from map(attempt, range(number))
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(attempt, range(number), chunksize=4)


def run(number: int, jobs: int) -> tuple[Sequence[str], list[list[str | int]]]:
    """Tries networks 0 to `number` - 1; what is at fault is told on standard error."""
    trials, bar = [], partial(track, description="networks", total=number, console=Console(stderr=True))
    for trial in bar(_attempts(number, jobs)):
        trials.append(trial)
        if line := told(trial):
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
    return COLUMNS, counted(trials)


PART = Part(2000, run)
"""Random networks, every kind of probes, and what was claimed of them."""
