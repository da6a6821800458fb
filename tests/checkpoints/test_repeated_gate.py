"""What a network file says of itself is its writer's word, until the gate was run again."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from graphws import convert
from graphws.checkpoints.conversion import ActionCheck, Conversion, SelfRun
from graphws.checkpoints.network_file import load_network, save_network
from graphws.checkpoints.repeated_gate import (
    CONTROLS,
    DRAWS,
    MOST_NUMBERS,
    MOST_SPACES,
    POINTS,
    STEP,
    judge,
    numbers_of_a_run,
    repeat_gate,
)
from graphws.errors import DataError, GraphError, VerificationError
from graphws.graph import Action, Constant, NetworkGraph, Operation, Parameter, Space, Value, Weights
from graphws.operations import Verification, mlp_graph
from graphws.operations.sampling import OTHER_SIZES, random_weights
from tests.cli.runs import run
from tests.graph import samples

FIGURES = Verification(1e-15, 0.5, 3, "rich")


def _network(activation: str = "tanh", seed: int = 0) -> Conversion:
    graph = mlp_graph([3, 5, 2], activation)
    weights = random_weights(graph, 1, torch.Generator().manual_seed(seed), torch.float32)
    checks = (ActionCheck("hidden1", Action.SIGNED, "confirmed", 1e-16),) if activation == "tanh" else ()
    return Conversion(graph, weights, FIGURES, actions=checks, runs=SelfRun(2e-16))


def _forged(path: Path, found: Conversion, **spaces: dict[str, str]) -> Path:
    """The network's file, fields of its spaces overwritten."""
    save_network(found, path)
    with safe_open(str(path), framework="pt") as archive:
        metadata = dict(archive.metadata())
    graph = json.loads(metadata["graph"])
    for space in graph["spaces"]:
        space.update(spaces.get(space["name"], {}))
    save_file(load_file(path), path, {**metadata, "graph": json.dumps(graph), "actions": "[]"})
    return path


def test_without_effort_every_figure_is_its_writers(tmp_path: Path) -> None:
    save_network(_network(), tmp_path / "net.safetensors")
    found = load_network(tmp_path / "net.safetensors")
    assert not found.verified
    assert found.verdict == "VERIFIED (by its writer: error 1.0e-15, control 5.0e-01, 3 draws, rich)"
    assert found.running == "runs: yes (by its writer: error 2.0e-16, any batch)"
    assert found.story == "actions beyond permutations, tried by gradients, by its writer: 1 confirmed"


def test_convert_runs_the_gate_again_and_says_on_what(tmp_path: Path) -> None:
    save_network(_network(), tmp_path / "net.safetensors")
    found = convert(tmp_path / "net.safetensors")
    assert found.verified
    assert found.verification not in (None, FIGURES), "figures of our own"
    assert found.verdict.startswith("VERIFIED (again, from its file alone: error ")
    assert found.by_writer == {"actions", "runs"}


REFUTED = (
    r"^\S+net\.safetensors: tried again, its group changes the outputs by \d\.\de[+-]\d\d: it is not its network's$"
)


@pytest.mark.parametrize(
    ("activation", "spaces"),
    [
        ("relu", {"input": {"kind": "set"}}),
        ("relu", {"output": {"kind": "set"}}),
        ("relu", {"hidden1": {"action": "linear"}}),
        ("relu", {"hidden1": {"action": "signed"}}),
        ("tanh", {"hidden1": {"action": "scaling"}}),
    ],
)
def test_claims_that_are_too_large_are_refuted(
    tmp_path: Path, activation: str, spaces: dict[str, dict[str, str]]
) -> None:
    path = _forged(tmp_path / "net.safetensors", _network(activation), **spaces)
    assert load_network(path).verdict.startswith("VERIFIED (by its writer: "), "nothing was tried"
    with pytest.raises(VerificationError, match=REFUTED):
        load_network(path, effort=math.inf)
    result = run("inspect", path)
    assert result.exit_code == 1
    assert ": it is not its network's" in " ".join(result.stderr.split())


