"""Before the search: the network without what does nothing.

Dead neurons, copies, and directions of a linear space that nothing writes or reads can be moved in any way, so they
hide the action of the rest: of an attention by one learned query, for example, only one direction of its queries
counts.  The theorem speaks about the reduced network, θ′ of paper I's remark 5.2, and there the action is looked for;
only exact redundancy goes, so the function stays the same to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from graphws.actions.computation.features import why_not_analysed
from graphws.actions.pictures.joined_axes import picture_view
from graphws.actions.reduction import Reduction, reduce
from graphws.graph import Weights

POINTS = 64
"""Inputs on which outputs are compared."""


def reduced_network(weights: Weights, shape: Sequence[int], data: Tensor | None = None) -> Reduction | None:
    """The network reduced; None where there is nothing to take out, or where it cannot be run to check.

    Args:
        weights: The network, a batch of one, in the type that it was trained in.
        shape: Shape of one input as the network reads it.
        data: Probes (points, …), if there are any; outputs are compared on random inputs otherwise.
    """
    if why_not_analysed(picture_view(weights).graph) is not None:
        return None
    if data is None:
        data = torch.randn(POINTS, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = reduce(weights, data[:POINTS].reshape(-1, *shape))
    same = not found.removed and torch.equal(found.weights.flatten(), weights.flatten())
    return None if same else found
