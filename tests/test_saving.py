"""The doors of the public face to files: what they keep, what they give back, and what they name instead."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import graphws
from graphws.errors import DataError, UsageError
from graphws.graph import NetworkGraph, Weights
from graphws.operations import mlp_graph
from graphws.runtime.model_file import save_model
from graphws.zoo.writer import finish, partial_folder

MODULE = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
GRAPH = mlp_graph([2, 4, 1], activation="tanh", keys=["0", "2"])


def test_a_conversion_comes_back(tmp_path: Path) -> None:
    found = graphws.convert(MODULE)
    graphws.save(found, tmp_path / "net.safetensors")
    again = graphws.load(str(tmp_path / "net.safetensors"))
    assert again.graph == found.graph
    assert again.weights is not None
    assert found.weights is not None
    for name, tensor in found.weights.items():
        assert torch.equal(again.weights[name], tensor)
    assert again.verification == found.verification
    assert "by its writer" in again.verdict
    assert "again, from its file alone" in graphws.convert(tmp_path / "net.safetensors").verdict


@pytest.mark.parametrize("kind", ["weights", "pair", "state"])
def test_weights_come_back_with_their_graph(tmp_path: Path, kind: str) -> None:
    weights = Weights.from_state_dict(GRAPH, MODULE.state_dict())
    given = {"weights": weights, "pair": (GRAPH, weights), "state": (GRAPH, MODULE.state_dict())}[kind]
    graphws.save(given, tmp_path / "net.safetensors")  # type: ignore[arg-type]
    found = graphws.load(tmp_path / "net.safetensors")
    assert found.graph == GRAPH
    assert found.weights is not None
    assert torch.equal(found.weights.flatten(), weights.flatten())
    assert found.verdict == "UNVERIFIED (saved from Python: nothing was compared)"


def test_a_graph_alone_comes_back(tmp_path: Path) -> None:
    graphws.save(GRAPH, tmp_path / "graph.safetensors")
    found = graphws.load(tmp_path / "graph.safetensors")
    assert found.graph == GRAPH
    assert found.weights is None


def test_a_file_that_exists_stays_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    graphws.save(GRAPH, path)
    with pytest.raises(UsageError) as caught:
        graphws.save(graphws.convert(MODULE), path)
    assert str(caught.value) == f"{path} exists: give another name, or overwrite=True"
    assert graphws.load(path).weights is None
    graphws.save(graphws.convert(MODULE), path, overwrite=True)
    assert graphws.load(path).weights is not None


MANY = (
    "a file holds one network, got 3: choose one with weights.select([k]); many are kept as a zoo, which `graphws zoo "
    "pack` makes of a folder of files"
)
TAKES = "save takes a conversion, or a graph with its weights, got "


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Weights.unflatten(GRAPH, torch.zeros(3, GRAPH.numel)), MANY),
        (MODULE, f"{TAKES}a Sequential: graphws.save(graphws.convert(module), path)"),
        (
            graphws.DWSNet(GRAPH, 1, layers=1, channels=2),
            f"{TAKES}a DWSNet, which reads networks: its run keeps it, as models/NAME.safetensors, for "
            "graphws.load_model; one without a run is kept by torch.save(model.state_dict(), file)",
        ),
        (
            MODULE.state_dict(),
            f"{TAKES}a mapping, which does not say what it computes: graphws.save(graphws.convert(state), path), or "
            "graphws.save((graph, state), path)",
        ),
        (
            "net.pt",
            f"{TAKES}a path: graphws.save(network, path), or first graphws.convert('net.pt')",
        ),
        (
            (mlp_graph([2, 5, 1]), Weights.unflatten(GRAPH, torch.zeros(1, GRAPH.numel))),
            "the weights are of another graph: save them alone, they know their own",
        ),
        ([GRAPH], f"{TAKES}a list"),
        ((GRAPH, 3), f"{TAKES}a tuple"),
    ],
)
def test_what_a_file_cannot_hold_is_named_with_what_does(tmp_path: Path, given: object, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        graphws.save(given, tmp_path / "net.safetensors")  # type: ignore[arg-type]
    assert str(caught.value) == words
    assert not list(tmp_path.iterdir())


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        graphws.save(GRAPH, tmp_path / "net.pt")
    assert (
        str(caught.value)
        == f"{tmp_path / 'net.pt'}: a converted network is a .safetensors file; name it net.safetensors"
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of each kind of file."""
    folder = tmp_path_factory.mktemp("kinds")
    graphws.save(GRAPH, folder / "net.safetensors")
    torch.save(MODULE.state_dict(), folder / "net.pt")
    (folder / "spec.yaml").write_text("graphws: 1\n")
    (folder / "graph.json").write_text(GRAPH.to_json())
    (folder / "notes.txt").write_text("nothing")
    (folder / "model.pt2").write_bytes(b"")
    save_model(folder / "model.safetensors", {"x": torch.zeros(1)}, {"name": "dwsnet"})
    for name, file in (("run", "run.json"), ("bert", "config.json"), ("empty", "nothing")):
        (folder / name).mkdir()
        (folder / name / file).write_text("{}")
    partial_folder(folder / "zoo").mkdir()
    weights = Weights.unflatten(GRAPH, torch.zeros(4, GRAPH.numel))
    finish(
        folder / "zoo", {"mlp": GRAPH}, lambda _, low, high: weights.select(slice(low, high)), {"n": np.arange(4)}, {}
    )
    return folder


KINDS = {
    "net.safetensors": ("a converted network", "graphws.load({})"),
    "net.pt": ("a checkpoint", "graphws.convert({})"),
    "spec.yaml": ("a spec", "graphws.load_spec({})"),
    "graph.json": ("a graph without weights", "graphws.NetworkGraph.from_json(text)"),
    "notes.txt": ("a file of another kind", ""),
    "model.pt2": ("an exported model", "torch.export.load({})"),
    "model.safetensors": ("a trained model", "graphws.load_model({})"),
    "run": ("a run", "graphws.load_run({})"),
    "bert": ("a Hugging Face folder", "graphws.convert({})"),
    "empty": ("a folder without a run, a zoo or a model", ""),
    "zoo": ("a zoo", "graphws.Zoo.open({})"),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("door", "wanted"), [("load", "a converted network"), ("load_run", "a run"), ("load_model", "a trained model")]
)
def test_what_a_door_does_not_read_is_named_with_the_one_that_does(
    place: Path, name: str, door: str, wanted: str
) -> None:
    what, other = KINDS[name]
    if what == wanted:
        return
    with pytest.raises(UsageError) as caught:
        getattr(graphws, door)(place / name)
    path = place / name
    hint = f": {other.format(repr(str(path)))}" if other else ""
    assert str(caught.value) == f"{path} is {what}, not {wanted}{hint}"


@pytest.mark.parametrize("door", ["load", "load_run", "load_model"])
def test_what_is_not_there_is_said(tmp_path: Path, door: str) -> None:
    with pytest.raises(DataError) as caught:
        getattr(graphws, door)(tmp_path / "gone")
    assert str(caught.value) == f"{tmp_path / 'gone'}: no such file or folder"


def test_the_doors_that_are_named_open(place: Path) -> None:
    assert isinstance(graphws.load(place / "net.safetensors").graph, NetworkGraph)
    assert graphws.convert(place / "net.pt", activation="tanh").weights is not None
    assert len(graphws.Zoo.open(place / "zoo")) == 4
    assert graphws.NetworkGraph.from_json((place / "graph.json").read_text()) == GRAPH
