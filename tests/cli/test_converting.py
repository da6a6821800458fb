"""``graphws convert`` and ``inspect`` say whether a network runs from its file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from graphws.checkpoints import load_network
from tests.cli.runs import run
from tests.converters.onnx import build

YES = r"^runs: yes \(error \d\.\de[-+]\d\d, any batch\)$"
ONE_SIZE = r"^runs: yes \(error \d\.\de[-+]\d\d, batches of 4 only\)$"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _network(*between: str) -> None:
    """net.onnx: two layers with a leaky ReLU in between."""
    onnx = pytest.importorskip("onnx")
    rng = np.random.default_rng(0)
    node = onnx.helper.make_node
    first, last = (rng.normal(size=size).astype(np.float32) for size in ((3, 6), (6, 2)))
    nodes = [node("MatMul", ["x", "first"], ["a"]), node("LeakyRelu", ["a"], ["b"], alpha=0.2)]
    if "reshape" in between:
        nodes += [node("Reshape", ["b", "shape"], ["c"])]
    nodes += [node("MatMul", ["c" if "reshape" in between else "b", "last"], ["y"])]
    constants = {"first": first, "last": last, "shape": np.array([4, 6])}
    onnx.save(build.model(nodes, {"x": [4, 3]}, ["y"], constants), "net.onnx")


@pytest.mark.parametrize(("between", "wanted"), [([], YES), (["reshape"], ONE_SIZE)])
def test_both_commands_print_the_figure(between: list[str], wanted: str) -> None:
    _network(*between)
    converted = run("convert", "net.onnx", "-o", "net.safetensors")
    assert converted.exit_code == 0, converted.output
    verdict, runs, written = converted.stdout.splitlines()[-3:]
    assert verdict.startswith("VERIFIED (")
    assert re.match(wanted, runs), runs
    assert written == "written: net.safetensors"
    inspected = run("inspect", "net.safetensors")
    again, told = inspected.stdout.splitlines()[-2:]
    assert again.startswith("VERIFIED (again, from its file alone: error ")
    assert told == runs.replace("yes (", "yes (by its writer: ")
    assert str(load_network("net.safetensors").runs) == runs


def test_a_graph_as_json_holds_no_figure() -> None:
    _network()
    run("convert", "net.onnx", "-o", "net.safetensors")
    graph = json.loads(run("inspect", "net.safetensors", "--json", "-").stdout)["graph"]
    assert "runs" not in graph
    Path("graph.json").write_text(json.dumps(graph), encoding="utf-8")
    assert "runs:" not in run("inspect", "graph.json").stdout


def test_a_file_of_format_1_says_what_to_do() -> None:
    graph = {
        "graphws_graph": 1,
        "spaces": [{"name": "h", "size": 2, "kind": "set"}],
        "parameters": [{"name": "w", "axes": "h", "kind": "weight"}],
        "operations": [{"kind": "add", "inputs": ["x0", "w"], "outputs": ["x1"], "attributes": {"alpha": 1}}],
        "inputs": ["x0"],
        "outputs": ["x1"],
    }
    save_file({"w": torch.ones(2)}, "old.safetensors", {"graphws_network": "1", "graph": json.dumps(graph)})
    assert run("inspect", "old.safetensors").stdout.splitlines()[-1] == (
        "runs: no (the file is of format 1, which did not keep all arguments: convert the network again)"
    )


def _with_features() -> None:
    """net.onnx: hidden neurons beside what is made of them."""
    onnx = pytest.importorskip("onnx")
    rng, node = np.random.default_rng(0), onnx.helper.make_node
    nodes = [node("MatMul", ["x", "a"], ["h"]), node("Tanh", ["h"], ["t"]), node("MatMul", ["t", "b"], ["y"])]
    constants = {"a": rng.normal(size=(3, 6)).astype(np.float32), "b": rng.normal(size=(6, 2)).astype(np.float32)}
    onnx.save(build.model(nodes, {"x": [4, 3]}, ["t", "y"], constants), "net.onnx")


def test_outputs_are_chosen_and_both_commands_name_them() -> None:
    _with_features()
    every = run("convert", "net.onnx").stdout.splitlines()
    assert "outputs: t, y" in every
    assert "UNVERIFIED (no space has two neurons to exchange)" in every
    for names in ("y", "1"):
        chosen = run("convert", "net.onnx", "--outputs", names, "-o", "net.safetensors", "--overwrite").stdout
        assert "outputs: y (left out: t)" in chosen.splitlines()
        assert "VERIFIED (error " in chosen
    assert "outputs: y (left out: t)" in run("inspect", "net.safetensors").stdout.splitlines()
    assert "outputs: t, y" in run("convert", "net.onnx", "--outputs", "all").stdout.splitlines()
    assert "outputs: y, t" in run("convert", "net.onnx", "--outputs", "y, t").stdout.splitlines()


def test_what_is_wrong_with_outputs_is_said_in_a_line() -> None:
    _with_features()
    np.save("y.npy", np.zeros(3))
    for names, message in (
        ("z", "error: the module has no output 'z'; its outputs are t, y"),
        ("t,,y", "error: --outputs takes names or positions with commas between, got 't,,y'"),
        ("y.npy", "error: --outputs takes names of outputs; numbers to compare with go to --expected y.npy"),
    ):
        result = run("convert", "net.onnx", "--outputs", names)
        assert (result.exit_code, result.stderr.splitlines()[-1]) == (2, message)
