"""Where in its parameters the numbers of an operand lie, so that new numbers can be written there.

A graph reads some operands through steps that only arrange (blocks of a running mean put side by side, channels and
pixels of a flattened one).  Which parameter entry ends up where is seen by sending numbers for the entries through
those steps: no kind of step has to be known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.errors import GraphError
from graphws.graph import NetworkGraph, Operation, Weights
from graphws.operations.plan import Context, constants_on, execute


@dataclass(frozen=True, eq=False)
class StoredEntries:
    """An operand that is nothing but entries of parameters.

    Attributes:
        shape: Of the operand.
        parameters: The parameters, each with the first of its numbers; they hold the operand's entries, each once.
        places: For each entry of the operand its number.
    """

    shape: torch.Size
    parameters: Mapping[str, int]
    places: Tensor

    @staticmethod
    def of(graph: NetworkGraph, operand: str) -> StoredEntries | None:
        """Of an operand of an operation; None where it is anything else than entries of parameters, each once."""
        names = [parameter.name for parameter in graph.weights_behind(operand)]
        if not names:
            return None
        first, total = {}, 0
        for name in names:
            first[name] = total
            total += math.prod(graph.shape(name))
        numbers = torch.arange(total, dtype=torch.float64)
        found = [_sent(graph, operand, first, sent) for sent in (numbers, (numbers * 3 + 1).square())]
        if found[0] is None or found[1] is None or found[0].numel() != total:
            return None
        places = found[0].flatten().round().long()
        if not torch.equal(places.sort().values, torch.arange(total)):
            return None
        if not torch.equal((places.double() * 3 + 1).square(), found[1].flatten()):
            return None  # something is computed on the way
        return StoredEntries(found[0].shape, first, places)

    def write(self, tensors: dict[str, Tensor], value: Tensor) -> None:
        """Puts an operand's numbers into the tensors of one network, (*axes) each by its parameter's name."""
        flat = torch.empty_like(value.flatten())
        flat[self.places.to(value.device)] = value.flatten()
        for name, start in self.parameters.items():
            old = tensors[name]
            tensors[name] = flat[start : start + old.numel()].reshape(old.shape).to(old.dtype)


def single(weights: Weights) -> dict[str, Tensor]:
    """The tensors of a batch of one, without its axis."""
    return {name: tensor[0] for name, tensor in weights.items()}


def batched(graph: NetworkGraph, tensors: Mapping[str, Tensor]) -> Weights:
    """The inverse of `single`."""
    return Weights(graph, {parameter.name: tensors[parameter.name].unsqueeze(0) for parameter in graph.parameters})


def readers(graph: NetworkGraph, operand: str) -> list[tuple[Operation, str]]:
    """Every operation that reads an operand or what it is arranged from, with the names of its operands that do.

    What is arranged from entries and read elsewhere too, as tied weights are, has more than one.
    """
    inside = _closure(graph, operand)
    found = []
    for operation in dict.fromkeys(each for name in inside for each in graph.readers(name)):
        if not inside & set(operation.outputs):
            for own, names in operation.operands.items():
                if inside & set(names if isinstance(names, list) else [names]):
                    found.append((operation, own))
    return found


def _closure(graph: NetworkGraph, operand: str) -> set[str]:
    """The names that an operand is computed from, itself included."""
    waiting, seen = [operand], set()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += graph.writers[name].reads if name in graph.writers else ()
    return seen


def _sent(graph: NetworkGraph, operand: str, first: Mapping[str, int], numbers: Tensor) -> Tensor | None:
    known = {}
    for name, start in first.items():
        shape = graph.shape(name)
        known[name] = numbers[start : start + math.prod(shape)].reshape(shape)
    context = Context(1, torch.float64, torch.device("cpu"))
    try:
        return execute(graph, constants_on(graph, context) | known, [operand], (), context)[operand]
    except GraphError:
        return None
