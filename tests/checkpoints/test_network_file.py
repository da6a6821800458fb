from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from graphws.checkpoints.conversion import ActionCheck, Conversion
from graphws.checkpoints.network_file import is_network_file, load_network, save_network
from graphws.errors import DataError
from graphws.graph import Action, NetworkGraph, Parameter, Space, Storage, Weights
from graphws.operations import Verification, mlp_graph
from tests.graph import samples


def _conversion(graph: NetworkGraph, **fields: object) -> Conversion:
    flat = torch.randn(1, graph.numel, generator=torch.Generator().manual_seed(0))
    return Conversion(graph, Weights.unflatten(graph, flat), **fields)  # type: ignore[arg-type]


VERIFIED = _conversion(
    mlp_graph([2, 5, 1], "tanh"),
    verification=Verification(1e-15, 0.5, 3, "rich"),
    notes=("a", "ß"),
    actions=(ActionCheck("hidden1", Action.SIGNED, "confirmed", 1e-16),),
)
TIED = _conversion(
    NetworkGraph(
        (Space("h", 4), Space("v", 7, "free")),
        (Parameter("E", "v h*", storage=Storage("wte.weight", (7, 4), aliases=("head.weight",))),),  # type: ignore[arg-type]
    ),
    reason="no inputs",
)


@pytest.mark.parametrize("conversion", [VERIFIED, TIED, replace(VERIFIED, weights=None, verification=None, reason="")])
def test_what_was_saved_comes_back(tmp_path: Path, conversion: Conversion) -> None:
    save_network(conversion, tmp_path / "net.safetensors")
    assert is_network_file(tmp_path / "net.safetensors")
    found = load_network(tmp_path / "net.safetensors")
    assert (found.graph, found.verification, found.reason, found.notes, found.actions) == (
        conversion.graph, conversion.verification, conversion.reason, conversion.notes, conversion.actions
    )  # fmt: skip
    if conversion.weights is None:
        assert found.weights is None
    else:
        assert found.weights is not None
        assert samples.same_bits(found.weights, conversion.weights)
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors"], "nothing else is left"


def test_other_tools_read_the_tensors_under_their_own_names(tmp_path: Path) -> None:
    save_network(TIED, tmp_path / "net.safetensors")
    assert list(load_file(tmp_path / "net.safetensors")) == ["wte.weight"]


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


CHECK = {"space": "hidden1", "action": "signed", "verdict": "confirmed", "error": 1e-9, "reason": ""}
GOOD = {"error": 1e-9, "control": 0.1, "draws": 3, "actions": "rich"}


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"graphws_network": "2"}, r"a network file of format 2; this version reads format 1$"),
        ({"graph": "{"}, r"graph file is not JSON: "),
        ({"graph": mlp_graph([2, 6, 1]).to_json()}, r"'0.weight' has shape \(5, 2\), the graph needs \(6, 2\)$"),
        ({"verification": "[" * 100_000}, r"its verification cannot be read: "),
        ({"verification": "{}"}, r"its verification needs error, control, draws and actions$"),
        ({"verification": json.dumps({**GOOD, "draws": True})}, r"its verification needs error, control, draws and "),
        ({"verification": json.dumps({**GOOD, "error": float("nan")})}, r"its verification holds impossible figures$"),
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
        ({"notes": '["a", 1]'}, r"its notes must be a list of at most 1000 texts$"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(tmp_path: Path, metadata: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=r"net\.safetensors: " + message):
        load_network(_altered(tmp_path / "net.safetensors", **metadata))


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
