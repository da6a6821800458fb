"""``zoo``: how a data set of networks is made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from graphws.spec.recipes import RECIPES, Omega, Recipe, omega_of_grid
from graphws.spec.section import (
    Count,
    Natural,
    NetworkActivation,
    NotNegative,
    Number,
    Positive,
    Probability,
    Section,
    Text,
)
from graphws.spec.source_kinds import SOURCES
from graphws.spec.sources import DigitsSource, SineSource
from graphws.spec.tree import Path, dotted
from graphws.spec.violations import Violation
from graphws.spec.zoo_source import ZooSource

if TYPE_CHECKING:
    from graphws.graph import NetworkGraph
    from graphws.zoo import Architecture, FitOptions, Fitting, Samples
    from graphws.zoo.split import Split

ZOOS = FilePath("zoos")
"""Where zoos without a `path` are kept."""
USUAL = RECIPES["siren"]


def _omega_form(value: Any) -> str:
    return "word" if isinstance(value, str) else "list" if isinstance(value, list | tuple) else "number"


class NetworkSection(Section):
    """The architecture that all networks of the zoo share; the data give its inputs and outputs."""

    hidden: Annotated[
        tuple[Count, ...], Field(min_length=1, description="Neurons of each hidden layer, first to last.")
    ] = (32, 32)
    activation: Annotated[NetworkActivation, Field(description="Activation of the hidden layers.")] = "sine"
    recipe: Annotated[
        Recipe,
        Field(
            description="What `omega`, `start`, `first` and `offset` are where they are not given. siren: 30, 1, "
            "siren, 0, as SIREN's authors start; the first layer stays where it started and tells a reader of the "
            "weights next to nothing. dwsnets: 30, 1, hidden, 0.5, as in the zoos of paper D; the first layer learns "
            "its frequencies, and the weights read far better. graphws: grid, 0.3, siren, 0; weights with little in "
            "them that the data do not determine, which read as well and need fewer steps of the fit."
        ),
    ] = "siren"
    omega: Annotated[
        Annotated[Literal["grid"], Tag("word")]
        | Annotated[Positive, Tag("number")]
        | Annotated[tuple[Positive, Positive], Tag("list")],
        Discriminator(_omega_form),
        Field(
            description="ω₀ of sine activations, sin(ω₀·x): how fine a detail a network can draw. Two numbers: of the "
            "first hidden layer, and of all others. grid: what the samples' grid can tell, 5 at 8 pixels, 10 at 28, at "
            "most 30. Other activations ignore it."
        ),
    ] = USUAL.omega
    start: Annotated[
        Positive,
        Field(
            description="Factor on the usual initial weights. What a network starts from is noise to whoever reads its "
            "weights: the less of it, the better they read, as long as the fit still succeeds."
        ),
    ] = USUAL.start
    first: Annotated[
        Literal["siren", "hidden"],
        Field(
            description="How the first layer of a sine network starts. siren: within ±1/inputs, as SIREN's authors "
            "have it; hidden: within ±√(6/inputs)/ω like the hidden layers, as in the zoos of paper D."
        ),
    ] = USUAL.first
    offset: Annotated[
        Number,
        Field(description="Added to the outputs of every network, a part of its function; 0.5 in the zoos of paper D."),
    ] = USUAL.offset

    @model_validator(mode="before")
    @classmethod
    def _by_recipe(cls, given: Any) -> Any:
        recipe = given.get("recipe") if isinstance(given, dict) else None
        return RECIPES[recipe].filled(given) if isinstance(recipe, str) and recipe in RECIPES else given

    def violations(self, at: Path) -> Iterator[Violation]:
        """Only sine networks start their first layer in more than one way, and after a recipe."""
        if self.recipe != "siren" and self.activation != "sine":
            yield Violation(
                (*at, "recipe"),
                f"{dotted((*at, 'recipe'))}: {self.recipe} is for sine networks, but the activation is "
                f"{self.activation}; give `start` and `offset` themselves",
            )
        elif self.first != "siren" and self.activation != "sine":
            yield Violation(
                (*at, "first"),
                f"{dotted((*at, 'first'))}: {self.first} is for sine networks; "
                f"all layers of {self.activation} start alike",
            )

    def frequency(self, length: int | None) -> Omega:
        """ω for samples of so many points along the longer side of their grid; as it is written where that is unknown.

        >>> NetworkSection(recipe="graphws").frequency(28), NetworkSection(omega=(30.0, 30.0)).frequency(None)
        (10.0, 30.0)
        """
        if self.omega == "grid":
            return "grid" if length is None else omega_of_grid(length)
        return self.omega[0] if isinstance(self.omega, tuple) and self.omega[0] == self.omega[1] else self.omega

    def build(self, samples: Samples) -> Architecture:
        """The architecture; inputs and outputs are those of the samples."""
        from graphws.zoo import Architecture

        widths = (samples.coordinates.shape[1], *self.hidden, samples.values.shape[2])
        omega = self.frequency(max(samples.shape, default=len(samples.coordinates)))
        assert omega != "grid"
        return Architecture(widths, self.activation, omega, self.start, self.first, self.offset)


class FitSection(Section):
    """How every network is fitted to its sample; thousands are fitted at once."""

    steps: Annotated[Count, Field(description="Most steps of Adam per network.")] = 1000
    lr: Annotated[Positive, Field(description="Learning rate of the fit.")] = 5e-4
    schedule: Annotated[
        Literal["none", "cosine"],
        Field(description="cosine: the rate falls to zero, which needs fewer steps; or none."),
    ] = "none"
    views: Annotated[Count, Field(description="Networks per sample, each from an initialisation of its own.")] = 1
    group: Annotated[Count, Field(description="Networks fitted in one batched product.")] = 32
    psnr: Annotated[
        Positive | None, Field(description="A network is done at this signal-to-noise ratio, in dB; null: never early.")
    ] = 40.0
    seed: Annotated[Natural, Field(description="Seed of the initialisations.")] = 0
    check_every: Annotated[Count, Field(description="Steps between two looks at the signal-to-noise ratio.")] = 25
    weight_decay: Annotated[
        NotNegative,
        Field(
            description="L2 penalty of weights and biases, added to the gradient before Adam's moments "
            "(torch.optim.Adam's, as in the sine zoo of paper D, 1e-4; not AdamW's)."
        ),
    ] = 0.0

    def build(self) -> FitOptions:
        """The options of the fit."""
        from graphws.zoo import FitOptions

        return FitOptions(**self.model_dump())


class SplitSection(Section):
    """Parts of the zoo, by sample: all views of a sample are in the same part.

    A source with a test set of its own (IDX files, CIFAR-10) keeps it; `test` is then unused.  A table says all of it.
    """

    validation: Annotated[Probability, Field(description="Fraction of the samples kept for choosing the model.")] = 0.1
    test: Annotated[Probability, Field(description="Fraction kept for the final score; unused if the data say.")] = 0.2
    seed: Annotated[Natural, Field(description="Seed of the shuffle before the split.")] = 0
    table: Annotated[
        Text | None,
        Field(
            description="A CSV or Parquet file that says the part of every sample, relative to the folder where "
            "graphws is started; the other keys are then unused. Its column `split` holds train, validation or test; "
            "`file` names the sample where the source has files, `sample` is its number from 0 in the source's own "
            "order (IDX and CIFAR-10: training part, then test part), before any limit. Rows of other samples are let "
            "be. null: by the shares above."
        ),
    ] = None

    def violations(self, at: Path) -> Iterator[Violation]:
        """Something is left for training."""
        if self.table is None and self.validation + self.test >= 1:
            yield Violation(
                at,
                f"{dotted(at)}: validation {self.validation:g} and test {self.test:g} leave nothing for training; "
                "together they must be below 1",
            )

    def build(self) -> Split:
        """The shares, or the table."""
        from graphws.zoo import SplitOptions, SplitTable

        if self.table is not None:
            return SplitTable(FilePath(self.table))
        return SplitOptions(self.validation, self.test, self.seed)


_SECTIONS: dict[str, type[Section]] = {"network": NetworkSection, "fit": FitSection}
"""Sections that a source may use or not."""


class ZooSection(Section):
    """A zoo to be fitted: small networks for every sample of a data source, or whatever else its source says."""

    source: Annotated[ZooSource, SOURCES, Field(description="The data that the networks are fitted to.")] = Field(
        default_factory=lambda: DigitsSource(kind="digits")
    )
    network: Annotated[
        NetworkSection | None,
        Field(description="The networks' architecture; null: its defaults, or what the source says where it says it."),
    ] = None
    fit: Annotated[FitSection | None, Field(description="How they are fitted; null: as with network.")] = None
    split: Annotated[SplitSection, Field(description="Training, validation and test part.")] = Field(
        default_factory=SplitSection
    )
    path: Annotated[
        Text | None,
        Field(description="Folder where the zoo is kept; null: a name made from this section, under zoos/."),
    ] = None

    @model_validator(mode="after")
    def _fill(self) -> ZooSection:
        """The sections that the source uses are there."""
        for name, section in _SECTIONS.items():
            if name in self.source.uses and getattr(self, name) is None:
                object.__setattr__(self, name, section())
        return self

    def violations(self, at: Path) -> Iterator[Violation]:
        """Sections that the source does not use are left out."""
        for name in _SECTIONS:
            if name not in self.source.uses and getattr(self, name) is not None:
                here, source = (*at, name), dotted((*at, "source"))
                what = f"{dotted(here)} says nothing to {source} of kind {self.source.kind}, which has its keys inside"
                yield Violation(here, f"{what}; take it out, or write null over an inherited one")

    def widths(self) -> tuple[int | None, ...] | None:
        """Neurons of every layer of the networks, None for what only the data tell; None where they are no MLPs."""
        return self.source.zoo_widths(self)

    def columns(self) -> tuple[str, ...] | None:
        """Columns of the zoo's table, None where only the data tell."""
        return self.source.zoo_columns()

    def graph(self) -> NetworkGraph:
        """The graph of the networks, made without fitting any."""
        return self.source.zoo_graph(self)

    def build(self) -> Fitting:
        """What is fitted.

        Raises:
            GraphwsError: When the data are missing or damaged, or do not suffice.
        """
        return self.source.fitting(self)

    def folder(self) -> FilePath:
        """Where the zoo is kept: its ``path``, or a name made of what the zoo depends on, under ``zoos/``.

        >>> ZooSection(path="here").folder()
        PosixPath('here')
        >>> ZooSection().folder().name.startswith("digits-")
        True
        """
        if self.path is not None:
            return FilePath(self.path)
        content = self.model_dump(mode="json", exclude={"path": True, "fit": {"group"}, "network": {"recipe"}})
        self.source.settle(content, self)
        for name in ("source", "network", "fit", "split"):
            section = type(getattr(self, name))
            for key in LATER.get(section, ()):
                if content[name][key] == section.model_fields[key].default:
                    del content[name][key]
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        return ZOOS / f"{self.source.kind}-{digest[:8]}"


LATER: dict[type[Section], tuple[str, ...]] = {
    SineSource: ("inputs", "seed"),
    NetworkSection: ("first", "offset"),
    FitSection: ("weight_decay",),
    SplitSection: ("table",),
}
"""Keys that do not count in the name of a zoo while they are at their defaults, so that older zoos keep theirs."""
