"""Two networks: the element that brings the second to the first.

Three sources of evidence, one way of solving.  Every space is an assignment problem (or, for a linear space, a
Procrustes problem) on scores that say how well element i of the one answers to element j of the other:

* ``weights``: scores from the weights themselves, found by coordinate descent (the weight matching of git re-basin,
  Ainsworth et al. 2023, for any graph and the rich actions too);
* ``activations``: correlations of what the spaces carry on given inputs, for graphs that graphws can run;
* ``attributions``: correlations of how much each element takes part in random functions of the outputs, the diagonal
  of its moment map.  That needs no more than outputs differentiable in the weights: any converted network has them.

Scales and bases are brought to one gauge first, so a ReLU network whose neurons were scaled up and down aligns exactly.
Coordinate descent depends on where it starts, so it starts from a forward pass over the graph, from the order in which
the networks came, and from random orders; the closest result is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from graphws.align.evidence import Values, activation_maps, attribution_maps, with_signs
from graphws.align.least_norm_gauge import settled_gauge
from graphws.align.objective import check_pair, climb, closeness, restricted, standing
from graphws.errors import UsageError, nearest
from graphws.graph import GroupElement, Weights
from graphws.graph.group import Richness
from graphws.matching import agreement, balanced_metric, match_forward
from graphws.matching.metric import Metric
from graphws.matching.scored_parameters import matching_view
from graphws.operations.latents import latents
from graphws.operations.verify import Run

Method = Literal["weights", "activations", "attributions"]


@dataclass(frozen=True, eq=False)
class Alignment:
    """What `align` found.

    Attributes:
        element: Brings the second network to the first; an element of the graph's group.
        aligned: The second network, moved: it computes what it did.
        method: Where the evidence came from.
        record: Closeness of the weights at the start and after every sweep of the winning descent, which never falls;
            of the result alone for the other methods.
        before: Agreement of each parameter before: 1 - ‖A - B‖² / (‖A‖² + ‖B‖²).
        after: The same after.
    """

    element: GroupElement
    aligned: Weights
    method: Method
    record: tuple[float, ...]
    before: dict[str, float]
    after: dict[str, float]


def align(
    first: Weights,
    second: Weights,
    *,
    method: Method = "weights",
    inputs: Tensor | None = None,
    run: Run | None = None,
    values: Values | None = None,
    actions: Richness = "rich",
    generator: torch.Generator | None = None,
    restarts: int = 2,
    sweeps: int = 50,
    balanced: bool = True,
) -> Alignment:
    """Brings the second network to the first.

    Laws: ``aligned`` computes what ``second`` computes; a network that is the first one moved by any element comes back
    to it, but for elements that nothing tells apart.

    Args:
        first: The network to be met, a batch of one.
        second: The network to be moved, of the same graph.
        method: ``weights``, ``activations`` or ``attributions``.
        inputs: Points for ``activations``: data that the networks know.
        values: What the spaces carry on such data, in place of ``inputs``, for networks that
            `graphws.operations.forward` does not run; `graphws.actions.computation.values` has it for all that run.
        run: Outputs from weights on such data, for ``attributions``.
        actions: The rich actions of the graph, or its permutations only.
        generator: Order of the descent, random starts and random functions; the graph's order and none where None.
        restarts: Random starts of ``weights``, besides the two fixed ones; they need a generator.
        sweeps: At most so many sweeps of a descent.
        balanced: Every layer counts the same; else every number does, as in git re-basin, and wide layers decide.

    Raises:
        GraphError: On different graphs, batches other than one, or a space that nothing speaks about.
        UsageError: On an unknown method, or one without the inputs, run or generator that it needs.
    """
    graph = check_pair(first, second)
    given = [restricted(first, actions), restricted(second, actions)]
    views = [matching_view(weights) for weights in given]
    gauges = [settled_gauge(view) for view in views]
    ours, theirs = (gauge.act(view) for gauge, view in zip(gauges, views, strict=True))
    metric = balanced_metric(ours) if balanced else Metric()
    one, other = (GroupElement(w.graph, gauge.maps).act(w) for gauge, w in zip(gauges, given, strict=True))
    if method == "weights":
        found, record = _by_weights(ours, theirs, metric, generator, restarts, sweeps)
    elif method == "activations":
        if values is None and inputs is None:
            raise UsageError("activations are those on some data: give inputs")
        known = activation_maps(one, other, values or _carried(inputs))
        found = match_forward(ours, theirs, fixed=known, metric=metric)
    elif method == "attributions":
        if run is None or generator is None:
            raise UsageError("attributions are those of outputs: give run and a generator")
        known = attribution_maps(one, other, run, generator)
        found = with_signs(ours, theirs, match_forward(ours, theirs, fixed=known, metric=metric), metric)
    else:
        raise UsageError(
            f"method must be one of {', '.join(get_args(Method))}; got {method!r}" + nearest(method, get_args(Method))
        )
    if method != "weights":
        record = [closeness(ours, found.act(theirs), metric)]
    element = GroupElement(graph, (gauges[0].inverse() @ found @ gauges[1]).maps)
    aligned = element.act(second)
    plain = Metric()
    return Alignment(
        element, aligned, method, tuple(record), agreement(first, second, plain), agreement(first, aligned, plain)
    )


def _carried(inputs: Tensor | None) -> Values:
    assert inputs is not None
    points = inputs
    return lambda weights: latents(weights.graph, weights, points)


def _by_weights(
    first: Weights,
    second: Weights,
    metric: Metric,
    generator: torch.Generator | None,
    restarts: int,
    sweeps: int,
) -> tuple[GroupElement, list[float]]:
    """The best of several descents."""
    graph = first.graph
    starts = [match_forward(first, second, metric=metric), standing(first)]
    if generator is not None:
        starts += [graph.group().random(generator, dtype=first.dtype) for _ in range(restarts)]
    runs = [climb(first, second, start, metric, generator, sweeps) for start in starts]
    return max(runs, key=lambda found: found[1][-1])
