"""A representation of networks, learned without labels by telling random views of them apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import MeanSquaredError, MetricCollection, R2Score

from graphws.errors import DataError
from graphws.graph import Mixed, Weights, change_each
from graphws.models import Represented
from graphws.report import embeddings_by_target
from graphws.tasks.answers import Answers
from graphws.tasks.contrastive import nt_xent
from graphws.tasks.embedding_plane import plane
from graphws.tasks.task import Figures, Metric, Task
from graphws.zoo import Zoo
from graphws.zoo.augmentations import DropoutNoise, GaussianNoise, Spread

Positives = Literal["views", "original"]
"""What of a network is to be alike; see `Representation`."""


class Representation(Task):
    """Vectors of networks that are alike for views of one network, and unlike for different ones.

    A view is the network as the model sees it, with Gaussian noise on every trained weight and then a random mask that
    sets each of them to zero.  Noise and mask are drawn anew for every weight and view; buffers stay.  Where weights
    are normalised, zero is the mean of the orbit.  The loss is NT-Xent (`graphws.tasks.contrastive.nt_xent`) of the
    projected representations, against all networks of the batch in all processes.

    A representation is judged, without noise, by a linear probe: least squares from the representations of the training
    networks to their targets, in the units of these.  It is fitted before every validation and kept with the model, so
    the training itself sees no target; only the choice of the epoch and the learning rate does, by `probe_mse`.

    The model is a `graphws.models.Represented`.  Outputs hold, in this order, the two projected views, which only
    `ask` draws, the representation and what the probe tells, which only models that are judged or asked give.

    Args:
        size: Of a representation.
        projected: Length of what is compared in training.
        names: Of the targets.
        measure: What noise is measured by.
        noise: Deviation of the noise, in units of each orbit's.
        masking: Probability with which a weight is set to zero.
        temperature: Of the loss.
        positives: ``views``: two random views of a network (paper D, section 7; Chen et al. 2020); ``original``: the
            network itself and one view (as the authors of paper D train).
    """

    chosen_by = Metric("probe_mse", higher_is_better=False)

    def __init__(
        self,
        size: int,
        projected: int,
        names: tuple[str, ...],
        measure: Spread | None,
        noise: float,
        masking: float,
        temperature: float = 0.1,
        positives: Positives = "views",
    ) -> None:
        self.size, self.projected, self.names = size, projected, names
        self.noise, self.mask = GaussianNoise(noise, measure), DropoutNoise(masking)
        self.temperature, self.positives = temperature, positives

    def view(self, weights: Weights, generator: torch.Generator) -> Weights:
        """A random view of each network."""
        return self.mask(self.noise(weights, generator), generator)

    def pairs(self, weights: Weights, generator: torch.Generator) -> Weights:
        """What is to be alike: rows 2k and 2k + 1 are of network k."""
        first = weights if self.positives == "original" else self.view(weights, generator)
        second = self.view(weights, generator)
        both = {name: torch.stack([tensor, second[name]], dim=1).flatten(0, 1) for name, tensor in first.items()}
        return Weights(weights.graph, both)

    def ask(
        self, model: Represented, weights: Mixed, targets: Tensor, generator: torch.Generator, training: bool
    ) -> tuple[Tensor, Tensor]:
        """Two projected views of each network, and where the model is judged what `apply` gives."""
        drawn = change_each(weights, lambda part: self.pairs(part, generator))
        views = model.project(drawn).unflatten(0, (-1, 2)).flatten(1)
        return (views if training else torch.cat([views, self.apply(model, weights)], dim=1)), targets

    def apply(self, model: Any, weights: Mixed) -> Float[Tensor, "batch outputs"]:
        """The representation, and what the probe tells from it."""
        embeddings = model(weights)
        return torch.cat([embeddings, model.probe(embeddings)], dim=1)

    @torch.no_grad()
    def settle(self, model: Represented, networks: Iterator[tuple[Mixed, Tensor]]) -> None:
        """Fit the probe."""
        model.probe.fit((model(weights), targets) for weights, targets in networks)

    def _views(self, outputs: Float[Tensor, "batch outputs"]) -> Float[Tensor, "batch 2 projected"]:
        views: Tensor = outputs[:, : 2 * self.projected].unflatten(1, (2, self.projected))
        return views

    def losses(self, outputs: Float[Tensor, "batch outputs"], targets: Float[Tensor, "batch targets"]) -> Tensor:
        """NT-Xent among the networks at hand."""
        return nt_xent(self._views(outputs), self.temperature)

    def joint_losses(self, outputs: Float[Tensor, "batch outputs"], targets: Float[Tensor, "batch targets"]) -> Tensor:
        """NT-Xent among the networks of all processes."""
        return nt_xent(self._views(outputs), self.temperature, together=True)

    def predictions(self, outputs: Float[Tensor, "batch outputs"]) -> Float[Tensor, "batch size"]:
        """The representations."""
        end = outputs.shape[1] - len(self.names)
        return outputs[:, end - self.size : end].float()

    def told(self, outputs: Float[Tensor, "batch outputs"]) -> Float[Tensor, "batch targets"]:
        """What the probe tells of the targets, in their units."""
        return outputs[:, outputs.shape[1] - len(self.names) :].float().contiguous()

    def metrics(self, together: bool = True) -> MetricCollection:
        """Of the probe: squared error, mean over the targets and of each; R², mean over the targets."""
        found: dict[str, Any] = {
            "probe_mse": MeanSquaredError(sync_on_compute=together),
            "probe_r2": R2Score(sync_on_compute=together),
        }
        if len(self.names) > 1:
            for place, name in enumerate(self.names):
                found[f"probe_mse_{name.replace('.', '_')}"] = _ColumnError(place, sync_on_compute=together)
        return MetricCollection(found, compute_groups=False)

    def update(self, metrics: MetricCollection, outputs: Tensor, targets: Tensor) -> None:
        """Add a batch to the accumulators."""
        metrics.update(self.told(outputs), targets)

    def columns(self, outputs: Tensor, classes: Sequence[str] | None, probabilities: bool) -> dict[str, list[Any]]:
        """The numbers of the representation, ``embedding_0`` and so on, and a column a target: what the probe tells."""
        columns = self.predictions(outputs).T.tolist()
        found = {f"embedding_{place}": column for place, column in enumerate(columns)}
        return found | dict(zip(self.names, self.told(outputs).T.tolist(), strict=True))

    def figures(self, answers: Mapping[str, Answers], zoo: Zoo) -> Figures:
        """The test networks' representations in a plane, of every model, in the colours of each target."""
        planes = {name: plane(found.predictions.numpy()) for name, found in answers.items()}
        figure = embeddings_by_target(planes, next(iter(answers.values())).targets.numpy(), self.names)
        return {"embeddings": ("Test split: representations in a plane (t-SNE), coloured by what they are of.", figure)}


class _ColumnError(MeanSquaredError):
    """Mean squared error of one target."""

    def __init__(self, place: int, **options: Any) -> None:
        super().__init__(**options)
        self.place = place

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch."""
        super().update(preds[:, self.place].contiguous(), target[:, self.place].contiguous())


def probed_targets(values: Float[Tensor, "networks targets"], names: tuple[str, ...]) -> None:
    """What a probe is to tell is not the same for every network.

    Raises:
        DataError: Where it is.
    """
    for name, value in zip(names, values.std(dim=0, unbiased=False).tolist(), strict=True):
        if value == 0.0:
            raise DataError(f"the target {name!r} is the same for every training network: a probe has nothing to tell")
