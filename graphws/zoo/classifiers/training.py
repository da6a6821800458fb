"""Training classifiers, a group at once, each on pictures, in an order and from a start of its own.

The loss of a network is the mean cross entropy over its batch, so its gradient never meets another network's; `Adam`
updates all of a group in a handful of calls.  At every checkpoint the networks are kept and measured on held-out
pictures as they then are: the share that is named right, and the mean cross entropy.  Networks of two classes still
have an output for every class; they see, and are measured on, pictures of their two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphws.errors import ZooError
from graphws.zoo.adam import Adam
from graphws.zoo.batched_mlp import FlatParameters
from graphws.zoo.classifiers.architecture import ClassifierArchitecture
from graphws.zoo.classifiers.batched import BatchedClassifiers, filled
from graphws.zoo.classifiers.streams import Order, Pairs, start
from graphws.zoo.fitting import Interrupted
from graphws.zoo.sources.labelled_pictures import Pictures

_MEASURED = 2048
"""Pictures that networks are measured on at once; a constant, since rounding may depend on it."""


@dataclass(frozen=True)
class ClassifierOptions:
    """How classifiers are trained.

    Args:
        number: Networks that are trained.
        pairs: Which classes they tell apart.
        batch_size: Pictures of a step.
        lr: Adam's learning rate.
        weight_decay: Added to the gradient times weights and biases (L2, as PyTorch's Adam has it; not AdamW).
        steps: Updates; None: as `epochs` say.
        epochs: How often a network sees its pictures, of a pair of classes those of an average pair, rounded up to
            whole steps; None: as `steps` say.
        trajectory: Steps between two checkpoints, of which each becomes a network of the zoo, beside the last; None:
            only the last.
        seed: Decides starts, pairs and orders.

    Raises:
        ZooError: On a value that makes no sense, or where not one of `steps` and `epochs` is given.
    """

    number: int = 200
    pairs: Pairs = "none"
    batch_size: int = 128
    lr: float = 5e-3
    weight_decay: float = 0.0
    steps: int | None = None
    epochs: float | None = None
    trajectory: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("number", "batch_size", "steps", "trajectory"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ZooError(f"classifiers: {name} must be a whole number of at least 1, got {value!r}")
        for name, zero in (("lr", False), ("weight_decay", True), ("epochs", False)):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and (value > 0 or (zero and value == 0))):
                least = "of at least 0" if zero else "above 0"
                raise ZooError(f"classifiers: {name} must be a number {least}, got {value!r}")
        if (self.steps is None) == (self.epochs is None):
            raise ZooError("classifiers: give one of steps and epochs")

    def updates(self, pictures: float) -> int:
        """How many steps a training has, where a network sees so many pictures."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return max(1, math.ceil(round(self.epochs * pictures / self.batch_size, 9)))

    def checkpoints(self, pictures: float) -> tuple[int, ...]:
        """The steps after which networks are kept.

        >>> ClassifierOptions(steps=7, trajectory=3).checkpoints(0), ClassifierOptions(steps=7).checkpoints(0)
        ((3, 6, 7), (7,))
        """
        last = self.updates(pictures)
        every = self.trajectory or last
        return (*range(every, last, every), last)


@dataclass(frozen=True, eq=False)
class Trained:
    """Networks of a group at all their checkpoints.

    Args:
        matrices: For each layer weights and biases, (networks, checkpoints, inputs or 1, outputs), on the CPU.
        accuracy: Share of the held-out pictures that are named right, (networks, checkpoints) float64.
        loss: Mean cross entropy on them, (networks, checkpoints) float64.
    """

    matrices: list[Tensor]
    accuracy: np.ndarray
    loss: np.ndarray


class Material:
    """Pictures on a device, and who sees which.

    Args:
        architecture: Decides how pictures lie.
        pictures: With labels, for training and for tests.
        pairs: The two classes of each network, (networks, 2); None: all see all.
        device: Where to compute.
        dtype: Of computation.

    Raises:
        ZooError: Where a class of a pair has no pictures for training, or none for tests.
    """

    def __init__(
        self,
        architecture: ClassifierArchitecture,
        pictures: Pictures,
        pairs: np.ndarray | None,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.device, self.dtype, self._pairs = device, dtype, pairs
        self.pixels = BatchedClassifiers(architecture).arranged(pictures.pixels).to(device)
        if self.pixels.is_floating_point():
            self.pixels = self.pixels.to(dtype)
        self.labels = pictures.labels.to(device)
        labels, test = pictures.labels.numpy(), pictures.test.numpy()
        self._train, self._test = (
            [np.flatnonzero((test == part) & (labels == k)) for k in range(pictures.classes)] for part in (False, True)
        )
        counts = counts_of(pictures, pairs)
        self._held = filled(int(counts.max()))

    def members(self, network: int, test: bool) -> np.ndarray:
        """The pictures that a network may see, or those that it is measured on, ascending."""
        kinds = self._test if test else self._train
        chosen = kinds if self._pairs is None else [kinds[k] for k in self._pairs[network]]
        return np.sort(np.concatenate(chosen))

    def room(self, networks: int, batch: int) -> Tensor:
        """A place for pictures: fresh memory for every batch costs more than what is done with it."""
        return torch.empty(networks, batch, *self.pixels.shape[1:], dtype=self.dtype, device=self.device)

    def batch(self, index: Tensor, room: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures (*index, *arranged) between 0 and 1, which are written to `room`, and their labels."""
        flat = room.view(-1, *self.pixels.shape[1:])
        if self.pixels.is_floating_point():
            torch.index_select(self.pixels, 0, index.flatten(), out=flat)
        else:
            flat.copy_(torch.index_select(self.pixels, 0, index.flatten())).div_(255)
        return room, self.labels[index]

    def held_out(self, numbers: Sequence[int]) -> Iterator[tuple[Tensor, Tensor]]:
        """What networks are measured on, a portion at a time: indices (networks or 1, portion), and which count."""
        rows = [self.members(number, test=True) for number in (numbers if self._pairs is not None else numbers[:1])]
        index, counted = (
            np.zeros((len(rows), self._held), dtype=np.int64),
            np.zeros((len(rows), self._held), dtype=bool),
        )
        for row, members in enumerate(rows):
            index[row, : len(members)], counted[row, : len(members)] = members, True
        for low in range(0, self._held, _MEASURED):
            part = slice(low, low + _MEASURED)
            yield torch.from_numpy(index[:, part]).to(self.device), torch.from_numpy(counted[:, part]).to(self.device)


def counts_of(pictures: Pictures, pairs: np.ndarray | None, test: bool = True) -> np.ndarray:
    """How many pictures each network has for training or tests, (networks,), or (1,) where all have the same.

    Raises:
        ZooError: Where a class of a pair has none.
    """
    labels = pictures.labels[pictures.test == test].numpy()
    counts = np.bincount(labels, minlength=pictures.classes)
    if pairs is None:
        return np.asarray(counts.sum(keepdims=True))
    if len(empty := np.flatnonzero(counts[np.unique(pairs)] == 0)):
        what = "tests" if test else "training"
        raise ZooError(f"class {np.unique(pairs)[empty[0]]} of a pair has no pictures for {what}; take more of them")
    return np.asarray(counts[pairs].sum(axis=1))


def initial(architecture: ClassifierArchitecture, seed: int, numbers: Sequence[int]) -> list[Tensor]:
    """What networks start from.

    Args:
        architecture: Their layers.
        seed: The zoo's.
        numbers: Of the networks in their zoo.

    Returns:
        list[Tensor]: For each layer weights and biases, (networks, inputs or 1, outputs) in float64.
    """
    shapes = BatchedClassifiers(architecture).shapes
    bounds = [1 / math.sqrt(layer.inputs) for layer in architecture.layers() for _ in range(2)]
    sizes = [rows * columns for rows, columns in shapes]
    drawn = torch.from_numpy(np.stack([start(seed, number, sum(sizes)) for number in numbers]))
    parts = drawn.split(sizes, dim=1)
    return [part.unflatten(1, shape) * bound for part, shape, bound in zip(parts, shapes, bounds, strict=True)]


def train_group(
    architecture: ClassifierArchitecture,
    material: Material,
    numbers: Sequence[int],
    options: ClassifierOptions,
    checkpoints: Sequence[int],
    stop: Callable[[], bool] = lambda: False,
    *,
    measure: bool = True,
) -> Trained:
    """Trains some networks together.

    Args:
        architecture: Of all of them.
        material: What they see.
        numbers: Of the networks in their zoo.
        options: Batch, rate and seed.
        checkpoints: The steps after which they are kept and measured, ascending.
        stop: Asked before every step.
        measure: Whether they are measured; figures are NaN where not.

    Raises:
        ZooError: Where a network's loss is no longer a number.
        Interrupted: Where `stop` said so.
    """
    # a network alone is computed twice over: a batch of one matrix takes another route, with other rounding
    group = [*numbers] * 2 if len(numbers) == 1 else [*numbers]
    networks, like = BatchedClassifiers(architecture), torch.empty(0, dtype=material.dtype, device=material.device)
    parameters = FlatParameters(networks.shapes, len(group), like)
    for layer, begin in zip(parameters.layers, initial(architecture, options.seed, group), strict=True):
        layer.copy_(begin)
    optimiser = Adam(parameters, [1.0] * len(networks.shapes), weight_decay=options.weight_decay)
    orders = [Order(material.members(number, test=False), options.seed, number) for number in group]
    index = np.zeros((len(group), filled(options.batch_size)), dtype=np.int64)
    room = material.room(*index.shape)
    kept: list[list[Tensor]] = []
    measured: list[tuple[Tensor, Tensor]] = []
    unmeasured = (torch.full((len(group),), math.nan, dtype=torch.float64),) * 2
    for step in range(1, checkpoints[-1] + 1):
        if stop():
            raise Interrupted
        for row, order in zip(index, orders, strict=True):
            row[: options.batch_size] = order.take((step - 1) * options.batch_size, options.batch_size)
        x, labels = material.batch(torch.from_numpy(index).to(material.device), room)
        leaves = [layer.detach().requires_grad_() for layer in parameters.layers]
        errors = _errors(networks.logits(leaves, x), labels)[:, : options.batch_size]
        gradients = torch.autograd.grad(errors.mean(dim=1).sum(), leaves)
        for place, gradient in zip(optimiser.gradients.layers, gradients, strict=True):
            place.copy_(gradient)
        with torch.no_grad():
            optimiser.step(step, options.lr)
            if step == checkpoints[len(kept)]:
                kept.append([layer[: len(numbers)].cpu().clone() for layer in parameters.layers])
                measured.append(unmeasured)
                if measure:
                    measured[-1] = _measured(networks, parameters.layers, material, group)
                    _check(measured[-1][1], group, step, options.lr)
    accuracy, loss = (torch.stack(column, dim=1)[: len(numbers)].numpy() for column in zip(*measured, strict=True))
    return Trained([torch.stack(layer, dim=1) for layer in zip(*kept, strict=True)], accuracy, loss)


def _errors(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropies, (networks, batch)."""
    wanted = labels.expand(logits.shape[:2]).unsqueeze(2)
    return -torch.log_softmax(logits, dim=2).gather(2, wanted)[..., 0]


def _measured(
    networks: BatchedClassifiers, layers: Sequence[Tensor], material: Material, group: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Accuracy and loss on the held-out pictures, (networks,) float64 on the CPU."""
    right, lost, counts = (torch.zeros(len(group), dtype=torch.float64, device=material.device) for _ in range(3))
    for index, counted in material.held_out(group):
        x, labels = material.batch(index, material.room(*index.shape))
        logits = networks.logits(layers, x)
        right += ((logits.argmax(dim=2) == labels) & counted).sum(dim=1)
        lost += (_errors(logits, labels).double() * counted).sum(dim=1)
        counts += counted.sum(dim=1)
    return (right / counts).cpu(), (lost / counts).cpu()


def _check(loss: Tensor, group: Sequence[int], step: int, lr: float) -> None:
    bad: Any = (~torch.isfinite(loss)).nonzero()
    if len(bad):
        which = int(bad[0, 0])
        raise ZooError(
            f"classifier {group[which]}: the loss is {float(loss[which])} after {step} steps; "
            f"lower the learning rate (now {lr:g})"
        )
