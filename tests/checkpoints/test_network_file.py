from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from graphws.checkpoints.conversion import ActionCheck, Conversion, SelfRun
from graphws.checkpoints.network_file import CONSTANTS, is_network_file, load_network, save_network
from graphws.errors import DataError
from graphws.graph import Action, NetworkGraph, Parameter, Space, Storage, Weights
from graphws.operations import Verification, forward, mlp_graph, why_not
from tests.graph import samples


def _conversion(graph: NetworkGraph, **fields: object) -> Conversion:
    flat = torch.randn(1, graph.numel, generator=torch.Generator().manual_seed(0))
    return Conversion(graph, Weights.unflatten(graph, flat), **fields)  # type: ignore[arg-type]


VERIFIED = _conversion(
    mlp_graph([2, 5, 1], "tanh"),
    verification=Verification(1e-15, 0.5, 3, "rich"),
    notes=("a", "ß"),
    actions=(ActionCheck("hidden1", Action.SIGNED, "confirmed", 1e-16),),
    runs=SelfRun(2e-16),
)
TIED = _conversion(
    NetworkGraph(
        (Space("h", 4), Space("v", 7, "free")),
        (Parameter("E", "v h*", storage=Storage("wte.weight", (7, 4), aliases=("head.weight",))),),  # type: ignore[arg-type]
    ),
    reason="no inputs",
    runs=SelfRun(None, "the graph holds no operations"),
)
COMPUTING = _conversion(samples.computing(), runs=SelfRun(0.0, batch="4"))


@pytest.mark.parametrize(
    "conversion",
    [VERIFIED, TIED, COMPUTING, replace(VERIFIED, weights=None, verification=None, runs=None, reason="")],
)
def test_what_was_saved_comes_back(tmp_path: Path, conversion: Conversion) -> None:
    save_network(conversion, tmp_path / "net.safetensors")
    assert is_network_file(tmp_path / "net.safetensors")
    found = load_network(tmp_path / "net.safetensors")
    assert (found.graph, found.verification, found.reason, found.notes, found.actions, found.runs) == (
        conversion.graph, conversion.verification, conversion.reason, conversion.notes, conversion.actions,
        conversion.runs,
    )  # fmt: skip
    assert [(c.name, c.follows) for c in found.graph.constants] == [
        (c.name, c.follows) for c in conversion.graph.constants
    ]
    pairs = zip(found.graph.constants, conversion.graph.constants, strict=True)
    assert all(samples.bits(a.tensor, b.tensor) for a, b in pairs)
    if conversion.weights is None:
        assert found.weights is None
    else:
        assert found.weights is not None
        assert samples.same_bits(found.weights, conversion.weights)
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors"], "nothing else is left"


def test_other_tools_read_the_tensors_under_their_own_names(tmp_path: Path) -> None:
    save_network(TIED, tmp_path / "net.safetensors")
    assert list(load_file(tmp_path / "net.safetensors")) == ["wte.weight"]


def test_constants_lie_beside_the_tensors_and_not_in_the_text(tmp_path: Path) -> None:
    save_network(COMPUTING, tmp_path / "net.safetensors")
    tensors = load_file(tmp_path / "net.safetensors")
    assert sorted(tensors) == ["W", *(f"{CONSTANTS}c{k}" for k in range(4))]
    assert tensors[f"{CONSTANTS}c3"].tolist() == [3.0, -4.0], "a complex number is a pair"
    with safe_open(str(tmp_path / "net.safetensors"), framework="pt") as archive:
        assert '"data"' not in archive.metadata()["graph"]
    found, x = load_network(tmp_path / "net.safetensors"), torch.randn(4, 3)
    assert found.weights is not None
    assert COMPUTING.weights is not None
    assert torch.equal(forward(found.graph, found.weights, x), forward(COMPUTING.graph, COMPUTING.weights, x))


def test_a_network_whose_tensors_have_the_prefix_of_constants_is_refused(tmp_path: Path) -> None:
    graph = NetworkGraph((), (Parameter("s", (), storage=Storage(f"{CONSTANTS}s", ())),))
    message = r"tensor 'graphws.constants/s' has the prefix 'graphws.constants/', which constants have$"
    with pytest.raises(DataError, match=message):
        save_network(_conversion(graph), tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())


