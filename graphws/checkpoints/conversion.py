"""What a converter gives: a graph, its weights, and whether the claim behind them was put to the test.

A *converter* turns a foreign network (a module, a checkpoint) into a `NetworkGraph`.  Converters are plug-ins: packages
register an object of type `Converter` under the entry point group ``graphws.converters``, and `graphws.convert` finds
them there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from graphws.checkpoints.coverage import coverage
from graphws.errors import UsageError
from graphws.graph.network import NetworkGraph
from graphws.graph.space import Action
from graphws.graph.weights import Weights
from graphws.operations.verify import Verification
from graphws.printable import printable
from graphws.reporter import Reporter
from graphws.shown import Shown

Verdict = Literal["confirmed", "refuted", "unconfirmed"]
EVERY = "all"
"""The word for all outputs."""


@dataclass(frozen=True, repr=False)
class OutputChoice(Shown):
    """Which of several outputs of a network the group leaves alone, and the graph computes.

    Attributes:
        counted: Their names; positions where they have none.
        left_out: Those of the others.
    """

    counted: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    def __str__(self) -> str:
        others = f" (left out: {listed(self.left_out)})" if self.left_out else ""
        return f"outputs: {listed(self.counted)}{others}"


def listed(names: Sequence[str], most: int = 8) -> str:
    """Names in a row: the first, and how many more."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


@dataclass(frozen=True, repr=False)
class ActionCheck(Shown):
    """What gradients say about the signs, scales or matrices that a graph claims for one space.

    Attributes:
        space: Its name.
        action: The claim.
        verdict: ``confirmed``, ``refuted``, or ``unconfirmed`` where it could not be measured.
        error: Largest residual of the moment maps; 0 where nothing was measured.
        reason: Why it could not.
    """

    space: str
    action: Action
    verdict: Verdict
    error: float = 0.0
    reason: str = ""

    def __str__(self) -> str:
        figures = self.reason or f"{self.error:.1e}"
        return f"{self.space}: {self.action} {self.verdict} ({figures})"


@dataclass(frozen=True, repr=False)
class SelfRun(Shown):
    """Whether a network's file runs by itself, from its graph and weights alone.

    Attributes:
        error: Largest relative difference of its outputs from the source's; None where it does not run.
        reason: Why it does not.
        batch: ``any``, or the only length of the batch on which it runs.
    """

    error: float | None
    reason: str = ""
    batch: str = "any"

    def __str__(self) -> str:
        if self.error is None:
            return f"runs: no ({self.reason})"
        batch = "any batch" if self.batch == "any" else f"batches of {self.batch} only"
        return f"runs: yes (error {self.error:.1e}, {batch})"


@dataclass(frozen=True, eq=False, repr=False)
class Conversion(Shown):
    """A converted network.

    Attributes:
        graph: The graph.
        weights: Its numbers, a batch of one in the source's dtype; None where the source has none (a graph file).
        verification: Figures of the numeric gate, where it was passed.
        reason: Why it was not put to the test, where it was not.
        run: Computes the source's outputs with other weights of the graph, a batch of one, on the inputs given by
            position or, without any, on the example inputs; None where the source cannot run.  A source of several
            outputs gives its floating ones, flattened, in one vector.
        inputs: The example inputs, as the source takes them by position and by name.
        notes: What the converter noticed, for people to read: operations without a rule, unused parameters.
        actions: For each space on which more than permutations are claimed to act, whether gradients confirm it.
        runs: Whether the graph runs by itself, and how far from the source; None where it was not tried.
        by_writer: Which of ``verification``, ``actions`` and ``runs`` are what a file says: claims of its writer, not
            measured here.
        repeated: Whether the verification was measured here on graph and weights of a file alone, its source absent.
        outputs: Which outputs count, where the source has several.
    """

    graph: NetworkGraph
    weights: Weights | None = None
    verification: Verification | None = None
    reason: str = ""
    run: Callable[..., Tensor] | None = None
    inputs: tuple[tuple[Any, ...], Mapping[str, Any]] = ((), {})
    notes: tuple[str, ...] = ()
    actions: tuple[ActionCheck, ...] = ()
    runs: SelfRun | None = None
    by_writer: frozenset[str] = frozenset()
    repeated: bool = False
    outputs: OutputChoice | None = None

    @property
    def coverage(self) -> float:
        """Share of the numbers that follow the group, out of those that outputs depend on; see `coverage`."""
        return coverage(self.graph)

    @property
    def verified(self) -> bool:
        """Whether graph and group were confirmed by numbers, here and not only in the words of a file."""
        return self.verification is not None and "verification" not in self.by_writer

    @property
    def verdict(self) -> str:
        """``VERIFIED (figures)`` or ``UNVERIFIED (reason)``.

        ``VERIFIED (by its writer: figures)`` where a file says so, ``VERIFIED (again, from its file alone: figures)``
        where that was tried here.
        """
        if self.verification is None:
            return f"UNVERIFIED ({self.reason})"
        return self._said("verification", str(self.verification))

    @property
    def running(self) -> str:
        """Whether the graph runs by itself, in one line; empty where it was not tried."""
        return "" if self.runs is None else self._said("runs", str(self.runs))

    def _said(self, what: str, text: str) -> str:
        """A line with figures in brackets, with a word on whose they are."""
        if what in self.by_writer:
            return text.replace("(", "(by its writer: ", 1)
        again = what == "verification" and self.repeated
        return text.replace("(", "(again, from its file alone: ", 1) if again else text

    @property
    def story(self) -> str:
        """What became of the actions beyond permutations, in one line; empty where none is claimed or tried."""
        if not self.actions:
            return ""
        counts = Counter(check.verdict for check in self.actions)
        said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        first = next((check for check in self.actions if check.verdict == "unconfirmed"), None)
        whose = ", by its writer" if "actions" in self.by_writer else ""
        return f"actions beyond permutations, tried by gradients{whose}: {said}" + (
            f", first {first}" if first is not None else ""
        )

    @property
    def counting(self) -> str:
        """Which outputs count, in one line; empty where the source has one."""
        return "" if self.outputs is None else str(self.outputs)

    def __str__(self) -> str:
        said = (self.verdict, self.counting, self.running, self.story)
        return "\n".join([*(printable(text) for text in said if text), str(self.graph)])


