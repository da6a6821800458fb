"""The way of a residual stream through a computation: what writes it, which norms read it, what reads the norms.

A stream is a space whose values are only ever added, moved about, normed and multiplied by matrices.  Any orthogonal
map Q of such a stream leaves the function alone, if every writer is followed by Q and every reader preceded by Qᵀ,
because root mean squares do not feel Q.  Scales and shifts of norms do; they belong to what reads the norm.

`trace` follows one space from the parameters that it labels through every step.  A step that it does not know refuses
the whole space: nothing is assumed of it.  Where an axis goes in a step that only moves entries is asked of the step
itself, by sending a vector through it.

Roles of values:

* ``stream``: x, which an orthogonal map sends to Qx;
* ``normed``: γ · x/‖x‖ + β, the output of a norm, before anything has read it;
* ``square``: x², entry by entry, on the way to a mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from graphws.errors import GraphError
from graphws.graph.network import NetworkGraph
from graphws.graph.operation import Operation
from graphws.operations.plan import Context, Step, constants_on, walk
from graphws.operations.sampling import random_inputs, random_weights

Role = Literal["stream", "normed", "square"]


@dataclass(frozen=True)
class Product:
    """Where a kind multiplies by weights: its operands, and the axes of the weight that are written and read.

    Attributes:
        read: The operand that is multiplied.
        weight: The operand with the weights.
        bias: The operand that is added, if there is one.
        written: Axis of the weight whose elements are written.
        contracted: Axis of the weight that is summed with the last axis of what is read; None where that is no sum.
        lands: Axis of the result on which the written elements stand.
    """

    read: str
    weight: str
    bias: str
    written: int
    contracted: int | None
    lands: int


PRODUCTS: Mapping[str, Product] = {
    "linear": Product("x", "weight", "bias", 0, 1, -1),
    "addmm": Product("mat1", "mat2", "self", 1, 0, -1),
    "matmul": Product("self", "other", "", 1, 0, -1),
    "mm": Product("self", "mat2", "", 1, 0, -1),
    "embedding": Product("indices", "weight", "", 1, None, -1),
    **{f"conv{n}d": Product("input", "weight", "bias", 0, None, 1) for n in (1, 2, 3)},
}
"""Kinds that write or read a stream by weights."""
_MOVES = frozenset({"identity", "cast", "mean"})
"""Kinds besides those that only move entries, on whose other axes nothing depends."""


@dataclass(frozen=True)
class Flow:
    """What a value is to the stream: its role, its axis, and the norm that wrote it."""

    role: Role
    axis: int
    norm: str = ""


@dataclass(frozen=True)
class Held:
    """A tensor of weights, as a parameter holds it or as steps put it together.

    Attributes:
        parts: The parameters.
        axes: The axes of the tensor that the space labels, in the order of the parameters' axes.
    """

    parts: tuple[str, ...]
    axes: tuple[int, ...]


@dataclass(frozen=True)
class Norm:
    """A norm of the stream.

    Attributes:
        step: The operation that writes it; of several the last.
        read: The value of the stream that it reads.
        scale: The parameter γ; empty where there is none.
        shift: The parameter β; empty where there is none.
        centres: Whether it takes the mean off first.
    """

    step: Operation
    read: str
    scale: str = ""
    shift: str = ""
    centres: bool = False


@dataclass(frozen=True)
class Reading:
    """A product of weights with the stream: by a norm, or as it is where `norm` is empty."""

    step: Operation
    weight: Held
    norm: str


@dataclass
class Stream:
    """What `trace` found of one space.

    Attributes:
        space: Its name.
        writers: Parameters that write it, with the positions of the axes that do.
        norms: Its norms, by the value that each writes.
        readings: The products that read it.
        plain: Whether anything but a norm depends on the stream's mean.
        held: Every tensor of weights with an axis of the space.
        steps: The operations that lead to the outputs, in order.
    """

    space: str
    writers: dict[str, set[int]] = field(default_factory=dict)
    norms: dict[str, Norm] = field(default_factory=dict)
    readings: list[Reading] = field(default_factory=list)
    plain: bool = False
    held: dict[str, Held] = field(default_factory=dict)
    steps: list[Operation] = field(default_factory=list)


def trace(graph: NetworkGraph, space: str) -> Stream:
    """Follows a space through the computation.

    Args:
        graph: A graph that runs and says which shapes its inputs have.
        space: A set that moves and has no parent.

    Raises:
        GraphError: With the reason, where an orthogonal map of the space would not leave the function alone for all
            that is known of the steps.
    """
    rng = torch.Generator().manual_seed(0)
    weights = random_weights(graph, 1, rng)
    inputs = random_inputs(graph, 3, rng)
    context = Context(3, weights.floating, weights.device)
    values = constants_on(graph, context) | {name: x[0] for name, x in weights.items()} | dict(inputs)
    tracer = _Tracer(graph, Stream(space), context, values, torch.randn(graph.extent(space), generator=rng).double())
    with torch.no_grad():
        for step in walk(graph, values, graph.outputs, graph.inputs, context):
            tracer.follow(step)
    tracer.finish()
    return tracer.stream


@dataclass
class _Tracer:
    graph: NetworkGraph
    stream: Stream
    context: Context
    values: Mapping[str, Tensor]
    marker: Tensor
    flows: dict[str, Flow] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for parameter in self.graph.parameters:
            places = [k for k, axis in enumerate(parameter.axes) if axis.space == self.stream.space]
            if places:
                self.stream.held[parameter.name] = Held((parameter.name,), tuple(places))

    def follow(self, step: Step) -> None:
        """Takes one step into account."""
        operation, held = step.operation, self.stream.held
        self.stream.steps.append(operation)
        touched = [name for name in operation.reads if name in held or name in self.flows]
        if not touched:
            return
        if len(operation.outputs) != 1:
            raise GraphError(f"{operation} reads the stream and writes several values")
        if all(name in held for name in operation.reads) and operation.row.axes == "moves":
            self._rearrange(step)
        elif operation.kind in PRODUCTS:
            self._multiply(operation)
        elif operation.kind in ("layer_norm", "rms_norm"):
            self._norm(operation)
        elif operation.kind in ("add", "sub"):
            self._add(operation)
        elif operation.kind in ("mul", "div", "neg", "power", "square", "sum", "mean"):
            self._scale(step)
        elif operation.row.axes == "moves" or operation.kind in _MOVES:
            self._move(step)
        else:
            raise GraphError(f"{operation.kind} acts on the stream's entries one by one, in {operation}")

    def finish(self) -> None:
        """Refuses a stream that the caller sees, or that no norm reads."""
        seen = next((name for name in self.graph.outputs if name in self.flows or name in self.stream.held), None)
        if seen is not None:
            raise GraphError(f"the output {seen!r} shows the stream")
        if not self.stream.norms:
            raise GraphError("no norm reads it")
        lost = next((r for r in self.stream.readings if r.norm and r.norm not in self.stream.norms), None)
        if lost is not None:
            raise GraphError(f"{lost.step} reads a norm whose shift comes later")

    def _flow(self, name: str) -> Flow | None:
        """What a value is to the stream; weights that are used as a value write it."""
        held = self.stream.held.get(name)
        if held is None or name in self.flows:
            return self.flows.get(name)
        if len(held.axes) != 1:
            raise GraphError(f"{name!r} has {len(held.axes)} axes of the stream and is used as a value")
        self._write(held, 0)
        return Flow("stream", held.axes[0])

    def _write(self, held: Held, place: int) -> None:
        for part in held.parts:
            axes = [k for k, axis in enumerate(self.graph.parameter(part).axes) if axis.space == self.stream.space]
            self.stream.writers.setdefault(part, set()).add(axes[place])

    def _set(self, operation: Operation, flow: Flow) -> None:
        self.flows[operation.outputs[0]] = flow

    def _sent(self, step: Step, markers: Mapping[str, Tensor]) -> int:
        """The axis on which a vector stands after a step; `GraphError` where it does not come out whole."""
        found = step.run({**self.values, **markers}, self.context)[0]
        for axis, size in enumerate(found.shape):
            if size == len(self.marker) and _alike(found, self._along(axis, found.shape)):
                return axis
        raise GraphError(f"{step.operation} does not keep the stream's axis whole")

    def _along(self, axis: int, shape: torch.Size) -> Tensor:
        view = [1] * len(shape)
        view[axis] = len(self.marker)
        return self.marker.reshape(view).expand(shape)

    def _rearrange(self, step: Step) -> None:
        """Weights put together, or seen in another shape."""
        parts = [self.stream.held[name] for name in step.operation.reads]
        counts = {len(part.axes) for part in parts}
        if len(counts) != 1:
            raise GraphError(f"{step.operation} joins tensors with and without the stream's axis")
        axes = []
        for k in range(counts.pop()):
            markers = {
                name: self._along(part.axes[k], self.values[name].shape)
                for name, part in zip(step.operation.reads, parts, strict=True)
            }
            axes.append(self._sent(step, markers))
        names = tuple(name for part in parts for name in part.parts)
        self.stream.held[step.operation.outputs[0]] = Held(names, tuple(axes))

    def _multiply(self, operation: Operation) -> None:
        """A product with weights: it reads the stream on their one side, or writes it on the other."""
        product, named = PRODUCTS[operation.kind], operation.operands
        read, weight, bias = (named.get(name) for name in (product.read, product.weight, product.bias))
        held = self.stream.held.get(weight or "")
        flow = self.flows.get(read or "")
        if read in self.stream.held or weight in self.flows or (bias in self.flows):
            raise GraphError(f"{operation} multiplies the stream by values")
        if held is not None and product.lands == -1 and self.values[weight or ""].ndim != 2:
            raise GraphError(f"{operation} multiplies by a tensor that is no matrix")
        if any(_constant(operation, name, 1) != 1 for name in ("alpha", "beta", "groups", "reads")):
            raise GraphError(f"{operation} multiplies in an unusual way")
        contracts = held is not None and product.contracted is not None and product.contracted in held.axes
        writes = held is not None and product.written in held.axes
        if flow is not None:
            last = flow.axis == self.values[read or ""].ndim - 1
            if flow.role == "square" or not last or not contracts:
                raise GraphError(f"{operation} does not multiply the stream's axis by weights of it")
            assert held is not None
            self.stream.plain |= flow.role == "stream"
            self.stream.readings.append(Reading(operation, held, flow.norm))
        elif contracts:
            raise GraphError(f"{operation} reads {weight!r}, but not the stream")
        if held is not None and len(held.axes) != int(contracts) + int(writes):
            raise GraphError(f"{operation} uses {weight!r} in another way than the stream is used")
        landed = self.stream.held.get(bias or "")
        if bias and (landed is not None) != writes:
            raise GraphError(f"{operation}: its bias is not of the space that it writes")
        if writes:
            assert held is not None
            self._write(held, held.axes.index(product.written))
            if landed is not None:
                self._write(landed, 0)
            result = self.values[operation.outputs[0]].ndim
            self._set(operation, Flow("stream", product.lands % result))

    def _norm(self, operation: Operation) -> None:
        named = operation.operands
        flow = self._flow(named["input"])
        length = operation.attribute("normalized_shape")
        size = self.values[named["input"]].ndim
        whole = flow is not None and flow.role == "stream" and flow.axis == size - 1 and tuple(length) == (
            len(self.marker),
        )  # fmt: skip
        if not whole:
            raise GraphError(f"{operation} is no norm of the whole stream")
        assert flow is not None
        scale, shift = (named.get(name) or "" for name in ("weight", "bias"))
        for name in (scale, shift):
            if name and (name not in self.stream.held or self.stream.held[name].parts != (name,)):
                raise GraphError(f"{operation}: {name!r} is no parameter of the stream")
        output = operation.outputs[0]
        centres = operation.kind == "layer_norm"
        self.stream.norms[output] = Norm(operation, named["input"], scale, shift, centres)
        self._set(operation, Flow("normed", flow.axis, output))

    def _add(self, operation: Operation) -> None:
        """Sums of the stream; a parameter added to what a norm has scaled is its shift."""
        names = operation.reads
        if len(names) == 1 and self._vector(names[0]):
            raise GraphError(f"{operation} makes a scale of {names[0]!r} and a number, which is not folded")
        alone = [name for name in names if name in self.flows and self.flows[name].role == "normed"]
        if len(names) == 2 and len(alone) == 1 and operation.kind == "add" and not operation.attributes:
            norm = self.stream.norms[self.flows[alone[0]].norm]
            other = next(name for name in names if name != alone[0])
            if self._vector(other) and not norm.shift and norm.step.outputs[0] == alone[0]:
                self._renamed(operation, replace(norm, step=operation, shift=other), alone[0])
                return
        flows = [self._flow(name) for name in names]
        result = self.values[operation.outputs[0]].ndim
        places = {
            flow.axis + result - self.values[name].ndim
            for name, flow in zip(names, flows, strict=True)
            if flow is not None and flow.role == "stream"
        }
        if len(names) != 2 or len(places) != 1 or any(flow is None or flow.role != "stream" for flow in flows):
            raise GraphError(f"{operation} adds something else to the stream")
        self._set(operation, Flow("stream", places.pop()))

    def _renamed(self, operation: Operation, norm: Norm, before: str) -> None:
        """A norm that another step completes."""
        flow = self.flows[before]
        del self.stream.norms[flow.norm]
        output = operation.outputs[0]
        self.stream.norms[output] = norm
        self._set(operation, replace(flow, norm=output))

    def _vector(self, name: str) -> bool:
        """Whether a name is a parameter along the stream alone."""
        held = self.stream.held.get(name)
        return held is not None and held.parts == (name,) and self.values[name].ndim == 1

    def _scale(self, step: Step) -> None:
        """Squares, means of squares, numbers for each token, and scales of norms."""
        operation = step.operation
        names = operation.reads
        flows = [self.flows.get(name) for name in names]
        first = flows[0] if flows else None
        twice = operation.kind == "mul" and len(names) == 2 and names[0] == names[1]
        squares = (operation.kind == "power" and _constant(operation, "exponent") == 2) or twice
        if first is not None and first.role == "stream" and (squares or operation.kind == "square"):
            self._set(operation, Flow("square", first.axis))
            return
        if operation.kind in ("sum", "mean") and first is not None and first.role == "square":
            dims = _constant(operation, "dim")
            size = self.values[names[0]].ndim
            if dims is None or [d % size for d in dims] != [first.axis]:
                raise GraphError(f"{operation} sums squares along other axes than the stream's")
            self.stream.plain = True
            return
        if operation.kind == "mean":
            self._move(step)
            return
        scales = [name for name in names if self._vector(name) and name not in self.flows]
        carried = [(name, flow) for name, flow in zip(names, flows, strict=True) if flow is not None]
        if operation.kind == "neg" and first is not None and first.role == "stream":
            self._set(operation, first)
            return
        if operation.kind not in ("mul", "div") or len(carried) != 1 or carried[0][1].role != "stream":
            raise GraphError(f"{operation} acts on the stream's entries one by one")
        name, flow = carried[0]
        result = self.values[operation.outputs[0]].ndim
        axis = flow.axis + result - self.values[name].ndim
        if operation.kind == "mul" and scales and len(names) == 2:
            output = operation.outputs[0]
            if axis != result - 1:
                raise GraphError(f"{operation} scales the stream along another axis than the last")
            self.stream.norms[output] = Norm(operation, name, scales[0])
            self._set(operation, Flow("normed", axis, output))
            return
        for other in names:
            if other != name:
                own = self.values[other]
                place = axis - (result - own.ndim)
                if other in self.stream.held or (place >= 0 and own.shape[place] != 1):
                    raise GraphError(f"{operation} acts on the stream's entries one by one")
        if operation.kind == "div" and names[0] != name:
            raise GraphError(f"{operation} divides by the stream")
        self._set(operation, Flow("stream", axis))

    def _move(self, step: Step) -> None:
        """Steps after which the stream stands on another axis, or for fewer tokens."""
        operation = step.operation
        flows = {name: self._flow(name) for name in operation.reads}
        kinds = {(flow.role, flow.norm) for flow in flows.values() if flow is not None}
        floating = [name for name in operation.reads if self.values[name].is_floating_point()]
        if len(kinds) != 1 or any(flows[name] is None for name in floating) or "square" in next(iter(kinds)):
            raise GraphError(f"{operation} joins the stream with something else")
        markers = {
            name: self._along(flow.axis, self.values[name].shape).to(self.values[name].dtype)
            for name, flow in flows.items()
            if flow is not None
        }
        role, norm = kinds.pop()
        self._set(operation, Flow(role, self._sent(step, markers), norm))


def _constant(operation: Operation, name: str, default: Any = None) -> Any:
    """A constant of an operation as it is stated; `default` where nothing is."""
    return dict(operation.attributes).get(name, default)


def _alike(found: Tensor, wanted: Tensor) -> bool:
    """Whether two tensors agree as far as a cast to a smaller type leaves them."""
    return found.is_floating_point() and torch.allclose(found.double(), wanted.double(), rtol=1e-5, atol=0)
