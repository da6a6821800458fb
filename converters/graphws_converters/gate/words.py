"""Does a network read in Python how its inputs lie, or which words they are?

Masks, kinds of tokens and the places of pictures among words say how inputs lie, as sizes do.  The words themselves are
data: with others in the same places a network must take the same steps.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from graphws_converters.analysis.ir import Program, Value, values_in

VOCABULARY = "input_ids"
"""How the names of inputs end that are entries of a vocabulary."""
DRAWS = 4
"""How often other words are drawn."""
MOST_ASKED = 8
"""Most numbers, among those that a network compares words with, that are tried as words."""
_COMPARE = {"eq", "ne", "lt", "le", "gt", "ge", "isin"}
MOVES = {
    "select", "slice", "view", "_unsafe_view", "reshape", "index", "index_select", "masked_select", "unsqueeze",
    "squeeze", "expand", "clone", "to", "_to_copy", "copy", "detach", "alias", "flatten", "unbind", "split", "chunk",
    "t", "transpose", "permute", "cat", "stack", "take", "gather", "lift_fresh", "where", "masked_fill", "flip", "roll",
    "sort", "unique_consecutive", "_unique2", "unique_dim", "max", "min", "amax", "amin", "unfold",
}  # fmt: skip
"""Operations whose results are some of the numbers that go in."""


_SAME = {"lift_fresh", "to", "_to_copy", "detach", "alias", "clone"}


def words_in(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[bool]:
    """Which of the tensors among inputs are entries of a vocabulary, in the order in which programs read them."""
    names = [name for name in inspect.signature(module.forward).parameters if name not in kwargs]
    named = [*zip(names, args, strict=False), *kwargs.items()]
    named += [("", value) for value in args[len(names) :]]
    return [
        name.endswith(VOCABULARY) and _is_whole(leaf)
        for name, value in named
        for leaf in pytree.tree_leaves(value)
        if isinstance(leaf, Tensor)
    ]


def read_words(program: Program, words: list[bool]) -> list[Value]:
    """The tensors whose numbers Python got and whose numbers are words, as no comparison or count of them is."""
    known = {value for value, is_word in zip(program.inputs, words, strict=False) if is_word}
    for node in program.nodes:
        first = next(node.values(), None)  # an index or a mask says which, not what
        if node.op in MOVES and (first in known or (node.op in ("where", "cat", "stack") and known & {*node.values()})):
            known.update(value for value in node.outputs if value is not None and value.dtype != torch.bool)
    return [value for value in program.numbers_read() if value in known]


def other_words(
    program: Program,
    words: list[bool],
    marks: Collection[int],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    generator: torch.Generator,
) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """The inputs with other words, none of which the examples need to have; marks stay where they are.

    Args:
        program: What was recorded on the inputs; the numbers that it compares words with are tried as words.
        words: Which of the tensors are words, see `words_in`.
        marks: The words that say something by themselves: ends, paddings, places of pictures.
        args: Positional inputs.
        kwargs: Inputs by name.
        generator: Source of the words.
    """
    leaves, form = pytree.tree_flatten((args, kwargs))
    places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
    found = [place for place, is_word in zip(places, words, strict=True) if is_word and leaves[place].numel()]
    fixed = {place: torch.isin(leaves[place], torch.tensor(sorted(marks))) for place in found}

    def with_words(wanted: int | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
        made = list(leaves)
        for place in found:
            old, kept = leaves[place], fixed[place]
            if wanted is None:
                drawn = _drawn(old[~kept], marks, generator)
                made[place] = old.masked_scatter(~kept, drawn.to(old.dtype))
            else:
                made[place] = torch.where(kept, old, wanted)
        given: tuple[tuple[Any, ...], dict[str, Any]] = pytree.tree_unflatten(made, form)
        return given

    if not found:
        return
    for _ in range(DRAWS):
        yield with_words(None)
    for number in _asked(program, words, marks):
        yield with_words(number)


def _drawn(old: Tensor, marks: Collection[int], generator: torch.Generator) -> Tensor:
    """Words from the range of those that are there."""
    if not old.numel():
        return old
    usable = torch.arange(int(old.min()), int(old.max()) + 1)
    usable = usable[~torch.isin(usable, torch.tensor(sorted(marks)))]
    return usable[torch.randint(len(usable), old.shape, generator=generator)]


def _asked(program: Program, words: list[bool], marks: Collection[int]) -> list[int]:
    """Numbers that a program compares words with, and those on either side."""
    known = {value for value, is_word in zip(program.inputs, words, strict=False) if is_word}
    constants, asked = dict(program.constants), dict[int, None]()
    for node in program.nodes:
        first = next(node.values(), None)
        if node.op in _SAME and first in constants:
            constants |= {value: constants[first] for value in node.outputs if value is not None}
        if not known & {*node.values()}:
            continue
        known.update(value for value in node.outputs if value is not None and not value.dtype.is_floating_point)
        if node.op in _COMPARE:
            for argument in node.arguments.values():
                asked |= dict.fromkeys(_numbers(argument, constants))
    near = [number + step for number in asked if number not in marks for step in (0, -1, 1)]
    return [number for number in dict.fromkeys(near) if number >= 0 and number not in marks][: 3 * MOST_ASKED]


def _numbers(argument: object, known: Mapping[Value, Tensor]) -> list[int]:
    """Whole numbers that stand in an argument, and those of small constants."""
    if isinstance(argument, int) and not isinstance(argument, bool):
        return [argument]
    constants = [known[value] for value in values_in([argument]) if value in known]
    small = [x for x in constants if _is_whole(x) and x.numel() <= MOST_ASKED]
    return [int(number) for x in small for number in x.flatten().tolist()]


def _is_whole(leaf: object) -> bool:
    return isinstance(leaf, Tensor) and not (
        leaf.dtype.is_floating_point or leaf.dtype.is_complex or leaf.dtype == torch.bool
    )