def test_names_and_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"net\.pt: a converted network is a \.safetensors file; name it net\.safeten"):
        save_network(VERIFIED, tmp_path / "net.pt")
    with pytest.raises(DataError, match=r"^cannot write .*net\.safetensors: No such file or directory$"):
        save_network(VERIFIED, tmp_path / "none" / "net.safetensors")


def _altered(path: Path, **metadata: str) -> Path:
    save_network(VERIFIED, path)
    with safe_open(str(path), framework="pt") as archive:
        old = dict(archive.metadata())
    save_file(load_file(path), path, {**old, **metadata})
    return path


def _without_steps() -> str:
    return replace(VERIFIED.graph, operations=(), inputs=(), outputs=(), values=()).to_json()


CHECK = {"space": "hidden1", "action": "signed", "verdict": "confirmed", "error": 1e-9, "reason": ""}
RUNS = {"error": 1e-15, "reason": "", "batch": "any"}
GOOD = {"error": 1e-9, "control": 0.1, "draws": 3, "actions": "rich"}


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"graphws_network": "3"}, r"a network file of format 3; this version reads formats 1 and 2$"),
        ({"graph": "{"}, r"graph file is not JSON: "),
        ({"graph": mlp_graph([2, 6, 1]).to_json()}, r"'0.weight' has shape \(5, 2\), the graph needs \(6, 2\)$"),
        ({"verification": "[" * 100_000}, r"its verification cannot be read: "),
        ({"verification": "{}"}, r"its verification needs error, control, draws and actions$"),
        ({"verification": json.dumps({**GOOD, "draws": True})}, r"its verification needs error, control, draws and "),
        ({"verification": json.dumps({**GOOD, "error": float("nan")})}, r"its verification holds impossible figures$"),
        (
            {"verification": json.dumps({**GOOD, "error": 7.5, "control": 0.0})},
            r"its verification has an error of 7\.5e\+00 beside a control of 0\.0e\+00, which no gate passes$",
        ),
        ({"verification": json.dumps({**GOOD, "draws": 0})}, r"its verification holds impossible figures$"),
        ({"verification": json.dumps({**GOOD, "actions": "all"})}, r"its verification holds impossible figures$"),
        ({"actions": "{}"}, r"its verdicts on actions must be a list, one for a space at most$"),
        ({"actions": json.dumps([CHECK, CHECK, CHECK, CHECK])}, r"its verdicts on actions must be a list, one for a "),
        ({"actions": json.dumps([{}])}, r"a verdict on an action needs space, action, verdict, error, reason$"),
        ({"actions": json.dumps([{**CHECK, "error": 1}])}, r"a verdict on an action needs space, action, verdict, "),
        ({"actions": json.dumps([{**CHECK, "space": "x"}])}, r"its verdict on 'x' does not belong to its graph$"),
        ({"actions": json.dumps([{**CHECK, "action": "linear"}])}, r"its verdict on 'hidden1' does not belong to its "),
        ({"actions": json.dumps([{**CHECK, "verdict": "sure"}])}, r"its verdict on 'hidden1' does not belong to its "),
        ({"actions": json.dumps([{**CHECK, "error": -1.0}])}, r"its verdict on 'hidden1' holds an impossible figure$"),
        ({"runs": "yes"}, r"its figure of running cannot be read: "),
        ({"runs": "{}"}, r"its figure of running needs error, reason and batch$"),
        ({"runs": json.dumps({**RUNS, "error": 0})}, r"its figure of running needs error, reason and batch$"),
        ({"runs": json.dumps({**RUNS, "error": float("nan")})}, r"its figure of running is impossible$"),
        ({"runs": json.dumps({**RUNS, "error": -1e-9})}, r"its figure of running is impossible$"),
        ({"runs": json.dumps({**RUNS, "error": None})}, r"its figure of running needs a reason where there is no "),
        ({"runs": json.dumps({**RUNS, "reason": "slow"})}, r"its figure of running needs a reason where there is no "),
        (
            {"runs": json.dumps({**RUNS, "batch": "0"})},
            r"its figure of running is for a batch of '0': 'any' or a number",
        ),
        ({"runs": json.dumps({**RUNS, "batch": 4})}, r"its figure of running is for a batch of '4': 'any' or a number"),
        (
            {"runs": json.dumps(RUNS), "graph": _without_steps()},
            r"its figure says that it runs, but the graph holds no operations$",
        ),
        ({"notes": '["a", 1]'}, r"its notes must be a list of at most 1000 texts$"),
        ({"outputs": "["}, r"its choice of outputs cannot be read: "),
        (
            {"outputs": '{"counted": ["y"]}'},
            r"its choice of outputs needs counted and left_out, lists of at most 1000$",
        ),
        (
            {"outputs": json.dumps({"counted": ["y"], "left_out": ["h"] * 1001})},
            r"its choice of outputs needs counted and left_out, lists of at most 1000$",
        ),
        (
            {"outputs": '{"counted": [], "left_out": ["h"]}'},
            r"its choice of outputs must name some, by at most 1000 characters each$",
        ),
        ({"outputs": '{"counted": [1], "left_out": []}'}, r"its choice of outputs must name some, by at most 1000 "),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(tmp_path: Path, metadata: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=r"net\.safetensors: " + message):
        load_network(_altered(tmp_path / "net.safetensors", **metadata))


