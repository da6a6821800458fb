"""Checks of an experiment: it stands alone, and its picture, network and attention agree."""

from __future__ import annotations

from collections.abc import Iterator

from graphws.spec.schema import READING, Spec
from graphws.spec.sources import Cifar10Source, DigitsSource, PicturesSource
from graphws.spec.violations import Violation


def experiment_alone(spec: Spec) -> Iterator[Violation]:
    """A spec describes an experiment or a model that reads networks, not both."""
    if spec.experiment is None:
        return
    nothing = Spec(graphws=1)
    for name in READING:
        if getattr(spec, name) != getattr(nothing, name):
            inside = f" (its own is experiment.{name})" if name in ("task", "train") else ""
            yield Violation((name,), f"{name} does not go with an experiment{inside}; take one of the two out")


def experiment_layers(spec: Spec) -> Iterator[Violation]:
    """An activation for every hidden layer; heads that divide the first."""
    if spec.experiment is None:
        return
    network, at = spec.experiment.network, ("experiment", "network")
    count, given = len(network.hidden), len(network.activations)
    if count != given:
        yield Violation(
            (*at, "activation"),
            f"experiment.network has {count} hidden layers and {given} activations; give one for all, or one each",
        )
    if network.attention is not None and network.hidden[0] % network.attention.heads:
        heads, width = network.attention.heads, network.hidden[0]
        yield Violation(
            (*at, "attention", "heads"),
            f"experiment.network.attention.heads is {heads}, which does not divide the {width} features of its layer",
        )


def experiment_pictures(spec: Spec) -> Iterator[Violation]:
    """Pictures are large enough for the grid, and the grid divides into patches."""
    if spec.experiment is None:
        return
    pictures, attention = spec.experiment.pictures, spec.experiment.network.attention
    if attention is not None and pictures.size % attention.patch:
        yield Violation(
            ("experiment", "network", "attention", "patch"),
            f"experiment.network.attention.patch is {attention.patch}, which does not divide the {pictures.size} "
            "pixels of experiment.pictures.size",
        )
    side = _side(spec.experiment.source)
    if side is not None and pictures.crop_side(side) < pictures.size:
        yield Violation(
            ("experiment", "pictures", "size"),
            f"experiment.pictures.size is {pictures.size}, but a crop of {pictures.crop:g} of {side} pixels has only "
            f"{pictures.crop_side(side)}",
        )


def _side(source: object) -> int | None:
    """Pixels along the side of a source's pictures, None where only the data tell."""
    if isinstance(source, PicturesSource):
        return source.size
    return 32 if isinstance(source, Cifar10Source) else 8 if isinstance(source, DigitsSource) else None
