"""Networks from networks, judged by what the returned ones compute: what tasks of this kind have in common.

The model answers a network v with a change Δv, and the network v - Δv is run on data (paper D, section 7: learning to
adapt networks).  As Δv moves with v under every relabelling of neurons, so does v - Δv, and the loss stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jaxtyping import Float
from torch import Tensor

from graphws.errors import UsageError
from graphws.graph import Mixed, NetworkGraph, Weights
from graphws.operations.plan import why_not
from graphws.operations.runner import Inputs, outputs_of
from graphws.tasks.denoising import of_one_graph
from graphws.tasks.task import Task


class ChangedNetworks(Task):
    """A task whose answer is the network v - Δv, which is run.

    Outputs are flat networks as the model sees them, those that answer for one next to each other; predictions are the
    same in the units of the zoo.

    Args:
        deviation: Standard deviation of each flat weight's orbit over the training split, the unit of Δv.
        graph: Of the networks.
        restore: From the weights that the model sees to those that are run.
        networks: How many the model answers with; the mean of what they compute is the answer.

    Raises:
        UsageError: On networks that do not run.
    """

    def __init__(
        self,
        deviation: Float[Tensor, " weights"],
        graph: NetworkGraph,
        restore: Callable[[Weights], Weights],
        networks: int = 1,
    ) -> None:
        if reason := why_not(graph):
            raise UsageError(f"this task runs the networks, and these do not run: {reason}")
        self.deviation, self.graph, self.restore, self.networks = deviation, graph, restore, networks

    def apply(self, model: Callable[[Mixed], Any], weights: Mixed) -> Float[Tensor, "batch changed"]:
        """v - Δv, flat; those of all networks that answer for one in a row."""
        weights = of_one_graph(weights)
        seen = weights.flatten()
        return (seen[:, None] - answered(model, weights, self.deviation, self.networks)).flatten(1)

    def predictions(self, outputs: Float[Tensor, "batch changed"]) -> Float[Tensor, "batch changed"]:
        """The networks in the units of the zoo, flat."""
        return self.raw(outputs.float()).flatten().reshape(len(outputs), -1)

    def raw(self, outputs: Float[Tensor, "batch changed"]) -> Weights:
        """Networks that can be run, (batch · networks), from flat ones as the model sees them."""
        return self.restore(Weights.unflatten(self.graph, outputs.reshape(-1, self.graph.numel)))

    def run(self, networks: Weights, inputs: Inputs, several: int | None = None) -> Tensor:
        """What networks compute, (batch, …); the mean over those that answer for one.

        Args:
            networks: Those of each answer next to each other.
            inputs: For all networks, or with a leading axis for each answer.
            several: How many answer for one; None: `networks`.
        """
        count = self.networks if several is None else several
        outputs = outputs_of(self.graph, networks, inputs)
        return outputs if count == 1 else outputs.unflatten(0, (-1, count)).mean(1)


def answered(
    model: Callable[[Mixed], Any], weights: Weights, deviation: Float[Tensor, " weights"], networks: int
) -> Float[Tensor, "batch networks weights"]:
    """The changes that a model answers with, from units of each orbit's deviation to those of the weights it sees."""
    changes: Tensor = model(weights).flatten().unflatten(0, (-1, networks))
    return deviation.to(weights.device, weights.floating) * changes
