"""What the model of a spec is made of, before any training and, where the spec tells enough, before any data."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from graphws.errors import UsageError
from graphws.graph import NetworkGraph
from graphws.layers.explain import Explanation
from graphws.spec import Spec


@dataclass(frozen=True)
class Part:
    """A part of a model and how many numbers it learns."""

    name: str
    parameters: int


@dataclass(frozen=True, eq=False)
class ModelExplanation:
    """A model, explained.

    Attributes:
        kind: Of the model.
        graph: Of the networks that it reads.
        layers: Its equivariant layers, first to last; none for a model that has none.
        parts: What it consists of, when the spec has a head; nothing otherwise.
    """

    kind: str
    graph: NetworkGraph
    layers: tuple[Explanation, ...]
    parts: tuple[Part, ...]


def graph_of(spec: Spec) -> NetworkGraph:
    """The graph of the networks that a spec reads.

    Raises:
        UsageError: When the spec has no input.
        ZooError: When a zoo that it names cannot be opened.
        DataError: When a file that it names cannot be read.
    """
    if spec.input is None:
        raise UsageError("the spec has no input; add `input: {kind: mlp, widths: [2, 32, 32, 1]}` or another one")
    return spec.input.build(spec.zoo)


def explain_model(spec: Spec) -> ModelExplanation:
    """The layers of a spec's model, and how many numbers each part learns.

    Raises:
        UsageError: When the spec has no model or no input.
    """
    if spec.experiment is not None:
        raise UsageError(
            "explain is for models that read weights, and this spec is an experiment; `graphws check SPEC --show` "
            "spells it out and `graphws run SPEC` does it"
        )
    if spec.model is None:
        raise UsageError("the spec has no model; add `model: {kind: dwsnet}` or another one")
    graph, section = graph_of(spec), spec.model
    parts: tuple[Part, ...] = ()
    if spec.head is not None:
        parts = tuple(_parts(section.build(graph, spec.head)))
    return ModelExplanation(section.kind, graph, section.explanations(graph, spec.head), parts)


def _parts(model: nn.Module) -> list[Part]:
    counted = [Part(name, sum(p.numel() for p in part.parameters())) for name, part in model.named_children()]
    return [part for part in counted if part.parameters]
