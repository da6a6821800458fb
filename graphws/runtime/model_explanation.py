"""What the model of a spec is made of, before any training and, where the spec tells enough, before any data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from graphws.errors import UsageError
from graphws.graph import NetworkGraph
from graphws.layers.explain import Explanation
from graphws.shown import Shown
from graphws.spec import MlpModel, Spec

LARGE = 10
"""So many times the numbers of a flat baseline are worth a word."""


@dataclass(frozen=True, repr=False)
class Part(Shown):
    """A part of a model and how many numbers it learns."""

    name: str
    parameters: int


@dataclass(frozen=True, eq=False, repr=False)
class ModelExplanation(Shown):
    """A model, explained.

    Attributes:
        kind: Of the model.
        graphs: Of the networks that it reads.
        layers: Its equivariant layers, first to last; none for a model that has none.
        parts: What it consists of, when the spec has a head; nothing otherwise.
        reductions: What is done to free axes before the layers, a line each.
        features: What there is to say of features on the first graph, a line each.
    """

    kind: str
    graphs: tuple[NetworkGraph, ...]
    layers: tuple[Explanation, ...]
    parts: tuple[Part, ...]
    reductions: tuple[str, ...] = ()
    features: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"ModelExplanation({self.kind}, {len(self.layers)} equivariant layers)"]
        lines += [f"  {part.name}: {part.parameters:,} parameters" for part in self.parts]
        return "\n".join([*lines, *(f"  {next(layer.lines())}" for layer in self.layers), *self.reductions])


def graphs_of(spec: Spec) -> tuple[NetworkGraph, ...]:
    """The graphs of the networks that a spec reads.

    Raises:
        UsageError: When the spec has no input.
        ZooError: When a zoo that it names cannot be opened.
        DataError: When a file that it names cannot be read.
    """
    if spec.input is None:
        raise UsageError("the spec has no input; add `input: {kind: mlp, widths: [2, 32, 32, 1]}` or another one")
    return spec.input.graphs(spec.zoo)


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
    graphs, section = graphs_of(spec), spec.model
    parts = parts_of(spec, graphs)
    layers = section.explanations(graphs, spec.head)
    return ModelExplanation(
        section.kind, graphs, layers, parts, section.reductions(graphs), section.descriptions(graphs[0])
    )


def parts_of(spec: Spec, graphs: Sequence[NetworkGraph]) -> tuple[Part, ...]:
    """What a spec's model consists of; nothing where the spec has no model or no head."""
    if spec.model is None or spec.head is None:
        return ()
    with torch.random.fork_rng(devices=[]), torch.device("meta"):  # counted, never made: a large one would not fit
        return tuple(_parts(spec.model.build(graphs if len(graphs) > 1 else graphs[0], spec.head)))


def size_warning(spec: Spec, graphs: Sequence[NetworkGraph]) -> str:
    """What to say of a model that is much larger than the flat baseline; empty of any other."""
    if spec.model is None or spec.head is None:
        return ""
    count = spec.model.parameters(graphs if len(graphs) > 1 else graphs[0], spec.head)
    largest = max(graphs, key=lambda graph: graph.numel)
    flat = MlpModel(kind="mlp").parameters(largest, spec.head)
    if count < LARGE * flat:
        return ""
    return (
        f"the model learns {count:,} numbers, {count / flat:,.0f} times as many as a flat MLP on networks of "
        f"{largest.numel:,} numbers ({flat:,}); {spec.model.smaller}"
    )


def _parts(model: nn.Module) -> list[Part]:
    counted = [Part(name, sum(p.numel() for p in part.parameters())) for name, part in model.named_children()]
    return [part for part in counted if part.parameters]
