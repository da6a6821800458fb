from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
import torch
from torch import nn

import graphws.converting
from graphws.checkpoints.conversion import Conversion, Hints
from graphws.converting import convert, converters, load_graph_file
from graphws.errors import DataError, GraphError, UsageError
from graphws.operations import mlp_graph


def test_the_converters_that_come_along_are_registered() -> None:
    assert "mlp" in converters()


class Stones:
    """A converter of another package."""

    def accepts(self, source: object) -> bool:
        return source == "stones.txt"

    def convert(self, source: object, hints: Hints) -> Conversion:
        return Conversion(mlp_graph([1, 2]), reason=f"{source} {hints.activation}")


def test_other_packages_register_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("stones", f"{__name__}:Stones", graphws.converting.GROUP)
    monkeypatch.setattr(EntryPoint, "load", lambda self: Stones)
    monkeypatch.setattr(graphws.converting, "entry_points", lambda group: EntryPoints([entry]))
    assert list(converters()) == ["stones"]
    assert convert("stones.txt", activation="relu").verdict == "UNVERIFIED (stones.txt relu)"
    with pytest.raises(UsageError, match=r"^net\.pt: no such file or folder; "):
        convert("net.pt")


def test_nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphws.converting, "entry_points", lambda group: EntryPoints([]))
    with pytest.raises(UsageError, match=r"^no converter is installed: install graphws again, they come with it$"):
        convert(nn.Linear(1, 1))


def test_graph_files_zoos_and_checkpoints_are_told_apart(tmp_path: Path) -> None:
    graph = mlp_graph([2, 3, 1], "tanh")
    (tmp_path / "zoo").mkdir()
    for place in (tmp_path / "g.json", tmp_path / "zoo" / "graph.json"):
        place.write_text(graph.to_json(), encoding="utf-8")
    for source in (tmp_path / "g.json", str(tmp_path / "zoo")):
        found = load_graph_file(source)
        assert found.graph == graph
        assert found.verdict == "UNVERIFIED (a graph without weights: there is nothing to compare)"
    module = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    torch.save(module.state_dict(), tmp_path / "net.pt")
    assert load_graph_file(tmp_path / "net.pt", activation="tanh").graph == graph


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"net\.pt: no such file$"):
        load_graph_file(tmp_path / "net.pt")
    with pytest.raises(DataError, match=r"g\.json: no such file$"):
        load_graph_file(tmp_path / "g.json")
    with pytest.raises(DataError, match=r": this folder holds no graph\.json, so it is no zoo$"):
        load_graph_file(tmp_path)
    (tmp_path / "g.json").write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"g\.json: cannot be read: "):
        load_graph_file(tmp_path / "g.json")
    (tmp_path / "g.json").write_text("{}")
    with pytest.raises(GraphError, match=r"^graph file, top: 'graphws_graph' must be a whole number"):
        load_graph_file(tmp_path / "g.json")
    (tmp_path / "net.txt").write_text("")
    with pytest.raises(UsageError, match=r"^'net\.txt' is no network: the file is empty; "):
        load_graph_file(tmp_path / "net.txt")
