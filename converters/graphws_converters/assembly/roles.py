"""Roles: what a parameter or a space is in its network, whatever the network's depth and width.

Layers that share their weights by role read every parameter of a role with the same matrices, in networks of any depth
and width.  So a role says what does not depend on these: the kind of layer that reads the parameter, how the layer
stands in the computation, what the parameter is to it, and the numbers that the group does not move::

    conv3x3.first.weight     conv.first.bias        the first convolution, of kernels 3 x 3
    linear.last.weight.x10   linear.last.bias.x10   the last layer, of ten outputs
    norm.residual.scale      attention.q.weight     linear.residual-hidden.weight

* Layers are ``first``, ``last``, ``only`` or ``inner``; one that reads or writes another space than ``hidden`` names
  both ends: ``residual-hidden``.  Weights of an entrywise step name the space that they lie in.
* Spaces are ``hidden``; ``residual`` where what several layers write is added up; ``heads``, ``head.qk`` and
  ``head.v``; ``rank`` between two linear maps with nothing between.  Free spaces keep the names of their reasons.
* Free entries, kernels apart, follow as ``x10``.  Where an axis that is read stands before one that is written, the
  role says ``transposed``.

Parameters that nothing of this tells apart share a role; parts of one stored tensor, as the gates of a recurrent layer
are, are told apart by their order.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from graphws.graph import Action, NetworkGraph, Operation, Parameter, Space
from graphws.kinds.parts import LAYERS
from graphws_converters.assembly.flow import Flow, Reading, flow_of

Reads = Mapping[str, Sequence[bool]]
"""For each parameter whether each of its axes reads from its space; the others are written."""
_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9._\-x*/+]+")


def with_roles(graph: NetworkGraph, reads: Reads | None = None) -> NetworkGraph:
    """The graph with a role for each parameter and each space that the group moves.

    Args:
        graph: The graph, with its computation.
        reads: Which axes are read; told by the powers of the axes where None.
    """
    work = _Roles(graph, flow_of(graph), reads or {})
    spaces = tuple(replace(space, role=work.spaces[space.name]) for space in graph.spaces)
    roles = _told_apart(graph, {parameter.name: work.role(parameter) for parameter in graph.parameters})
    parameters = tuple(replace(parameter, role=roles[parameter.name]) for parameter in graph.parameters)
    return replace(graph, spaces=spaces, parameters=parameters)


def _told_apart(graph: NetworkGraph, roles: Mapping[str, str]) -> dict[str, str]:
    """Roles with a number behind where parts of one stored tensor that lie in the same spaces have the same."""
    groups: dict[tuple[object, ...], list[str]] = {}
    for parameter in graph.parameters:
        stored = parameter.storage.key if parameter.storage else parameter.name
        groups.setdefault((stored, roles[parameter.name], parameter.spaces), []).append(parameter.name)
    numbers = {name: k for names in groups.values() if len(names) > 1 for k, name in enumerate(names)}
    return {name: f"{role}.{numbers[name]}" if name in numbers else role for name, role in roles.items()}


@dataclass(frozen=True, eq=False)
class _Roles:
    graph: NetworkGraph
    flow: Flow
    given: Reads

    def reads(self, parameter: Parameter) -> Sequence[bool]:
        """Whether each axis is read."""
        if parameter.name in self.given:
            return self.given[parameter.name]
        found = [axis.power == -1 for axis in parameter.axes]
        return found if not all(found) else [False] * len(found)

    def moving(self, parameter: Parameter, read: bool) -> list[str]:
        """The innermost moving spaces of the axes that are read (or written), without parents of others."""
        found = []
        for axis, reads in zip(parameter.axes, self.reads(parameter), strict=True):
            if reads == read:
                found += [space.name for space in self.graph.lineage(axis.space) if space.moves][-1:]
        above = {space.name for name in found for space in self.graph.lineage(name)[:-1]}
        return list(dict.fromkeys(name for name in found if name not in above))

    @cached_property
    def members(self) -> dict[int, list[Parameter]]:
        """For each layer the weights that it multiplies by."""
        found: dict[int, list[Parameter]] = {}
        for parameter in self.graph.parameters:
            for reading in self.flow.readings[parameter.name]:
                if reading.step in self.flow.layers and "weight" in self.word(reading):
                    found.setdefault(reading.step, []).append(parameter)
        return found

    def word(self, reading: Reading) -> str:
        """What a parameter is to the step that reads it."""
        operation = self.operation(reading)
        place = reading.place
        if "has_biases" in operation.row.attributes and not operation.attribute("has_biases"):
            place = 4 * (place // 2) + place % 2
        return operation.row.part.word(reading.operand, place)

    def operation(self, reading: Reading) -> Operation:
        """The step of a reading."""
        return self.graph.operations[reading.step]

    @cached_property
    def written(self) -> dict[int, set[str]]:
        """For each layer the moving spaces that its weights write."""
        return {step: {s for p in found for s in self.moving(p, False)} for step, found in self.members.items()}

    @cached_property
    def spaces(self) -> dict[str, str]:
        """The role of each space."""
        written = self.written
        streams = {s for a, b in self.flow.meetings for s in written.get(a, set()) & written.get(b, set())}
        read = {s for p in self.graph.parameters for s in self.moving(p, True)}
        letters: dict[str, set[str]] = {space.name: set() for space in self.graph.spaces}
        for step, spaces in written.items():
            for name in spaces:
                letters[name] |= self.flow.letters.get(step, frozenset())
        parents = {space.parent for space in self.graph.spaces}
        return {
            space.name: _of_space(
                space, space.name in parents, space.name in streams, space.name in read, letters[space.name]
            )
            for space in self.graph.spaces
        }

    def named(self, parameter: Parameter, read: bool) -> str:
        """The roles of the moving spaces that a parameter reads, or writes."""
        return "+".join(self.spaces[space] for space in self.moving(parameter, read))

    def role(self, parameter: Parameter) -> str:
        """The role of a parameter, from the places where it is read."""
        readings = self.flow.readings[parameter.name]
        texts = dict.fromkeys(self._read(parameter, reading) for reading in readings)
        if not texts:
            texts = {".".join(x for x in ("unused", self._place(parameter), self._free(parameter)) if x): None}
        return _NOT_ALLOWED.sub("_", "+".join(texts))

    def _read(self, parameter: Parameter, reading: Reading) -> str:
        operation, word = self.operation(reading), self.word(reading)
        part = operation.row.part.name
        if part in LAYERS and reading.step in self.flow.layers and word:
            words = self._of_layer(parameter, reading.step, word, reading)
        elif part == "norm" and word:
            words = ["norm", self._place(parameter), self._before(parameter, operation), word, self._free(parameter)]
        elif (layer := self._shifted(parameter, operation)) is not None:
            words = self._of_layer(parameter, layer, "bias", reading)
        else:
            before = self._before(parameter, operation) if part == "product" else ""
            words = [operation.kind.strip("_"), self._place(parameter), before, self._free(parameter)]
        return ".".join(text for text in (*words, reading.via.strip("_")) if text)

    def _place(self, parameter: Parameter) -> str:
        """The roles of the moving spaces of a parameter's axes, in order."""
        lineages = (self.graph.lineage(space) for space in parameter.spaces)
        moving = [[space.name for space in lineage if space.moves] for lineage in lineages]
        return "-".join(self.spaces[names[-1]] for names in moving if names)

    def _before(self, parameter: Parameter, step: Operation) -> str:
        """What a norm, or a factor, of a residual stream stands before."""
        if self._place(parameter) != "residual":
            return ""
        following = frozenset[int]().union(*(self.flow.following.get(x, frozenset()) for x in step.outputs))
        if following and all(self.flow.letters.get(layer) for layer in following):
            return "attention"
        ends = following <= self.flow.last if following else self.flow.ahead.isdisjoint(step.outputs)
        return "last" if ends else ""

    def _shifted(self, parameter: Parameter, operation: Operation) -> int | None:
        """The layer to whose output a vector is added, with nothing but other arrangements between."""
        if operation.row.part.name != "sum" or len(parameter.axes) != 1:
            return None
        found = {self._writer(name) for name in operation.reads} - {None}
        return found.pop() if len(found) == 1 else None

    def _writer(self, name: str) -> int | None:
        """The layer that wrote a value, perhaps in another arrangement."""
        while (step := self.written_by.get(name)) is not None:
            operation = self.graph.operations[step]
            if step in self.flow.layers:
                return step
            if len(operation.reads) != 1 or not (operation.row.axes == "moves" or operation.row.part.name == "pass"):
                return None
            name = operation.reads[0]
        return None

    @cached_property
    def written_by(self) -> dict[str, int]:
        """The step that writes each value."""
        return {name: step for step, operation in enumerate(self.graph.operations) for name in operation.outputs}

    def _of_layer(self, parameter: Parameter, step: int, word: str, reading: Reading) -> list[str]:
        """The words of a layer's weight or bias."""
        operation, weight = self.graph.operations[step], "weight" in word
        part, target = operation.row.part.name, self.named(parameter, False)
        if part == "recurrent" and not weight:
            return [_recurrent(operation, reading), target, word, self._free(parameter)]
        source = (self.named(parameter, True) or self._end(parameter, step)) if weight else self._source(step)
        target = target or ("output" if step in self.flow.last else "fixed")
        kernel = self._kernel(parameter) if weight and part.startswith("conv") else ()
        name = _recurrent(operation, reading) if part == "recurrent" else part + "x".join(map(str, kernel))
        words = self._in_attention(step, name, source, target)
        if not words:
            words = [name, _position(source, target), "gate" if step in self.flow.gates else ""]
        return [*words, self._order(parameter, operation) if weight else "", word, self._free(parameter, bool(kernel))]

    def _in_attention(self, step: int, name: str, source: str, target: str) -> list[str]:
        """The words of a layer that writes queries, keys or values, or reads what attention gave; none for others."""
        letters = frozenset[str]() if "residual" in target else self.flow.letters.get(step, frozenset())
        if not letters and step not in self.flow.attended:
            return []
        own, other = (target, source) if letters else (source, target)
        letter = "o" if not letters else {"head.v": "v", "head.qk": "qk"}.get(target, "qkv")
        letter = next(iter(letters)) if len(letters) == 1 else letter
        usual = "head.qk" if letter in ("q", "k", "qk") else "head.v"
        return [
            *("attention", "" if name == "linear" else name, letter),
            *("" if own == usual else own, "" if other == "residual" else other),
        ]

    def _source(self, step: int) -> str:
        """What a layer reads: roles of moving spaces, or the kind of its free end."""
        weights = self.members.get(step, [])
        moving = "+".join(sorted({self.spaces[s] for p in weights for s in self.moving(p, True)}))
        return moving or next((end for p in weights if (end := self._end(p, step))), "")

    def _end(self, parameter: Parameter, step: int) -> str:
        """The kind of a free end that a weight reads; empty where it reads no axis."""
        if step in self.flow.first:
            return "input"
        spaces = zip(parameter.spaces, self.reads(parameter), strict=True)
        return "fixed" if any(reads and self.graph.extent(name) > 1 for name, reads in spaces) else ""

    def _order(self, parameter: Parameter, operation: Operation) -> str:
        """How the moving axes lie, where it is not as such layers have them."""
        letters = "".join(
            "r" if reads else "w"
            for name, reads in zip(parameter.spaces, self.reads(parameter), strict=True)
            if any(space.moves for space in self.graph.lineage(name))
        )
        written = operation.row.weight[1] if operation.row.weight else 0
        usual = "".join(sorted(letters, reverse=not written or operation.row.part.name == "embedding"))
        return "" if letters == usual else "transposed" if letters == usual[::-1] else letters

    def _kernel(self, parameter: Parameter) -> tuple[int, ...]:
        """The sizes of a convolution's kernel; empty where the stored tensor does not show them."""
        found = parameter.storage.shape[2:] if parameter.storage else ()
        return found if math.prod(found) == math.prod(self._free_sizes(parameter, kernels=True)) else ()

    def _free_sizes(self, parameter: Parameter, kernels: bool) -> list[int]:
        """Sizes of the levels of the axes that no group moves: of kernels, or of all others."""
        found = []
        for axis in parameter.axes:
            for space in self.graph.lineage(axis.space)[-1 if axis.inner else 0 :]:
                if not space.moves and (space.role == "kernel") == kernels and space.size > 1:
                    found.append(space.size)
        return found

    def _free(self, parameter: Parameter, kernel: bool = False) -> str:
        """The numbers of free entries: of each axis, without those of a kernel that is named."""
        sizes = self._free_sizes(parameter, False) + ([] if kernel else self._free_sizes(parameter, True))
        return "x" + "x".join(map(str, sizes)) if sizes else ""