def _with_tensors(path: Path, change: dict[str, torch.Tensor | None]) -> Path:
    save_network(COMPUTING, path)
    with safe_open(str(path), framework="pt") as archive:
        metadata = dict(archive.metadata())
    save_file({k: x for k, x in {**load_file(path), **change}.items() if x is not None}, path, metadata)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"c0": None}, r"graph file, constant 0: the numbers of constant 'c0' are missing$"),
        ({"c9": torch.zeros(2)}, r"its graph has no constant 'c9'$"),
        (
            {"c0": torch.zeros(2)},
            r"constant 0: constant 'c0' should be float64 of shape \(3,\), its numbers are float32 of shape \(2,\)$",
        ),
        (
            {"c0": torch.zeros(3 << 20)},
            r"constant 0: constant 'c0' should be float64 of shape \(3,\), its numbers are ",
        ),
        (
            {"c3": torch.zeros(3, dtype=torch.float64)},
            r"constant 3: constant 'c3' should be complex128 of shape \(\), its numbers are float64 of shape \(3,\)$",
        ),
    ],
)
def test_constants_that_do_not_belong_are_refused(
    tmp_path: Path, change: dict[str, torch.Tensor | None], message: str
) -> None:
    changed = {CONSTANTS + name: tensor for name, tensor in change.items()}
    with pytest.raises(DataError, match=r"net\.safetensors: .*" + message):
        load_network(_with_tensors(tmp_path / "net.safetensors", changed))


def test_constants_that_are_too_large_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    large = torch.zeros((16 << 20) + 1, dtype=torch.uint8)
    document = json.loads(COMPUTING.graph.to_json())
    document["constants"] = [{"name": "c0", "dtype": "uint8", "shape": [len(large)]}]
    document["operations"], document["outputs"], document["values"] = [], [], []
    _with_tensors(path, {CONSTANTS + "c0": large} | {f"{CONSTANTS}c{k}": None for k in (1, 2, 3)})
    tensors = load_file(path)
    save_file(tensors, path, {"graphws_network": "2", "graph": json.dumps(document)})
    with pytest.raises(DataError, match=r"constant 'c0' has 16777217 bytes, at most 16777216 are kept$"):
        load_network(path)


