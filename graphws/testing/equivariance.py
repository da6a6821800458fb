"""A checker of equivariance that can be trusted to fail.

Three habits make such checks pass when they should not, and this one has none of them:

* an absolute tolerance, below which small outputs hide.  Here errors are relative, and relative to how much the outputs
  *respond* to their inputs, so that a large constant offset hides nothing either;
* one group element for the whole batch, which statistics over the batch follow.  Here every network of the batch gets
  an element of its own, so normalisation per entry is caught in training mode too;
* nothing to move.  Here a group of one element, or outputs that ignore their inputs, are errors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from graphws.errors import VerificationError
from graphws.graph import GroupElement, NetworkGraph, Weights
from graphws.layers import Features


@dataclass(frozen=True)
class Equivariance:
    """Figures of a passed check.

    Attributes:
        error: Largest relative error, over draws and output tensors.
        response: Largest relative change of an output tensor when the inputs are exchanged for others.
        draws: How many elements were drawn for each network.
    """

    error: float
    response: float
    draws: int

    def __str__(self) -> str:
        return f"EQUIVARIANT (error {self.error:.1e}, response {self.response:.1e}, {self.draws} draws)"


def random_weights(
    graph: NetworkGraph, batch: int, generator: torch.Generator, dtype: torch.dtype = torch.float64
) -> Weights:
    """Weights with independent normal entries."""
    flat = torch.randn(batch, graph.numel, generator=generator, dtype=dtype, device=generator.device)
    return Weights.unflatten(graph, flat)


def random_features(
    graph: NetworkGraph, channels: int, batch: int, generator: torch.Generator, dtype: torch.dtype = torch.float64
) -> Features:
    """Features with independent normal entries."""
    return _stack([random_weights(graph, batch, generator, dtype) for _ in range(channels)])


def act(element: GroupElement, features: Features) -> Features:
    """A group element on features: every channel moves like the weights."""
    graph = features.graph
    unfolded = {name: features.unfolded(name) for name in features.tensors}
    return _stack(
        [element.act(Weights(graph, {n: x[..., c] for n, x in unfolded.items()})) for c in range(features.channels)]
    )


def check_equivariance(
    module: Callable[..., Any],
    graph: NetworkGraph | Sequence[NetworkGraph],
    generator: torch.Generator,
    *,
    channels: int | None = None,
    batch: int = 4,
    draws: int = 3,
    tolerance: float = 1e-10,
    least_response: float = 1e-6,
    dtype: torch.dtype = torch.float64,
) -> Equivariance:
    """Checks ``module(g x) = g module(x)`` for random x and g, or ``module(g x) = module(x)`` where it answers with a
    plain tensor.

    Args:
        module: What is on trial, with the parameters and in the mode (training or evaluation) to try it in.
        graph: Graph of its inputs; a sequence of graphs for a module that takes a list, one entry a graph.
        generator: Source of the inputs and the group elements.
        channels: The module takes `Features` of so many channels; None: it takes `Weights`.
        batch: Networks of each graph; each is moved by an element of its own.
        draws: How often elements are drawn.
        tolerance: Largest relative error that counts as none.
        least_response: Smallest relative response of the outputs to their inputs that counts as one.
        dtype: Of the inputs.

    Raises:
        VerificationError: Where the law is broken, where no group element moves anything, or where the outputs do not
            depend on the inputs.
    """
    single = isinstance(graph, NetworkGraph)
    graphs: list[NetworkGraph] = [graph] if isinstance(graph, NetworkGraph) else list(graph)
    if not any(each.log10_order() > 0 for each in graphs):
        raise VerificationError("the check proves nothing: the group of this graph has one element")

    def draw() -> list[Weights | Features]:
        if channels is None:
            return [random_weights(each, batch, generator, dtype) for each in graphs]
        return [random_features(each, channels, batch, generator, dtype) for each in graphs]

    def run(inputs: Sequence[Weights | Features]) -> dict[str, tuple[int, str | None, Tensor]]:
        with torch.no_grad():
            return _flat_outputs(module(inputs[0] if single else inputs))

    inputs = draw()
    before, other = run(inputs), run(draw())
    scale: dict[str, float] = {}
    response = 0.0
    for name, (_, _, tensor) in before.items():
        change, norm = float((tensor - other[name][2]).norm()), float(tensor.norm())
        scale[name] = max(change, 1e-3 * norm, torch.finfo(dtype).tiny)
        response = max(response, change / norm if norm else 0.0)
    if not response >= least_response:
        raise VerificationError(
            f"the check proves nothing: other inputs change the outputs by {response:.1e} only "
            f"(at least {least_response:.0e} wanted)"
        )
    worst = 0.0
    for _ in range(draws):
        elements = [each.group().random(generator, batch=batch, dtype=dtype) for each in graphs]
        after = run([_moved(element, value) for element, value in zip(elements, inputs, strict=True)])
        for name, wanted in _moved_outputs(elements, before).items():
            error = float((after[name][2] - wanted).norm()) / scale[name]
            if not error <= tolerance:
                law = "invariant" if before[name][1] is None else "equivariant"
                raise VerificationError(
                    f"not {law}: a random group element leaves {name} off by {error:.1e} (allowed {tolerance:.0e})"
                )
            worst = max(worst, error)
    return Equivariance(worst, response, draws)


def _moved(element: GroupElement, value: Weights | Features) -> Weights | Features:
    return element.act(value) if isinstance(value, Weights) else act(element, value)


def _flat_outputs(output: object) -> dict[str, tuple[int, str | None, Tensor]]:
    """Every tensor of an output by a name for messages, with the position of its graph and its parameter."""
    found: dict[str, tuple[int, str | None, Tensor]] = {}
    several = isinstance(output, list | tuple)
    for position, value in enumerate(output if isinstance(output, list | tuple) else [output]):
        place = f" of graph {position}" if several and len(output) > 1 else ""  # type: ignore[arg-type]
        if isinstance(value, Tensor):
            found[f"the output{place}"] = (position, None, value.detach())
        elif isinstance(value, Weights):
            found |= {f"{name!r}{place}": (position, name, x.detach().unsqueeze(-1)) for name, x in value.items()}
        elif isinstance(value, Features):
            found |= {f"{name!r}{place}": (position, name, value.unfolded(name).detach()) for name in value.tensors}
        else:
            raise VerificationError(
                f"cannot judge an output of type {type(value).__name__}: neither a tensor, nor weights, nor features"
            )
    return found


def _moved_outputs(
    elements: Sequence[GroupElement], outputs: dict[str, tuple[int, str | None, Tensor]]
) -> dict[str, Tensor]:
    """What the outputs must be after the elements have moved the inputs."""
    moved = {name: tensor for name, (_, _, tensor) in outputs.items()}
    for position, element in enumerate(elements):
        names = {p: name for name, (k, p, _) in outputs.items() if k == position and p is not None}
        if names:
            channels = next(iter(outputs[name][2].shape[-1] for name in names.values()))
            parts = [
                element.act(Weights(element.graph, {p: moved[name][..., c] for p, name in names.items()}))
                for c in range(channels)
            ]
            moved |= {name: torch.stack([part[p] for part in parts], -1) for p, name in names.items()}
    return moved


def _stack(channels: Sequence[Weights]) -> Features:
    graph = channels[0].graph
    tensors = {}
    for parameter in graph.parameters:
        stacked = torch.stack([weights[parameter.name] for weights in channels], -1)
        tensors[parameter.name] = graph.layout(parameter.name).fold(stacked, len(channels))
    return Features(graph, tensors, len(channels))
