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
from graphws.graph import Action, GroupElement, NetworkGraph, Weights
from graphws.graph.group import Richness
from graphws.layers import Features
from graphws.layers.graded.state import Spot, State
from graphws.shown import Shown
from graphws.testing.states import act_on_state, random_state
from graphws.testing.states import moved as moved_features


@dataclass(frozen=True, repr=False)
class Equivariance(Shown):
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
    actions: Richness = "permutation",
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
        actions: ``rich``: signs, scales and matrices beside permutations.  Then a module that takes channels takes a
            `State`, features of neurons with grades.
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
    if not any(_moves(each, actions) for each in graphs):
        raise VerificationError("the check proves nothing: the group of this graph has one element")

    def draw() -> list[Input]:
        weights = [random_weights(each, batch, generator, dtype) for each in graphs]
        if channels is None:
            return list(weights)
        if actions == "rich":
            return [Acted(each, random_state(each, channels, generator)) for each in weights]
        return [random_features(each, channels, batch, generator, dtype) for each in graphs]

    def run(inputs: Sequence[Input]) -> dict[str, Output]:
        values = [each.state if isinstance(each, Acted) else each for each in inputs]
        with torch.no_grad():
            return _flat_outputs(module(values[0] if single else values))

    inputs = draw()
    before, other = run(inputs), run(draw())
    scale: dict[str, float] = {}
    response = 0.0
    for name, output in before.items():
        change, norm = float((output.tensor - other[name].tensor).norm()), float(output.tensor.norm())
        scale[name] = max(change, 1e-3 * norm, torch.finfo(dtype).tiny)
        response = max(response, change / norm if norm else 0.0)
    if not response >= least_response:
        raise VerificationError(
            f"the check proves nothing: other inputs change the outputs by {response:.1e} only "
            f"(at least {least_response:.0e} wanted)"
        )
    worst = 0.0
    for _ in range(draws):
        elements = [each.group().random(generator, batch=batch, actions=actions, dtype=dtype) for each in graphs]
        after = run([_moved(element, value) for element, value in zip(elements, inputs, strict=True)])
        for name, wanted in _moved_outputs(elements, before).items():
            error = float((after[name].tensor - wanted).norm()) / scale[name]
            if not error <= tolerance:
                law = "invariant" if before[name].plain else "equivariant"
                raise VerificationError(
                    f"not {law}: a random group element leaves {name} off by {error:.1e} (allowed {tolerance:.0e})"
                )
            worst = max(worst, error)
    return Equivariance(worst, response, draws)


@dataclass(frozen=True, eq=False)
class Acted:
    """A state with the weights that act on it."""

    weights: Weights
    state: State


Input = Weights | Features | Acted


@dataclass(frozen=True, eq=False)
class Output:
    """One tensor of an output.

    Attributes:
        graph: Position of its graph.
        place: What it belongs to: a parameter, a spot of a state; None: it is an invariant.
        tensor: Its value; of a parameter (batch, *axes, channels).
        state: The state that it is of.
    """

    graph: int
    place: str | Spot | None
    tensor: Tensor
    state: State | None = None

    @property
    def plain(self) -> bool:
        """Whether no group element should move it."""
        return self.place is None or (isinstance(self.place, tuple) and self.place[0] is None)


def _moves(graph: NetworkGraph, actions: Richness) -> bool:
    """Whether a group has more than one element."""
    if graph.log10_order() > 0:
        return True
    return actions == "rich" and any(space.moves and space.action is not Action.PERMUTATION for space in graph.spaces)


def _moved(element: GroupElement, value: Input) -> Input:
    if isinstance(value, Acted):
        return Acted(element.act(value.weights), act_on_state(element, value.weights, value.state))
    return element.act(value) if isinstance(value, Weights) else act(element, value)


def _flat_outputs(output: object) -> dict[str, Output]:
    """Every tensor of an output by a name for messages."""
    found: dict[str, Output] = {}
    several = isinstance(output, list | tuple)
    for position, value in enumerate(output if isinstance(output, list | tuple) else [output]):
        place = f" of graph {position}" if several and len(output) > 1 else ""  # type: ignore[arg-type]
        if isinstance(value, Tensor):
            found[f"the output{place}"] = Output(position, None, value.detach())
        elif isinstance(value, State):
            for spot, x in value.tensors.items():
                what = "features of the network" if spot[0] is None else value.grades.word(spot[0], spot[1])
                found[f"{what}{place}"] = Output(position, spot, x.detach(), value)
        elif isinstance(value, Weights):
            found |= {f"{n!r}{place}": Output(position, n, x.detach().unsqueeze(-1)) for n, x in value.items()}
        elif isinstance(value, Features):
            found |= {f"{n!r}{place}": Output(position, n, value.unfolded(n).detach()) for n in value.tensors}
        else:
            raise VerificationError(
                f"cannot judge an output of type {type(value).__name__}: neither a tensor, nor weights, nor features"
            )
    return found


def _moved_outputs(elements: Sequence[GroupElement], outputs: dict[str, Output]) -> dict[str, Tensor]:
    """What the outputs must be after the elements have moved the inputs."""
    moved = {name: output.tensor for name, output in outputs.items()}
    for position, element in enumerate(elements):
        here = {name: output for name, output in outputs.items() if output.graph == position}
        states = {id(output.state): output.state for output in here.values() if output.state is not None}
        for state in states.values():
            features = moved_features(element, state)
            moved |= {n: features[o.place] for n, o in here.items() if o.state is state}  # type: ignore[index]
        names = {output.place: name for name, output in here.items() if isinstance(output.place, str)}
        if names:
            channels = next(iter(outputs[name].tensor.shape[-1] for name in names.values()))
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