def test_a_file_that_is_too_much_work_keeps_its_writers_word(tmp_path: Path) -> None:
    save_network(_network(), tmp_path / "net.safetensors")
    found = load_network(tmp_path / "net.safetensors", effort=10)
    assert found.verdict.startswith("VERIFIED (by its writer: ")
    assert found.notes[-1].startswith("the figures are its writer's: trying it again would make ")


def test_a_graph_that_does_not_run_keeps_its_writers_word() -> None:
    graph = replace(_network().graph, operations=(), inputs=(), outputs=(), values=())
    weights = _network().weights
    assert weights is not None
    found = repeat_gate(graph, Weights(graph, dict(weights.items())), generator=torch.Generator(), effort=math.inf)
    assert (found.verification, found.tried) == (None, False)
    assert found.reason == "the graph does not run by itself: the graph holds no operations"


def test_work_is_counted_without_doing_it() -> None:
    graph = mlp_graph([3, 5, 2], "relu")
    weights = random_weights(graph, 1, torch.Generator())
    counted = [numbers_of_a_run(graph, weights, points) for points in (4, 8)]
    assert 0 < counted[0] < counted[1] < 1000
    with pytest.raises(GraphError, match=f"^a run makes more than {MOST_NUMBERS} numbers$"):
        numbers_of_a_run(graph, weights, 1 << 26)
    found = repeat_gate(graph, weights, generator=torch.Generator(), effort=math.inf, points=1 << 40)
    assert (found.tried, found.reason) == (
        False, f"it does not run on random inputs: a run makes more than {MOST_NUMBERS} numbers",
    )  # fmt: skip


def test_many_kinds_of_operations_can_be_counted() -> None:
    graph = samples.computing()
    assert numbers_of_a_run(graph, random_weights(graph, 1, torch.Generator()), 4) > 0


@pytest.mark.parametrize(
    ("error", "control", "reason"),
    [
        (1e-16, 1e-9, "tried again, nothing could be told apart: error 1.0e-16, control 1.0e-09"),
        (1e-4, 1.0, "tried again, the outputs change by more than rounding: error 1.0e-04, control 1.0e+00"),
        (1e-16, 1.0, ""),
    ],
)
def test_figures_are_judged_against_each_other(error: float, control: float, reason: str) -> None:
    found = judge(Verification(error, control, 3, "rich"))
    assert (found.verification is None, found.reason) == (bool(reason), reason)


def test_an_error_of_the_size_of_the_control_refutes() -> None:
    with pytest.raises(VerificationError, match=r"^tried again, its group changes the outputs by 2\.0e-02: it is not"):
        judge(Verification(2e-2, 1.0, 3, "rich"))


def test_figures_too_close_to_each_other_are_no_verification(tmp_path: Path) -> None:
    save_network(replace(_network(), verification=Verification(1e-2, 0.8, 3, "rich")), tmp_path / "net.safetensors")
    assert load_network(tmp_path / "net.safetensors").verdict == (
        "UNVERIFIED (its writer saw an error of 1.0e-02 beside a control of 8.0e-01: too close to tell)"
    )


def test_figures_that_no_gate_passes_are_refused(tmp_path: Path) -> None:
    save_network(replace(_network(), verification=Verification(0.0, 0.0, 3, "rich")), tmp_path / "net.safetensors")
    message = (
        r"net\.safetensors: its verification has an error of 0\.0e\+00 beside a control of 0\.0e\+00, which no gate"
    )
    with pytest.raises(DataError, match=message):
        load_network(tmp_path / "net.safetensors")


def test_the_page_names_the_writer(tmp_path: Path) -> None:
    from graphws.report.graph.page import graph_page

    assert isinstance(_network().graph, NetworkGraph)
    save_network(_network(), tmp_path / "net.safetensors")
    assert ">BY ITS WRITER</span>" in graph_page(load_network(tmp_path / "net.safetensors"), "net")


