"""Many small networks of one architecture trained at once, and the folder that a zoo of checkpoints is.

What the scripts beside this one share: every network has a recipe of its own (learning rate, weight decay, steps, share
of the training data), so that good and bad ones come out; one batched product trains them all.
"""

from __future__ import annotations

import copy
import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

SPLITS = (("train", 0.7), ("validation", 0.1), ("test", 0.2))


@dataclass(frozen=True)
class Recipe:
    """How one network is trained.

    Attributes:
        lr: Learning rate of AdamW.
        weight_decay: Decoupled.
        steps: Of the optimiser.
        share: Fraction of the training data that the network sees.
    """

    lr: float
    weight_decay: float
    steps: int
    share: float


@dataclass(frozen=True, eq=False)
class Examples:
    """What networks learn: inputs (examples, …) and classes (examples,) or (examples, positions)."""

    inputs: Tensor
    classes: Tensor


def log_uniform(low: float, high: float, generator: torch.Generator) -> float:
    """A number whose logarithm is drawn uniformly."""
    share = float(torch.rand((), generator=generator))
    return math.exp(math.log(low) + share * (math.log(high) - math.log(low)))


def train(
    modules: Sequence[nn.Module],
    recipes: Sequence[Recipe],
    examples: Examples | Sequence[Examples],
    generator: torch.Generator,
    batch: int = 32,
    frozen: Mapping[str, Tensor] | None = None,
    advance: Callable[[int], Any] = lambda done: None,
) -> list[dict[str, Tensor]]:
    """The trained state of each module; all are of one class and one shape and train together.

    Args:
        modules: Fresh ones.
        recipes: One a module.
        examples: Of all modules, or one for each.
        generator: Of subsets and batches.
        batch: Examples a step.
        frozen: Parameters that all share and none learns, beside those of `modules`.
        advance: Hears how many networks are done.
    """
    order = sorted(range(len(modules)), key=lambda k: -recipes[k].steps)  # those that stop first are last
    parameters, buffers = stack_module_state([modules[k] for k in order])
    assert not buffers, "these networks keep no running statistics"
    learnt = {n: p.detach().clone() for n, p in parameters.items() if n not in (frozen or {})}
    skeleton = copy.deepcopy(modules[0]).to("meta")

    def loss(state: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        output = functional_call(skeleton, {**state, **(frozen or {})}, (x,))
        return nn.functional.cross_entropy(output.flatten(0, -2), y.flatten())

    gradient = vmap(grad(loss))
    data = [examples] * len(order) if isinstance(examples, Examples) else [examples[k] for k in order]
    known = [torch.randperm(len(d.inputs), generator=generator) for d in data]
    known = [rows[: max(1, round(recipes[k].share * len(rows)))] for k, rows in zip(order, known, strict=True)]
    sizes = torch.tensor([len(rows) for rows in known])
    table = nn.utils.rnn.pad_sequence(known, batch_first=True)
    sets = {id(d): d for d in data}
    which = torch.tensor([list(sets).index(id(d)) for d in data])
    inputs = torch.stack([d.inputs for d in sets.values()])
    classes = torch.stack([d.classes for d in sets.values()])
    lr = torch.tensor([recipes[k].lr for k in order])
    decay = torch.tensor([recipes[k].weight_decay for k in order])
    steps = [recipes[k].steps for k in order]
    first = {n: torch.zeros_like(p) for n, p in learnt.items()}
    second = {n: torch.zeros_like(p) for n, p in learnt.items()}
    live = len(order)
    for step in range(1, steps[0] + 1):
        before = live
        while steps[live - 1] < step:
            live -= 1
        if before > live:
            advance(before - live)
        draws = (torch.rand(live, batch, generator=generator) * sizes[:live, None]).long()
        rows = table[:live].gather(1, draws)
        now = {n: p[:live] for n, p in learnt.items()}
        slopes = gradient(now, inputs[which[:live, None], rows], classes[which[:live, None], rows])
        rate = lr[:live] * min(1.0, step / 20)
        for name, value in now.items():
            g = slopes[name]
            m, v = first[name][:live].lerp_(g, 0.1), second[name][:live].lerp_(g.square(), 0.01)
            move = (m / (1 - 0.9**step)) / ((v / (1 - 0.99**step)).sqrt() + 1e-8)
            each = (live, *[1] * (value.ndim - 1))
            value.mul_(1 - (rate * decay[:live]).view(each)).sub_(rate.view(each) * move)
    advance(live)
    found: list[dict[str, Tensor]] = [{} for _ in modules]
    for place, k in enumerate(order):
        found[k] = {name: value[place].clone() for name, value in learnt.items()}
    return found


@torch.no_grad()
def accuracy(module: nn.Module, state: Mapping[str, Tensor], examples: Examples) -> float:
    """Share of right answers, over all positions where there are several."""
    output = functional_call(module, dict(state), (examples.inputs,))
    return float((output.argmax(-1) == examples.classes).double().mean())


def write_labels(folder: Path, rows: Sequence[Mapping[str, Any]], generator: torch.Generator) -> None:
    """Writes ``labels.csv``, with a column of random splits (see `SPLITS`) that every script draws in the same way."""
    places = torch.randperm(len(rows), generator=generator).argsort().double() / max(len(rows), 1)
    bounds = [(name, sum(share for _, share in SPLITS[: k + 1])) for k, (name, _) in enumerate(SPLITS)]
    with open(folder / "labels.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*rows[0], "split"])
        writer.writeheader()
        for row, place in zip(rows, places.tolist(), strict=True):
            split = next((name for name, bound in bounds if place < bound - 1e-9), SPLITS[-1][0])
            writer.writerow({**row, "split": split})


def spread(values: Sequence[float]) -> str:
    """Least, quartiles and greatest of some accuracies, in per cent."""
    marks = torch.tensor(values, dtype=torch.float64).quantile(torch.tensor([0, 0.25, 0.5, 0.75, 1]).double())
    return " / ".join(f"{100 * float(mark):.0f}" for mark in marks) + " %"


@contextmanager
def bar(title: str, total: int) -> Iterator[Callable[[int], Any]]:
    """A progress bar with a forecast on stderr; gives what moves it on."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=total)
        yield lambda done: progress.advance(task, done)
