"""The typed graph of a network: spaces, the parameters that join them, and the operations that use them.

A `NetworkGraph` holds shapes and symmetry, never numbers; a batch of networks that share a graph is a
`graphws.graph.Weights`.  It is frozen, compares by value, prints readably and has a canonical JSON form.

    >>> from graphws.operations import mlp_graph
    >>> print(mlp_graph([2, 32, 32, 1], activation="sine", omega=30.0))
    NetworkGraph(4 spaces, 6 parameters, 1185 numbers, log10|G| = 70.8)
      input: free, 2
      hidden1: set, 32, signed
      hidden2: set, 32, signed
      output: free, 1
      W1[hidden1, input*] 32x2
      b1[hidden1] 32
      W2[hidden2, hidden1*] 32x32
      b2[hidden2] 32
      W3[output, hidden2*] 1x32
      b3[output] 1
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from torch import Tensor

from graphws.errors import GraphError, nearest
from graphws.graph.constant import MOST, Constant
from graphws.graph.layout import Layout, make_layout
from graphws.graph.operation import Operation
from graphws.graph.parameter import Axis, Parameter, Storage
from graphws.graph.serialise import parts_of, to_json
from graphws.graph.space import Action, Space
from graphws.graph.value import Value
from graphws.shown import Shown

if TYPE_CHECKING:
    from graphws.graph.group import Group

DEEPEST = 16
"""How deep spaces may be nested."""
MOST_BLOCKS = 1024
"""How many parameters may share one stored tensor."""
MOST_PAIRS = 1 << 22
"""How many pairs of parameters may share their tensors: each is compared."""


@dataclass(frozen=True, repr=False)
class NetworkGraph(Shown):
    """Spaces, parameters and operations of a network.

    Args:
        spaces: Every space once; a parent stands before its children.
        parameters: Every parameter once.
        operations: The computation, in order.
        inputs: Values that the caller gives.
        outputs: Values that the caller gets.
        constants: Bounded tensors that the computation needs and no network owns.
        values: What is known of values: of the inputs their shapes, of others which spaces label their axes.

    Raises:
        GraphError: On duplicate or unknown names, on a parent that is missing or comes later, on an operation that
            reads a value before it is written, on storage blocks of the wrong size, that overlap or leave numbers out.
    """

    spaces: tuple[Space, ...]
    parameters: tuple[Parameter, ...]
    operations: tuple[Operation, ...] = ()
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    constants: tuple[Constant, ...] = ()
    values: tuple[Value, ...] = ()

    def __post_init__(self) -> None:
        for name in ("spaces", "parameters", "operations", "inputs", "outputs", "constants", "values"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.operations:  # without a computation there are no values to describe
            object.__setattr__(self, "values", tuple(value for value in self.values if value.name in self.inputs))
        seen: dict[str, Space] = {}
        depth: dict[str, int] = {}
        for space in self.spaces:
            if space.name in seen:
                raise GraphError(f"space {space.name!r} occurs twice")
            if space.parent is not None:
                if space.parent not in seen:
                    raise GraphError(
                        f"space {space.name!r}: its parent {space.parent!r} must be a space that stands before it"
                        + nearest(space.parent, seen)
                    )
                self._check_parent(space, seen[space.parent])
            depth[space.name] = depth[space.parent] + 1 if space.parent is not None else 1
            if depth[space.name] > DEEPEST:
                raise GraphError(f"space {space.name!r} is nested more than {DEEPEST} deep")
            seen[space.name] = space
        names: set[str] = set()
        for parameter in self.parameters:
            if parameter.name in names:
                raise GraphError(f"parameter {parameter.name!r} occurs twice")
            names.add(parameter.name)
            for name in parameter.spaces:
                if name not in seen:
                    raise GraphError(f"parameter {parameter.name!r}: unknown space {name!r}" + nearest(name, seen))
            self._check_inner(parameter)
            self._check_storage(parameter)
        self._check_places()
        self._check_constants(names)
        self._check_operations(names)
        self._check_values()

    @staticmethod
    def _check_parent(space: Space, parent: Space) -> None:
        if not parent.moves:
            raise GraphError(
                f"space {space.name!r}: its parent {parent.name!r} is free; give each element a space of its own"
            )
        if parent.action is Action.LINEAR:
            raise GraphError(
                f"space {space.name!r}: its parent {parent.name!r} has a linear action, which splits no children"
            )

    def _check_inner(self, parameter: Parameter) -> None:
        for k, axis in enumerate(parameter.axes):
            if axis.inner and self.host(parameter, k) is None:
                parent = self.space(axis.space).parent
                what = "its space has no parent" if parent is None else f"no single earlier axis tells its {parent!r}"
                raise GraphError(f"parameter {parameter.name!r}: axis '{axis}' runs inside a parent, but {what}")

    def _check_storage(self, parameter: Parameter) -> None:
        storage = parameter.storage
        if storage is None:
            return
        held, wanted = math.prod(storage.block_shape), math.prod(self.shape(parameter.name))
        if held != wanted:
            raise GraphError(
                f"parameter {parameter.name!r}: its axes hold {wanted} numbers, its place in {storage.key!r} {held}"
            )

    def _check_places(self) -> None:
        """Every stored number belongs to one parameter: else a state dict could not come back bit for bit."""
        places: dict[str, list[tuple[str, Storage]]] = {}
        for parameter in self.parameters:
            storage = parameter.storage or Storage(parameter.name, self.shape(parameter.name))
            places.setdefault(storage.key, []).append((parameter.name, storage))
        keys = set(places)
        if sum(len(users) ** 2 for users in places.values() if len(users) > 1) > MOST_PAIRS:
            raise GraphError(f"too many parameters share stored tensors: more than {MOST_PAIRS} pairs of them")
        for key, users in places.items():
            (first, storage), others = users[0], users[1:]
            for name, other in others:
                if (other.shape, other.aliases, other.view, other.orders) != (
                    storage.shape, storage.aliases, storage.view, storage.orders
                ):  # fmt: skip
                    raise GraphError(
                        f"parameters {first!r} and {name!r} disagree about shape, view, orders or aliases of {key!r}"
                    )
            for alias in storage.aliases:
                if alias in keys:
                    raise GraphError(f"parameter {first!r}: its alias {alias!r} is the key of another tensor")
            keys.update(storage.aliases)
            self._check_tiles(key, users)

    @staticmethod
    def _check_tiles(key: str, users: list[tuple[str, Storage]]) -> None:
        if len(users) > MOST_BLOCKS:
            raise GraphError(f"{len(users)} parameters share {key!r}, at most {MOST_BLOCKS} are allowed")
        for k, (name, storage) in enumerate(users):
            for other, place in users[:k]:
                pairs = zip(storage.index, place.index, strict=True)
                if all(a.start < b.stop and b.start < a.stop for a, b in pairs):
                    raise GraphError(f"parameters {other!r} and {name!r} overlap in {key!r}")
        whole = math.prod(users[0][1].shape)
        held = sum(math.prod(storage.block_shape) for _, storage in users)
        if held != whole:
            raise GraphError(f"{key!r} has {whole} numbers, its parameters hold {held}: each needs a parameter")

    def _check_constants(self, parameters: set[str]) -> None:
        counts = Counter(constant.name for constant in self.constants)
        taken = next((name for name, count in counts.items() if count > 1 or name in parameters), None)
        if taken is not None:
            raise GraphError(f"constant {taken!r} has the name of another constant or parameter")
        size = sum(c.tensor.numel() * c.tensor.element_size() for c in self.constants)
        if size > MOST:
            raise GraphError(f"the constants have {size} bytes, at most {MOST} are kept")

    def _check_operations(self, parameters: set[str]) -> None:
        known = {*self.inputs, *parameters, *(constant.name for constant in self.constants)}
        for operation in self.operations:
            for name in operation.reads:
                if name not in known:
                    raise GraphError(f"operation {operation}: {name!r} is not known there" + nearest(name, known))
            known |= set(operation.outputs)
        for name in self.outputs if self.operations else ():
            if name not in known:
                raise GraphError(f"output {name!r} is written by no operation" + nearest(name, known))

    def _check_values(self) -> None:
        known = {*self.inputs, *(name for operation in self.operations for name in operation.outputs)}
        seen: set[str] = set()
        for value in self.values:
            if value.name not in known or value.name in seen:
                raise GraphError(f"value {value.name!r} is described twice, or no value of this graph")
            seen.add(value.name)
            lost = next((a.space for a in value.axes if a is not None and a.space not in self._spaces), None)
            if lost is not None:
                raise GraphError(f"value {value.name!r}: unknown space {lost!r}" + nearest(lost, self._spaces))
            for size, axis in zip(value.shape, value.axes, strict=True):
                if axis is not None and isinstance(size, int) and size != self.extent(axis.space):
                    raise GraphError(f"value {value}: its axis '{axis}' should have length {self.extent(axis.space)}")

    @cached_property
    def _hash(self) -> int:
        return hash((self.spaces, self.parameters, self.operations, self.inputs, self.outputs, self.constants))

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _layouts(self) -> dict[str, Layout]:
        layouts = {}
        for parameter in self.parameters:
            lineages = [self.lineage(space) for space in parameter.spaces]
            hosts = [self.host(parameter, k) if axis.inner else None for k, axis in enumerate(parameter.axes)]
            layouts[parameter.name] = make_layout(parameter, lineages, hosts)
        return layouts

    def layout(self, parameter: str) -> Layout:
        """How the parameter is folded: which index axes move, which numbers become channels."""
        self.parameter(parameter)
        return self._layouts[parameter]

    @cached_property
    def _spaces(self) -> dict[str, Space]:
        return {space.name: space for space in self.spaces}

    @cached_property
    def _parameters(self) -> dict[str, Parameter]:
        return {parameter.name: parameter for parameter in self.parameters}

    def space(self, name: str) -> Space:
        """The space called `name`; `GraphError` where there is none."""
        if name not in self._spaces:
            raise GraphError(f"no space {name!r} in this graph" + nearest(name, self._spaces))
        return self._spaces[name]

    def parameter(self, name: str) -> Parameter:
        """The parameter called `name`; `GraphError` where there is none."""
        if name not in self._parameters:
            raise GraphError(f"no parameter {name!r} in this graph" + nearest(name, self._parameters))
        return self._parameters[name]

    @cached_property
    def _values(self) -> dict[str, Value]:
        return {value.name: value for value in self.values}

    def value(self, name: str) -> Value | None:
        """What is known of a value; None where nothing is."""
        return self._values.get(name)

    @cached_property
    def named(self) -> frozenset[str]:
        """The names of parameters and constants."""
        return frozenset({*self._parameters, *(constant.name for constant in self.constants)})

    @cached_property
    def writers(self) -> dict[str, Operation]:
        """The operation that writes each value."""
        return {name: operation for operation in self.operations for name in operation.outputs}

    @cached_property
    def _sources(self) -> dict[str, frozenset[str]]:
        found = {name: frozenset({name}) for name in (*self._parameters, *self.inputs)}
        for operation in self.operations:
            read = frozenset[str]().union(*(found.get(name, frozenset()) for name in operation.numbers))
            found.update(dict.fromkeys(operation.outputs, read))
        return found

    def sources(self, name: str) -> frozenset[str]:
        """The inputs and parameters that a value is made of."""
        return self._sources.get(name, frozenset())

    def weights_behind(self, name: str) -> tuple[Parameter, ...]:
        """The parameters that a tensor is made of, where it is made of nothing else; none for other values."""
        made_of = self.sources(name)
        if made_of & set(self.inputs):
            return ()
        return tuple(self._parameters[each] for each in sorted(made_of))

    def readers(self, name: str) -> tuple[Operation, ...]:
        """The operations that read a value or parameter, in order."""
        return self._readers.get(name, ())

    @cached_property
    def _readers(self) -> dict[str, tuple[Operation, ...]]:
        found: dict[str, list[Operation]] = {}
        for operation in self.operations:
            for name in dict.fromkeys(operation.reads):
                found.setdefault(name, []).append(operation)
        return {name: tuple(operations) for name, operations in found.items()}

    def lineage(self, name: str) -> tuple[Space, ...]:
        """The space and its ancestors, root first."""
        space = self.space(name)
        return (*self.lineage(space.parent), space) if space.parent is not None else (space,)

    def extent(self, name: str) -> int:
        """Length of an axis labelled by the space: its size times those of its ancestors."""
        return math.prod(space.size for space in self.lineage(name))

    def shape(self, parameter: str) -> tuple[int, ...]:
        """Length of each axis of a parameter."""
        axes = self.parameter(parameter).axes
        return tuple(self.space(a.space).size if a.inner else self.extent(a.space) for a in axes)

    def stored_shapes(self) -> dict[str, tuple[int, ...]]:
        """The keys of a network's state dict, each tied tensor once, with their shapes, in order."""
        stored = [(p.name, p.storage) for p in self.parameters]
        return {s.key if s else name: s.shape if s else self.shape(name) for name, s in stored}

    def host(self, parameter: Parameter, axis: int) -> int | None:
        """The axis that says which parent an inner axis is inside of: the only earlier one that runs over parents.

        It is itself no inner axis; None where there is no such axis, or several.
        """
        parent = self.space(parameter.axes[axis].space).parent
        hosts = [
            k
            for k, other in enumerate(parameter.axes)
            if k != axis and not other.inner and parent in {space.name for space in self.lineage(other.space)}
        ]
        return hosts[0] if len(hosts) == 1 and hosts[0] < axis else None

    def set_axes(self, parameter: str) -> tuple[int, ...]:
        """Positions of the axes that the group moves."""
        return tuple(
            k
            for k, name in enumerate(self.parameter(parameter).spaces)
            if any(space.moves for space in self.lineage(name))
        )

    @property
    def numel(self) -> int:
        """How many numbers one network has."""
        return sum(math.prod(self.shape(parameter.name)) for parameter in self.parameters)

    def with_computation_of(self, graph: NetworkGraph, operations: Sequence[Operation] | None = None) -> NetworkGraph:
        """These spaces and parameters with the computation of another graph, or with `operations` in its place."""
        kept = []
        for value in graph.values:
            if value.name in graph.inputs:
                axes = tuple(axis if axis is not None and axis.space in self._spaces else None for axis in value.axes)
                shape = tuple(
                    self.extent(axis.space) if axis is not None else size
                    for axis, size in zip(axes, value.shape, strict=True)
                )
                kept.append(replace(value, axes=axes, shape=shape))
        steps = graph.operations if operations is None else tuple(operations)
        return NetworkGraph(
            self.spaces, self.parameters, steps, graph.inputs, graph.outputs, graph.constants, tuple(kept)
        )

    @cached_property
    def structure(self) -> NetworkGraph:
        """Spaces, parameters and roles alone: all that an equivariant layer depends on.

        Actions, powers, places in a state dict and the computation are left out, so that graphs that differ in no more
        than a frequency, an activation or the keys of a state dict have equal structures.
        """
        found = NetworkGraph(
            tuple(Space(s.name, s.size, s.kind, s.parent, role=s.role) for s in self.spaces),
            tuple(
                Parameter(p.name, tuple(Axis(a.space, inner=a.inner) for a in p.axes), p.kind, p.role)
                for p in self.parameters
            ),
        )
        found.__dict__["structure"] = found
        return found

    def role_of(self, parameter: str) -> str:
        """What a parameter goes by wherever roles are shared: its role, or its name."""
        return self.parameter(parameter).role or parameter

    def group(self) -> Group:
        """The weight-space symmetry group."""
        from graphws.graph.group import Group

        return Group(self)

    def log10_order(self) -> float:
        """log10 of the number of permutations in the group: d! for a set, (d!)^parents for a nested set."""
        total = 0.0
        for space in self.spaces:
            if space.moves:
                total += math.lgamma(space.size + 1) * self.extent(space.name) / space.size
        return total / math.log(10)

    def replace_space(self, space: Space) -> NetworkGraph:
        """The graph with the space of that name exchanged; storage and operations no longer fit and are dropped."""
        self.space(space.name)
        return NetworkGraph(
            tuple(space if old.name == space.name else old for old in self.spaces),
            tuple(Parameter(p.name, p.axes, p.kind, p.role) for p in self.parameters),
        )

    def to_json(self, *, inline: bool = True) -> str:
        """Canonical JSON: equal graphs give equal text.

        Args:
            inline: Whether the numbers of constants stand in the text too.
        """
        return to_json(self, inline=inline)

    @staticmethod
    def from_json(text: str, constants: Mapping[str, Tensor] | None = None) -> NetworkGraph:
        """The inverse of `to_json`; `GraphError` on anything else.

        Args:
            text: The text.
            constants: Numbers of constants whose numbers do not stand in it.
        """
        return NetworkGraph(**parts_of(text, constants))

    def __str__(self) -> str:
        head = (
            f"NetworkGraph({len(self.spaces)} spaces, {len(self.parameters)} parameters, {self.numel} numbers, "
            f"log10|G| = {self.log10_order():.1f})"
        )
        parameters = [f"{p} {'x'.join(map(str, self.shape(p.name)))}" for p in self.parameters]
        return "\n  ".join([head, *map(str, self.spaces), *parameters])
