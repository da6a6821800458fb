"""A reference for a whole data set: the mean of some networks in one order, to which every other one is brought.

That is how paper D aligns networks before a perceptron reads them (appendix J, "Approximation for model alignment"):
many-network matching on a random part of the training networks gives a mean, and every network, of training and of
test, is then matched to that mean alone.  So what a network becomes does not depend on what else is in the data.

Everything is computed in float64 on the CPU, whatever the networks are in: the same elements come out everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.align.many import Progress, gather, in_matching_gauge, mean_closeness
from graphws.align.objective import closeness, restricted
from graphws.errors import GraphError
from graphws.graph import GroupElement, NetworkGraph, Weights
from graphws.graph.group import Richness
from graphws.matching import Metric, balanced_metric
from graphws.matching.each import match_each
from graphws.matching.scored_parameters import matching_view
from graphws.shown import Shown

SWEEPS = 30
"""At most so many, each time that a network is matched."""
TOLERANCE = 1e-3
"""A round that gains less is the last; paper D's, appendix J."""


@dataclass(frozen=True, eq=False, repr=False)
class Reference(Shown):
    """What networks are brought to.

    Laws: an aligned network computes what it did; networks that differ by an element of the group become equal, but for
    neurons that nothing tells apart.

    Attributes:
        mean: In the gauge for matching, on the graph that matching reads; float64, a batch of one.
        metric: How parameters are compared.
        actions: The rich actions of the graph, or its permutations only.
    """

    mean: Weights
    metric: Metric
    actions: Richness

    def elements(self, networks: Weights) -> GroupElement:
        """One element for each network, which brings it to the reference.

        Raises:
            GraphError: On networks of another graph, or weights that are not finite.
        """
        gauge, fixed = in_matching_gauge(_exact(networks), self.actions)
        if fixed.graph.structure != self.mean.graph.structure:
            raise GraphError("networks of another graph than the reference cannot be aligned to it")
        mean = Weights(fixed.graph, self.mean.tensors)
        found, _ = match_each(mean, fixed, self.metric, SWEEPS)
        return GroupElement(networks.graph, (found @ gauge).maps).to(networks.device)

    def tensors(self) -> dict[str, Tensor]:
        """As one flat mapping, for a file."""
        parameters = self.mean.graph.parameters
        importance = torch.tensor([self.metric.of(p.name) for p in parameters], dtype=torch.float64)
        return {"mean": self.mean.flatten()[0].clone(), "importance": importance}

    @staticmethod
    def from_tensors(graph: NetworkGraph, actions: Richness, tensors: Mapping[str, Tensor]) -> Reference:
        """The inverse of `tensors`.

        Args:
            graph: Of the networks that are aligned.
            actions: As it was made with.
            tensors: By name.

        Raises:
            GraphError: Where they do not fit the graph.
            KeyError: Where one is missing.
        """
        empty = Weights.unflatten(graph, torch.zeros(1, graph.numel, dtype=torch.float64))
        read = matching_view(restricted(empty, actions)).graph
        sizes = {"mean": read.numel, "importance": len(read.parameters)}
        for name, size in sizes.items():
            tensor = tensors[name]
            if tensor.shape != (size,) or tensor.dtype != torch.float64 or not bool(tensor.isfinite().all()):
                raise GraphError(f"the {name} of the reference does not fit the graph")
        names = [parameter.name for parameter in read.parameters]
        metric = Metric(dict(zip(names, tensors["importance"].tolist(), strict=True)))
        return Reference(Weights.unflatten(read, tensors["mean"].unsqueeze(0)), metric, actions)


@dataclass(frozen=True, eq=False, repr=False)
class Gathering(Shown):
    """How a reference was made.

    Attributes:
        reference: The reference.
        before: Mean closeness of the pairs of its networks as they came, as a share of their mean square: 1 where all
            are equal.
        record: The same, once each was brought to the first one, and after every round; it never falls.
    """

    reference: Reference
    before: float
    record: tuple[float, ...]


def find_reference(
    networks: Weights,
    *,
    generator: torch.Generator,
    actions: Richness = "permutation",
    rounds: int = 20,
    progress: Progress | None = None,
) -> Gathering:
    """The reference that some networks have in common: `align_many`, and their mean.

    Args:
        networks: Those that it is made of, at least two.
        generator: Order of the networks.
        actions: The rich actions of the graph, or its permutations only.
        rounds: At most so many rounds over all networks.
        progress: Hears how many networks were matched, over all rounds.

    Raises:
        GraphError: On fewer than two networks, or a graph with a space that no parameter speaks about.
    """
    _, fixed = in_matching_gauge(_exact(networks), actions)
    metric = balanced_metric(fixed)
    elements, record = gather(fixed, metric, generator, rounds, SWEEPS, TOLERANCE, progress)
    mean = elements.act(fixed).map(lambda x: x.mean(0, keepdim=True))
    square = closeness(fixed, fixed, metric) / fixed.batch
    shares = [value / square if square else 1.0 for value in (mean_closeness(fixed, metric), *record)]
    return Gathering(Reference(mean, metric, actions), shares[0], tuple(shares[1:]))


def _exact(networks: Weights) -> Weights:
    return networks.map(lambda x: x.detach().cpu()).to(dtype=torch.float64)
