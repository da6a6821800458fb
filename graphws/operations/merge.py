"""Merging projections: the general linear group of a space inside heads divided out, exactly.

Queries and keys meet only in products q · k, values and the output projection only in O (V x).  Any invertible matrix
inside a head may be undone on the other side, so the two weights hold d² numbers a head too many.  The products

    A_j = Q_j^T K_j        (`merge_qk`: paper I's W_A = W_Q W_K^T, stored transposed)
    M_j = O_j V_j          (`merge_vo`)

hold the function and nothing else: two networks whose heads differ by such matrices have equal products, and heads of
full rank with equal products differ by one such matrix.  Biases become terms of their own; under a softmax those that
shift all scores of a query alike are dropped, because they have no effect, and the values' bias joins that of the
output projection, because attention sums to 1.

The rules look at labels alone: a linear space inside heads, written by one side and read by the other.  A graph that
graphws can run comes back with its steps rewritten, so it can still be run; the steps of another graph are dropped, and
what remains are its invariants.

>>> import torch
>>> from graphws.operations import AttentionLayer, attention_graph
>>> from graphws.graph import Weights
>>> graph = attention_graph(8, [AttentionLayer(2, 3, query_dim=4)], output=8)
>>> weights = Weights.unflatten(graph, torch.randn(1, graph.numel, generator=torch.Generator().manual_seed(0)))
>>> print(merge_vo(merge_qk(weights)).graph)
NetworkGraph(3 spaces, 2 parameters, 256 numbers, log10|G| = 0.3)
  input: free, 8
  head1: set, 2, permutation
  output: free, 8
  A1[head1, input*, input*] 2x8x8
  M1[head1, output, input*] 2x8x8
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from graphws.errors import GraphError
from graphws.graph.network import NetworkGraph
from graphws.graph.operation import Operation
from graphws.graph.parameter import Axis, Parameter
from graphws.graph.space import Action, Space
from graphws.graph.weights import Weights
from graphws.operations.merge_rewrite import Rewrite


def merge_qk(weights: Weights) -> Weights:
    """The same networks in matrix form: A instead of Q and K, wherever a linear space of queries allows it.

    Laws: ``forward`` is unchanged; elements of the group that act on query spaces only change nothing in the result.

    Args:
        weights: Networks of a graph in which a linear space inside heads joins two projections that read tokens.

    Returns:
        Weights: Of the merged graph.  ``A1`` is (heads, tokens that ask, tokens that are asked); with biases there is
        ``uA1``, added for every key, and without a softmax ``wA1``, added for every query, and ``cA1``.

    Raises:
        GraphError: Where there is nothing to merge.
    """
    rewrite = Rewrite(weights)
    for pair in head_pairs(weights.graph):
        if pair.other(pair.into[0]).power < 0 and pair.other(pair.out[0]).power < 0:
            _merge_queries(rewrite, pair)
    if not rewrite.gone:
        raise GraphError("no linear space of queries and keys inside heads: nothing to merge")
    return rewrite.finish()


def merge_vo(weights: Weights) -> Weights:
    """The same networks with M = O V instead of values and output projection, wherever a linear space allows it.

    Laws: as for `merge_qk`, for value spaces.

    Args:
        weights: Networks of a graph in which a linear space inside heads joins a projection of tokens to one that
            writes tokens.

    Returns:
        Weights: Of the merged graph.  ``M1`` is (heads, tokens written, tokens read); without a softmax the values'
        bias becomes ``cM1``, (heads, tokens written).

    Raises:
        GraphError: Where there is nothing to merge.
    """
    rewrite = Rewrite(weights)
    for pair in head_pairs(weights.graph):
        if pair.other(pair.into[0]).power < 0 <= pair.other(pair.out[0]).power:
            _merge_values(rewrite, pair)
    if not rewrite.gone:
        raise GraphError("no linear space of values inside heads: nothing to merge")
    return rewrite.finish()


@dataclass(frozen=True)
class HeadPair:
    """A linear space inside heads and the parameters on its two sides: weights of two axes, biases of one."""

    graph: NetworkGraph
    space: Space
    into: tuple[Parameter, ...]  # power 1: they write the space
    out: tuple[Parameter, ...]  # power -1
    into_bias: tuple[Parameter, ...]
    out_bias: tuple[Parameter, ...]

    def axis(self, parameter: Parameter) -> int:
        """Position of the space's axis."""
        return parameter.spaces.index(self.space.name)

    def host(self, parameter: Parameter) -> int | None:
        """Position of the axis of the heads, where they stand apart from their dimensions (grouped queries)."""
        k = self.axis(parameter)
        return self.graph.host(parameter, k) if parameter.axes[k].inner else None

    def other(self, parameter: Parameter) -> Axis:
        """The axis of a weight that is neither the space's nor that of its heads."""
        taken = {self.axis(parameter), self.host(parameter)}
        return next(axis for k, axis in enumerate(parameter.axes) if k not in taken)

    def head(self, *parameters: Parameter) -> Axis:
        """The heads of a product of parameters: the askers of one of them, or the heads themselves."""
        hosts = [parameter.axes[host].space for parameter in parameters if (host := self.host(parameter)) is not None]
        return Axis(hosts[0] if hosts else self.space.parent or "")

    def columns(self, weights: Weights, parameter: Parameter, heads: Axis) -> Tensor:
        """A parameter as (batch, heads, d, rest); heads that share it get it once each."""
        axis, host = self.axis(parameter) + 1, self.host(parameter)
        tensor = weights[parameter.name]
        if host is None:
            tensor = tensor.movedim(axis, 1)
            tensor = tensor.reshape(tensor.shape[0], tensor.shape[1] // self.space.size, self.space.size, -1)
        else:
            tensor = tensor.movedim((host + 1, axis), (1, 2)).reshape(
                tensor.shape[0], tensor.shape[host + 1], self.space.size, -1
            )
        return tensor.repeat_interleave(self.graph.extent(heads.space) // tensor.shape[1], dim=1)


def head_pairs(graph: NetworkGraph) -> Iterator[HeadPair]:
    """Spaces whose parameters are all weights or biases, with one weight at least on either side."""
    for space in graph.spaces:
        if not (space.moves and space.parent and space.action is Action.LINEAR):
            continue
        sides: dict[tuple[int, int], list[Parameter]] = {(2, 1): [], (2, -1): [], (1, 1): [], (1, -1): []}
        plain, hosts = True, set()
        for parameter in graph.parameters:
            axes = [(k, axis) for k, axis in enumerate(parameter.axes) if axis.space == space.name]
            if axes:
                k, axis = axes[0]
                kind = (len(parameter.axes) - axis.inner, axis.power)
                plain = plain and len(axes) == 1 and kind in sides
                sides.get(kind, []).append(parameter)
                host = graph.host(parameter, k) if axis.inner else None
                hosts |= {parameter.spaces[host]} if host is not None else set()
        into, out, into_bias, out_bias = map(tuple, sides.values())
        if plain and into and out and len(hosts) <= 1:
            yield HeadPair(graph, space, into, out, into_bias, out_bias)


def _merge_queries(rewrite: Rewrite, pair: HeadPair) -> None:
    """Q and K of one space of heads to A, u, w and c."""
    key, key_bias = pair.out[0], pair.out_bias[0] if pair.out_bias else None
    steps = [_score_steps(rewrite, query, key) for query in pair.into]
    if len(pair.out) > 1 or (rewrite.runs and any(found is None for found in steps)):
        return
    if not rewrite.runs and len(pair.into) > 1 and pair.into_bias:
        return  # nothing says which bias belongs to which query
    for query, found in zip(pair.into, steps, strict=True):
        bias = _bias_of(pair.into_bias, found)
        head = pair.head(query, key)
        q, k = (pair.columns(rewrite.weights, each, head) for each in (query, key))
        name, after = _name("A", "Q", query, key), query.name
        asking, asked = pair.other(query), pair.other(key)
        made = Parameter(name, (head, asking, asked), "weight", query.role.replace("query", "matrix"))
        read = [rewrite.add(made, q.mT @ k, after)]
        softmax = found is not None and all(step.kind == "softmax" for step in rewrite.readers(found[2].outputs[0]))
        if bias is not None or (key_bias is not None and not softmax):
            bq = torch.zeros_like(q[..., :1]) if bias is None else pair.columns(rewrite.weights, bias, head)
            bk = torch.zeros_like(k[..., :1]) if key_bias is None else pair.columns(rewrite.weights, key_bias, head)
            terms: list[tuple[str, tuple[Axis, ...], Tensor]] = [("u", (head, asked), (k.mT @ bq).squeeze(-1))]
            if not softmax:
                terms.append(("w", (head, asking), (q.mT @ bk).squeeze(-1)))
                terms.append(("c", (head,), (bq * bk).sum((-1, -2))))
            for letter, axes, term in terms:
                role = f"{made.role}.{letter}" if made.role else ""
                read.append(rewrite.add(Parameter(f"{letter}{name}", axes, "bias", role), term, after))
        if found is not None:
            ask, look, scores = found
            scale = scores.attribute("scale", 1.0)
            tokens = (ask.inputs[0], look.inputs[0])
            rewrite.exchange(
                [ask, scores], [Operation("bilinear_scores", (*tokens, *read), scores.outputs, (("scale", scale),))]
            )
    rewrite.drop_readers(key.name)
    rewrite.gone.add(pair.space.name)


def _score_steps(rewrite: Rewrite, query: Parameter, key: Parameter) -> tuple[Operation, Operation, Operation] | None:
    """The two projections and the scores in which they meet, where nothing else reads them."""
    ask, look = rewrite.reader(query.name), rewrite.reader(key.name)
    if ask is None or look is None or {ask.kind, look.kind} != {"linear"}:
        return None
    scores = rewrite.reader(ask.outputs[0])
    if scores is None or scores.kind != "dot_scores" or scores.inputs != (ask.outputs[0], look.outputs[0]):
        return None
    others = [step.kind for step in rewrite.readers(look.outputs[0])]
    if set(others) != {"dot_scores"} or rewrite.is_output(*ask.outputs, *look.outputs):
        return None
    return ask, look, scores


def _merge_values(rewrite: Rewrite, pair: HeadPair) -> None:
    """V and O of one space of heads to M; what their biases write goes into the bias of O, or into c."""
    value, bias = pair.into[0], pair.into_bias[0] if pair.into_bias else None
    steps = [_output_steps(rewrite, value, out) for out in pair.out]
    if len(pair.into) > 1 or pair.out_bias or (rewrite.runs and any(found is None for found in steps)):
        return
    for k, (out, found) in enumerate(zip(pair.out, steps, strict=True)):
        head = pair.head(out, value)
        o, v = (pair.columns(rewrite.weights, each, head) for each in (out, value))
        name = _name("M", "V", value, out) + (f".{k}" if len(pair.out) > 1 else "")
        wrote, role = pair.other(out), out.role.replace("output", "value-output")
        made = Parameter(name, (head, wrote, pair.other(value)), "weight", role)
        read = [rewrite.add(made, o.mT @ v, out.name)]
        term = None if bias is None else (o.mT @ pair.columns(rewrite.weights, bias, head)).squeeze(-1)
        softmax = found is not None and _is_softmax(rewrite, found[1].inputs[0])
        if term is not None and not softmax:
            apart = Parameter(f"c{name}", (head, wrote), "bias", f"{role}.c" if role else "")
            read.append(rewrite.add(apart, term, out.name))
            term = None
        if found is None:
            continue
        project, attend, write = found
        shift = _shift(rewrite, out, wrote, write, None if term is None else term.sum(1))
        result = write.outputs[0]
        before = f"{result}~" if shift else result
        new = [Operation("attend_matrix", (attend.inputs[0], project.inputs[0], *read), (before,))]
        if shift:
            new.append(Operation("add", (before, shift), (result,)))
        rewrite.exchange([attend, write], new)
    rewrite.drop_readers(value.name)
    rewrite.gone.add(pair.space.name)


def _output_steps(rewrite: Rewrite, value: Parameter, out: Parameter) -> tuple[Operation, Operation, Operation] | None:
    """Projection of the values, attention, projection of what the heads wrote, where nothing else reads them."""
    project, write = rewrite.reader(value.name), rewrite.reader(out.name)
    if project is None or write is None or {project.kind, write.kind} != {"linear"}:
        return None
    attend = rewrite.writer(write.inputs[0])
    if attend is None or attend.kind != "attend" or rewrite.reader(attend.outputs[0]) is not write:
        return None
    others = {step.kind for step in rewrite.readers(project.outputs[0])}
    if attend.inputs[1] != project.outputs[0] or others != {"attend"}:
        return None
    return None if rewrite.is_output(*project.outputs, *attend.outputs) else (project, attend, write)


def _shift(rewrite: Rewrite, out: Parameter, wrote: Axis, write: Operation, term: Tensor | None) -> str:
    """The parameter that is added after attention: the bias of O plus a term; nothing where there is neither."""
    old = rewrite.weights.graph.parameter(write.inputs[2]) if len(write.inputs) > 2 else None
    if old is None:
        return "" if term is None else rewrite.add(Parameter(f"b{out.name}", (wrote,), "bias"), term, out.name)
    total = rewrite.weights[old.name]
    return rewrite.add(replace(old), total if term is None else total + term, old.name)


def _is_softmax(rewrite: Rewrite, value: str) -> bool:
    step = rewrite.writer(value)
    return step is not None and step.kind == "softmax"


def _bias_of(biases: Sequence[Parameter], found: tuple[Operation, ...] | None) -> Parameter | None:
    """The bias that a projection reads; where the steps do not say, the only one."""
    if found is None:
        return biases[0] if biases else None
    return next((bias for bias in biases if bias.name in found[0].inputs), None)


def _name(letter: str, instead: str, first: Parameter, second: Parameter) -> str:
    """``A1`` for ``Q1``, and ``first|second`` where parameters are not named as the builder names them."""
    plain = first.name[:1] == instead and first.name[1:].replace(".", "").isdigit()
    return f"{letter}{first.name[1:]}" if plain else f"{first.name}|{second.name}"
