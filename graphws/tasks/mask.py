"""Learning to prune: which weights of a network may go (paper D, appendix K.5).

The head answers with a logit for every weight; the mask keeps the weights whose logit is above 0.  A step has no
gradient, so it is passed as if the mask were the sigmoid of the logits (straight through; Hubara et al. 2016).

The paper's masks emptied some layers and left others whole, which it puts down to the start.  At the start the outputs
of an equivariant head differ little within a layer, so that all logits of a layer cross 0 together; and weights of a
large layer share one penalty.  Four choices answer to that:

* `standard`: the logits of each parameter of a network are brought to deviation 1 around their mean.  The head then
  *ranks* the weights of a parameter from the start, and its mean moves the share that is kept without a cliff.
* `prior`: what the head starts from, instead of its own random outputs: the order of the magnitudes in each parameter,
  as normal scores, so that training starts from pruning by magnitude.
* `start`: the share that is kept at the start, by a constant added to all logits.
* `balance`: the penalty takes the square of each parameter's kept share, so that what is still whole is pushed harder
  than what is nearly empty; or gradients at the logits get the same size in every parameter; or both.

All of it commutes with relabellings of neurons.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from statistics import NormalDist
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import MeanMetric, MetricCollection

from graphws.errors import UsageError
from graphws.graph import Mixed, NetworkGraph, Weights
from graphws.operations.plan import why_not
from graphws.operations.query_points import fixed_points, on_a_plane, regular_grid
from graphws.operations.runner import outputs_of
from graphws.report import kept_shares, picture_rows
from graphws.tasks.answers import Answers
from graphws.tasks.denoising import of_one_graph
from graphws.tasks.mask_gradients import EqualGradients, StraightThrough
from graphws.tasks.task import Figures, Metric, Task
from graphws.zoo import Zoo

Prior = Literal["none", "magnitude"]
Method = Literal["hard", "sampled", "soft"]
Balance = Literal["none", "shares", "gradients", "both"]
METRICS = ("cost", "mse", "psnr", "kept", "kept_min", "kept_max", "magnitude_mse")
SHOWN = 10
"""Test networks in a figure."""
PEAK = 1.0
"""Range of the networks' outputs, for the signal-to-noise ratio."""
NOISELESS = 0.5
LEAST = 1e-6
"""Deviation of logits below which they are taken to be alike."""


