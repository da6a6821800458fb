"""What the model of a spec is made of, before any training and, where the spec tells enough, before any data."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from graphws.converting import load_graph_file
from graphws.errors import UsageError
from graphws.graph import NetworkGraph, mlp_graph
from graphws.layers import resized
from graphws.layers.explain import Explanation, explain
from graphws.runtime.contenders import ModelSection
from graphws.runtime.zoo_fit import architecture_of, samples_of, zoo_path
from graphws.spec import DwsnetModel, EquivariantHead, GraphInput, MlpInput, Spec, ZooInput, expand_messages
from graphws.zoo import Zoo


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
    given = spec.input
    if isinstance(given, MlpInput):
        return mlp_graph(given.widths, activation=given.activation, bias=given.bias)
    if isinstance(given, GraphInput):
        return load_graph_file(given.path).graph
    if isinstance(given, ZooInput) and given.path is not None:
        return Zoo.open(given.path).graph
    if isinstance(given, ZooInput) and spec.zoo is not None:
        if (path := zoo_path(spec.zoo)).exists():
            return Zoo.open(path).graph
        return architecture_of(spec.zoo, samples_of(spec.zoo)).graph()
    raise UsageError("the spec has no input; add `input: {kind: mlp, widths: [2, 32, 32, 1]}` or another one")


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
    layers = _layers(graph, section, spec.head) if isinstance(section, DwsnetModel) else ()
    parts: tuple[Part, ...] = ()
    if spec.head is not None:
        parts = tuple(_parts(ModelSection(section, spec.head).build(graph)))
    return ModelExplanation(section.kind, graph, layers, parts)


def _layers(graph: NetworkGraph, section: DwsnetModel, head: object) -> tuple[Explanation, ...]:
    last = 1 if isinstance(head, EquivariantHead) else section.channels
    channels = [1, *[section.channels] * (section.layers - 1), last]
    inner = resized(graph, section.reduce)
    return tuple(
        explain(
            inner,
            expand_messages(section),
            before,
            after,
            bias=section.bias,
            share=section.share,
            heads=section.heads if before > 1 else 1,
        )
        for before, after in pairwise(channels)
    )


def _parts(model: nn.Module) -> list[Part]:
    counted = [Part(name, sum(p.numel() for p in part.parameters())) for name, part in model.named_children()]
    return [part for part in counted if part.parameters]
