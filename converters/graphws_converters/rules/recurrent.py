"""Recurrent layers, kept whole: gates stacked in the rows of their weights, one state space a layer and direction.

Tanh is odd, so a state may change its sign: with it the rows of its own (candidate) gate and the columns that read it,
while the rows of the other gates, which pass a sigmoid, stay.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphws_converters.algebra.dims import Dim, total
from graphws_converters.algebra.tensors import Abstract, Leg, Stacked
from graphws_converters.algebra.unify import unify
from graphws_converters.analysis.engine import Engine
from graphws_converters.rules.registry import Call, NotCovered, Result, rule

_GATES = {"lstm": (4, 2), "gru": (3, 2), "rnn_tanh": (1, 0), "rnn_relu": (1, None)}
"""How many gates there are, and which of them is the odd one that carries the sign."""


@rule("lstm", "gru", "rnn_tanh", "rnn_relu", powers=True)
def recurrent(e: Engine, call: Call) -> Result:
    """Layers over time, in one or two directions."""
    gates, candidate = _GATES[call.node.op]
    if "params" not in call.arguments or "batch_sizes" in call.arguments:
        raise NotCovered("a packed sequence")
    x, parameters = e.plain(call["input"]), [e.plain(p) for p in call["params"]]
    layers, directions = call["num_layers"], 2 if call["bidirectional"] else 1
    per_cell = len(parameters) // (layers * directions)
    projected = per_cell == (5 if call["has_biases"] else 3)
    given = call["hx"]
    states = list(given) if isinstance(given, list | tuple) else [given]
    batched = len(x.legs) == 3
    time = 1 if batched and call["batch_first"] else 0
    e.release([x.legs[time]], "time")
    e.pin(x.legs[:-1])
    batch = [leg for k, leg in enumerate(x.legs[:-1]) if k != time]
    entry, outs, cells = x.legs[-1], [], []
    for layer in range(layers):
        here = []
        for direction in range(directions):
            at = layer * directions + direction
            own = parameters[at * per_cell : (at + 1) * per_cell]
            initial = [_state(e, e.select(s, 0, at), batch) for s in states]
            out, cell = _cell(e, entry, own, gates, candidate, projected, initial)
            here.append(out)
            outs.append(out)
            cells.append(cell)
        entry = here[0] if directions == 1 else Leg(total([leg.dim for leg in here]))
        if directions == 2:
            e.regrouped(here, [entry])
    ends = [Stacked(0, [e.tensor([*batch, leg]) for leg in legs]) for legs in (outs, cells)]
    return [e.tensor([*x.legs[:-1], entry]), *ends[: len(call.shapes) - 1]]


@rule("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell", powers=True)
def cell(e: Engine, call: Call) -> Result:
    """One step."""
    gates, candidate = _GATES[call.node.op.removesuffix("_cell")]
    x, given = e.plain(call["input"]), call["hx"]
    states = [e.plain(s) for s in (given if isinstance(given, list | tuple) else [given])]
    parameters = [e.plain(p) for p in (call.get(name) for name in ("w_ih", "w_hh", "b_ih", "b_hh")) if p is not None]
    e.pin(x.legs[:-1])
    initial = [_state(e, s, x.legs[:-1]) for s in states]
    out, inner = _cell(e, x.legs[-1], parameters, gates, candidate, False, initial)
    return [e.tensor([*x.legs[:-1], leg]) for leg in (out, inner)][: len(call.shapes)]


def _state(e: Engine, state: Abstract, batch: Sequence[Leg]) -> Abstract | None:
    """The state that a run begins with: its sequences are those of the input.  None: zeros, which follow any power."""
    for own, leg in zip(state.legs[:-1], batch, strict=True):
        unify(own.dim, leg.dim, "the sequences of a recurrent layer")
    e.pin(state.legs[:-1])
    return None if state.zero else state


def _cell(
    e: Engine,
    entry: Leg,
    parameters: Sequence[Abstract],
    gates: int,
    candidate: int | None,
    projected: bool,
    initial: Sequence[Abstract | None],
) -> tuple[Leg, Leg]:
    """The state's output leg and inner leg, with every demand of one layer and direction on them."""
    inward, recurrent_, *rest = parameters
    size = inward.shape[0] // gates
    cell_ = Leg(Dim(size))
    out = Leg(Dim(rest[-1].shape[0])) if projected else cell_
    e.pin([cell_], "scale")
    if candidate is None:
        e.pin([cell_])
    for weight, read in ((inward, entry), (recurrent_, out)):
        unify(weight.legs[1].dim, read.dim, "what a recurrent layer reads")
        e.relate((1, read), (1, weight.legs[1]), linear=True)
        e.read.append(weight.legs[1])
        e.barriers.append([read.dim])
    biases = rest[:-1] if projected else rest
    for tensor in (inward, recurrent_, *biases):
        for gate, piece in enumerate(e.cut(tensor, 0, [size] * gates)):
            row = piece.legs[0]
            unify(row.dim, cell_.dim, "the gates of a recurrent layer")
            e.pin([row], "scale")
            if gate == candidate:
                e.relate((1, row), (-1, cell_))
            else:
                e.pin([row])
    if projected:
        unify(rest[-1].legs[1].dim, cell_.dim, "the projection of a recurrent layer")
        e.relate((1, cell_), (1, rest[-1].legs[1]), linear=True)
        e.read.append(rest[-1].legs[1])
        e.same(out, rest[-1].legs[0], "the projection of a recurrent layer")
    for state, leg in zip(initial, (out, cell_), strict=False):
        if state is not None:
            e.same(state.legs[-1], leg, "the state of a recurrent layer")
    return out, cell_