def _with_a_false_claim(threshold: float, factor: float, outputs: int) -> tuple[NetworkGraph, Weights]:
    """A right network, and beside it neurons `g` that are read by their places, which its graph says may be permuted.

    Args:
        threshold: What the inputs of those neurons must exceed.
        factor: How much larger the outputs of the right part are made.
        outputs: Whether both parts are outputs of their own, or columns of one, or a sum.
    """
    spaces = (Space("in", 3, "free"), Space("h", 5), Space("g", 4), Space("out", 2, "free"))
    parameters = (
        Parameter("W1", "h in*"), Parameter("b1", "h", kind="bias"), Parameter("W2", "out h*"), Parameter("V", "g in*"),
    )  # fmt: skip
    steps = [
        Operation("linear", ("x", "W1", "b1"), ("z1",)), Operation("tanh", ("z1",), ("h1",)),
        Operation("linear", ("h1", "W2"), ("a",)), Operation("mul", ("a", "factor"), ("y",)),
        Operation("linear", ("x", "V"), ("z2",)), Operation("sub", ("z2", "threshold"), ("z3",)),
        Operation("relu", ("z3",), ("h2",)), Operation("matmul", ("h2", "places"), ("p",)),
    ]  # fmt: skip
    if outputs == 1:
        steps.append(Operation("cat", ("y", "p"), ("end",), {"dim": -1}))
    elif outputs == 0:
        steps.append(Operation("add", ("y", "p"), ("end",)))
    constants = (
        Constant("factor", torch.tensor(factor, dtype=torch.float64), follows=True),
        Constant("threshold", torch.tensor(threshold, dtype=torch.float64), follows=True),
        Constant("places", torch.arange(8, dtype=torch.float64).reshape(4, 2), follows=True),
    )
    ends = ("y", "p") if outputs == 2 else ("end",)
    graph = NetworkGraph(spaces, parameters, tuple(steps), ("x",), ends, constants, (Value("x", ("n", 3), ("", "in")),))
    return graph, random_weights(graph, 1, torch.Generator().manual_seed(0), torch.float32)


HIDDEN = [(0.0, 1e12, 1), (0.0, 1e12, 2), (1e3, 1.0, 0), (1e3, 1.0, 2), (1e3, 1e12, 1), (1e7, 1.0, 0), (1e7, 1.0, 2)]
"""Neurons behind a large output, off on small inputs, or always off."""


@pytest.mark.parametrize("outputs", [0, 1, 2])
def test_a_false_claim_in_the_open_is_refuted(tmp_path: Path, outputs: int) -> None:
    graph, weights = _with_a_false_claim(0.0, 1.0, outputs)
    save_network(Conversion(graph, weights, FIGURES), tmp_path / "net.safetensors")
    with pytest.raises(VerificationError, match=REFUTED):
        load_network(tmp_path / "net.safetensors", effort=math.inf)


@pytest.mark.parametrize(("threshold", "factor", "outputs"), HIDDEN)
def test_a_false_claim_that_hides_is_not_verified(
    tmp_path: Path, threshold: float, factor: float, outputs: int
) -> None:
    graph, weights = _with_a_false_claim(threshold, factor, outputs)
    save_network(Conversion(graph, weights, FIGURES), tmp_path / "net.safetensors")
    assert load_network(tmp_path / "net.safetensors", effort=math.inf).verdict.startswith("UNVERIFIED (tried again, ")


def test_the_same_network_with_the_right_claim_is_verified(tmp_path: Path) -> None:
    for outputs in (0, 1, 2):
        graph, weights = _with_a_false_claim(0.0, 1e3, outputs)
        spaces = tuple(replace(space, kind="free") if space.name == "g" else space for space in graph.spaces)
        right = replace(graph, spaces=spaces)
        save_network(Conversion(right, Weights(right, dict(weights.items())), FIGURES), tmp_path / "net.safetensors")
        assert load_network(tmp_path / "net.safetensors", effort=math.inf).verdict.startswith("VERIFIED (again")


def test_the_gate_takes_as_many_runs_however_many_parameters_there_are() -> None:
    graph = mlp_graph([2] * 60, "tanh")
    weights = random_weights(graph, 1, torch.Generator().manual_seed(0))
    counted = numbers_of_a_run(graph, weights, POINTS) + STEP * len(graph.operations)
    most = DRAWS * (CONTROLS + 1) + 3 * MOST_SPACES + 2 * len(OTHER_SIZES) + 4
    assert len(graph.parameters) > most // 2
    assert not repeat_gate(graph, weights, generator=torch.Generator(), effort=counted * most - 1).tried
    assert repeat_gate(graph, weights, generator=torch.Generator().manual_seed(0), effort=counted * most).tried
