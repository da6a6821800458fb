"""Residual streams in RMS form: layer norms rewritten as root mean squares, wherever that is exact.

A layer norm is γ · (x - mean x)/rms(x - mean x) + β.  Taking the mean off is linear: everything that writes the stream
can do it beforehand, and what is left is a division by the root mean square, which no orthogonal map of the stream
changes.  γ and β are part of the next product: W (γ · n + β) + b = (W diag γ) n + (b + W β).  So a network whose stream
is only written by products and sums, and only read by norms that products follow, has another form with the same
function (Ashkboos et al. 2024, SliceGPT, section 3.1), in which the whole orthogonal group of the stream is a symmetry:
writers take Q, readers Qᵀ.  In the graph of this form the stream's axes have power 1 where it is written and -1 where
it is read, and its action is that of signs and permutations, the part of O(d) that graphs have a word for; maps of a
stream in `RmsForm.streams` may be any orthogonal matrix.

Networks with RMS norms have the form once γ is folded.

>>> import torch
>>> from graphws.converting import convert
>>> class Net(torch.nn.Module):
...     def __init__(self):
...         super().__init__()
...         self.embed, self.norm, self.head = torch.nn.Linear(3, 8), torch.nn.LayerNorm(8), torch.nn.Linear(8, 2)
...     def forward(self, x):
...         return self.head(self.norm(self.embed(x)))
>>> found = rms_form(convert(Net(), torch.randn(4, 3)).weights)
>>> found.streams, [step.kind for step in found.weights.graph.operations]
(('embed',), ['linear', 'rms_norm', 'linear'])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from graphws.errors import GraphError
from graphws.graph.network import NetworkGraph
from graphws.graph.operation import Operation
from graphws.graph.parameter import Axis, Parameter
from graphws.graph.space import Action
from graphws.graph.weights import Weights
from graphws.operations.plan import why_not
from graphws.operations.stream_flow import PRODUCTS, Norm, Reading, Stream, trace


@dataclass(frozen=True, eq=False)
class RmsForm:
    """What `rms_form` found.

    Attributes:
        weights: The networks in RMS form: they compute what they did.
        streams: Names of the spaces that any orthogonal map may move.
        centred: Those of them that had layer norms: what writes them sums to 0, and maps that keep the vector of ones
            keep it so.
        kept: The spaces that norms read and that stay as they are, each with the reason.
        original: The networks as they came.
    """

    weights: Weights
    streams: tuple[str, ...]
    centred: tuple[str, ...]
    kept: Mapping[str, str]
    original: Weights

    def restored(self, weights: Weights) -> Weights:
        """Networks of this form as networks of the graph that it came from, scales 1 and shifts 0.

        Law: they compute the same where every centred stream is written without a mean, as it is after maps that keep
        the vector of ones.

        Raises:
            GraphError: Where the form has biases that the graph does not have, or a centred stream with a mean.
        """
        graph = self.original.graph
        more = next((p.name for p in weights.graph.parameters if p.name not in self.original.tensors), None)
        if more is not None:
            raise GraphError(f"the network has no place for {more!r}: its norms' shifts have no bias to go to")
        for parameter in weights.graph.parameters:
            for k, axis in enumerate(parameter.axes):
                if axis.space in self.centred and axis.power == 1:
                    _check_centred(parameter, weights[parameter.name], k + 1)
        tensors = {}
        for parameter in graph.parameters:
            old = self.original[parameter.name]
            fill = torch.ones_like if parameter.kind in ("scale", "weight") else torch.zeros_like
            tensors[parameter.name] = weights.tensors.get(parameter.name, fill(old))
        for norm in self._norms():
            tensors |= {norm.scale: torch.ones_like(self.original[norm.scale])} if norm.scale else {}
            tensors |= {norm.shift: torch.zeros_like(self.original[norm.shift])} if norm.shift else {}
        return Weights(graph, tensors)

    def _norms(self) -> list[Norm]:
        return [norm for space in self.streams for norm in trace(self.original.graph, space).norms.values()]


def _check_centred(parameter: Parameter, tensor: Tensor, axis: int) -> None:
    mean, size = tensor.mean(axis).abs().max(), tensor.abs().max()
    if mean > 1e4 * torch.finfo(tensor.dtype).eps * size.clamp_min(1):
        raise GraphError(f"parameter {parameter.name!r} writes a mean into a stream whose norms took it off")


def rms_form(weights: Weights) -> RmsForm:
    """The same networks with every stream in RMS form for which that is exact.

    Laws: ``forward`` is unchanged, to rounding; any orthogonal map of a stream in ``streams`` leaves it unchanged.

    Args:
        weights: Networks of a graph that runs.

    Raises:
        GraphError: On a graph that does not run.
    """
    reason = why_not(weights.graph)
    if reason:
        raise GraphError(f"this graph cannot be run by itself: {reason}")
    found, streams, centred, kept = weights, [], [], {}
    for space in weights.graph.spaces:
        if not space.moves or space.parent is not None or space.size < 2:
            continue
        try:
            stream = trace(found.graph, space.name)
            found = _Rewriting(found, stream).made()
        except GraphError as error:
            if _is_normed(weights.graph, space.name):
                kept[space.name] = str(error)
            continue
        streams.append(space.name)
        if any(norm.centres for norm in stream.norms.values()):
            centred.append(space.name)
    return RmsForm(found, tuple(streams), tuple(centred), kept, weights)


def _is_normed(graph: NetworkGraph, space: str) -> bool:
    """Whether a norm has a scale of this space."""
    names = {p.name for p in graph.parameters if p.spaces == (space,)}
    kinds = ("layer_norm", "rms_norm", "mul")
    return any(
        (step.kind in kinds and names & set(step.reads)) or (step.kind == "add" and set(step.reads) <= names)
        for step in graph.operations
    )


@dataclass
class _Rewriting:
    """One stream on its way to RMS form."""

    weights: Weights
    stream: Stream
    tensors: dict[str, Tensor] = field(default_factory=dict)
    added: dict[str, list[Parameter]] = field(default_factory=dict)
    before: dict[int, list[Operation]] = field(default_factory=dict)
    instead: dict[int, Operation] = field(default_factory=dict)

    def made(self) -> Weights:
        """The networks in the other form; `GraphError` where there is none."""
        stream, graph = self.stream, self.weights.graph
        self.tensors = dict(self.weights.tensors)
        if any(norm.centres for norm in stream.norms.values()):
            if stream.plain:
                raise GraphError("something reads the stream past its layer norms, and would see it without its mean")
            for name, axes in stream.writers.items():
                for axis in axes:
                    self._change(name, lambda x, k=axis: x - x.mean(k + 1, keepdim=True))  # type: ignore[misc]
        gone = {name for norm in stream.norms.values() for name in (norm.scale, norm.shift) if name}
        self._check_roles(gone)
        self._fold()
        for norm in stream.norms.values():
            self._bare(norm)
        parameters: list[Parameter] = []
        for old in graph.parameters:
            if old.name not in gone:
                parameters.append(Parameter(old.name, self._axes(old), old.kind, old.role))
            parameters += self.added.get(old.name, [])
        spaces = tuple(
            replace(space, action=Action.SIGNED, reason="a stream that norms divide by its root mean square")
            if space.name == stream.space
            else space
            for space in graph.spaces
        )
        steps = []
        for step in stream.steps:
            steps += [*self.before.get(id(step), []), self.instead.get(id(step), step)]
        used = {name for step in steps for name in step.reads}
        changed = NetworkGraph(spaces, tuple(p for p in parameters if p.name not in gone)).with_computation_of(
            graph, [step for step in steps if step.kind != "stored" or step.outputs[0] in used]
        )
        return Weights(changed, {p.name: self.tensors[p.name] for p in changed.parameters})

    def _change(self, name: str, function: Callable[[Tensor], Tensor]) -> None:
        self.tensors[name] = function(self.tensors[name])

    def _check_roles(self, gone: set[str]) -> None:
        """Every parameter of the stream has one part in it: it writes, it reads, or it is part of a norm."""
        stream, graph = self.stream, self.weights.graph
        places = {
            part: [k for k, axis in enumerate(graph.parameter(part).axes) if axis.space == stream.space]
            for reading in stream.readings
            for part in reading.weight.parts
        }
        for name, axes in places.items():
            clash = stream.writers.get(name, set()) & {axes[-1]}
            if clash or name in gone:
                raise GraphError(f"{name!r} both writes and reads the stream")
        users = {name: [step for step in stream.steps if name in step.reads] for name in gone}
        norms = [id(norm.step) for norm in stream.norms.values()]
        for name, steps in users.items():
            if name in stream.writers or any(id(s) not in norms and not self._completed(s) for s in steps):
                raise GraphError(f"{name!r} is more than a scale or shift of norms")
        if any(space.parent == stream.space for space in graph.spaces):
            raise GraphError("other spaces are nested in it")

    def _completed(self, step: Operation) -> bool:
        """Whether a step is the scale of a norm whose shift another step adds."""
        return any(step.outputs[0] in norm.step.reads for norm in self.stream.norms.values())

    def _fold(self) -> None:
        """Scales and shifts of norms into the products that read them."""
        stream = self.stream
        done: dict[str, tuple[str, str]] = {}
        bias_of: dict[tuple[str, ...], tuple[str, ...]] = {}
        for reading in stream.readings:
            norm = stream.norms.get(reading.norm)
            scale, shift = (norm.scale, norm.shift) if norm is not None else ("", "")
            biases = self._biases(reading, bool(shift))
            for place, part in enumerate(reading.weight.parts):
                if part in done:
                    if done[part] != (scale, shift) or (shift and bias_of[reading.weight.parts] != biases):
                        raise GraphError(f"{part!r} reads the stream by norms of several scales and shifts")
                    continue
                done[part] = scale, shift
                bias_of[reading.weight.parts] = biases
                axis = [k for k, a in enumerate(self._old(part).axes) if a.space == stream.space][-1]
                weight = self.tensors[part].movedim(axis + 1, -1)
                if shift:
                    beta = self.tensors[shift].reshape(len(weight), *[1] * (weight.ndim - 2), -1)
                    moved = (weight * beta).sum(-1)
                    own = self.tensors.get(biases[place])
                    self.tensors[biases[place]] = moved if own is None else own + moved.reshape(own.shape)
                if scale:
                    gamma = self.tensors[scale].reshape(len(weight), *[1] * (weight.ndim - 2), -1)
                    weight = weight * gamma
                if norm is not None and norm.centres:
                    weight = weight - weight.mean(-1, keepdim=True)
                self.tensors[part] = weight.movedim(-1, axis + 1)

    def _old(self, name: str) -> Parameter:
        return self.weights.graph.parameter(name)

    def _biases(self, reading: Reading, needed: bool) -> tuple[str, ...]:
        """The parameters of the bias that goes with each part of a weight; made where there are none."""
        graph, product = self.weights.graph, PRODUCTS[reading.step.kind]
        if not needed:
            return ()
        name = reading.step.operands.get(product.bias) if product.bias else None
        if name is None:
            return self._made_biases(reading)
        if name in graph.writers:
            step = graph.writers[name]
            parts = step.reads if step.kind == "stored" else ()
        else:
            parts = (name,)
        others = [
            step
            for part in (name, *parts)
            for step in self.stream.steps
            if part in step.reads and step.kind != "stored" and step.operands.get(product.weight)
            != reading.step.operands[product.weight]
        ]  # fmt: skip
        width = graph.extent(self.stream.space)
        fits = len(parts) == len(reading.weight.parts) and all(
            bias in self.tensors and self.tensors[bias][0].numel() * width == self.tensors[part][0].numel()
            for bias, part in zip(parts, reading.weight.parts, strict=True)
        )
        if others or not fits:
            raise GraphError(f"{reading.step} has no bias of its own that could take the norm's shift")
        return tuple(parts)

    def _made_biases(self, reading: Reading) -> tuple[str, ...]:
        step, graph = reading.step, self.weights.graph
        weight = step.operands["weight"] if step.kind == "linear" else None
        if weight is None:
            raise GraphError(f"{step} has no bias that could take the norm's shift")
        names = tuple(f"{part}~shift" for part in reading.weight.parts)
        for name, part in zip(names, reading.weight.parts, strict=True):
            if name not in self.tensors:
                old = self._old(part)
                axes = tuple(axis for axis in self._axes(old) if axis != Axis(self.stream.space, -1))
                self.added.setdefault(part, []).append(
                    Parameter(name, axes, "bias", f"{old.role}.shift" * bool(old.role))
                )
        operand = names[0]
        if weight in graph.writers:
            held = graph.writers[weight]
            grid, merges = held.attribute("grid"), held.attribute("merges")
            if held.kind != "stored" or held.attribute("columns") or (grid and grid[1] != 1):
                raise GraphError(f"{step} has no bias that could take the norm's shift")
            width = len(grid) or len(merges)
            each = tuple(merges[k] for k in range(0, len(merges), width))
            constants = {"merges": each} | ({"grid": (grid[0],)} if grid else {})
            operand = f"{weight}~shift"
            if not any(made.outputs == (operand,) for some in self.before.values() for made in some):
                self.before.setdefault(id(step), []).append(Operation("stored", names, (operand,), constants))  # type: ignore[arg-type]
        self.instead[id(step)] = replace(step, inputs=(*step.inputs[:2], operand))
        return names

    def _bare(self, norm: Norm) -> None:
        """The norm without mean, scale and shift."""
        step = norm.step
        if step.kind in ("layer_norm", "rms_norm"):
            constants = {"normalized_shape": step.attribute("normalized_shape"), "eps": step.attribute("eps")}
            known = {name: value for name, value in constants.items() if value is not None}
            self.instead[id(step)] = Operation("rms_norm", (norm.read,), step.outputs, known)  # type: ignore[arg-type]
        else:
            self.instead[id(step)] = Operation("identity", (norm.read,), step.outputs)

    def _axes(self, parameter: Parameter) -> tuple[Axis, ...]:
        """The axes with the powers of the form: 1 where the stream is written, -1 where it is read."""
        written = self.stream.writers.get(parameter.name, set())
        return tuple(
            Axis(axis.space, 1 if k in written else -1, axis.inner) if axis.space == self.stream.space else axis
            for k, axis in enumerate(parameter.axes)
        )
