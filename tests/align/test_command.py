"""``graphws align`` on checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from typer.testing import CliRunner

from graphws.cli import app
from graphws.graph import Weights, forward, mlp_graph
from tests.align.cases import network

GRAPH = mlp_graph([6, 24, 24, 3], "relu")


def run(*arguments: str | Path):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """a: a network; b: the same, moved; c: another one; data: labelled points."""
    a = network(GRAPH).to(dtype=torch.float32)
    b = GRAPH.group().random(torch.Generator().manual_seed(1)).act(a)
    for name, weights in (("a", a), ("b", b), ("c", network(GRAPH, 5).to(dtype=torch.float32))):
        save_file(weights.to_state_dict(), tmp_path / f"{name}.safetensors")
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    labels = forward(GRAPH, a, x)[0].argmax(1)
    save_file({"inputs": x, "labels": labels}, tmp_path / "data.safetensors")
    save_file({"inputs": x}, tmp_path / "points.safetensors")
    return tmp_path


def test_a_moved_network_comes_back_bit_for_bit(files: Path) -> None:
    out = files / "aligned.safetensors"
    result = run("align", files / "a.safetensors", files / "b.safetensors", "--activation", "relu",
                 "-o", out, "--data", files / "data.safetensors", "--actions", "permutation",
                 "--json", files / "report.json")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    state, wanted = load_file(out), load_file(files / "a.safetensors")
    assert all(torch.equal(state[key], wanted[key]) for key in wanted)
    assert set(state) == set(wanted)
    assert "B computes what it did: its outputs changed by " in result.stdout
    assert "cross entropy, after:  barrier 0 (" in result.stdout
    assert "1.000" in result.stdout.split("all")[1].splitlines()[0]
    report = json.loads((files / "report.json").read_text())
    assert report["barrier"]["before"]["height"] > 0.1
    assert report["barrier"]["after"]["height"] < 1e-9
    assert report["agreement"]["after"] == pytest.approx(1)
    assert report["function_error"] < 1e-12
    module = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 3))
    module.load_state_dict(state)


@pytest.mark.parametrize("method", ["weights", "activations", "attributions"])
def test_every_method_lowers_the_barrier_of_the_moved_network(files: Path, method: str) -> None:
    result = run("align", files / "a.safetensors", files / "b.safetensors", "--activation", "relu",
                 "--data", files / "points.safetensors", "--method", method)  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "distance, after:  barrier " in result.stdout
    after = float(result.stdout.split("after:  barrier ")[1].split()[0])
    assert after < 1e-6


def test_without_data_weights_alone_are_compared(files: Path) -> None:
    result = run("align", files / "a.safetensors", files / "c.safetensors", "--activation", "relu")
    assert result.exit_code == 0, result.stderr
    assert "outputs were not compared: give --data; aligning is exact by the graph's symmetry" in result.stdout
    before, after = (float(x) for x in result.stdout.split("all")[1].split()[:2])
    assert before < after < 0.9  # unrelated networks do not come to agree


def test_what_cannot_be_aligned_says_why(files: Path) -> None:
    save_file(network(mlp_graph([6, 9, 3])).to_state_dict(), files / "d.safetensors")
    (files / "graph.json").write_text(GRAPH.to_json())
    save_file({"x": torch.zeros(3)}, files / "odd.safetensors")
    a, b = files / "a.safetensors", files / "b.safetensors"
    relu = ("--activation", "relu")
    cases = {
        (a, files / "d.safetensors", *relu): (
            2,
            "a.safetensors and d.safetensors are of different architectures: W1[hidden1, input*] (24, 6) "
            "against W1[hidden1, input*] (9, 6)",
        ),
        (a, files / "graph.json", *relu): (
            2,
            "graph.json is a graph without weights: there is nothing to align",
        ),
        (a, b, *relu, "-o", files / "out.pt"): (2, "--out must end in .safetensors; got 'out.pt'"),
        (a, b, *relu, "--actions", "permutations"): (
            2,
            "--actions must be rich or permutation; got 'permutations'; did you mean 'permutation'?",
        ),
        (a, b, *relu, "--method", "activations"): (2, "--method activations needs --data"),
        (a, b, *relu, "--data", files / "odd.safetensors"): (
            1,
            "odd.safetensors must hold `inputs` and may hold `labels`; it holds x",
        ),
        (a, b, *relu, "--data", files / "data.safetensors", "--method", "weight"): (
            2,
            "method must be one of weights, activations, attributions; got 'weight'; did you mean 'weights'?",
        ),
    }
    for arguments, (code, message) in cases.items():
        result = run("align", *arguments)
        assert (result.exit_code, result.stderr) == (code, f"error: {message}\n")


def test_the_comparison_catches_a_network_that_computes_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from graphws.align import align, compare, comparison
    from graphws.errors import VerificationError

    def false(first: Weights, second: Weights, **options: object) -> object:
        found = align(first, second)
        return replace(found, aligned=first)

    monkeypatch.setattr(comparison, "align", false)
    x = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    with pytest.raises(
        VerificationError, match=r"^the aligned network computes something else: its outputs are off by"
    ):
        compare(network(GRAPH, 1), network(GRAPH, 2), inputs=x)
