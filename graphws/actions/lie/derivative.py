"""The Lie derivative of a network: end to end, and on every latent value.

For a generator X that acts on inputs as X₀ and on outputs as X_L,

    (L f)(x) = d/dt ρ_L(t)⁻¹ f(ρ₀(t) x) at t = 0  =  Df(x)[X₀ x] - X_L f(x),

computed by forward differentiation, exactly (Gruver et al. 2023 sum its squares).  f is equivariant under the group
that X generates if and only if L f = 0.  The *error* is ‖L f‖ / ‖f - mean‖, a rate per unit of t.

On a latent value h, whose rate is ḣ = Dh(x)[X₀ x], three explanations are compared, each by what it leaves of ḣ:

* the connected part of its intertwiner group K: nothing for permutations and signs, a rate of every neuron for
  positive scales and powers, any matrix where there is no activation (``k_error``);
* any matrix, fitted on half of the probes and measured on the other (``gl_error``);
* none: ``moved`` = ‖ḣ‖ / ‖h - mean‖.

A connected group can act on a set of neurons only trivially.  So behind tanh or GELU theorem 4.1 says more for it than
for a finite group: an identifiable network that is exactly equivariant has *invariant* neurons, ḣ = 0.

``layer_error`` holds a layer against the fitted matrices, ‖Df_i[A_{i-1} h_{i-1}] - A_i h_i‖ / ‖h_i - mean‖.  In a
network that convolves, the pixels of feature maps move as those of inputs do, and only the rest is explained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.func import jvp

from graphws.actions.computation.features import run_network, why_not_analysed
from graphws.actions.computation.latent_values import LatentValue, centred_norm, latent_values, recompute
from graphws.actions.groups.placing import position_axes
from graphws.actions.lie.generators import Generator, named_generator, shuffled
from graphws.actions.pictures.joined_axes import picture_view
from graphws.actions.problem import native_inputs
from graphws.checkpoints.conversion import Conversion
from graphws.errors import UsageError
from graphws.graph import Action, Weights
from graphws.shown import Shown

Function = Callable[[Tensor], Tensor]
Output = Literal["same", "invariant"] | Generator


@dataclass(frozen=True)
class LayerDerivative:
    """How one latent value moves; all numbers are rates per unit of t, relative to its spread."""

    space: str
    moved: float
    k_error: float
    gl_error: float
    layer_error: float


@dataclass(frozen=True, repr=False)
class LieFigures(Shown):
    """The Lie derivative of a network along one generator.

    Attributes:
        generator: Its name.
        unit: What rates are counted per.
        end_to_end: ‖L f‖ / ‖f - mean‖.
        function_moved: ‖Df[X x]‖ / ‖f - mean‖: how fast outputs move, whether they should or not.
        decoys: The end-to-end error of the generator with inputs shuffled at random.
        layers: The latent values, in order; none for a function without a graph that runs.
        note: Why there are none of a network's.
    """

    generator: str
    unit: str
    end_to_end: float
    function_moved: float
    decoys: tuple[float, ...]
    layers: tuple[LayerDerivative, ...] = ()
    note: str = ""

    @property
    def text(self) -> str:
        """In a sentence."""
        rate = f"the Lie derivative is {self.end_to_end:.2g} of the outputs' spread per {self.unit}"
        if self.end_to_end <= 1e-9:
            return f"Equivariant under {self.generator}: {rate}."
        if not self.decoys:
            return f"Under {self.generator} {rate}."
        best = min(self.decoys)
        judged = "nearly equivariant" if self.end_to_end <= 0.1 * best else "not equivariant"
        share = self.end_to_end / best if best > 0 else float("inf")
        if judged == "not equivariant" and share <= 0.5:
            judged = "partly equivariant"
        return f"Under {self.generator} {judged}: {rate}, {share:.0%} of the least of its decoys ({best:.2g})."

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "generator": self.generator,
            "unit": self.unit,
            "end_to_end": self.end_to_end,
            "function_moved": self.function_moved,
            "decoys": list(self.decoys),
            "verdict": self.text,
            "note": self.note,
            "layers": [dict(vars(layer)) for layer in self.layers],
        }


def lie_derivative(
    network: Weights | Conversion | Function,
    generator: str | Generator,
    input_shape: Sequence[int],
    output: Output = "same",
    *,
    data: Tensor,
    decoys: int = 3,
    random: torch.Generator | None = None,
) -> LieFigures:
    """The Lie derivative of a network along a generator.

    Args:
        network: A network (a batch of one), what `graphws.convert` gave, or any differentiable function of
            (points, …) inputs; the last gets no figures of layers.
        generator: A name (see `graphws.actions.lie.generators`), or a generator.
        input_shape: Shape of one input.
        output: The generator on outputs: the same (on outputs of the inputs' size), none, or another generator.
        data: Probes (points, …).
        decoys: How many shuffled generators to compare with.
        random: Source of the shuffles; seeded with 0 where None.

    Raises:
        UsageError: On a graph that cannot be run, fewer than 4 probes, or outputs of another size than `same` needs.
    """
    shape = tuple(int(n) for n in input_shape)
    if len(data) < 4:
        raise UsageError(f"probes are split in two halves: give at least 4, got {len(data)}")
    flow = named_generator(generator, shape) if isinstance(generator, str) else generator
    rng = random or torch.Generator().manual_seed(0)
    weights = network.weights if isinstance(network, Conversion) else network
    if weights is None:
        raise UsageError("this graph has no weights: give a checkpoint, or a converted network's file")
    if not isinstance(weights, Weights):
        return _of_function(weights, flow, output, data.reshape(len(data), *shape), decoys, rng)
    if weights.batch != 1:
        raise UsageError(f"one network is measured at a time, got {weights.batch}")
    weights = picture_view(weights.to(dtype=torch.float64))
    unable = why_not_analysed(weights.graph)
    if unable is not None:
        return _of_module(network, unable, flow, output, data.reshape(len(data), *shape), decoys, rng)
    points = data.reshape(len(data), *shape).to(device=weights.device, dtype=weights.dtype)
    return _of_graph(weights, flow, output, points, decoys, rng)


def _of_module(
    network: Weights | Conversion | Function, unable: str, flow: Generator, output: Output, x: Tensor, decoys: int,
    rng: torch.Generator,
) -> LieFigures:  # fmt: skip
    """The figures of the module where the graph does not run: those of the function."""
    module = network.run if isinstance(network, Conversion) else None
    weights = network.weights if isinstance(network, Conversion) else None
    if module is None or weights is None or len(weights.graph.inputs) != 1:
        raise UsageError(f"the Lie derivative needs a network that can be run: {unable}")
    double = weights.to(dtype=torch.float64)

    def function(points: Tensor) -> Tensor:
        return module(double, native_inputs(double.graph, points))

    found = _of_function(function, flow, output, x.double(), decoys, rng)
    return replace(found, note=f"The module was run, without its layers: {unable}.")


def _push(function: Callable[[Any], Any], at: Any, along: Any) -> tuple[Any, Any]:
    """The values of a function, and their rates along a tangent."""
    value, rate = jvp(function, (at,), (along,))[:2]
    return value, rate


def _of_function(
    function: Function, flow: Generator, output: Output, x: Tensor, decoys: int, rng: torch.Generator
) -> LieFigures:
    figures = []
    flows = [flow, *(shuffled(flow, x.shape[1:], rng) for _ in range(decoys))]
    for each in flows:
        with torch.no_grad():
            y, rate = _push(function, x, each(x))
        figures.append(_end(y, rate, x, flow, output))
    (error, moved), rest = figures[0], figures[1:]
    return LieFigures(flow.name, flow.unit, error, moved, tuple(e for e, _ in rest))


def _end(y: Tensor, rate: Tensor, x: Tensor, flow: Generator, output: Output) -> tuple[float, float]:
    """The end-to-end error, and how fast outputs move; (points, …)."""
    wanted = torch.zeros_like(y)
    if isinstance(output, Generator):
        wanted = output(y)
    elif output == "same":
        if y[0].numel() != x[0].numel():
            raise UsageError(
                f"outputs of {y[0].numel()} numbers cannot move as inputs of {x[0].numel()} do: "
                "say output='invariant', or give a generator for them"
            )
        wanted = flow(y.reshape(x.shape)).reshape(y.shape)
    spread = (y - y.mean(0)).norm().clamp_min(torch.finfo(y.dtype).tiny)
    return float((rate - wanted).norm() / spread), float(rate.norm() / spread)


def _of_graph(
    weights: Weights, flow: Generator, output: Output, x: Tensor, decoys: int, rng: torch.Generator
) -> LieFigures:
    graph = weights.graph
    positions = position_axes(graph)

    def read(points: Tensor) -> Tensor:
        return points if positions else points.flatten(1)

    def run(points: Tensor) -> dict[str, Tensor]:
        return run_network(graph, weights, read(points))

    def written(value: Tensor) -> Tensor:
        value = value[0]
        return value.movedim(-1, 1) if value.ndim == 4 else value

    out = graph.outputs[0]
    figures = []
    with torch.no_grad():
        values, rates = _push(run, x, flow(x))
        figures.append(_end(written(values[out]), written(rates[out]), x, flow, output))
        for _ in range(decoys):
            y, rate = _push(lambda points: run(points)[out], x, shuffled(flow, x.shape[1:], rng)(x))
            figures.append(_end(written(y), written(rate), x, flow, output))
        layers = _layers(weights, flow, values, rates)
    (error, moved), rest = figures[0], figures[1:]
    return LieFigures(flow.name, flow.unit, error, moved, tuple(e for e, _ in rest), layers)


def _layers(
    weights: Weights, flow: Generator, values: Mapping[str, Tensor], rates: Mapping[str, Tensor]
) -> tuple[LayerDerivative, ...]:
    found, fitted = [], {}
    path = latent_values(weights.graph)
    for latent in path[:-1]:
        h, rate = values[latent.value], rates[latent.value]
        pixels = _pixels(flow, h)
        rest = rate - pixels
        half = h.shape[1] // 2
        matrix = _matrix(h[:, :half], rest[:, :half])
        fitted[latent.value] = matrix
        spread = centred_norm(h[:, half:])
        gl = (rest - h @ matrix.mT)[:, half:].norm() / spread
        k = _by_intertwiners(weights, latent, h, rest, half, matrix)[:, half:].norm() / spread
        tangents = {name: _pixels(flow, values[name]) + values[name] @ m.mT for name, m in fitted.items()}
        layer = _layer_rate(latent, weights, values, rates, tangents) - pixels - h @ matrix.mT
        found.append(
            LayerDerivative(
                latent.space,
                float(rest[:, half:].norm() / spread),
                float(k),
                float(gl),
                float(layer[:, half:].norm() / spread),
            )
        )
    return tuple(found)


def _pixels(flow: Generator, value: Tensor) -> Tensor:
    """How a feature map (1, points, rows, columns, channels) moves with the pixels; nothing for other values."""
    if value.ndim != 5 or flow.on_pictures is None or value.shape[2:4] == (1, 1):
        return torch.zeros_like(value)
    moved: Tensor = flow.on_pictures(value.movedim(-1, 2)).movedim(2, -1)
    return moved


def _matrix(h: Tensor, rate: Tensor, ridge: float = 1e-8) -> Tensor:
    """The matrix A with rate ≈ A h, by ridge regression."""
    rows, wanted = h.flatten(0, -2), rate.flatten(0, -2)
    gram = rows.mT @ rows
    shift = ridge * gram.trace() / len(gram) + torch.finfo(gram.dtype).tiny
    eye = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    solved: Tensor = torch.linalg.solve(gram + shift * eye, rows.mT @ wanted)
    return solved.mT


def _by_intertwiners(
    weights: Weights, latent: LatentValue, h: Tensor, rate: Tensor, half: int, matrix: Tensor
) -> Tensor:
    """What the connected part of its intertwiner group leaves of the rate."""
    space = weights.graph.space(latent.space)
    action = space.action
    if action is Action.LINEAR:
        if space.parent is None:
            return rate - h @ matrix.mT
        parts = zip(h.split(space.size, -1), rate.split(space.size, -1), strict=True)  # GL(d) inside every head
        return torch.cat([r - v @ _matrix(v[:, :half], r[:, :half]).mT for v, r in parts], -1)
    if action in (Action.SCALING, Action.MONOMIAL):
        rows, wanted = h[:, :half].flatten(0, -2), rate[:, :half].flatten(0, -2)
        scale = (rows * wanted).sum(0) / rows.square().sum(0).clamp_min(torch.finfo(h.dtype).tiny)
        return rate - h * scale
    return rate


def _layer_rate(
    latent: LatentValue,
    weights: Weights,
    values: Mapping[str, Tensor],
    rates: Mapping[str, Tensor],
    tangents: Mapping[str, Tensor],
) -> Tensor:
    """Df_i of the rates that the fitted matrices give its sources (the true rate of the network's input)."""
    read: dict[str, Tensor] = {}

    def note(name: str) -> Tensor:
        read[name] = values[name]
        return values[name]

    points = len(values[weights.graph.inputs[0]][0])
    recompute(latent, weights, note, points)
    moved = {name: tangents.get(name, rates[name]) for name in read}
    rate: Tensor = _push(lambda given: recompute(latent, weights, given.__getitem__, points), read, moved)[1]
    return rate
