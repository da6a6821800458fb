"""From a module to a graph: run it, read the chain off the run, and put the result to the test.

Nothing is taken from names or shapes.  The module runs in float64 on random inputs of four sizes; each linear layer
must read the module's input or a known activation of what the layer before it wrote.  Then two gates: the graph's own
forward pass must equal the module's on fresh inputs, and the module itself must not notice random group elements of the
rich group, while it must notice a parameter left behind.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from graphws.errors import GraphError, UsageError, VerificationError
from graphws.graph import NetworkGraph, Verification, Weights, forward, verify
from graphws.graph.conversion import Conversion, Hints
from graphws.graph.verify import relative_change
from graphws_converters.activations import Activation, Hint, identify
from graphws_converters.chain import Layer, chain_graph
from graphws_converters.hidden import hidden_hints
from graphws_converters.recorder import Run, record

SCALES = (0.01, 1.0, 10.0, 100.0)
"""Sizes of the random inputs: small ones show a sine's frequency, large ones the kinks of ReLU6 and Hardtanh."""
POINTS = 32
LEAST_CONTROL = 1e-6
NO_LINEAR = "the module has no nn.Linear layer: only MLPs are converted"


def convert_module(module: nn.Module, hints: Hints) -> Conversion:
    """The graph of an MLP given as a module.

    Raises:
        UsageError: Where it cannot be run, or a hint does not fit.
        GraphError: Where it is no chain of linear layers and known activations.
        VerificationError: Where the numbers contradict the chain.
    """
    generator = hints.generator if hints.generator is not None else torch.Generator().manual_seed(0)
    twin = _twin(module)
    shape = _shape(twin, hints.example_inputs)
    runs = [record(twin, size * torch.randn(shape, generator=generator, dtype=torch.float64)) for size in SCALES]
    graph = chain_graph(_layers(twin, runs, hints))
    weights = Weights.from_state_dict(graph, module.state_dict())
    points = torch.randn(shape, generator=generator, dtype=torch.float64)
    error = _compare(twin, graph, points)
    verification = _gate(twin, graph, points, generator)
    if verification.control >= LEAST_CONTROL:
        return Conversion(graph, weights, verification)
    if graph.log10_order() == 0:
        why = f"no space has two neurons to exchange; the outputs agree to {error:.1e}"
    else:
        why = f"leaving a parameter behind changes the outputs by {verification.control:.1e} only: too little to tell"
    return Conversion(graph, weights, reason=why)


def _twin(module: nn.Module) -> nn.Module:
    """A copy in float64 on the CPU in eval mode; the caller's module is never touched."""
    if isinstance(module, torch.jit.ScriptModule):
        raise UsageError("a TorchScript module hides its layers: give the Python module")
    for name, tensor in module.named_parameters():
        if nn.parameter.is_lazy(tensor) or tensor.is_meta:
            raise UsageError(f"parameter {name!r} has no numbers yet: run the module once, or load its weights")
    try:
        return copy.deepcopy(module).to("cpu", torch.float64).eval()
    except Exception as error:
        text = next(iter(str(error).splitlines()), type(error).__name__)
        raise UsageError(f"the module cannot be copied: {text}") from None


def _shape(module: nn.Module, example: Tensor | None) -> tuple[int, ...]:
    """Shape of the random inputs: the example's, or one that fits the first linear layer.

    Layers may be registered in any order, so the input width of each is tried.
    """
    if example is not None:
        return tuple(example.shape)
    widths = dict.fromkeys(child.in_features for child in module.modules() if isinstance(child, nn.Linear))
    if not widths:
        raise GraphError(NO_LINEAR)
    reasons = []
    for width in widths:
        try:
            record(module, torch.zeros(POINTS, width, dtype=torch.float64))
        except UsageError as error:
            reasons.append(error)
        else:
            return (POINTS, width)
    raise reasons[0]


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
        raise GraphError(NO_LINEAR)
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


def _compare(module: nn.Module, graph: NetworkGraph, points: Tensor) -> float:
    """How far the graph's own outputs are from the module's."""
    weights = Weights.from_state_dict(graph, module.state_dict())
    with torch.no_grad():
        ours = forward(graph, weights, points.reshape(-1, graph.extent("input"))).reshape(-1)
        theirs = module(points.clone()).reshape(-1)
    error = relative_change(theirs, ours)
    if not error <= 1e-8:
        raise VerificationError(f"the graph's outputs differ from the module's by {error:.1e} (allowed 1e-08)")
    return error


def _gate(module: nn.Module, graph: NetworkGraph, points: Tensor, generator: torch.Generator) -> Verification:
    """Random rich elements against the module itself; the control is judged by the caller."""

    def run(candidate: Weights) -> Tensor:
        with torch.no_grad():
            outputs: Tensor = functional_call(module, candidate.to_state_dict(), (points.clone(),))
        return outputs

    weights = Weights.from_state_dict(graph, module.state_dict())
    return verify(graph, weights, generator=generator, run=run, actions="rich", least_control=0.0)
