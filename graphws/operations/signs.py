"""Signs of spaces, tried on the outputs: they have no derivative.

Claims are tried together, since each trial is a run of the whole network: the spaces fall into two halves by chance,
and each half changes its signs at once.  If a half leaves the outputs alone, so does each of its spaces, unless two
wrong claims cancel; two that cancel are parted by half of the draws.  Where a half changes the outputs it is halved
again, until the spaces at fault stand alone.  Where all claims are right, the number of runs does not depend on the
number of spaces.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from graphws.graph.element import Monomial
from graphws.graph.group import GroupElement
from graphws.graph.network import NetworkGraph
from graphws.graph.weights import Weights
from graphws.operations.verify import Run, relative_change

DRAWS = 2
"""How often the spaces are halved by chance."""


def sign_errors(
    graph: NetworkGraph,
    weights: Weights,
    run: Run,
    spaces: Sequence[str],
    limit: float,
    generator: torch.Generator,
    together: bool = True,
) -> dict[str, float]:
    """The relative change of the outputs when random elements of each space change sign.

    Args:
        graph: The graph.
        weights: Where they change.
        run: Outputs from weights.
        spaces: Names of the spaces.
        limit: The largest change that counts as none.
        generator: Source of the signs and of the halves.
        together: Whether spaces may share a run, where most are expected to leave the outputs alone.

    Returns:
        dict: For each space the largest change of a run in which it took part and that counts as none, or its own
        alone; NaN where no axis has the space.
    """
    labelled = {axis.space for parameter in graph.parameters for axis in parameter.axes}
    found = dict.fromkeys(spaces, math.nan)
    tried = [name for name in spaces if name in labelled]
    if not tried:
        return found
    with torch.no_grad():
        before = run(weights)

        def change(names: Sequence[str]) -> float:
            return relative_change(before, run(_flipped(graph, weights, names, generator)))

        def settle(names: Sequence[str]) -> None:
            error = change(names)
            if len(names) == 1 or error <= limit:
                for name in names:
                    found[name] = error if math.isnan(found[name]) else max(found[name], error)
            else:
                settle(names[: len(names) // 2])
                settle(names[len(names) // 2 :])

        for _ in range(DRAWS if together and len(tried) > 2 * DRAWS else 0):
            order = torch.randperm(len(tried), generator=generator, device=generator.device).tolist()
            settle([tried[k] for k in order[: len(order) // 2]])
            settle([tried[k] for k in order[len(order) // 2 :]])
        for name in tried:
            if math.isnan(found[name]):
                settle([name])
    return found


def _flipped(graph: NetworkGraph, weights: Weights, names: Sequence[str], generator: torch.Generator) -> Weights:
    """The weights with the signs of some elements of each space changed, at least of one."""

    def signs(n: int) -> Tensor:
        coin = torch.rand(n, generator=generator, device=generator.device) < 0.5
        coin[torch.randint(n, (1,), generator=generator, device=generator.device)] = True
        return torch.where(coin, -1.0, 1.0).to(weights.device, weights.dtype)

    sizes = {name: graph.extent(name) for name in names}
    maps = {name: Monomial(torch.arange(n, device=weights.device), signs(n)) for name, n in sizes.items()}
    return GroupElement(graph, maps).act(weights)