SPACES = [
    {"name": "input", "size": 2, "kind": "free", "role": "input", "reason": "input"},
    {"name": "first", "size": 3, "kind": "set", "action": "scaling", "role": "hidden", "reason": "written by W"},
]
PARAMETERS = [
    {"name": "W", "axes": "first input*", "kind": "weight", "storage": {"key": "first.weight", "shape": [3, 2]}},
    {"name": "b", "axes": "first", "kind": "bias", "storage": {"key": "first.bias", "shape": [3]}},
]
LINEAR = {"kind": "linear", "inputs": ["x0", "W", "b"], "outputs": ["x1"]}
OLD = {
    "graphws_graph": 1,
    "spaces": SPACES,
    "parameters": PARAMETERS,
    "operations": [LINEAR, {"kind": "relu", "inputs": ["x1"], "outputs": ["x2"]}],
    "inputs": ["x0"],
    "outputs": ["x2"],
}
OLD_METADATA = {
    "graphws_network": "1",
    "reason": "",
    "notes": '["traced by export: 2 operations"]',
    "actions": '[{"space": "first", "action": "scaling", "verdict": "confirmed", "error": 4.8e-17, "reason": ""}]',
    "verification": '{"error": 4.4e-16, "control": 2.0, "draws": 3, "actions": "rich"}',
}


def _old(path: Path, *last: dict[str, object]) -> Conversion:
    """A file as format 1 wrote it."""
    tensors = {"first.weight": torch.arange(6.0).reshape(3, 2) - 2, "first.bias": torch.tensor([1.0, -2.0, 3.0])}
    operations = [LINEAR, *last] if last else OLD["operations"]
    save_file(tensors, path, {**OLD_METADATA, "graph": json.dumps({**OLD, "operations": operations})})
    return load_network(path)


def test_a_file_of_format_1_whose_steps_are_whole_runs(tmp_path: Path) -> None:
    found, x = _old(tmp_path / "net.safetensors"), torch.tensor([[1.0, -1.0], [0.5, 2.0]])
    assert (found.verdict, found.runs) == (
        "VERIFIED (by its writer: error 4.4e-16, control 2.0e+00, 3 draws, rich)",
        None,
    )
    assert found.weights is not None
    weight, bias = (found.weights[name][0] for name in ("W", "b"))
    assert torch.equal(forward(found.graph, found.weights, x)[0], torch.relu(x @ weight.T + bias))
    save_network(found, tmp_path / "again.safetensors")
    again = load_network(tmp_path / "again.safetensors")
    assert (again.graph, again.runs) == (found.graph, None)


@pytest.mark.parametrize(
    "last",
    [
        {"kind": "leaky_relu", "inputs": ["x1"], "outputs": ["x2"], "attributes": {"negative_slope": 0.2}},
        {"kind": "add", "inputs": ["x1", "x1"], "outputs": ["x2"], "attributes": {"alpha": 1}},
        {"kind": "linear", "inputs": ["x1", "W", "W", "b", "b"], "outputs": ["x2"]},
        {"kind": "some_other", "inputs": ["x1"], "outputs": ["x2"], "attributes": {"dim": "1,2"}},
    ],
)
def test_any_other_file_of_format_1_says_what_to_do(tmp_path: Path, last: dict[str, object]) -> None:
    found = _old(tmp_path / "net.safetensors", last)
    advice = "the file is of format 1, which did not keep all arguments: convert the network again"
    assert str(found.runs) == f"runs: no ({advice})"
    assert (
        str(found.graph.operations[-1])
        == f"x2 = opaque({', '.join(last['inputs'])}, name={last['kind']}, why={advice})"
    )  # type: ignore[arg-type]
    assert why_not(found.graph) == f"{last['kind']} cannot be run from the graph: {advice}"
    save_network(found, tmp_path / "again.safetensors")
    again = load_network(tmp_path / "again.safetensors")
    assert (again.graph, again.runs, again.verification) == (found.graph, found.runs, found.verification)


def test_other_files_are_told_apart(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "plain.safetensors")
    assert not is_network_file(tmp_path / "plain.safetensors")
    with pytest.raises(DataError, match=r"plain\.safetensors: a safetensors file, but not of a converted network$"):
        load_network(tmp_path / "plain.safetensors")
    with pytest.raises(DataError, match=r"none\.safetensors: no such file$"):
        load_network(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"x")
    with pytest.raises(DataError, match=r"bad\.safetensors: not a safetensors file, or cut off: "):
        load_network(tmp_path / "bad.safetensors")
