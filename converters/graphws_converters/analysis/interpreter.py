"""From a program to what its operations demand: every node meets its rule.

Inputs and outputs are free: the group may relabel what is inside a network, not what the world sees.  An operation
without a rule, or a call that its rule does not cover, makes all that it touches free; that costs part of the group,
never soundness, and the reason is kept.  So does a call that hands numbers to Python, where no rule follows them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from graphws_converters.algebra.dims import free, is_free
from graphws_converters.algebra.tensors import Abstract, Leg, Stacked
from graphws_converters.analysis.engine import Engine
from graphws_converters.analysis.fixed import Fixed
from graphws_converters.analysis.ir import Node, Program, Value, may_share_memory
from graphws_converters.analysis.look_ahead import TAKING, Users, only_taken_apart, taken_apart
from graphws_converters.analysis.rearrangements import Rearrangement, reads, rearrangements
from graphws_converters.rules import RULES
from graphws_converters.rules.pointwise import nonlinear
from graphws_converters.rules.reductions import reduction
from graphws_converters.rules.registry import Call, Entry, NotCovered
from graphws_converters.rules.strided import stays_inside


@dataclass(eq=False)
class Analysis:
    """What is known after all nodes were read.

    Attributes:
        program: What was read.
        engine: The demands.
        parameters: For each key of the state dict what became of its axes; of one that is only ever taken apart along
            an axis, what became of its parts.
        outputs: The outputs.
        unused: Keys that no operation reads.
        ties: Operations that choose among neurons by size and, where two are equal, by position; how often each.
        opaque: Operations that nothing is known of, and how often each occurred.
    """

    program: Program
    engine: Engine = field(default_factory=Engine)
    parameters: dict[str, Abstract | Stacked] = field(default_factory=dict)
    values: dict[Value, Abstract | Stacked] = field(default_factory=dict)
    outputs: list[Abstract] = field(default_factory=list)
    unused: tuple[str, ...] = ()
    ties: Counter[str] = field(default_factory=Counter)
    opaque: Counter[str] = field(default_factory=Counter)

    def parts(self, key: str) -> list[Abstract]:
        """The tensors that a key of the state dict is read as: itself, or its parts."""
        found = self.parameters[key]
        return list(found.parts) if isinstance(found, Stacked) else [found]


def analyse(program: Program) -> Analysis:
    """Reads a program."""
    analysis = Analysis(program)
    engine = analysis.engine
    left = program.numbers_read()
    fixed = Fixed(program)
    moved = rearrangements(program, needed(program, left), fixed)
    nodes = needed(program, left, moved)
    users = _users(nodes, moved)
    whole = {*program.outputs, *left, *(found.source for found in moved.values())}
    for key, value in program.parameters.items():
        axis = None if value in whole else only_taken_apart(value, users)
        analysis.parameters[key] = analysis.values[value] = _parameter(engine, key, value.shape, axis)
    for value, tensor in program.constants.items():
        analysis.values[value] = engine.constant(tensor)
    for value in program.inputs:
        analysis.values[value] = engine.fresh(value.shape, "input")
    for node in nodes:
        if any(value is not None and value not in moved for value in node.outputs):
            _read(analysis, node, users, fixed)
        for written in node.outputs:
            if written is not None and written in moved:
                analysis.values[written] = _rearranged(analysis, moved[written], written.shape)
    for value in left:
        engine.unknown([engine.plain(analysis.values[value])], [], "its numbers leave the tensors")
    for value in program.outputs:
        output = engine.plain(analysis.values[value])
        for leg in output.legs:
            free(leg.dim, "output")
        engine.release_index(output, "output")
        analysis.outputs.append(output)
    analysis.unused = tuple(k for k, value in program.parameters.items() if value not in users
                            and value not in {*program.outputs, *left})  # fmt: skip
    for key in analysis.unused:
        engine.release(_legs(analysis.parameters[key]), "not used")
    for part in _never_picked(analysis, users):
        engine.release(_legs(part), "not used")
    analysis.ties.update(_choices(analysis, nodes, users))
    return analysis


def _parameter(engine: Engine, key: str, shape: tuple[int, ...], axis: int | None) -> Abstract | Stacked:
    """A tensor of the state dict; or, where operations only pick elements of an axis, each of these by itself."""
    inner = shape if axis is None else (*shape[:axis], *shape[axis + 1 :])
    parts = [engine.fresh(inner) for _ in range(1 if axis is None else shape[axis])]
    for part in parts:
        part.weight = True
        for leg in part.legs:
            leg.dim.label = key
    return parts[0] if axis is None else Stacked(axis, parts)


def _never_picked(analysis: Analysis, users: Users) -> Iterator[Abstract]:
    """Parts of a parameter that no operation picks, where operations pick others."""
    values = {id(value) for value in analysis.values.values()}
    for key, value in analysis.program.parameters.items():
        found = analysis.parameters[key]
        if isinstance(found, Stacked) and all(user.op in TAKING for user in users.get(value, ())):
            yield from (part for part in found.parts if id(part) not in values)


def needed(
    program: Program, also: Iterable[Value] = (), moved: Mapping[Value, Rearrangement] | None = None
) -> list[Node]:
    """The nodes that some output, or another tensor, depends on: what others do cannot be seen from outside."""
    wanted, kept = {*program.outputs, *also}, []
    for node in reversed(program.nodes):
        if any(value in wanted for value in node.outputs if value is not None):
            wanted.update(reads(node, moved or {}))
            kept.append(node)
    return kept[::-1]


_CHOOSING = {
    "topk",
    "sort",
    "argsort",
    "argmax",
    "argmin",
    "max",
    "min",
    "kthvalue",
    "median",
    "nanmedian",
    "mode",
    "cummax",
}


def _choices(analysis: Analysis, nodes: Iterable[Node], users: Users) -> Iterator[str]:
    """The operations that give places of neurons which may still move."""
    for node in nodes:
        for value in node.outputs if node.op in _CHOOSING else ():
            found = analysis.values.get(value) if value in users else None
            if isinstance(found, Abstract) and found.index is not None and not is_free(found.index):
                yield node.op


def _users(nodes: Iterable[Node], moved: Mapping[Value, Rearrangement]) -> Users:
    users: Users = {}
    for node in nodes:
        for value in dict.fromkeys(reads(node, moved)):
            users.setdefault(value, []).append(node)
    return users


def _rearranged(analysis: Analysis, found: Rearrangement, shape: tuple[int, ...]) -> Abstract:
    """A tensor that reads the axes of another in other sequences."""
    engine = analysis.engine
    made = engine.plain(analysis.values[found.source])
    for axis, order in enumerate(found.orders):
        made = engine.picked(made, axis, order)
    places = [k for axes in found.axes for k in axes]
    places += [k for k in range(len(shape)) if k not in places]
    laid = engine.reshape(made, [shape[k] for k in places])
    result: Abstract = engine.permute(laid, [places.index(k) for k in range(len(shape))])
    return result


def _read(analysis: Analysis, node: Node, users: Users, fixed: Fixed) -> None:
    """One node: its rule, or nothing but freedom."""
    engine = analysis.engine
    engine.place = node.place
    shapes = tuple(value.shape for value in node.outputs if value is not None)
    if node.op in _BEYOND and not (node.op in RULES and stays_inside(node)):
        seen = [analysis.values[value] for value in _storage(node, analysis.program) if value in analysis.values]
        engine.unknown([engine.plain(x) for x in seen], [], node.op)
    arguments = {name: _abstract(analysis, value) for name, value in node.arguments.items()}
    call = Call(node, arguments, shapes, lambda: taken_apart(node, users), fixed)
    engine.addressing.clear()
    engine.followed.clear()
    if not shapes:
        return
    try:
        entry = _rule(node)
        result = _part_by_part(entry, engine, call) or entry.apply(engine, call)
        results = list(result) if isinstance(result, list) else [result]
        if [_shape(r) for r in results[: len(shapes)]] != list(shapes):
            raise NotCovered("another shape than expected")
        engine.unknown([engine.plain(x) for x in call.unread()], [], f"{node.op}: a rule that leaves it out")
        _keep_positions(engine, call, results)
        _keep_choices(engine, call)
        if not entry.powers:
            engine.pin([leg for x in call.tensors() for leg in _legs(x)])
            engine.pin([leg for r in results for leg in _legs(r)])
    except Exception as surprise:  # a rule that fails on an unforeseen call costs freedom, not the conversion
        why = f"{node.op}: {surprise}" if isinstance(surprise, NotCovered) else f"no rule for this call of {node.op}"
        analysis.opaque[node.op] += 1
        results = list(engine.unknown([engine.plain(x) for x in call.tensors()], shapes, why))
    written = [value for value in node.outputs if value is not None]
    for value, result in zip(written, results, strict=False):
        analysis.values[value] = result


def _part_by_part(entry: Entry, engine: Engine, call: Call) -> Stacked | None:
    """A function of single entries leaves stacked tensors apart; None for anything else."""
    given = [(name, x) for name, x in call.arguments.items() if isinstance(x, Abstract | Stacked)]
    if "pointwise" not in call.node.tags or len(given) != 1 or len(list(call.node.values())) != 1:
        return None
    ((name, x),) = given
    if not isinstance(x, Stacked) or len(call.shapes) != 1:
        return None
    call.read.update(call.arguments)
    shapes = ((*call.shape[: x.axis], *call.shape[x.axis + 1 :]),)
    parts = [entry.apply(engine, Call(call.node, {**call.arguments, name: part}, shapes)) for part in x.parts]
    assert all(isinstance(part, Abstract) for part in parts)
    return Stacked(x.axis, parts)  # type: ignore[arg-type]


def _keep_positions(engine: Engine, call: Call, results: Iterable[Abstract | Stacked]) -> None:
    """Positions in an axis stay positions in what an operation makes of them, or the axis has an order.

    A rule that forgets what its entries count through would let a table of positions pass for plain numbers.
    """
    kept = {part.index for x in results for part in (x.parts if isinstance(x, Stacked) else [x])}
    for x in call.tensors():
        for part in x.parts if isinstance(x, Stacked) else [x]:
            if part.index is not None and part.index not in kept and part not in engine.addressing:
                engine.release_index(part, f"{call.node.op} of positions")


def _keep_choices(engine: Engine, call: Call) -> None:
    """What an index tells of a tensor is followed by its rule, or nothing may depend on it."""
    followed = {id(x) for x in engine.followed}
    for x in call.tensors():
        for part in x.parts if isinstance(x, Stacked) else [x]:
            if part.told and id(part) not in followed:
                engine.strange(part, part.told)


_BEYOND = {"as_strided", "as_strided_copy", "as_strided_scatter"}
"""Views that may show what lies beside their argument in memory."""


def _storage(node: Node, program: Program) -> list[Value]:
    """What a node reads, and every tensor that it may be a view of."""
    found = set(node.values())
    for earlier in reversed(program.nodes[: program.nodes.index(node)]):
        if any(value in found for value in earlier.outputs if value is not None):
            found.update(earlier.values() if may_share_memory(earlier.op) else ())
    return list(found)


def _rule(node: Node) -> Entry:
    if node.op in RULES:
        return RULES[node.op]
    if "pointwise" in node.tags:
        return Entry(nonlinear, powers=False)
    if "reduction" in node.tags:
        return Entry(reduction, powers=False)
    raise NotCovered("no rule")


def _abstract(analysis: Analysis, argument: Any) -> Any:
    if isinstance(argument, Value):
        return analysis.values[argument]
    if isinstance(argument, list | tuple):
        return [_abstract(analysis, item) for item in argument]
    return argument


def _legs(x: Abstract | Stacked) -> list[Leg]:
    if isinstance(x, Stacked):
        return [leg for part in x.parts for leg in part.legs]
    return list(x.legs)


def _shape(x: Abstract | Stacked) -> tuple[int, ...]:
    if isinstance(x, Abstract):
        return x.shape
    shape = list(x.parts[0].shape)
    shape.insert(x.axis, len(x.parts))
    return tuple(shape)
