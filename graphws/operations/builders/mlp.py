"""Graphs of multilayer perceptrons, from their widths.

Spaces: ``input`` (free), ``hidden1`` … (set), ``output`` (free).  Parameters: ``W1, b1, …, WM, bM`` with W_m of shape
(d_m, d_{m-1}) as in paper D, equation 1, and as in PyTorch.  Storage follows an `nn.Sequential` of linear layers and
activations: ``0.weight, 0.bias, 2.weight, …``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from graphws.errors import GraphError
from graphws.graph.network import NetworkGraph
from graphws.graph.operation import Operation
from graphws.graph.parameter import Axis, Parameter, Storage
from graphws.graph.space import Space
from graphws.graph.value import Value
from graphws.operations.activations import Activation
from graphws.operations.activations import activation as named


def mlp_graph(
    widths: Sequence[int],
    activation: str | Sequence[str | Activation] = "relu",
    bias: bool = True,
    omega: float | Sequence[float] | None = None,
    exponent: int | None = None,
    output_activation: str | Activation | None = None,
    keys: Sequence[str] | None = None,
    offset: float = 0.0,
) -> NetworkGraph:
    """The graph of an MLP.

    Args:
        widths: d_0, …, d_M.
        activation: One of `graphws.operations.ACTIVATIONS` for all hidden layers, or one each.  It decides the action
            of the hidden spaces (signed for sine and tanh, positive scaling for ReLU, …).
        bias: Whether layers have biases.
        omega: Frequency of sine activations, sin(omega·x), one for all hidden layers or one each; 30 where None, as
            SIREN's authors use.
        exponent: Power of ``power`` activations; 2 where None.
        output_activation: Activation after the last layer, if any.
        keys: State dict prefix of each layer; ``0``, ``2``, … where None.
        offset: A number that is added to the outputs last, as a step of its own where it is not 0.

    Raises:
        GraphError: On fewer than two widths, an unknown activation, a list of the wrong length, or an offset that is
            no finite number.
    """
    widths = tuple(widths)
    depth = len(widths) - 1
    if depth < 1:
        raise GraphError(f"an MLP needs at least two widths, input and output; got {list(widths)}")
    kinds = [activation] * (depth - 1) if isinstance(activation, str) else list(activation)
    if len(kinds) != depth - 1:
        raise GraphError(f"{depth - 1} hidden layers need {depth - 1} activations, got {len(kinds)}")
    prefixes = list(keys) if keys is not None else [str(2 * m) for m in range(depth)]
    if len(prefixes) != depth:
        raise GraphError(f"{depth} layers need {depth} state dict prefixes, got {len(prefixes)}")

    if not math.isfinite(offset):
        raise GraphError(f"an MLP's offset must be a finite number, got {offset!r}")

    last = [output_activation] if output_activation else []
    omegas = _frequencies(omega, depth - 1, len(last))
    follows = [
        named(kind, omega=frequency, exponent=exponent or 2) if isinstance(kind, str) else kind
        for kind, frequency in zip([*kinds, *last], omegas, strict=True)
    ]
    powers = [int(str(each.attributes.get("exponent", 1))) for each in follows]

    spaces = [Space("input", widths[0], "free", role="input")]
    spaces += [
        Space(
            f"hidden{m}",
            widths[m],
            action=follows[m - 1].action,
            role="hidden",
            reason=f"followed by {follows[m - 1].kind}",
        )
        for m in range(1, depth)
    ]
    spaces.append(Space("output", widths[-1], "free", role="output"))

    parameters, operations, value = [], [], "x0"
    for m in range(1, depth + 1):
        place = "only" if depth == 1 else "first" if m == 1 else "last" if m == depth else "hidden"
        below = -powers[m - 2] if m > 1 else -1
        axes = (Axis(spaces[m].name), Axis(spaces[m - 1].name, below))
        shape = (widths[m], widths[m - 1])
        parameters.append(
            Parameter(f"W{m}", axes, "weight", f"weight.{place}", Storage(f"{prefixes[m - 1]}.weight", shape))
        )
        read = [value, f"W{m}"]
        if bias:
            role = "bias.last" if m == depth else "bias.hidden"
            parameters.append(Parameter(f"b{m}", axes[:1], "bias", role, Storage(f"{prefixes[m - 1]}.bias", shape[:1])))
            read.append(f"b{m}")
        operations.append(Operation("linear", tuple(read), (f"z{m}",)))
        value = f"z{m}"
        if m <= len(follows):
            operations.append(follows[m - 1].step(value, f"x{m}"))
            value = f"x{m}"
    if offset:
        operations.append(Operation("add", (value,), ("y",), (("other", float(offset)),)))
        value = "y"
    points = Value("x0", ("n", widths[0]), (None, Axis("input")))
    return NetworkGraph(tuple(spaces), tuple(parameters), tuple(operations), ("x0",), (value,), values=(points,))


def _frequencies(omega: float | Sequence[float] | None, hidden: int, last: int) -> list[float]:
    """A frequency for each activation; one after the last layer has that of the layer below."""
    if omega is None or isinstance(omega, int | float):
        return [30.0 if omega is None else float(omega)] * (hidden + last)
    if len(omega) != hidden:
        raise GraphError(f"{hidden} hidden layers need {hidden} frequencies, got {len(omega)}")
    given = list(map(float, omega))
    return given + [given[-1] if given else 30.0] * last


def mlp_widths(graph: NetworkGraph) -> tuple[int, ...] | None:
    """d_0, …, d_M where the graph is one that `mlp_graph` makes, else None."""
    weights = [p for p in graph.parameters if p.kind == "weight"]
    names = [space.name for space in graph.spaces]
    chained = all(p.spaces == (names[m + 1], names[m]) for m, p in enumerate(weights) if m + 1 < len(names))
    if not weights or len(names) != len(weights) + 1 or not chained:
        return None
    return tuple(space.size for space in graph.spaces)