def _of_space(space: Space, family: bool, stream: bool, read: bool, letters: Collection[str]) -> str:
    """The role of a space.

    Args:
        space: The space.
        family: Whether others are nested in it.
        stream: Whether what several layers write into it is added up.
        read: Whether weights read from it.
        letters: What the layers that write it write for attention.
    """
    if not space.moves:
        return space.role
    if family:
        return "heads.inner" if space.parent else "heads"
    if space.parent:
        return "head.qk" if not read else "heads.inner" if set(letters) == {"q"} else "head.v"
    if stream:
        return "residual"
    if read:
        return "rank" if space.action is Action.LINEAR else "hidden"
    return "qk" if letters else "hidden"


def _recurrent(operation: Operation, reading: Reading) -> str:
    """The name of a recurrent layer, of its backward direction apart."""
    name = operation.kind.removesuffix("_cell")
    if "bidirectional" not in operation.row.attributes or not operation.attribute("bidirectional"):
        return name
    tensors = 4 if operation.attribute("has_biases") else 2
    return f"{name}.reverse" if reading.place // tensors % 2 else name


def _position(source: str, target: str) -> str:
    """Where a layer stands, from what it reads and what it writes."""
    if not source:
        return target
    if source == "input":
        return "only" if target == "output" else "first" if target == "hidden" else f"first.{target}"
    if target == "output":
        return "last" if source == "hidden" else f"last.{source}"
    return "inner" if (source, target) == ("hidden", "hidden") else f"{source}-{target}"
