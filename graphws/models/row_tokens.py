"""Rows of weight matrices as tokens: how networks are laid out for set encoders and transformers.

A row is what the parameters hold at one index of their leading axis: of a weight (neurons, …) all numbers that one
neuron reads, of a kernel all taps of one output channel.  A bias stands in the rows of its weight, as a further column.
Rows of all parameters stand one below the other, padded with zeros to the longest (De Luigi et al., "Deep Learning on
Implicit Neural Representations of Shapes", 2023; Schürholt et al., "Self-Supervised Representation Learning on Neural
Network Weights for Model Characteristic Prediction", 2021; paper D, section 7, compares both).

    >>> from graphws.operations import mlp_graph
    >>> for group in RowTokens(mlp_graph([2, 32, 32, 1])).groups:
    ...     print(group)
    W1+b1: 32 rows of 3
    W2+b2: 32 rows of 33
    W3+b3: 1 row of 33

A relabelling of the neurons of a layer permutes the rows of its weight *and the columns of the next*: a model that is
blind to the order of rows is not yet blind to that of neurons.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from graphws.errors import UsageError, WeightsError
from graphws.graph import NetworkGraph, Weights
from graphws.graph.parameter import Parameter


@dataclass(frozen=True)
class RowGroup:
    """Parameters that share their rows.

    Attributes:
        parameters: Their names, in the order of their columns.
        rows: How many; one where the parameter is a single number.
        lengths: Columns of each parameter.
    """

    parameters: tuple[str, ...]
    rows: int
    lengths: tuple[int, ...]

    @property
    def length(self) -> int:
        """Columns of all."""
        return sum(self.lengths)

    def __str__(self) -> str:
        return f"{'+'.join(self.parameters)}: {self.rows} row{'s' * (self.rows != 1)} of {self.length}"


class RowTokens:
    """From networks of a graph to rows, and back without loss.

    A parameter whose axes are the first ones of another's (a bias, a scale of a norm) joins it: the nearest before it
    in the graph, else the nearest behind it.

    Args:
        graph: Of the networks.

    Attributes:
        groups: In the order of the rows.
        count: Rows of a network.
        length: Of the longest.

    Raises:
        UsageError: On a graph without parameters.
    """

    def __init__(self, graph: NetworkGraph) -> None:
        if not graph.parameters:
            raise UsageError("rows are those of weights, and these networks have no parameters")
        self.graph = graph
        self.groups = tuple(_group(graph, names) for names in _joined(graph.parameters))
        self.count = sum(group.rows for group in self.groups)
        self.length = max(group.length for group in self.groups)

    def owners(self) -> Tensor:
        """(count): the position of each row's group."""
        sizes = torch.tensor([group.rows for group in self.groups])
        return torch.repeat_interleave(torch.arange(len(self.groups)), sizes, output_size=self.count)

    def read(self, weights: Weights) -> Float[Tensor, "batch count length"]:
        """The rows of networks.

        Raises:
            WeightsError: On networks of another structure.
        """
        if weights.graph is not self.graph and weights.graph.structure != self.graph.structure:
            raise WeightsError("these networks have other parameters than those whose rows the model was built to read")
        kind = weights.floating if weights.floating.is_floating_point else torch.get_default_dtype()
        parts = []
        for group in self.groups:
            columns = [weights[name].to(kind).reshape(-1, group.rows, length) for name, length in _parts(group)]
            rows = columns[0] if len(columns) == 1 else torch.cat(columns, -1)
            parts.append(functional.pad(rows, (0, self.length - group.length)))
        return torch.cat(parts, 1)

    def write(self, rows: Float[Tensor, "batch count length"]) -> Weights:
        """The inverse of `read`; what stands in the padding is left out."""
        found = {}
        for group, part in zip(self.groups, rows.split([group.rows for group in self.groups], 1), strict=True):
            columns = part[..., : group.length].split(list(group.lengths), -1)
            for name, column in zip(group.parameters, columns, strict=True):
                found[name] = column.reshape(-1, *self.graph.shape(name))
        return Weights(self.graph, found)


def _parts(group: RowGroup) -> Sequence[tuple[str, int]]:
    return list(zip(group.parameters, group.lengths, strict=True))


def _group(graph: NetworkGraph, names: Sequence[str]) -> RowGroup:
    shapes = [graph.shape(name) for name in names]
    return RowGroup(tuple(names), (shapes[0] or (1,))[0], tuple(math.prod(shape[1:]) for shape in shapes))


def _joined(parameters: Sequence[Parameter]) -> list[list[str]]:
    """Names of the parameters of each group, its widest first."""
    owners: dict[int, list[str]] = {}
    joining: list[tuple[int, list[int]]] = []
    for position, parameter in enumerate(parameters):
        wider = [k for k, other in enumerate(parameters) if _extends(other, parameter)]
        if wider:
            joining.append((position, wider))
        else:
            owners[position] = [parameter.name]
    for position, wider in joining:
        hosts = [k for k in wider if k in owners]
        before = [k for k in hosts if k < position]
        owners[before[-1] if before else hosts[0]].append(parameters[position].name)
    return list(owners.values())


def _extends(wide: Parameter, narrow: Parameter) -> bool:
    """Whether the axes of `narrow` are the first ones of `wide`, which has more."""
    head = [(axis.space, axis.inner) for axis in wide.axes[: len(narrow.axes)]]
    return 0 < len(narrow.axes) < len(wide.axes) and head == [(axis.space, axis.inner) for axis in narrow.axes]
