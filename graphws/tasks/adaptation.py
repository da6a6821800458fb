"""Classifiers adapted to another domain (paper D, section 7 and table 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional
from torchmetrics import MeanMetric, MetricCollection

from graphws.errors import DataError
from graphws.graph import Mixed, NetworkGraph, Weights
from graphws.report import before_and_after, picture_rows
from graphws.tasks.answers import Answers
from graphws.tasks.functional import ChangedNetworks
from graphws.tasks.picture_draws import PictureDraws
from graphws.tasks.task import Figures, Metric
from graphws.zoo import Zoo
from graphws.zoo.picture_changes import Corruption
from graphws.zoo.sources.labelled_pictures import Pictures

NUMBERS = 1 << 25
"""Numbers of pictures that are shown to networks at a time, where nothing is learnt."""
FIXED = -1
SHOWN = 12
"""Pictures in a figure."""


class Adaptation(ChangedNetworks):
    """Classifiers that are to name the classes of corrupted pictures.

    In training every network is shown random pictures of the data's training part, corrupted anew; it is judged on
    fixed ones of the test part, which no network was trained on.  Targets of the zoo are the classes that a network
    knows, targets of a batch also say where its pictures are from: a seed, or -1 for the fixed ones.

    Args:
        deviation: See `ChangedNetworks`.
        graph: Of the networks: one input (pictures) and one output (a score for each class).
        restore: See `ChangedNetworks`.
        networks: See `ChangedNetworks`.
        pictures: Gives the data when they are needed; not to return networks.
        corruption: What is done to pictures.
        batch: Pictures that a network is shown in a step.
        judged: Pictures that it is judged on, at most.
        mean: What networks read is (pixel - mean) / spread, with pixels in [0, 1].
        spread: See `mean`.
        seed: Of the fixed changes.
    """

    chosen_by = Metric("accuracy", higher_is_better=True)

    def __init__(
        self,
        deviation: Float[Tensor, " weights"],
        graph: NetworkGraph,
        restore: Callable[[Weights], Weights],
        networks: int,
        pictures: Callable[[], Pictures],
        corruption: Corruption,
        batch: int = 128,
        judged: int = 200,
        mean: float = 0.0,
        spread: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__(deviation, graph, restore, networks)
        self.shape = _picture_shape(graph)
        self.pictures, self.corruption, self.batch = pictures, corruption, batch
        self.judged, self.mean, self.spread, self.seed = judged, mean, spread, seed

    @cached_property
    def draws(self) -> PictureDraws:
        """The pictures, read when they are first needed."""
        return PictureDraws(
            self.pictures(), self.corruption, self.shape, self.mean, self.spread, self.judged, self.seed
        )

    def check(self, targets: Tensor) -> None:
        """Pictures are what the networks read, networks have a score for every class, and know classes that there are.

        Raises:
            DataError: Where not.
        """
        value = self.graph.value(self.graph.outputs[0]) if len(self.graph.outputs) == 1 else None
        sizes = () if value is None else value.shape[1:]
        if all(isinstance(size, int) for size in sizes) and sizes:
            self._check_scores([int(size) for size in sizes])
        self.draws.check(targets.long())

    def prepare(self, weights: Mixed, targets: Tensor, generator: torch.Generator) -> tuple[Mixed, Tensor]:
        """The fixed pictures."""
        seeds = targets.new_full((len(targets), 1), FIXED, dtype=torch.int64)
        return weights, torch.cat([seeds, targets.long()], dim=1)

    def prepare_training(self, weights: Mixed, targets: Tensor, generator: torch.Generator) -> tuple[Mixed, Tensor]:
        """Random pictures, by a seed from the generator."""
        weights, targets = self.prepare(weights, targets, generator)
        targets[:, 0] = torch.randint(1 << 62, (), generator=generator, device=generator.device)
        return weights, targets

    def losses(
        self, outputs: Float[Tensor, "batch changed"], targets: Int64[Tensor, "batch known"]
    ) -> Float[Tensor, " batch"]:
        """Cross-entropy of the returned network over its pictures."""
        return self._judged(self.raw(outputs), targets)[0]

    def metrics(self, together: bool = True) -> MetricCollection:
        """The share of right answers of the returned networks, the mean over networks."""
        hits = MeanMetric(nan_strategy="disable", sync_on_compute=together)
        return MetricCollection({"accuracy": hits}, compute_groups=False)

    def update(self, metrics: MetricCollection, outputs: Tensor, targets: Tensor) -> None:
        """Add a batch to the accumulators."""
        self.judge(metrics, outputs, targets)

    @torch.no_grad()
    def judge(
        self, metrics: MetricCollection, outputs: Tensor, targets: Tensor, together: bool = False
    ) -> Float[Tensor, " batch"]:
        """The returned networks are run once."""
        losses, right = self._judged(self.raw(outputs.float()), targets)
        metrics.update(right)
        return losses

    @torch.no_grad()
    def accuracies(
        self, networks: Weights, targets: Int64[Tensor, "batch known"], several: int | None = None
    ) -> Float[Tensor, " batch"]:
        """Share of right answers of networks that can be run.

        Args:
            networks: Those of each answer next to each other.
            targets: See the class.
            several: How many answer for one; None: `networks`.
        """
        return self._judged(networks, targets, several)[1]

    def _judged(self, networks: Weights, targets: Tensor, several: int | None = None) -> tuple[Tensor, Tensor]:
        """Cross-entropy and share of right answers of each answer; a process may have none of a batch."""
        if not len(targets):
            nothing = networks.flatten().sum(1)
            return nothing, nothing.detach()
        seed, known = int(targets[0, 0]), targets[:, 1:]
        count = self.networks if several is None else several
        if seed != FIXED:
            generator = torch.Generator(device=targets.device).manual_seed(seed)
            return self._shown(networks, *self.draws.random(known, self.batch, generator), count)
        step = len(known) if torch.is_grad_enabled() else max(1, NUMBERS // (self.judged * self.graph_inputs))
        found = [
            self._shown(
                networks.select(slice(start * count, (start + step) * count)),
                *self.draws.fixed(known[start : start + step]),
                count,
            )
            for start in range(0, len(known), step)
        ]
        return torch.cat([loss for loss, _ in found]), torch.cat([right for _, right in found])

    @property
    def graph_inputs(self) -> int:
        """How many numbers networks read."""
        return int(np.prod(self.shape))

    def _shown(self, networks: Weights, pictures: Tensor, labels: Tensor, several: int) -> tuple[Tensor, Tensor]:
        shown = pictures.to(networks.floating)
        scores = self.run(networks, shown if several == 1 else shown.repeat_interleave(several, 0), several).float()
        self._check_scores(scores.shape[2:])
        losses = functional.cross_entropy(scores.movedim(2, 1), labels, reduction="none").mean(1)
        return losses, (scores.argmax(2) == labels).float().mean(1)

    def _check_scores(self, sizes: Sequence[int]) -> None:
        """What networks return for a picture is a score for each class."""
        if len(sizes) != 1 or sizes[0] < self.draws.classes:
            outputs = "x".join(map(str, sizes))
            raise DataError(
                f"the networks return {outputs} numbers, and the pictures have {self.draws.classes} classes"
            )

    def figures(self, answers: Mapping[str, Answers], zoo: Zoo) -> Figures:
        """Accuracy of every test network before and after; pictures as they are and corrupted."""
        first = next(iter(answers.values()))
        before = self.accuracies(zoo.weights(first.index), first.targets, several=1)
        after = {
            name: self.accuracies(
                Weights.unflatten(self.graph, found.predictions.reshape(-1, self.graph.numel)), found.targets
            )
            for name, found in answers.items()
        }
        scatter = before_and_after(before.numpy(), {name: values.numpy() for name, values in after.items()}, "accuracy")
        plain, corrupted = self.draws.examples(SHOWN)
        rows = {"as it is": plain.movedim(1, 3).numpy(), "corrupted": corrupted.movedim(1, 3).numpy()}
        return {
            "adapted": ("Accuracy on corrupted pictures, a dot a test network: above the line it gained.", scatter),
            "pictures": ("Pictures of the test part, and what networks are shown of them.", picture_rows(rows)),
        }


def _picture_shape(graph: NetworkGraph) -> tuple[int, ...]:
    """What networks read of one picture.

    Raises:
        DataError: Where they do not read pictures, one by one.
    """
    value = graph.value(graph.inputs[0]) if len(graph.inputs) == 1 else None
    shape = () if value is None else tuple(value.shape)
    if len(shape) not in (2, 4) or shape[0] != "n" or not all(isinstance(size, int) for size in shape[1:]):
        raise DataError(
            "adaptation needs networks that read pictures, (n, numbers) or (n, channels, rows, columns); "
            f"these read {', '.join(graph.inputs)} of shape ({', '.join(map(str, shape))})"
        )
    return tuple(int(size) for size in shape[1:])
