"""From axes to a typed graph: spaces, parameters with their places in the state dict, operations.

Steps: what cannot be stored in blocks becomes free; atoms get their nesting and their rich action; every tensor of the
state dict becomes one parameter for each of its blocks; spaces are named.  A nested space whose parent cannot be told
from an earlier axis of each of its tensors is taken out of its parent: a smaller group, still a right one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from graphws.graph import Action, Axis, NetworkGraph, Parameter, Space, Storage
from graphws.graph.space import Kind
from graphws_converters.algebra.dims import Dim, leaves
from graphws_converters.algebra.tensors import Leg, Stacked
from graphws_converters.analysis.blocks import StoredBlock, columns, settle
from graphws_converters.analysis.families import take_apart
from graphws_converters.analysis.interpreter import Analysis
from graphws_converters.analysis.powers import Place, Powers, solve_powers
from graphws_converters.analysis.wreath import companions_of, nesting
from graphws_converters.assembly.naming import Names, module_of, name_of_free


@dataclass(frozen=True)
class Stored:
    """A tensor of the state dict.

    Attributes:
        shape: Its sizes.
        aliases: Further keys of the same tensor.
        buffer: Whether it is a buffer.
    """

    shape: tuple[int, ...]
    aliases: tuple[str, ...] = ()
    buffer: bool = False


@dataclass(frozen=True, eq=False)
class _Piece:
    """A block of a stored tensor, on its way to become a parameter."""

    key: str
    block: StoredBlock
    whole: bool

    @property
    def name(self) -> str:
        """The key, with the block's number where there are several."""
        return self.key if self.whole else f"{self.key}[{','.join(map(str, self.block.number))}]"


@dataclass(eq=False)
class _Assembly:
    analysis: Analysis
    state: Mapping[str, Stored]
    parents: dict[Dim, Dim] = field(default_factory=dict)
    powers: dict[Dim, Powers] = field(default_factory=dict)
    read: frozenset[Leg] = frozenset()
    squared: frozenset[Leg] = frozenset()
    writers: dict[Dim, list[str]] = field(default_factory=dict)
    names: Names = field(default_factory=Names)
    named: dict[Dim, str] = field(default_factory=dict)
    free: dict[tuple[str, int], str] = field(default_factory=dict)
    spaces: dict[str, Space] = field(default_factory=dict)


@dataclass(frozen=True)
class Assembled:
    """A typed graph, still without its computation and without roles.

    Attributes:
        graph: Every number of the state dict belongs to one of its parameters.  Its computation is written by
            `graphws_converters.assembly.operations`, its roles by `graphws_converters.assembly.roles`.
        reads: For each parameter whether each of its axes reads from its space.
    """

    graph: NetworkGraph
    reads: Mapping[str, tuple[bool, ...]]


def assemble(analysis: Analysis, state: Mapping[str, Stored]) -> Assembled:
    """The typed graph.

    Args:
        analysis: A program that was read.
        state: The tensors of the state dict, in order, each once.
    """
    engine = analysis.engine
    for key, stored in state.items():
        if key not in analysis.parameters:
            reason = "not used" if not stored.buffer else "a constant"
            analysis.parameters[key] = engine.fresh(stored.shape, reason)
    settle([analysis.parts(key) for key in state])
    known = [x for key in state for x in analysis.parts(key)]
    movable = [a for a in dict.fromkeys(a for x in known for leg in x.legs for a in leaves(leg.dim)) if not a.free]
    made = _Assembly(analysis, state)
    companions = companions_of(analysis)
    made.parents = nesting(companions, movable)
    made.powers = solve_powers(engine, known)
    single = [atom for atom in movable if atom not in made.parents and atom not in made.parents.values()]
    apart, copies = take_apart(known, companions, single)
    made.powers |= {copy: made.powers[atom] for copy, atom in copies.items() if atom in made.powers}
    found = iter(apart)
    pieces = [piece for key in state for piece in _pieces(key, analysis, [next(found) for _ in analysis.parts(key)])]
    for atom in list(made.parents):
        if any(not _tells_parent(piece.block, atom, made.parents) for piece in pieces):
            del made.parents[atom]
    made.read = frozenset(engine.read) - frozenset(engine.written)
    made.squared = frozenset(engine.squared)
    made.writers = _writers(made, pieces)
    for piece in pieces:  # what is read comes before what is written: inputs first
        for atom, _, _ in sorted(_axes(made, piece.block), key=lambda axis: axis[1][0] not in made.read):
            _name_of(made, atom)
    parameters = [_parameter(made, piece) for piece in pieces]
    reads = {piece.name: tuple(place[0] in made.read for _, place, _ in _axes(made, piece.block)) for piece in pieces}
    return Assembled(NetworkGraph(tuple(made.spaces.values()), tuple(parameters)), reads)


def _pieces(key: str, analysis: Analysis, parts: Sequence[Sequence[StoredBlock]]) -> Iterator[_Piece]:
    """The blocks of a stored tensor: its own, or those of its parts, each at its place."""
    stored = analysis.parameters[key]
    if isinstance(stored, Stacked):
        for k, blocks in enumerate(parts):
            before = sum(len(columns(leg)[0]) for leg in stored.parts[k].legs[: stored.axis])
            yield from (_Piece(key, block.inside(stored.axis, before, k, len(parts)), False) for block in blocks)
        return
    yield from (_Piece(key, block, len(parts[0]) == 1) for block in parts[0])


