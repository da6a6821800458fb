"""What an experiment found: how good its network is, and how the group acts inside it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from pydantic import TypeAdapter

from graphws.actions import Actions, find_actions
from graphws.checkpoints.conversion import Conversion
from graphws.errors import VerificationError
from graphws.graph import Monomial
from graphws.graph.element import SpaceElement
from graphws.operations import Verification, verify
from graphws.shown import Shown
from graphws.trainings.heads import HeadMatch, heads_of
from graphws.trainings.objectives import OBJECTIVES
from graphws.trainings.training import Trained, evaluate
from graphws.zoo.sources.labelled_pictures import Pictures

GATE = 64
"""Probes of the numeric gate."""


@dataclass(frozen=True, repr=False)
class SymmetryResults(Shown):
    """The outcome of an experiment in ready words.

    Attributes:
        verdict: How the group acts inside the network, or why it cannot be said.
        test: Metrics on all test pictures: ``equivariance``, and ``r2`` or ``accuracy``.
        columns: Titles of the table of layers.
        rows: One a layer.
        heads: What attention maps say; empty for an MLP.
        actions: All numbers, as `graphws.actions.Actions.to_dict` gives them.
    """

    verdict: str
    test: dict[str, float]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    heads: str
    actions: dict[str, Any]

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError("a row of the table of layers has another length than its head")

    def __str__(self) -> str:
        return self.sentence()

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` is the inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: object) -> SymmetryResults:
        """Results as they were saved; `ValueError` where they are not whole."""
        return TypeAdapter(cls).validate_python(content)

    def table(self) -> tuple[list[str], list[list[str]]]:
        """The table of layers."""
        return list(self.columns), [list(row) for row in self.rows]

    def sentence(self) -> str:
        """The verdict first, then how good the network is."""
        return " ".join(filter(None, (self.verdict, self.heads, self.quality())))

    def quality(self) -> str:
        """How well the network does what it was trained for."""
        return " ".join(o.sentence(self.test[o.metric]) for o in OBJECTIVES.values() if o.metric in self.test)


def score(trained: Trained, pictures: Pictures, batch: int = 2000) -> dict[str, float]:
    """Metrics on all test pictures; the mean over batches, weighted by their sizes."""
    pixels, labels = pictures.part(True)
    total: dict[str, float] = {}
    for part in torch.arange(len(pixels)).split(batch):
        crops = trained.design.crop.central(pixels[part])
        with torch.no_grad():
            found = evaluate(trained.design, trained.weights, crops, labels[part])
        for name, value in found.items():
            total[name] = total.get(name, 0.0) + value * len(part) / len(pixels)
    return total


def find(trained: Trained, pictures: Pictures) -> Actions:
    """How the group acts inside the network, with the experiment's probes and decoys."""
    design = trained.design
    return find_actions(
        trained.weights,
        design.symmetry,
        design.shape,
        data=trained.probes(pictures),
        decoys=design.experiment.decoys,
    )


def convert(trained: Trained, pictures: Pictures) -> Conversion:
    """The network as a converted one: its graph and weights, and the numbers of the numeric gate."""
    design = trained.design
    crops = trained.probes(pictures)[:GATE].double()
    inputs = crops if design.attends else crops.flatten(1)
    gate: Verification | None = None
    reason = ""
    try:
        gate = verify(
            design.graph, trained.weights.to(dtype=torch.float64), inputs, generator=torch.Generator().manual_seed(0)
        )
    except VerificationError as error:
        reason = str(error)
    return Conversion(design.graph, trained.weights, gate, reason)


def find_heads(trained: Trained, pictures: Pictures) -> HeadMatch | None:
    """What attention maps of the probes say about the first generator of the group; None for an MLP."""
    if not trained.design.attends:
        return None
    element = next(iter(trained.design.symmetry.generators.values()))
    return heads_of(trained, trained.probes(pictures), element)


def rho_on_heads(trained: Trained, actions: Actions) -> SpaceElement | None:
    """What the action found does to heads, for the first generator of the group; None where there are no heads."""
    element = next(iter(trained.design.symmetry.generators.values()))
    return actions.elements[element].maps.get("head1")


def heads_in_words(match: HeadMatch, found: SpaceElement | None) -> str:
    """The heads that permute, how well their maps agree, and whether the action found on weights says the same.

    Heads are counted from 1, as in the figure.

    Args:
        match: By the maps.
        found: ρ on the heads; None where there is none.
    """
    count = len(match.partner)
    best = match.agreement[torch.arange(count), match.partner]
    parts = []
    for head in match.permuting:
        other = int(match.partner[head])
        if head < other or int(match.partner[other]) != head:
            parts.append(f"{head + 1} with {other + 1} (correlation {float(best[head]):.2f})")
    if parts:
        text = f"By their attention maps heads permute: {', '.join(parts)}"
    else:
        text = f"By their attention maps all {count} heads stay (least correlation {float(best.min()):.2f})"
    if not isinstance(found, Monomial):
        return text + "."
    same = (found.perm.argsort() == match.partner).tolist()  # ρ says whose values a head gets, maps say who gets them
    if all(same):
        return f"{text}; the action found says the same of every head."
    return f"{text}; the action found says the same of {sum(same)} of {count} heads."
