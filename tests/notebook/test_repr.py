"""What a prompt shows of an object: short, printable, and of some use."""

from __future__ import annotations

import dataclasses
import doctest
import importlib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import nn

import graphws
import graphws.shown
from graphws.checkpoints import Conversion
from graphws.graph import Axis, NetworkGraph, Parameter, Space
from graphws.operations import mlp_graph
from graphws.shown import LINES, MOST, Shown, bounded, in_brief
from tests.notebook import objects

LONGEST = 2_000
FACES = (
    "kinds", "graph", "operations", "checkpoints", "layers", "messages", "models", "tasks", "spec", "zoo", "trainings",
    "report", "testing", "actions", "actions.reduction", "actions.identifiability", "actions.automorphism", "align",
    "saving", "runtime.prediction", "runtime.results", "runtime.sweep", "runtime.model_explanation", "converting",
)  # fmt: skip


def public() -> Iterator[type]:
    """The classes of the package's faces."""
    for face in FACES:
        module = importlib.import_module(f"graphws.{face}")
        for found in vars(module).values():
            if inspect.isclass(found) and found.__module__.startswith("graphws."):
                yield found


def too_long(thing: object, path: str = "", depth: int = 5) -> Iterator[str]:
    """Where, in an object and what it holds, a ``repr`` is longer than `LONGEST` characters."""
    ours = type(thing).__module__.partition(".")[0] in ("graphws", __name__.partition(".")[0])
    if isinstance(thing, nn.Module):  # as PyTorch writes them, a line a part
        return
    if ours and len(repr(thing)) > LONGEST:
        yield f"{path}: {type(thing).__name__}"
    parts: list[tuple[str, object]] = []
    if ours and dataclasses.is_dataclass(thing):
        parts = [(f".{field.name}", getattr(thing, field.name)) for field in dataclasses.fields(thing)]
    elif isinstance(thing, Mapping):
        parts = [(f"[{key}]", value) for key, value in islice(thing.items(), 3)]
    elif isinstance(thing, list | tuple):
        parts = [(f"[{k}]", value) for k, value in enumerate(thing[:3])]
    for step, part in parts if depth else []:
        yield from too_long(part, path + step, depth - 1)


def test_every_public_dataclass_is_shown() -> None:
    found = set(public())
    assert {NetworkGraph, Conversion, graphws.Run, graphws.Zoo, graphws.actions.Actions} <= found
    bare = {kind.__name__ for kind in found if dataclasses.is_dataclass(kind) and not issubclass(kind, Shown)}
    assert bare == {"Axis"}, "Axis writes itself"
    assert all(kind.__repr__ is Shown.__repr__ for kind in found if issubclass(kind, Shown))


def test_no_repr_is_long() -> None:
    found = objects.quick()
    assert list(too_long(found)) == []
    for name, thing in found.items():
        assert 5 < len(repr(thing)) <= MOST or isinstance(thing, tuple), name


def test_a_long_repr_is_found() -> None:
    @dataclass
    class Bare:
        weights: dict[str, torch.Tensor]

    @dataclass(repr=False)
    class Holder(Shown):
        inside: tuple[Bare, ...]

    Bare.__module__ = Holder.__module__ = "graphws.somewhere"
    bare = Bare({f"W{k}": torch.randn(20, 20) for k in range(5)})
    assert list(too_long({"found": Holder((bare,))})) == ["[found].inside[0]: Bare"]
    assert repr(Holder((bare,))).startswith(
        "Holder(inside=[Bare(weights={'W0': float32[20, 20], 'W1': float32[20, 20], "
    )


def test_a_graph_is_its_text() -> None:
    graph = mlp_graph([2, 4, 1], "relu")
    assert repr(graph) == str(graph)
    assert repr(graph).startswith(
        "NetworkGraph(3 spaces, 4 parameters, 17 numbers, log10|G| = 1.4)\n  input: free, 2\n"
    )
    assert [repr(graph.spaces[1]), repr(graph.parameters[0]), repr(graph.group())] == [
        "Space(hidden1: set, 4, scaling)",
        "Parameter(W1[hidden1, input*])",
        "Group(log10|G| = 1.4: S_4)",
    ]


