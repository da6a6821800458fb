"""Recurrent layers: LSTM, GRU and RNN, forward, reverse and bidirectional.

Gates stand in another order than in torch; a layer whose gates torch computes alike is one call, so that a tracer sees
it whole.
"""

from __future__ import annotations

import torch
from torch import Tensor

from graphws_converters.onnx.rules import MOST_TURNS, Call, Rules, Value

rules = Rules()

_DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
_ORDERS = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
"""Where torch's gates stand among ONNX's: i o f c for i f g o, z r h for r z n."""


@rules("LSTM", "GRU", "RNN")
def recurrent(
    call: Call, x: Value, w: Value, r: Value, b: Value = None, lengths: Value = None, h0: Value = None,
    c0: Value = None, peephole: Value = None,
) -> list[Tensor]:  # fmt: skip
    """All hidden states (steps, directions, batch, hidden), the last ones, and an LSTM's last cells."""
    kind = call.node.kind
    value, weight, recurrence = call.tensors(x, w, r)
    if call.get("layout"):
        value = value.transpose(0, 1)
    steps, batch, _ = value.shape
    directions, hidden = weight.shape[0], recurrence.shape[2]
    _check(call, kind, directions, steps, lengths, peephole)
    zero = value.new_zeros(directions, batch, hidden)
    first = zero if h0 is None else _states(call, h0)
    cells = zero if c0 is None else _states(call, c0)
    bias = value.new_zeros(directions, 2 * len(_ORDERS[kind]) * hidden) if b is None else call.tensor(b)
    if call.get("direction", "forward") == "reverse":
        value = value.flip(0)
    found = _run(call, kind, value, weight, recurrence, bias, first, cells)
    outputs = found[0].reshape(steps, batch, directions, hidden).permute(0, 2, 1, 3)
    if call.get("direction", "forward") == "reverse":
        outputs = outputs.flip(0)
    if call.get("layout"):
        return [outputs.permute(2, 0, 1, 3), *(state.transpose(0, 1) for state in found[1:])]
    return [outputs, *found[1:]]


def _states(call: Call, value: Value) -> Tensor:
    state = call.tensor(value)
    return state.transpose(0, 1) if call.get("layout") else state


def _check(call: Call, kind: str, directions: int, steps: int, lengths: Value, peephole: Value) -> None:
    names = _DEFAULTS[kind] * directions
    allowed = [names, ["Relu"] * directions] if kind == "RNN" else [names]
    if [name.capitalize() for name in call.get("activations", names)] not in allowed:
        raise call.refuse(f"activations {', '.join(call.get('activations'))}")
    if call.get("clip") or call.get("input_forget") or peephole is not None:
        raise call.refuse("a clipped state, a coupled gate or a peephole")
    if steps > MOST_TURNS:
        raise call.refuse(f"a sequence of more than {MOST_TURNS} steps")
    if lengths is not None and any(n != steps for n in call.ints(lengths) or []):
        raise call.refuse("sequences of different lengths")


def _run(
    call: Call, kind: str, x: Tensor, w: Tensor, r: Tensor, b: Tensor, h0: Tensor, c0: Tensor
) -> tuple[Tensor, ...]:
    gates, hidden, two = len(_ORDERS[kind]), r.shape[2], w.shape[0] == 2

    def ordered(tensor: Tensor) -> Tensor:
        pieces = tensor.split(hidden)
        return torch.cat([pieces[k] for k in _ORDERS[kind]]) if gates > 1 else tensor

    flat: list[Tensor] = []
    for k in range(w.shape[0]):
        inner, outer = b.select(0, k).split(gates * hidden)
        flat += [ordered(w.select(0, k)), ordered(r.select(0, k)), ordered(inner), ordered(outer)]
    if kind == "LSTM":
        return torch.lstm(x, [h0, c0], flat, True, 1, 0.0, False, two, False)
    if kind == "GRU" and not call.get("linear_before_reset"):
        runs = [_gru(x if k == 0 else x.flip(0), flat[4 * k : 4 * k + 4], h0[k]) for k in range(w.shape[0])]
        outputs = [out if k == 0 else out.flip(0) for k, (out, _) in enumerate(runs)]
        return torch.cat(outputs, -1), torch.stack([last for _, last in runs])
    relu = kind == "RNN" and call.get("activations", [""])[0].capitalize() == "Relu"
    function = torch.gru if kind == "GRU" else torch.rnn_relu if relu else torch.rnn_tanh
    return function(x, h0, flat, True, 1, 0.0, False, two, False)


def _gru(x: Tensor, flat: list[Tensor], state: Tensor) -> tuple[Tensor, Tensor]:
    """The GRU whose reset gate acts on the state before its matrix product; torch has the other one."""
    w, r, inner, outer = flat
    r_reset, r_update, r_new = r.chunk(3)
    o_reset, o_update, o_new = outer.chunk(3)
    outputs = []
    for step in torch.nn.functional.linear(x, w, inner):
        reset, update, new = step.chunk(3, -1)
        reset = torch.sigmoid(reset + state @ r_reset.t() + o_reset)
        update = torch.sigmoid(update + state @ r_update.t() + o_update)
        new = torch.tanh(new + (reset * state) @ r_new.t() + o_new)
        state = (1 - update) * new + update * state
        outputs.append(state)
    return torch.stack(outputs), state
