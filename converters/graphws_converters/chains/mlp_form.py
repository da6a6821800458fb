"""MLPs by their own names: a module that is a chain of linear layers gets the graph of `graphws.operations.mlp_graph`.

Such a graph is run by `graphws.forward`, packed into zoos and read by MLP layers, so it has the names that they know.
Nothing is taken from names or shapes: the module runs in float64 on random inputs of four sizes; each linear layer must
read the module's input or a known activation of what the layer before it wrote, and the graph's own forward pass must
equal the module's on fresh inputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from graphws.checkpoints.conversion import Hints
from graphws.errors import GraphError, UsageError
from graphws.graph import NetworkGraph, Weights
from graphws.operations import Activation, outputs_of
from graphws.operations.verify import relative_change
from graphws_converters.chains.activations import Hint, identify, matches
from graphws_converters.chains.chain import Layer, chain_graph
from graphws_converters.chains.hidden_hints import hidden_hints
from graphws_converters.chains.recording import Run, record

SCALES = (0.01, 1.0, 10.0, 100.0)
"""Sizes of the random inputs: small ones show a sine's frequency, large ones the kinks of ReLU6 and Hardtanh."""
FAR = (60.0, 3e3, 7e4, 1e6, 1e9)
"""What layers are made to write, to see bounds that no input reached; 65,504 is the largest half-precision number."""
FAR_SINE = 3e3
"""The same for sines, whose phase is rounding farther out."""
POINTS = 32
CLOSE = 1e-8


def may_be_mlp(module: nn.Module) -> bool:
    """Whether linear layers hold all tensors of the state dict."""
    held = sum(len(m._parameters) + len(m._buffers) for m in module.modules() if isinstance(m, nn.Linear))
    every = sum(len(m._parameters) + len(m._buffers) for m in module.modules())
    return 0 < held == every


def mlp_form(module: nn.Module, shape: Sequence[int], generator: torch.Generator, hints: Hints) -> NetworkGraph:
    """The graph of a module that is an MLP.

    Args:
        module: In float64, on the CPU, in eval mode.
        shape: Of its inputs.
        generator: Source of the inputs.
        hints: What the caller says of the activations.

    Raises:
        GraphError: Where it is no chain of linear layers and known activations.
        VerificationError: Where the numbers contradict the caller's hints.
    """
    sizes = tuple(shape)
    runs = [record(module, size * torch.randn(sizes, generator=generator, dtype=torch.float64)) for size in SCALES]
    layers = _layers(module, runs, hints)
    _ask_far_away(module, layers, sizes)
    graph = chain_graph(layers)
    points = torch.randn(sizes, generator=generator, dtype=torch.float64)
    weights = Weights.from_state_dict(graph, module.state_dict())
    with torch.no_grad():
        ours = outputs_of(graph, weights, points.reshape(-1, graph.extent("input"))).reshape(-1)
        theirs = module(points.clone()).reshape(-1)
    error = relative_change(theirs, ours)
    if not error <= CLOSE:
        raise GraphError(f"the chain's outputs differ from the module's by {error:.1e} (allowed {CLOSE:.0e})")
    return graph


def _ask_far_away(module: nn.Module, layers: Sequence[Layer], sizes: tuple[int, ...]) -> None:
    """What runs after each layer is its activation far from all samples too, where bounds may lie.

    Raises:
        GraphError: Where it is not.
    """
    for m, layer in enumerate(layers):
        bound = FAR_SINE if layer.activation is not None and layer.activation.kind == "sine" else math.inf
        z = torch.tensor([sign * size for size in FAR for sign in (-1, 1) if size <= bound], dtype=torch.float64)
        run = record(module, torch.zeros(sizes, dtype=torch.float64), {layer.name: z})
        written = run.calls[m].written.reshape(-1)
        x = (run.calls[m + 1].read if m + 1 < len(run.calls) else run.outputs).reshape(-1)
        activation = layer.activation or Activation("identity")
        wrong = [float(a) for a, b in zip(written, x, strict=True) if not matches(activation, a, b)]
        if wrong:
            raise GraphError(f"what runs after {layer.name!r} is not {activation} at {wrong[0]:.0f}: it has a bound")


def input_shape(module: nn.Module) -> tuple[int, ...]:
    """The shape of a batch of inputs, found by trying the width of each linear layer: they may stand in any order.

    Raises:
        UsageError: Where none fits.
    """
    widths = dict.fromkeys(child.in_features for child in module.modules() if isinstance(child, nn.Linear))
    reasons = []
    for width in widths:
        try:
            record(module, torch.zeros(POINTS, width, dtype=torch.float64))
        except UsageError as error:
            reasons.append(error)
            continue
        except GraphError:
            pass  # it runs; that its output is not one tensor does not matter here
        return (POINTS, width)
    raise reasons[0] if reasons else UsageError("the shape of the module's inputs cannot be seen: give example_inputs")


def _layers(module: nn.Module, runs: Sequence[Run], hints: Hints) -> list[Layer]:
    """The chain that all runs show."""
    orders = {tuple(call.name for call in run.calls) for run in runs}
    if len(orders) > 1:
        raise GraphError("the module runs other layers for other inputs: only a fixed chain is converted")
    names = orders.pop()
    for name in names:
        if names.count(name) > 1:
            raise GraphError(f"linear layer {name!r} runs {names.count(name)} times: its weights are shared in depth")
    for name, child in module.named_modules():
        if isinstance(child, nn.Linear) and name not in names:
            raise GraphError(f"linear layer {name!r} does not run: only chains that use every layer are converted")
    if not names:
        raise GraphError("no linear layer runs")
    for run in runs:
        if not torch.equal(run.calls[0].read.reshape(-1), run.inputs.reshape(-1)):
            raise GraphError(f"the module changes its input before its first linear layer {names[0]!r}")
    given = hidden_hints(hints, len(names) - 1)
    layers = []
    for m, call in enumerate(runs[0].calls):
        z = torch.cat([run.calls[m].written.reshape(-1) for run in runs])
        if m + 1 < len(names):
            place = f"between {names[m]!r} and {names[m + 1]!r}"
            x = torch.cat([run.calls[m + 1].read.reshape(-1) for run in runs])
        else:
            place = f"after {names[m]!r}"
            x = torch.cat([run.outputs.reshape(-1) for run in runs])
        if z.shape != x.shape:
            raise GraphError(f"{place} the number of values changes: not a chain of layers")
        activation: Activation | None
        if m + 1 < len(names):
            activation = identify(z, x, call.after, given[m], place)
        else:
            activation = None if torch.equal(z, x) else identify(z, x, call.after, Hint(), place)
        layer = call.layer
        layers.append(Layer(call.name, layer.in_features, layer.out_features, layer.bias is not None, activation))
    return layers