class Masking(Task):
    """Networks with weights set to 0 that compute what they computed before, nearly.

    Outputs are logits, one for each weight; predictions are masks, 1 for a weight that stays.  The loss is the mean
    squared error of the masked network's outputs + `sparsity` · (share of weights that stay).

    Args:
        graph: Of the networks.
        restore: From the weights that the model sees to those that are run and pruned.
        sparsity: λ, what a kept share of 1 costs.
        method: The mask in training: hard (0 or 1), sampled (0 or 1, 1 with the probability that the sigmoid gives), or
            soft (the sigmoid itself).  Validation, tests and returned networks have the hard one.
        start: Share of weights that is kept at the start.
        prior: See above.
        standard: See above.
        balance: See above; shares, gradients, both or none.
        points: At how many points outputs are compared, see `graphws.operations.query_points.fixed_points`.

    Raises:
        UsageError: On networks that do not run, and a grid that is not square.
    """

    chosen_by = Metric("cost", higher_is_better=False)

    def __init__(
        self,
        graph: NetworkGraph,
        restore: Callable[[Weights], Weights],
        sparsity: float,
        method: Method = "hard",
        start: float = 0.95,
        prior: Prior = "none",
        standard: bool = True,
        balance: Balance = "none",
        points: int = 64,
    ) -> None:
        if reason := why_not(graph):
            raise UsageError(f"this task runs the networks, and these do not run: {reason}")
        self.graph, self.restore = graph, restore
        self.sparsity, self.method, self.balance = sparsity, method, balance
        self.prior, self.standard = prior, standard
        self.offset = NormalDist().inv_cdf(start) if standard else math.log(start / (1 - start))
        self.points = fixed_points(graph, points)
        self.sizes = [math.prod(graph.shape(parameter.name)) for parameter in graph.parameters]

    def prepare(self, weights: Mixed, targets: Tensor, generator: torch.Generator) -> tuple[Mixed, Tensor]:
        """The networks; as targets what they are and, for each weight, the probability above which it is kept: ½."""
        weights = of_one_graph(weights)
        flat = weights.flatten()
        return weights, torch.stack([flat, torch.full_like(flat, NOISELESS)], dim=1)

    def prepare_training(self, weights: Mixed, targets: Tensor, generator: torch.Generator) -> tuple[Mixed, Tensor]:
        """The same; where masks are sampled, probabilities are random."""
        weights, targets = self.prepare(weights, targets, generator)
        if self.method == "sampled":
            targets[:, 1] = torch.rand(
                targets[:, 1].shape, generator=generator, device=targets.device, dtype=targets.dtype
            )
        return weights, targets

    def apply(self, model: Callable[[Mixed], Any], weights: Mixed) -> Float[Tensor, "batch weights"]:
        """Logits: the head's outputs on the prior, standardised or not, moved by the start."""
        weights = of_one_graph(weights)
        found: Tensor = model(weights).flatten().to(weights.floating)
        if self.prior == "magnitude":
            magnitudes = self.restore(weights).flatten().detach().abs().to(found)
            scores = [normal_scores(part) for part in magnitudes.split(self.sizes, dim=1)]
            found = found + torch.cat(scores, dim=1)
        if not self.standard:
            return found + self.offset
        return torch.cat([_standardised(part) for part in found.split(self.sizes, dim=1)], dim=1) + self.offset

    def predictions(self, outputs: Float[Tensor, "batch weights"]) -> Float[Tensor, "batch weights"]:
        """The hard mask."""
        return (outputs > 0).float()

    def returned(self, outputs: Tensor, seen: Weights, restore: Callable[[Weights], Weights]) -> Weights:
        """The networks without what the mask drops: exactly 0 there, what they were elsewhere."""
        networks, masks = restore(seen), Weights.unflatten(seen.graph, self.predictions(outputs))
        return Weights(seen.graph, {name: x * masks[name].to(x) for name, x in networks.items()})

    def losses(
        self, outputs: Float[Tensor, "batch weights"], targets: Float[Tensor, "batch 2 weights"]
    ) -> Float[Tensor, " batch"]:
        """Squared error of what is computed, + λ · the share that is kept, as `balance` counts it."""
        if self.balance in ("gradients", "both"):
            outputs = EqualGradients.apply(outputs, self.sizes)
        soft = outputs.sigmoid()
        mask = soft if self.method == "soft" else StraightThrough.apply(soft, (soft > targets[:, 1]).to(soft))
        kept = self.shares(mask)
        counted = kept.square() if self.balance in ("shares", "both") else kept
        return self.errors(mask, targets[:, 0]) + self.sparsity * self._whole(counted)

    def errors(
        self, masks: Float[Tensor, "batch weights"], seen: Float[Tensor, "batch weights"]
    ) -> Float[Tensor, " batch"]:
        """Mean squared error of masked networks against what they compute without a mask."""
        whole = self.restore(Weights.unflatten(self.graph, seen))
        found = self._computed(Weights.unflatten(self.graph, whole.flatten() * masks.to(whole.floating)))
        with torch.no_grad():
            wanted = self._computed(whole)
        return (found.to(wanted) - wanted).square().mean(1)

    def shares(self, masks: Float[Tensor, "batch weights"]) -> Float[Tensor, "batch parameters"]:
        """The share of each parameter that is kept."""
        return torch.stack([part.mean(1) for part in masks.split(self.sizes, dim=1)], dim=1)

    def _whole(self, shares: Float[Tensor, "batch parameters"]) -> Float[Tensor, " batch"]:
        """From shares of each parameter to that of the network."""
        return shares @ shares.new_tensor(self.sizes) / self.graph.numel

    def _computed(self, networks: Weights) -> Float[Tensor, "batch numbers"]:
        kind = networks.floating
        points = [x.to(networks.device, kind if x.is_floating_point() else x.dtype) for x in self.points]
        return outputs_of(self.graph, networks, points).flatten(1)

    def metrics(self, together: bool = True) -> MetricCollection:
        """Of hard masks; means over networks.

        ``cost``: error + λ · kept share; ``mse``, ``psnr``: of what is computed, for outputs of range 1; ``kept``: the
        share of weights; ``kept_min``, ``kept_max``: the least and the greatest share of a weight matrix or kernel, 0
        and 1 where layers are emptied or left whole; ``magnitude_mse``: the error where, in the same network, the same
        number of weights is kept, the largest.
        """
        means = [MeanMetric(nan_strategy="disable", sync_on_compute=together) for _ in METRICS]
        return MetricCollection(dict(zip(METRICS, means, strict=True)), compute_groups=False)

    @torch.no_grad()
    def update(self, metrics: MetricCollection, outputs: Tensor, targets: Tensor) -> None:
        """Add a batch to the accumulators."""
        masks, seen = self.predictions(outputs), targets[:, 0].float()
        shares, errors = self.shares(masks), self.errors(masks, seen)
        kept = self._whole(shares)
        large = [len(self.graph.shape(parameter.name)) > 1 for parameter in self.graph.parameters]
        matrices = shares[:, torch.tensor(large, device=shares.device)] if any(large) else shares
        whole = self.restore(Weights.unflatten(self.graph, seen)).flatten()
        values = {
            "cost": errors + self.sparsity * kept,
            "mse": errors,
            "psnr": 10 * (PEAK**2 / errors.clamp(min=1e-12)).log10(),
            "kept": kept,
            "kept_min": matrices.min(1).values,
            "kept_max": matrices.max(1).values,
            "magnitude_mse": self.errors(largest(whole.abs(), masks.sum(1)), seen),
        }
        for name, value in values.items():
            accumulator = metrics[name]
            assert isinstance(accumulator, MeanMetric)
            accumulator.update(value)

    @torch.no_grad()
    def figures(self, answers: Mapping[str, Answers], zoo: Zoo) -> Figures:
        """The kept share of every parameter; pictures of test networks before and after, where they draw any."""
        shares = {name: self.shares(found.predictions) for name, found in answers.items()}
        names = [parameter.name for parameter in self.graph.parameters]
        figures: Figures = {
            "kept": (
                "Share of each parameter that is kept, mean and spread over test networks.",
                kept_shares({name: values.numpy() for name, values in shares.items()}, names),
            )
        }
        if on_a_plane(self.graph):
            figures["pruned"] = (
                "What test networks draw whole and pruned.",
                picture_rows(self._pictures(answers, zoo)),
            )
        return figures

    def _pictures(self, answers: Mapping[str, Answers], zoo: Zoo) -> dict[str, Any]:
        first = next(iter(answers.values()))
        chosen = torch.linspace(0, len(first.index) - 1, min(SHOWN, len(first.index))).long()
        whole = zoo.weights(first.index[chosen])
        side = math.isqrt(len(self.points[0]))
        grid = regular_grid(side * side).to(whole.floating)
        masks = {"whole": torch.ones(len(chosen), self.graph.numel)}
        masks |= {name: found.predictions[chosen] for name, found in answers.items()}
        rows = {}
        for name, mask in masks.items():
            pruned = Weights.unflatten(self.graph, whole.flatten() * mask.to(whole.floating))
            rows[name] = outputs_of(self.graph, pruned, grid).unflatten(1, (side, side)).numpy()
        return rows


def largest(
    magnitudes: Float[Tensor, "batch weights"], counts: Float[Tensor, " batch"]
) -> Float[Tensor, "batch weights"]:
    """Masks that keep so many weights of each network: the largest."""
    ranks = magnitudes.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return (ranks < counts[:, None]).to(magnitudes)


def normal_scores(values: Float[Tensor, "batch entries"]) -> Float[Tensor, "batch entries"]:
    """The order of the values of each row, as what so many normal numbers would have in their place."""
    ranks = values.argsort(dim=1, stable=True).argsort(dim=1).to(values)
    scores: Tensor = torch.special.ndtri((ranks + 0.5) / values.shape[1])
    return scores


def _standardised(logits: Float[Tensor, "batch entries"]) -> Tensor:
    """With deviation 1 around the same mean; those that are all alike, as a single one is, stay as they are."""
    mean = logits.mean(1, keepdim=True)
    spread = (logits - mean).square().mean(1, keepdim=True)
    return mean + (logits - mean) * torch.rsqrt(spread + LEAST**2)
