"""Control flow: branches and loops, followed as the example inputs take them.

A conversion sees one path.  Another input may take another; the numeric gate, which runs the model with other weights
and the same inputs, takes the same one.
"""

from __future__ import annotations

import torch

from graphws_converters.onnx.parse import Graph
from graphws_converters.onnx.rules import MOST_TURNS, Call, Rules, Value, is_known

rules = Rules()


@rules("If")
def if_(call: Call, condition: Value) -> list[Value]:
    """One of two graphs."""
    branch = call.get("then_branch" if _true(call, condition) else "else_branch")
    return call.subgraph(_graph(call, branch), {})


@rules("Loop")
def loop(call: Call, most: Value = None, condition: Value = None, *carried: Value) -> list[Value]:
    """A graph again and again, on what it gave the turn before; what it gives besides is stacked."""
    body = _graph(call, call.get("body"))
    turns = MOST_TURNS + 1 if most is None else (call.ints(most) or [0])[0]
    values, stacks = list(carried), [[] for _ in body.outputs[1 + len(carried) :]]  # type: list[Value], list[list[Value]]
    going, turn = condition is None or _true(call, condition), 0
    while going and turn < turns:
        if turn >= MOST_TURNS:
            raise call.refuse(f"a loop of more than {MOST_TURNS} turns")
        given = [torch.tensor(turn), torch.tensor(True), *values]
        going_on, *results = call.subgraph(body, dict(zip(body.inputs, given, strict=True)))
        values = results[: len(carried)]
        for stack, value in zip(stacks, results[len(carried) :], strict=True):
            stack.append(value)
        going, turn = _true(call, going_on), turn + 1
    return [*values, *(_stacked(call, stack, 0) for stack in stacks)]


@rules("Scan")
def scan(call: Call, *inputs: Value) -> list[Value]:
    """A graph once for each slice of some inputs; its states go on, its other outputs are stacked."""
    body, count = _graph(call, call.get("body")), call.get("num_scan_inputs")
    if call.opset < 9:
        raise call.refuse("the scan of opset 8")
    states, scanned = list(inputs[: len(inputs) - count]), call.tensors(*inputs[len(inputs) - count :])
    axes = [call.axis(a, x.ndim) for a, x in zip(call.get("scan_input_axes", [0] * count), scanned, strict=True)]
    backwards = call.get("scan_input_directions", [0] * count)
    turns = {x.shape[a] for a, x in zip(axes, scanned, strict=True)}
    if len(turns) != 1 or max(turns) > MOST_TURNS:
        raise call.refuse(f"a scan over lengths {sorted(turns)}")
    outputs = len(body.outputs) - len(states)
    stacks: list[list[Value]] = [[] for _ in range(outputs)]
    length = max(turns)
    for turn in range(length):
        slices = [
            x.select(a, length - 1 - turn if back else turn)
            for x, a, back in zip(scanned, axes, backwards, strict=True)
        ]
        results = call.subgraph(body, dict(zip(body.inputs, [*states, *slices], strict=True)))
        states = results[: len(states)]
        for stack, value in zip(stacks, results[len(states) :], strict=True):
            stack.append(value)
    directions, places = call.get("scan_output_directions", [0] * outputs), call.get("scan_output_axes", [0] * outputs)
    stacks = [stack[::-1] if back else stack for stack, back in zip(stacks, directions, strict=True)]
    return [*states, *(_stacked(call, stack, axis) for stack, axis in zip(stacks, places, strict=True))]


def _graph(call: Call, value: object) -> Graph:
    if not isinstance(value, Graph):
        raise call.refuse("a node without its graph")
    return value


def _true(call: Call, value: Value) -> bool:
    return bool(value.any()) if not is_known(value) else bool(call.tensor(value).any())  # type: ignore[union-attr]


def _stacked(call: Call, values: list[Value], axis: int) -> Value:
    if not values:
        raise call.refuse("a loop without a turn")
    return torch.stack(call.tensors(*values), axis)
