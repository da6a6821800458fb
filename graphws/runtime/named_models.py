"""The models that a spec names, as sections in the sizes that they have, before any of them is made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from graphws.graph import NetworkGraph
from graphws.spec import INHERITED, HeadSection, ModelSection, Spec

NEAR = 0.1
"""By how much of a model's number of parameters that of a matched baseline may differ without a word."""


def models(spec: Spec, graphs: Sequence[NetworkGraph]) -> dict[str, ModelSection]:
    """The sections of the spec's model and of its baselines by their names, its own first, in the sizes that they have.

    Args:
        spec: With ``model`` and ``head``.
        graphs: Of the networks: one, or those of each architecture.

    Raises:
        UsageError: When a model cannot be built on these networks.
    """
    own, head = spec.model, spec.head
    assert own is not None
    assert head is not None
    found = named_sections(spec)
    matched = [baseline for baseline in spec.compare if baseline.match_parameters]
    count = count_parameters(own, graphs, head) if matched else 0
    for baseline in matched:
        found[baseline.name] = baseline.model.sized(given(graphs), head, count)
    return found


def unmatched(spec: Spec, graphs: Sequence[NetworkGraph]) -> Iterator[str]:
    """What to say of baselines whose nearest size is not near: a line each.

    Raises:
        UsageError: When a model cannot be built on these networks.
    """
    if not any(baseline.match_parameters for baseline in spec.compare):
        return
    found, head = models(spec, graphs), spec.head
    assert head is not None
    own, wanted = next(iter(found)), count_parameters(next(iter(found.values())), graphs, head)
    for baseline in spec.compare:
        section = found[baseline.name]
        count = count_parameters(section, graphs, head)
        if baseline.match_parameters and abs(count - wanted) > NEAR * wanted:
            size = f"{section.size_key}: {getattr(section, section.size_key)}"
            what = f"{baseline.name} learns {count:,} numbers at `{size}`"
            yield f"{what}, which is as near as it comes to the {wanted:,} of {own}"


def named_specs(spec: Spec) -> dict[str, Spec]:
    """What the spec says of its model and of each of its baselines, as specs of one model, its own first."""
    assert spec.model is not None
    taken = [baseline.name for baseline in spec.compare]
    name = next(name for name in (spec.model.label, spec.name, "model", "main") if name not in taken)
    own = spec.model_copy(update={"compare": ()})
    found = {name: own}
    for baseline in spec.compare:
        laid = {section: value for section in INHERITED if (value := getattr(baseline, section)) is not None}
        found[baseline.name] = own.model_copy(update={"model": baseline.model, **laid})
    return found


def named_sections(spec: Spec) -> dict[str, ModelSection]:
    """The sections of the spec's model and of its baselines as they are written, by their names, its own first."""
    return {name: own.model for name, own in named_specs(spec).items() if own.model is not None}


def count_parameters(model: ModelSection, graphs: NetworkGraph | Sequence[NetworkGraph], head: HeadSection) -> int:
    """How many numbers a model learns."""
    return model.parameters(given(graphs), head)


def given(graphs: NetworkGraph | Sequence[NetworkGraph]) -> NetworkGraph | list[NetworkGraph]:
    """What a model is built on: the one graph, or all of them."""
    if isinstance(graphs, NetworkGraph):
        return graphs
    return graphs[0] if len(graphs) == 1 else list(graphs)
