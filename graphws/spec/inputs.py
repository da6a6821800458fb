"""``input``: the networks that a model reads."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from graphws.errors import UsageError, ZooError
from graphws.spec.kinds import Kinds
from graphws.spec.section import Count, Flag, NetworkActivation, Section, Text
from graphws.spec.tree import Path, dotted
from graphws.spec.violations import Violation
from graphws.spec.zoo import ZooSection

if TYPE_CHECKING:
    from graphws.graph import NetworkGraph
    from graphws.zoo import Zoo
    from graphws.zoo.prospect import Prospect


class InputSection(Section):
    """What all inputs share.

    Attributes:
        has_networks: Whether there are networks to train on, not only their graph.
    """

    has_networks: ClassVar[bool] = False

    kind: Annotated[str, Field(description="Where the networks come from.")]

    def known_widths(self, zoo: ZooSection | None) -> tuple[int | None, ...] | None:
        """Neurons of every layer of the networks, None for what only the data tell; None where they are no MLPs."""
        return None

    @property
    def learnt_from(self) -> int | None:
        """How many networks of the training part are learnt from, at most; None: all."""
        return None

    @property
    def learnt_views(self) -> int | None:
        """How many views of each sample of the training part are learnt from, at most; None: all."""
        return None

    def columns(self, zoo: ZooSection | None) -> tuple[str, ...] | None:
        """The columns of the networks' table; None where only the data tell."""
        return None

    def zoo_violations(self, zoo: ZooSection | None, at: Path) -> Iterator[Violation]:
        """What the input, which stands at `at`, lacks in the section ``zoo``; by default nothing."""
        yield from ()

    @abstractmethod
    def build(self, zoo: ZooSection | None) -> NetworkGraph:
        """The graph of the networks, made without fitting any.

        Raises:
            GraphwsError: When a file or a zoo that it names cannot be read.
        """

    def graphs(self, zoo: ZooSection | None) -> tuple[NetworkGraph, ...]:
        """The graphs of all architectures; one, unless a kind of input says otherwise."""
        return (self.build(zoo),)

    def architectures(self, zoo: ZooSection | None) -> int | None:
        """How many architectures there are, as far as a look at the data tells; None where it does not."""
        return None

    def prospect(self, zoo: ZooSection | None) -> Prospect | None:
        """What is known of the networks before any is fitted; None where a kind of input does not tell.

        Raises:
            GraphwsError: When a zoo, or the data that one is to be fitted to, are missing or damaged.
        """
        return None

    def networks(self, zoo: ZooSection | None, fit: Callable[[ZooSection], Zoo]) -> Zoo:
        """The networks to train on.

        Args:
            zoo: The section ``zoo`` of the spec.
            fit: Fits what that section describes, goes on with it, or opens it.

        Raises:
            UsageError: Where there are none.
            ZooError: When they are missing, unfinished or damaged.
        """
        raise UsageError(no_networks(self))


def no_networks(given: InputSection | None) -> str:
    """Why networks that are not there cannot be trained on."""
    kind = "no input" if given is None else f"the input kind {given.kind!r}"
    return f"training needs networks, but the spec has {kind}; use `input: {{kind: zoo}}`"


