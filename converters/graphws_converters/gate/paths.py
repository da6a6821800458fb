"""Does a trace show the whole of a network, or one path of several?

A network that reads a number out of a tensor can do anything with it: take another branch, call a library, put it back
as a new tensor.  A trace on real tensors shows one of the paths and none of the detours, and no draw of the gate on
inputs of the same path shows more.  Two things give such a network away: the reading itself, and a second run on other
inputs that takes other steps, or holds other constants.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from graphws.errors import UsageError
from graphws_converters.analysis.ir import Node, Program, Value
from graphws_converters.fronts.errors import TraceFailure
from graphws_converters.fronts.recorder import record_program
from graphws_converters.gate.emptiness import asked_of_inputs
from graphws_converters.gate.words import other_words, read_words, words_in

FACTOR = -10.0
"""What floating inputs of the second run are multiplied by; their rows change places, too."""


def one_path(
    program: Program,
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    generator: torch.Generator,
    own: Counter[str] | None = None,
    laid_out: bool = False,
    marks: Collection[int] = (),
) -> str:
    """Why a program may be one path of several; empty where nothing speaks for it.

    An exported program holds what Python does with numbers that it reads, or there is none.  A recorded one does not.

    Args:
        program: What was read off the module.
        module: The module, in eval mode and with numbers.
        args: Positional inputs.
        kwargs: Inputs by name.
        generator: Source of the order of rows.
        own: The steps of the module in the type that it came in, where that is another one.
        laid_out: Whether whole numbers among the inputs say how the others lie, as masks and the places of pictures
            among words do, and reading them is no sign of another path: the path is that of inputs that lie alike.
            Words are no such numbers; see `graphws_converters.gate.words`.  Whether a picture is empty is; see
            `graphws_converters.gate.emptiness`.
        marks: The words that do say how inputs lie.
    """
    exported = program.front == "export"
    try:
        first = record_program(module.train().eval(), args, kwargs) if exported else program
        read = first.numbers_read(whole=not laid_out, settled=asked_of_inputs(first) if laid_out else ())
        alike = laid_out and bool(first.numbers_read())
        if read and (not exported or set(read) & set(first.escaped)):
            return f"one path seen: a number was read from {describe(first, read[0])}"
        differs = own is not None and (own - steps_of(first) or steps_of(first) - own)
        if differs:
            return f"one path seen: in the type that the network came in, {next(iter(differs))} runs more or less often"
        other = record_program(module.train().eval(), *_elsewhere(args, dict(kwargs), generator, alike))
    except (TraceFailure, UsageError):  # made for other inputs than these
        return ""
    seen = _other_path(first, other, hidden=not read)
    return seen if seen or not alike else _by_words(first, module, args, dict(kwargs), generator, marks)


def _other_path(first: Program, other: Program, *, hidden: bool) -> str:
    """In what two runs differ that should take the same steps; empty where in nothing.

    Args:
        first: One run.
        other: Another one.
        hidden: Whether numbers that Python gives to operations must be the same.
    """
    step = _first_other_step(first, other, literals=hidden)
    if step:
        return f"one path seen: on other inputs {step}"
    changed = _changed_constants(first, other) if hidden else []
    if changed:
        return f"one path seen: a tensor of shape {changed[0].shape} is made from others out of sight of the trace"
    return ""


def _by_words(
    first: Program,
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    generator: torch.Generator,
    marks: Collection[int],
) -> str:
    """Why the path may be that of the words in the example; empty where nothing speaks for it."""
    words = words_in(module, args, kwargs)
    read = read_words(first, words)
    if read:
        return f"one path seen: words were read from {describe(first, read[0])}"
    for given in other_words(first, words, marks, args, kwargs, generator):
        try:
            other = record_program(module.train().eval(), *given)
        except (TraceFailure, UsageError):  # a number that is no word
            continue
        seen = _other_path(first, other, hidden=True)
        if seen:
            return seen.replace("other inputs", "other words")
    return ""


def steps_of(program: Program) -> Counter[str]:
    """How often each operation runs: casts and copies left out, and writes into memory that nothing reads again.

    A cast to the type that a tensor has gives the tensor itself, and a cast to another type a copy: what is written
    there later reaches the first one only, which matters where somebody looks.
    """
    read = {id(value) for value in program.outputs}
    steps: Counter[str] = Counter()
    for node in reversed(program.nodes):
        values = [id(value) for value in node.values()]
        if node.op == "alias_write" and len(node.outputs) > 1:
            written, *others = (id(value) in read for value in node.outputs)
            if not any(others):
                read |= set(values[:1]) if written else set()
                continue
        read |= set(values)
        steps[node.op] += node.op not in _COPIES
    return +steps


_COPIES = {"_to_copy", "to", "type_as", "clone", "copy", "detach", "alias", "lift_fresh"}


def describe(program: Program, value: Value) -> str:
    """A tensor of a program in words."""
    shape = f"of shape {value.shape}"
    if value in program.inputs:
        return f"an input {shape}"
    for key, parameter in program.parameters.items():
        if parameter is value:
            return f"the parameter {key!r}"
    for node in program.nodes:
        if value in node.outputs:
            return f"a result of {node.op} {shape}" + (f" (in {node.place})" if node.place else "")
    return f"a constant {shape}"


def _elsewhere(
    args: tuple[Any, ...], kwargs: dict[str, Any], generator: torch.Generator, alike: bool
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Inputs of another sign and size; whole numbers in another order, or as they are where inputs must lie alike."""

    def moved(x: Tensor) -> Tensor:
        if x.dtype == torch.bool or not x.numel():
            return x
        if x.is_floating_point() or x.is_complex():
            return FACTOR * x
        if alike:
            return x
        return x.flatten()[torch.randperm(x.numel(), generator=generator)].reshape(x.shape)

    found: tuple[tuple[Any, ...], dict[str, Any]] = pytree.tree_map_only(Tensor, moved, (args, kwargs))
    return found