@dataclass(frozen=True, eq=False, repr=False)
class Hints(Shown):
    """What the caller knows about a network, for what a converter cannot see.

    Attributes:
        example_inputs: A batch of inputs: a tensor, a tuple by position or a mapping by name; only shapes and types
            have to be right, unless outputs are given too.
        activation: Of the hidden layers: one name for all, or one each.
        omega: Frequency of sine activations: one for all, or one each.
        exponent: Power of ``power`` activations.
        generator: Source of randomness of the numeric gate.
        example_outputs: What the network computes from the example inputs, to check a hypothesis against.
        allow_code: Whether a source that is a program (TorchScript) may run.
        outputs: Which outputs count, by name or position: one, several, ``all``, or None for what the network is for.
            Several are kept as a tuple.
        reporter: Hears how far the conversion is.

    Raises:
        UsageError: Where outputs are neither names nor positions.
    """

    example_inputs: Tensor | tuple[Any, ...] | Mapping[str, Any] | None = None
    activation: str | Sequence[str] | None = None
    omega: float | Sequence[float] | None = None
    exponent: int | None = None
    generator: torch.Generator | None = None
    example_outputs: Tensor | None = None
    allow_code: bool = False
    outputs: str | int | Sequence[str | int] | None = None
    reporter: Reporter = field(default_factory=Reporter)

    def __post_init__(self) -> None:
        if self.outputs is None or self.outputs == EVERY:
            return
        wanted = (self.outputs,) if isinstance(self.outputs, str | int) else tuple(self.outputs)
        wrong = next((each for each in wanted if isinstance(each, bool) or not isinstance(each, str | int)), None)
        if wrong is not None:
            raise UsageError(f"outputs are named by texts or positions, got a {type(wrong).__name__}")
        if not wanted:
            raise UsageError(f"outputs names none: give a name, a position, several of them, or {EVERY!r}")
        object.__setattr__(self, "outputs", tuple(dict.fromkeys(wanted)))

    @property
    def wanted(self) -> tuple[str | int, ...] | str | None:
        """Which outputs count: ``all``, some of them, or None for what the network is for."""
        given = self.outputs
        return tuple(given) if given is not None and not isinstance(given, str | int) else EVERY if given else None

    @property
    def random(self) -> torch.Generator:
        """The generator, or one seeded with 0."""
        return self.generator if self.generator is not None else torch.Generator().manual_seed(0)


@dataclass(frozen=True, eq=False, repr=False)
class Contents(Shown):
    """The numbers of a source, read without converting it.

    Law: sources of equal structure whose states have equal keys, shapes and types have the same graph.

    Attributes:
        state: The tensors, by the keys that the graph's storage has.
        structure: A text of everything else that decides the graph: operations, constants, settings.
    """

    state: Mapping[str, Tensor]
    structure: str


@runtime_checkable
class Reader(Protocol):
    """What a converter may offer besides: the numbers of a source that it accepts, much sooner than a conversion."""

    def read(self, source: object) -> Contents:
        """What the source holds; a `GraphwsError` where it cannot be read."""
        ...


class Converter(Protocol):
    """A plug-in that turns one kind of source into graphs."""

    def accepts(self, source: object) -> bool:
        """Whether this converter is for such a source (a cheap look, no reading)."""
        ...

    def convert(self, source: object, hints: Hints) -> Conversion:
        """The conversion; a `GraphwsError` where it is refused."""
        ...