class ZooInput(InputSection):
    """The networks of a zoo: the one that the section `zoo` describes, or one that exists."""

    has_networks = True
    kind: Annotated[Literal["zoo"], Field(description="Networks of a zoo.")]
    path: Annotated[
        Text | None, Field(description="Folder of an existing zoo; null: the one that the section `zoo` describes.")
    ] = None
    training: Annotated[
        Count | None,
        Field(description="Learn from the first so many networks of the training part only; null: from all."),
    ] = None
    views: Annotated[
        Count | None,
        Field(
            description="Learn from the first so many views of every sample only, before `training` counts; null: from "
            "all. Validation and test keep all of theirs."
        ),
    ] = None

    @property
    def learnt_from(self) -> int | None:
        """As `training` says."""
        return self.training

    @property
    def learnt_views(self) -> int | None:
        """As `views` says."""
        return self.views

    def known_widths(self, zoo: ZooSection | None) -> tuple[int | None, ...] | None:
        """Those of the section `zoo`."""
        return None if zoo is None or self.path is not None else zoo.widths()

    def columns(self, zoo: ZooSection | None) -> tuple[str, ...] | None:
        """Those of the section `zoo`."""
        return None if zoo is None or self.path is not None else zoo.columns()

    def zoo_violations(self, zoo: ZooSection | None, at: Path) -> Iterator[Violation]:
        """There is a zoo."""
        if self.path is None and zoo is None:
            yield Violation(at, "input.kind is zoo, but there is no zoo: give `input.path` or a section `zoo`")
        fit = None if self.path is not None or zoo is None else zoo.fit
        if fit is not None and self.views is not None and self.views > fit.views:
            here = (*at, "views")
            yield Violation(here, f"{dotted(here)} is {self.views}, but zoo.fit.views makes {fit.views} of a sample")

    def build(self, zoo: ZooSection | None) -> NetworkGraph:
        """The graph of the zoo, or of what will be fitted."""
        from graphws.zoo import Zoo

        if self.path is not None:
            return Zoo.open(self.path).graph
        if zoo is None:
            raise UsageError("input.kind is zoo, but there is no zoo: give `input.path` or a section `zoo`")
        if zoo.folder().exists():
            return Zoo.open(zoo.folder()).graph
        return zoo.graph()

    def graphs(self, zoo: ZooSection | None) -> tuple[NetworkGraph, ...]:
        """Those of the zoo."""
        from graphws.zoo import Zoo

        return (self.build(zoo),) if self.path is None else Zoo.open(self.path).graphs

    def architectures(self, zoo: ZooSection | None) -> int | None:
        """As many as the zoo at `path` has, where it is there."""
        from graphws.zoo.manifest import Manifest

        if self.path is None:
            return 1
        try:
            return len(Manifest.read(FilePath(self.path)).architectures)
        except ZooError:  # said, with what is wrong, by whoever opens it
            return None

    def prospect(self, zoo: ZooSection | None) -> Prospect | None:
        """Of the zoo at `path`, or of the one that the section `zoo` describes."""
        from graphws.zoo import Zoo
        from graphws.zoo.prospect import Prospect

        if self.path is not None:
            return Prospect.of_zoo(Zoo.open(self.path))
        if zoo is None:
            return None
        fitting, folder = zoo.build(), zoo.folder()
        return Prospect.of_zoo(Zoo.open(folder), fitting) if folder.exists() else Prospect.of_fitting(folder, fitting)

    def networks(self, zoo: ZooSection | None, fit: Callable[[ZooSection], Zoo]) -> Zoo:
        """The zoo at `path`, or the one that the section `zoo` describes."""
        from graphws.zoo import Zoo

        if self.path is not None:
            return Zoo.open(self.path)
        if zoo is None:
            raise UsageError("input.kind is zoo, but there is no zoo: give `input.path` or a section `zoo`")
        return fit(zoo)


class MlpInput(InputSection):
    """A multilayer perceptron given by its widths: enough to explain a model, without any data."""

    kind: Annotated[Literal["mlp"], Field(description="A multilayer perceptron given by its widths.")]
    widths: Annotated[
        tuple[Count, ...],
        Field(min_length=2, description="Neurons of every layer, inputs and outputs included: [2, 32, 32, 1]."),
    ]
    activation: Annotated[NetworkActivation, Field(description="Activation of the hidden layers.")] = "relu"
    bias: Annotated[Flag, Field(description="Whether the layers have biases.")] = True

    def known_widths(self, zoo: ZooSection | None) -> tuple[int | None, ...]:
        """As they are given."""
        return self.widths

    def build(self, zoo: ZooSection | None) -> NetworkGraph:
        """The graph of the perceptron."""
        from graphws.operations import mlp_graph

        return mlp_graph(self.widths, activation=self.activation, bias=self.bias)


class GraphInput(InputSection):
    """A network graph from a JSON file, as `NetworkGraph.to_json` writes it."""

    kind: Annotated[Literal["graph"], Field(description="A graph from a JSON file, as graphws writes it.")]
    path: Annotated[Text, Field(description="The file, relative to the folder where graphws is started.")]

    def build(self, zoo: ZooSection | None) -> NetworkGraph:
        """The graph of the file."""
        from graphws.converting import load_graph_file

        return load_graph_file(self.path).graph


INPUTS = Kinds("graphws.inputs", InputSection, ZooInput, MlpInput, GraphInput)
