"""One layer of a model explained: what it works on, its linear maps, and what weights carry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from graphws.graph import NetworkGraph
from graphws.layers.acting.explain import acting_maps, acting_parameters
from graphws.layers.acting.neurons import Stage
from graphws.layers.explain import Explanation, explain
from graphws.messages import Message


def explain_stage(
    stage: Stage,
    networks: Sequence[NetworkGraph],
    messages: Sequence[Message],
    channels: tuple[int, int],
    *,
    bias: bool = True,
    share: str = "none",
    heads: int = 1,
) -> Explanation:
    """Explains one layer of a model, on its first graph.

    Args:
        stage: What the layer works on.
        networks: Graphs of the networks as they come.
        messages: The messages of every layer, as they are written.
        channels: Channels that come in and go out.
        bias: Whether there are biases.
        share: ``none`` or ``role``.
        heads: Heads of learned poolings.

    Raises:
        GraphError: Where roles cannot be shared.
    """
    graph, *others = stage.graphs
    linear = explain(
        graph, stage.messages, *channels, bias=bias, share=share, heads=heads, others=others, kinds=stage.kinds
    )
    return replace(
        linear,
        messages=tuple(messages),
        acts=acting_maps(networks[0], graph, stage.acting, channels),
        acting_parameters=acting_parameters(networks, stage.graphs, stage.acting, channels, share),
    )