def _first_other_step(first: Program, other: Program, *, literals: bool) -> str:
    """Where two runs take other steps; empty where they do not."""
    origins = _origins(first), _origins(other)
    for place, (one, two) in enumerate(zip(first.nodes, other.nodes, strict=False)):
        shapes = [[None if value is None else value.shape for value in node.outputs] for node in (one, two)]
        if one.op != two.op or shapes[0] != shapes[1]:
            return f"{two.op} follows where {one.op} was seen" if one.op != two.op else f"{one.op} has another shape"
        if _given(one, origins[0], literals) != _given(two, origins[1], literals):
            return f"{one.op} is given something else"
        for known, node in zip(origins, (one, two), strict=True):
            known |= {value: (place, n) for n, value in enumerate(node.outputs) if value is not None}
    counts = len(first.nodes), len(other.nodes)
    return "" if counts[0] == counts[1] else f"{counts[1]} operations follow instead of {counts[0]}"


def _origins(program: Program) -> dict[Value, object]:
    """Where the tensors come from that no operation makes; constants are told apart by their numbers alone."""
    return {value: key for key, value in program.parameters.items()} | {
        value: ("input", place) for place, value in enumerate(program.inputs)
    }


def _given(node: Node, origins: Mapping[Value, object], literals: bool) -> list[object]:
    """The arguments of an operation, its tensors by where they come from; numbers where ``literals`` count."""

    def said(argument: object) -> object:
        if isinstance(argument, Value):
            return origins.get(argument)
        if isinstance(argument, list | tuple):
            return [said(item) for item in argument]
        return repr(argument) if literals and isinstance(argument, int | float | complex) else None

    return [said(argument) for argument in node.arguments.values()]


def _changed_constants(first: Program, other: Program) -> list[Value]:
    """Tensors that came from nowhere and differ between two runs."""
    pairs = zip(first.constants.items(), other.constants.values(), strict=False)
    return [value for (value, one), two in pairs if not torch.equal(torch.nan_to_num(one), torch.nan_to_num(two))]
