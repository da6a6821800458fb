"""Graphs of attention networks: layers of attention without skips or norms (paper I, section 5.2).

Layer i reads tokens X of width m_i.  In *matrix form* its head j computes

    softmax(X A_j X^T) X V_j^T,        A_j: m_i × m_i,   V_j: d_i × m_i,

in *standard form* A_j is the product Q_j^T K_j of a query and a key projection, and scores are divided by the square
root of the query dimension.  The heads' outputs are concatenated, and O_{i+1} makes the next layer's tokens of them;
O_1 embeds the input.  Weights are stored (out, in), as in PyTorch; the paper writes the transposes.

Spaces and what acts on them, for a layer i:

=============  =====================================  ==============================================================
``head{i}``    set                                    heads are permuted
``value{i}``   nested in heads, linear                GL(d_i) wr S_h: V_i follows, O_{i+1} undoes it; no activation is
                                                      between them
``query{i}``   nested in heads, linear                standard form: Q_i follows, K_i undoes it.  Paper D, section 5.4,
                                                      is the case of a permutation: Q and K are permuted together
``model{i}``   set, linear                            the tokens' own basis, where O_i makes them: without skips and
                                                      norms any will do
``input``, ``output``, ``token``                      free
=============  =====================================  ==============================================================

With grouped queries (``key_value_heads`` < ``heads``) ``head{i}`` are the key-value heads, and the heads that share one
are a space ``asker{i}`` inside it: S_r wr S_g.  ``Q{i}`` then has an axis for all askers and one inside a head,
``asker1 ~query1 model1*``, and so has the projection that reads the heads.

    >>> print(attention_graph(8, [AttentionLayer(heads=2, head_dim=3, width=6)], output=8))
    NetworkGraph(5 spaces, 4 parameters, 204 numbers, log10|G| = 4.7)
      input: free, 8
      model1: set, 6, linear
      head1: set, 2, permutation
      value1: nested in head1, 3, linear
      output: free, 8
      O1[model1, input*] 6x8
      A1[head1, model1*, model1*] 2x6x6
      V1[value1, model1*] 6x6
      O2[output, value1*] 8x6
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from graphws.errors import GraphError, nearest
from graphws.graph.network import NetworkGraph
from graphws.graph.operation import Attribute, Operation
from graphws.graph.parameter import Axis, Parameter
from graphws.graph.space import Action, Space
from graphws.graph.value import Value
from graphws.operations.activations import ACTIVATIONS
from graphws.shown import Shown

Scores = Literal["softmax", "linear"]


@dataclass(frozen=True, repr=False)
class AttentionLayer(Shown):
    """One layer of an attention network.

    Args:
        heads: Number of (query) heads.
        head_dim: Width d of a head's output.
        width: Width m of the tokens that the layer reads; None in a first layer that reads the input as it is.
        query_dim: Width of queries and keys in standard form; None for the matrix form.
        key_value_heads: Heads of keys and values, of which `heads` is a multiple; as many as heads where None.

    Raises:
        GraphError: On a number below 1, or heads that do not divide into groups.
    """

    heads: int
    head_dim: int
    width: int | None = None
    query_dim: int | None = None
    key_value_heads: int | None = None

    def __post_init__(self) -> None:
        for name in ("heads", "head_dim", "width", "query_dim", "key_value_heads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise GraphError(f"attention layer: {name} must be at least 1, got {value}")
        if self.heads % (self.key_value_heads or self.heads):
            raise GraphError(f"attention layer: {self.heads} heads do not divide into {self.key_value_heads} groups")

    @property
    def groups(self) -> int:
        """Number of key-value heads."""
        return self.key_value_heads or self.heads

    @property
    def queries(self) -> int:
        """Queries that share a key-value head."""
        return self.heads // self.groups


def attention_graph(
    inputs: int,
    layers: Sequence[AttentionLayer],
    output: int | None = None,
    *,
    scores: Scores = "softmax",
    scale: float | None = None,
    bias: bool = False,
    positions: int | None = None,
    patch: int | None = None,
) -> NetworkGraph:
    """The graph of an attention network, run by `graphws.operations.forward` on (points, tokens, inputs).

    Args:
        inputs: Width d_0 of the tokens given; with `patch`, number of channels of the pictures given.
        layers: The layers, first to last.
        output: Width after the last output projection; None leaves the concatenated heads of the last layer as they
            are (so paper I, with one head there), and then several heads are free.
        scores: ``softmax`` over the keys, or ``linear``: none.
        scale: Factor of the scores; None for 1 in matrix form and 1/sqrt(query_dim) in standard form.
        bias: Whether Q, K, V and O have biases.
        positions: Number of tokens, where a positional encoding is added to the first layer's; None for none, and any
            number of tokens.
        patch: Edge of square patches that pictures (points, channels, height, width) are cut into; None for tokens.

    Raises:
        GraphError: On no layers, a width missing after the first layer, a width too many, an unknown kind of scores,
            or grouped queries without an output projection.
    """
    layers = tuple(layers)
    if not layers:
        raise GraphError("an attention network needs at least one layer")
    if scores not in get_args(Scores):
        raise GraphError(f"scores must be softmax or linear, got {scores!r}" + nearest(scores, get_args(Scores)))
    for i, layer in enumerate(layers[1:], start=2):
        if layer.width is None:
            raise GraphError(f"attention layer {i}: needs a width, into which the layer below is projected")
    if output is None and layers[-1].queries > 1:
        raise GraphError("grouped queries in the last layer need an output projection: give output=...")

    build = GraphBuilder()
    value = "x0"
    features = build.free("input", inputs * (patch or 1) ** 2)
    if patch is not None:
        value = build.step("patches", "t0", value, size=patch)
    asker = ""  # the heads that share values in the layer below, where they do
    for i, layer in enumerate(layers, start=1):
        if layer.width is not None:
            model = build.add(Space(f"model{i}", layer.width, action=Action.LINEAR, role="model"))
            role = "embedding" if i == 1 else "attention.output"
            value = build.linear(f"O{i}", model, features, value, f"t{i}", bias, role, asker)
            features = model
        if i == 1 and positions is not None:
            build.free("token", positions)
            build.parameters.append(Parameter("P", f"token {features}", "position", "position"))  # type: ignore[arg-type]
            value = build.step("position", "p1", value, "P")
        last = output is None and i == len(layers)
        value = build.attention(i, layer, value, features, scores, scale, bias, free=last)
        features = "output" if last else f"value{i}"
        asker = f"asker{i}" if layer.queries > 1 else ""
    if output is not None:
        build.free("output", output)
        value = build.linear(f"O{len(layers) + 1}", "output", features, value, "y", bias, "attention.output", asker)
    return build.graph("x0", value, inputs, positions, patch)


@dataclass
class GraphBuilder:
    """Collects the spaces, parameters and steps of a graph whose layers are attention, linear maps and activations."""

    spaces: list[Space] = field(default_factory=list)
    parameters: list[Parameter] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)

    def add(self, space: Space) -> str:
        """Adds a space; gives its name."""
        self.spaces.append(space)
        return space.name

    def free(self, name: str, size: int) -> str:
        """Adds a free space whose role is its name."""
        return self.add(Space(name, size, "free", role=name))

    def weight(self, name: str, axes: str, role: str, kind: str = "weight") -> str:
        """Adds a parameter.  Its role ends in ``.free`` where it reads or writes the network's ends: such a tensor
        folds differently, so layers that share by role must not mix it with the others."""
        names = [axis.strip("~*") for axis in axes.split()]
        ends = any(s.kind == "free" and s.parent is None for s in self.spaces if s.name in names)
        self.parameters.append(Parameter(name, axes, kind, f"{role}.free" if ends else role))  # type: ignore[arg-type]
        return name

    def step(self, kind: str, out: str, *read: str, **attributes: Attribute) -> str:
        """Adds an operation; gives the name of its value."""
        self.operations.append(Operation(kind, read, (out,), tuple(attributes.items())))
        return out

    def activate(self, name: str, out: str, read: str) -> str:
        """Adds an activation by its name; gives the name of its value."""
        self.operations.append(ACTIVATIONS[name].step(read, out))
        return out

    def linear(
        self, name: str, out: str, features: str, value: str, result: str, bias: bool, role: str, asker: str = ""
    ) -> str:
        """A linear map ``name`` from the space ``features`` to the axes ``out``, with bias ``b{name}``.

        Where heads share their values, it reads the features of every asker.
        """
        source = f"{asker}* ~{features}*" if asker else f"{features}*"
        read = [value, self.weight(name, f"{out} {source}", role)]
        if bias:
            read.append(self.weight(f"b{name}", out, f"{role}.bias", "bias"))
        return self.step("linear", result, *read, **({"reads": 2} if asker else {}))

    def attention(
        self,
        i: int,
        layer: AttentionLayer,
        value: str,
        features: str,
        scores: Scores,
        scale: float | None,
        bias: bool,
        free: bool,
    ) -> str:
        """Attention of tokens to themselves; gives the value that the heads wrote."""
        pinned = free and layer.groups > 1  # a single head has nothing to be exchanged with
        head = self.free(f"head{i}", layer.groups) if pinned else self.add(Space(f"head{i}", layer.groups, role="head"))
        shared: dict[str, Attribute] = {"groups": layer.groups} if layer.queries > 1 else {}
        asker = self.add(Space(f"asker{i}", layer.queries, "nested", head, role="asker")) if shared else head
        width = layer.groups * layer.head_dim
        values = self.free("output", width) if free else self.nested(f"value{i}", layer.head_dim, head, "value")
        if layer.query_dim is None:
            matrix = self.weight(f"A{i}", f"{asker} {features}* {features}*", "attention.matrix")
            factor = 1.0 if scale is None else scale
            maps = self.step("bilinear_scores", f"s{i}", value, value, matrix, scale=factor)
        else:
            query = (
                self.free(f"query{i}", layer.groups * layer.query_dim)
                if pinned
                else self.nested(f"query{i}", layer.query_dim, head, "query")
            )
            out = f"{asker} ~{query}" if shared else query
            queries = self.linear(f"Q{i}", out, features, value, f"q{i}", bias, "attention.query")
            keys = self.linear(f"K{i}", f"{query}*", features, value, f"k{i}", bias, "attention.key")
            factor = layer.query_dim**-0.5 if scale is None else scale
            maps = self.step("dot_scores", f"s{i}", queries, keys, heads=layer.heads, scale=factor, **shared)
        if scores == "softmax":
            maps = self.step("softmax", f"a{i}", maps)
        written = self.linear(f"V{i}", values, features, value, f"v{i}", bias, "attention.value")
        return self.step("attend", f"h{i}", maps, written, **shared)

    def nested(self, name: str, size: int, head: str, role: str) -> str:
        """Adds dimensions inside heads on which every invertible matrix acts."""
        return self.add(Space(name, size, "nested", head, Action.LINEAR, role))

    def graph(
        self, source: str, result: str, inputs: int, tokens: int | None = None, patch: int | None = None
    ) -> NetworkGraph:
        """What was collected: a network that reads tokens of `inputs` features, or pictures of as many channels."""
        if patch is None:
            points = Value(source, ("n", tokens or "?", inputs), (None, None, Axis("input")))
        else:
            side = math.isqrt(tokens or 0)
            rows, columns = (side, side) if side * side == tokens else (1, tokens or 0)
            shape = (patch * rows, patch * columns) if tokens else ("?", "?")
            points = Value(source, ("n", inputs, *shape))
        return NetworkGraph(
            tuple(self.spaces), tuple(self.parameters), tuple(self.operations), (source,), (result,), values=(points,)
        )