def _tells_parent(block: StoredBlock, atom: Dim, parents: Mapping[Dim, Dim]) -> bool:
    """Whether each axis of the atom stands right behind its lineage, or after one axis that tells its parent."""
    order = [a for column in block.atoms for a, _ in column]
    lineage = _lineage(atom, parents)
    for position, found in enumerate(order):
        if found is not atom:
            continue
        merged = _merges(block, position, lineage)
        hosts = [k for k, a in enumerate(order) if a is lineage[-2]]
        if not merged and not (len(hosts) == 1 and hosts[0] < position and order.count(atom) == 1):
            return False
        if not merged and not _merges(block, hosts[0], lineage[:-1]):
            return False
    return True


def _lineage(atom: Dim, parents: Mapping[Dim, Dim]) -> list[Dim]:
    return [*_lineage(parents[atom], parents), atom] if atom in parents else [atom]


def _merges(block: StoredBlock, position: int, lineage: Sequence[Dim]) -> bool:
    """Whether the atoms that end at a position of one stored axis are exactly a lineage, so that one axis holds all."""
    at = 0
    for column in block.atoms:
        here = [a for a, _ in column]
        if position < at + len(here):
            last = position - at
            return len(lineage) <= last + 1 and here[last + 1 - len(lineage) : last + 1] == list(lineage)
        at += len(here)
    return False


def _axes(made: _Assembly, block: StoredBlock) -> list[tuple[Dim, Place, bool]]:
    """The axes of a parameter: atom, place of its power, and whether the axis is inside a parent."""
    found: list[tuple[Dim, Place, bool]] = []
    for position, (atom, place) in enumerate(entry for column in block.atoms for entry in column):
        lineage = _lineage(atom, made.parents)
        merged = len(lineage) > 1 and _merges(block, position, lineage)
        if merged:
            found.pop()  # the parent's axis, which the child's contains
        found.append((atom, place, len(lineage) > 1 and not merged))
    return found


def _parameter(made: _Assembly, piece: _Piece) -> Parameter:
    stored = made.state[piece.key]
    axes = tuple(
        Axis(_name_of(made, atom), _power(made, atom, place), inner) for atom, place, inner in _axes(made, piece.block)
    )
    view = piece.block.view if piece.block.view != stored.shape and not piece.whole else None
    bounds = None if piece.whole else piece.block.bounds
    kind = "buffer" if stored.buffer else "weight" if len(axes) > 1 else "bias" if "bias" in piece.key else "scale"
    place = Storage(piece.key, stored.shape, bounds, stored.aliases, view, piece.block.orders)
    return Parameter(piece.name, axes, kind, storage=place)


def _power(made: _Assembly, atom: Dim, place: Place) -> int:
    """The power of an axis: from the rich action where there is one, else -1 where the axis is read.

    Signs know powers modulo 2 only, so there, too, -1 may mark what is read, and 2 what holds squares.
    """
    leg = place[0]
    usual = -1 if leg in made.read else 2 if leg in made.squared else 1
    solved = made.powers.get(atom)
    if atom.free or solved is None or _action(made, atom) is Action.PERMUTATION:
        return usual
    power = solved.powers.get(place, 0)
    return (usual if power % 2 == usual % 2 else power) if solved.action is Action.SIGNED else power


def _action(made: _Assembly, atom: Dim) -> Action:
    """The rich action; a parent only permutes: whatever else acted on it is part of its children's."""
    if atom.free or atom in made.parents.values() or atom not in made.powers:
        return Action.PERMUTATION
    return made.powers[atom].action


def _name_of(made: _Assembly, atom: Dim) -> str:
    """The name of an atom's space; the space is made, after its parents', when it is first asked for."""
    if atom.free:
        if (atom.reason, atom.size) not in made.free:
            sizes = {atom.size}
            name = made.names.take(name_of_free(atom.reason, atom.size, sizes))
            made.free[atom.reason, atom.size] = name
            role = name_of_free(atom.reason, atom.size, sizes).rstrip("0123456789")
            made.spaces[name] = Space(name, atom.size, "free", role=role, reason=atom.reason)
        return made.free[atom.reason, atom.size]
    if atom not in made.named:
        parent = made.parents.get(atom)
        above = None if parent is None else _name_of(made, parent)
        writers = made.writers.get(atom, [])
        key = writers[0] if writers else atom.label or "space"
        family, child = atom in made.parents.values(), parent is not None
        name = made.names.take(module_of(key) + ("/heads" if family else "/head" if child else ""))
        kind: Kind = "nested" if child else "set"
        made.spaces[name] = Space(name, atom.size, kind, above, _action(made, atom), reason=_why(made, atom))
        made.named[atom] = name
    return made.named[atom]


def _why(made: _Assembly, atom: Dim) -> str:
    """What is known about a set."""
    writers = list(dict.fromkeys(made.writers.get(atom, [])))
    text = f"written by {writers[0]}" + (f" and {len(writers) - 1} more" if len(writers) > 1 else "") if writers else ""
    action, solved = _action(made, atom), made.powers.get(atom)
    if action is not Action.PERMUTATION and solved is not None and solved.dimension > 1:
        what = "sign flips" if action is Action.SIGNED else "scalings"
        text += f"; {solved.dimension} independent {what}, one is represented"
    return text.removeprefix("; ")


def _writers(made: _Assembly, pieces: Sequence[_Piece]) -> dict[Dim, list[str]]:
    """For each atom the tensors that write it, weights before vectors."""
    wide: dict[Dim, list[str]] = {}
    narrow: dict[Dim, list[str]] = {}
    for piece in pieces:
        atoms = [entry for column in piece.block.atoms for entry in column]
        for atom, (leg, _) in atoms:
            if not atom.free and leg not in made.read:
                target = wide if len(atoms) > 1 else narrow
                target.setdefault(atom, []).append(piece.key)
    return {atom: wide.get(atom) or narrow[atom] for atom in [*wide, *narrow]}