def test_a_large_graph_shows_its_beginning() -> None:
    graph = mlp_graph([2, *[8] * 300, 1])
    *_, last = repr(graph).split("\n")
    assert last == f"… and {len(str(graph).splitlines()) - LINES + 1} more lines"
    assert len(repr(graph)) < LONGEST < len(str(graph))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("group", "Group(log10|G| = 47.6: S_24 x S_24)"),
        (
            "rich element",
            "GroupElement(hidden1: permutation of 24 with scales, one for each of 3 networks, hidden2: permutation of "
            "24 with scales, one for each of 3 networks)",
        ),
        ("features", "Features(3 networks, 1 channels on 6 parameters, relu still to be done)"),
        ("hints", "Hints(example_inputs=float32[4, 6], activation=None, "),
        ("checkpoint", "Checkpoint(state={'layers.0.weight': float32[30, 30], 'layers.1.weight': float32[30, 30], "),
        ("comparison", "Comparison of two networks\n  agreement of the parameters 0."),
        ("merging", "Merging of many networks\n  ManyAlignment(3 networks, mean closeness "),
        ("conversion", "VERIFIED (error "),
        ("actions", "Actions(Exact action: mirror acts on every layer"),
        ("reduction", "hidden1: 24 -> 23 (1 unread)"),
        ("model", "ModelExplanation(dwsnet, 2 equivariant layers)\n"),
        ("layer", "layer: 1 -> 1 channels, 330 parameters\n  315 in matrices, 15 in biases\n"),
        ("spec", "Spec(graphws=1, name='digits-inr', "),
        ("folder", "RunFolder(path=PosixPath('run'))"),
    ],
)
def test_texts_of_objects(name: str, text: str, found: dict[str, object]) -> None:
    assert repr(found[name]).startswith(text)


@pytest.fixture(scope="module")
def found() -> dict[str, object]:
    return objects.quick()


def test_text_of_files_is_written_out() -> None:
    hostile = "\x1b[2K\rVERIFIED\nVERIFIED (error 0)"
    shown = repr(Conversion(mlp_graph([2, 2, 1]), reason=hostile))
    assert shown.split("\n")[0] == r"UNVERIFIED (\x1b[2K\rVERIFIED\nVERIFIED (error 0))"
    assert "\x1b" not in in_brief({hostile: [hostile]}) + repr(Space("h", 2, reason=hostile))
    assert "\n" not in in_brief({hostile: [hostile]})
    assert len(repr(Space("h" * 100_000, 2))) <= MOST
    assert len(repr(Parameter("W" * 100_000, (Axis("h" * 100_000),)))) <= MOST
    assert len(repr(Axis("h" * 100_000))) < LONGEST


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (10**400, "about 10^400"),
        (b"1234", "<4 bytes>"),
        ({1, 2}, "[1, 2]"),
        (torch.zeros(3, 2), "float32[3, 2]"),
        (nn.Linear(2, 3), "<Linear>"),
        (Path("a/b"), "PosixPath('a/b')"),
        ("x" * 500, f"'{'x' * 77} … {'x' * 38}'"[:80]),
    ],
)
def test_values_in_brief(value: object, text: str) -> None:
    assert in_brief(value).startswith(text[:60])
    assert len(in_brief(value)) <= 120


def test_bounds_hold_for_any_text() -> None:
    for text in ("", "a" * 10**5, "\n" * 10**5, ("b" * 10**3 + "\n") * 10**3, "\u202e\n" * 500):
        assert len(bounded(text)) <= MOST
        assert bounded(text).count("\n") < LINES


def test_the_examples_in_docstrings_are_true() -> None:
    assert doctest.testmod(graphws.shown).failed == 0
