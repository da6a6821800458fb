"""The graph of a network that reads a picture by one learned query, then an MLP (paper I, section 6.2).

Patches of the picture are embedded twice, into key tokens and value tokens, each with a positional encoding of its own.
A single learned token asks: every head sums the values with the softmax of its query against the keys.  The heads'
outputs are concatenated to one vector of features, which passes an activation and the layers of an MLP.  So attention
takes the place of an MLP's first linear layer, and the dimensions of a head carry that layer's activation: they may be
permuted inside their head, and the heads among each other.

    >>> print(attention_pool_graph(3, 49, [16, 16, 588], heads=2, activation="tanh", patch=2))
    NetworkGraph(11 spaces, 13 parameters, 13020 numbers, log10|G| = 72.0)
      input: free, 12
      token: free, 49
      keys: set, 16, linear
      values: set, 16, linear
      slot: free, 1
      asker: set, 16, linear
      head1: set, 2, permutation
      query1: nested in head1, 8, linear
      value1: nested in head1, 8, signed
      hidden2: set, 16, signed
      output: free, 588
      EK[keys, input*] 16x12
      PK[token, keys] 49x16
      EV[values, input*] 16x12
      PV[token, values] 49x16
      T[slot, asker] 1x16
      Q1[query1, asker*] 16x16
      K1[query1*, keys*] 16x16
      V1[value1, values*] 16x16
      bV1[value1] 16
      W2[hidden2, value1*] 16x16
      bW2[hidden2] 16
      W3[output, hidden2*] 588x16
      bW3[output] 588
"""

from __future__ import annotations

from collections.abc import Sequence

from graphws.errors import GraphError, nearest
from graphws.graph.network import NetworkGraph
from graphws.graph.space import Action, Space
from graphws.operations.activations import ACTIVATIONS
from graphws.operations.builders.attention import GraphBuilder


def attention_pool_graph(
    inputs: int,
    tokens: int,
    widths: Sequence[int],
    heads: int,
    activation: str | Sequence[str] = "gelu",
    patch: int | None = None,
) -> NetworkGraph:
    """The graph of attention by one learned query, followed by an MLP; all linear maps after it have biases.

    Args:
        inputs: Width of the tokens given; with `patch`, number of channels of the pictures given.
        tokens: How many tokens (patches) a point has.
        widths: Features of the attention layer, then of the MLP's layers, the outputs last.
        heads: Number of heads; divides the first width.
        activation: One of `graphws.operations.ACTIVATIONS` for every layer but the last, or one each.
        patch: Edge of square patches that pictures (points, channels, height, width) are cut into; None for tokens.

    Returns:
        NetworkGraph: Run it with `graphws.operations.forward`; the attention maps are the value ``a1`` of
        `graphws.operations.run_values`, (batch, points, heads, 1, tokens).

    Raises:
        GraphError: On fewer than two widths, heads that do not divide the first, or an activation that is unknown or a
            power (which moves scales by another rule).
    """
    widths = tuple(widths)
    if len(widths) < 2:
        raise GraphError(f"needs the attention layer's width and that of the outputs at least; got {list(widths)}")
    if widths[0] % heads:
        raise GraphError(f"{heads} heads do not divide {widths[0]} features")
    kinds = [activation] * (len(widths) - 1) if isinstance(activation, str) else list(activation)
    if len(kinds) != len(widths) - 1:
        raise GraphError(f"{len(widths)} layers need {len(widths) - 1} activations, got {len(kinds)}")
    for kind in kinds:
        if kind not in ACTIVATIONS or kind == "power":
            allowed = [name for name in ACTIVATIONS if name != "power"]
            raise GraphError(f"unknown activation {kind!r}" + nearest(kind, allowed))

    width, inside = widths[0], widths[0] // heads
    build = GraphBuilder()
    features = build.free("input", inputs * (patch or 1) ** 2)
    build.free("token", tokens)
    value = build.step("patches", "t0", "x0", size=patch) if patch is not None else "x0"
    places = {}
    for name, mark in (("keys", "K"), ("values", "V")):
        build.add(Space(name, width, action=Action.LINEAR, role=name))
        embedded = build.linear(f"E{mark}", name, features, value, f"e{mark}", False, f"embedding.{name}")
        positions = build.weight(f"P{mark}", f"token {name}", f"position.{name}", "position")
        places[name] = build.step("position", f"p{mark}", embedded, positions)
    build.free("slot", 1)
    build.add(Space("asker", width, action=Action.LINEAR, role="asker"))
    asked = build.step("token", "c", value, build.weight("T", "slot asker", "query token", "position"))
    head = build.add(Space("head1", heads, role="head"))
    query = build.nested("query1", inside, head, "query")
    written = build.add(Space("value1", inside, "nested", head, ACTIVATIONS[kinds[0]].action, "value"))
    q = build.linear("Q1", query, "asker", asked, "q1", False, "attention.query")
    k = build.linear("K1", f"{query}*", "keys", places["keys"], "k1", False, "attention.key")
    v = build.linear("V1", written, "values", places["values"], "v1", True, "attention.value")
    scores = build.step("dot_scores", "s1", q, k, heads=heads, scale=inside**-0.5)
    pooled = build.step("attend", "h1", build.step("softmax", "a1", scores), v)
    value, features = build.activate(kinds[0], "x1", build.step("flatten_tokens", "z1", pooled)), written
    for m, size in enumerate(widths[1:], start=2):
        last = m == len(widths)
        action = Action.PERMUTATION if last else ACTIVATIONS[kinds[m - 1]].action
        out = build.free("output", size) if last else build.add(Space(f"hidden{m}", size, action=action, role="hidden"))
        value = build.linear(f"W{m}", out, features, value, f"z{m}", True, "weight")
        value = value if last else build.activate(kinds[m - 1], f"x{m}", value)
        features = out
    return build.graph("x0", value, inputs, tokens, patch)
