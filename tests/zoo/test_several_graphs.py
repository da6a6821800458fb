"""Zoos of networks of several graphs."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from graphws.errors import ZooError
from graphws.graph import NetworkGraph, Parameter, Weights
from graphws.operations import mlp_graph
from graphws.zoo import Zoo, augmentation, orbit_statistics
from graphws.zoo.shards import write_shard
from graphws.zoo.store import ARCHITECTURE
from graphws.zoo.table import write_table
from graphws.zoo.writer import finish, partial_folder

GRAPHS = {"shallow": mlp_graph([2, 4, 1]), "deep": mlp_graph([2, 3, 5, 1]), "wide": mlp_graph([2, 9, 1])}
ORDER = ["deep", "shallow", "deep", "wide", "shallow", "shallow", "deep", "wide", "deep", "shallow"]


def networks() -> dict[str, Weights]:
    draw = torch.Generator().manual_seed(0)
    return {
        name: Weights.unflatten(graph, torch.randn(ORDER.count(name), graph.numel, generator=draw) * 3 + 1)
        for name, graph in GRAPHS.items()
    }


def make(path: Path, given: dict[str, Weights] | None = None, **changes: Any) -> Zoo:
    weights = given or networks()
    table: dict[str, np.ndarray] = {
        ARCHITECTURE: np.array(ORDER, dtype=object),
        "split": np.array(["train"] * 6 + ["validation"] * 2 + ["test"] * 2, dtype=object),
        "label": np.arange(10),
    }
    table = {name: column for name, column in {**table, **changes}.items() if column is not None}
    partial_folder(path).mkdir(exist_ok=True)
    graphs = {name: each.graph for name, each in weights.items()}
    finish(path, graphs, lambda name, low, high: weights[name].select(slice(low, high)), table, {}, shard_bytes=100)
    return Zoo.open(path)


@pytest.fixture
def zoo(tmp_path: Path) -> Zoo:
    return make(tmp_path / "zoo")


def test_what_goes_in_comes_out(zoo: Zoo) -> None:
    zoo.verify()
    weights = networks()
    assert (zoo.names, zoo.graphs) == (tuple(GRAPHS), tuple(GRAPHS.values()))
    assert [zoo.names[k] for k in zoo.architecture] == ORDER
    for number, name in enumerate(ORDER):
        one, row = zoo[number]
        assert torch.equal(one.flatten()[0], weights[name].flatten()[ORDER[:number].count(name)])
        assert (row[ARCHITECTURE], row["label"], row["sample"], row["view"]) == (name, number, number, 0)
    assert repr(zoo).endswith("10 networks of 17 to 37 numbers, 3 architectures; 6 train, 2 validation, 2 test)")


def test_parts_keep_track_of_positions(zoo: Zoo) -> None:
    index = torch.tensor([9, 0, 7, 4, 2, 2])
    parts = zoo.parts(index)
    assert [w.graph for _, w in parts] == list(GRAPHS.values())
    assert [positions.tolist() for positions, _ in parts] == [[0, 3], [1, 4, 5], [2]]
    for positions, weights in parts:
        for row, position in enumerate(positions.tolist()):
            assert torch.equal(weights.flatten()[row], zoo[int(index[position])][0].flatten()[0])
    assert torch.equal(zoo.weights([4, 1]).flatten(), torch.cat([zoo[4][0].flatten(), zoo[1][0].flatten()]))
    assert sum(w.batch for w in zoo.batches(3)) == 10


def test_one_graph_is_asked_for_where_there_are_several(zoo: Zoo) -> None:
    with pytest.raises(ZooError) as caught:
        _ = zoo.graph
    assert str(caught.value) == (
        f"{zoo.path}: holds networks of 3 architectures (shallow, deep, wide), where one is needed"
    )
    with pytest.raises(ZooError, match=r"these are networks of 2 architectures \(shallow, deep\); take Zoo.parts"):
        zoo.weights([0, 1])


class TestStatistics:
    """Per role, against all numbers of the role in a row."""

    def test_of_roles(self, zoo: Zoo) -> None:
        train = [zoo[number][0] for number in range(6)]
        pooled: dict[str, list[torch.Tensor]] = {}
        for one in train:
            for parameter in one.graph.parameters:
                value = one[parameter.name].double()
                pooled.setdefault(parameter.role, []).append(value.flatten() if value.shape[-1] != 2 else value[0].T)
        for role, parts in pooled.items():
            rows = torch.cat(parts, dim=-1)
            moments = zoo.statistics.roles[role]
            torch.testing.assert_close(moments.mean, rows.mean(-1).reshape(-1))
            torch.testing.assert_close(moments.std, rows.std(-1, unbiased=False).reshape(-1))

    def test_a_graph_that_was_never_met_is_normalised_by_role(self, zoo: Zoo) -> None:
        graph = mlp_graph([2, 7, 7, 7, 1])
        weights = Weights.unflatten(graph, torch.randn(2, graph.numel))
        normal = zoo.statistics.normalise(weights)
        hidden = zoo.statistics.roles["weight.hidden"]
        for name in ("W2", "W3"):
            torch.testing.assert_close(normal[name].double(), (weights[name] - hidden.mean) / hidden.std)
        torch.testing.assert_close(zoo.statistics.restore(normal).flatten(), weights.flatten())

    def test_a_role_that_was_never_met(self, zoo: Zoo) -> None:
        graph = mlp_graph([2, 1])
        with pytest.raises(ZooError, match=r"has the role 'weight.only', of which the zoo has no statistics"):
            zoo.statistics.normalise(Weights.unflatten(graph, torch.zeros(1, graph.numel)))

    def test_the_order_of_batches_does_not_matter(self) -> None:
        weights = list(networks().values())
        one = orbit_statistics(list(GRAPHS.values()), weights)
        parts = [w.select([k]) for w in reversed(weights) for k in range(w.batch)]
        other = orbit_statistics(list(GRAPHS.values()), parts)
        for role, moments in one.roles.items():
            torch.testing.assert_close(moments.mean, other.roles[role].mean)
            torch.testing.assert_close(moments.std, other.roles[role].std)

    def test_the_group_leaves_them_alone(self) -> None:
        weights = [w.to(dtype=torch.float64) for w in networks().values()]
        draw = torch.Generator().manual_seed(1)
        moved = [w.graph.group().random(draw, w.batch).act(w) for w in weights]
        one, other = (orbit_statistics(list(GRAPHS.values()), each) for each in (weights, moved))
        for role, moments in one.roles.items():
            torch.testing.assert_close(moments.mean, other.roles[role].mean)
        bent = [w.map(lambda x: x.cumsum(1)) for w in weights]
        odd = orbit_statistics(list(GRAPHS.values()), bent)
        assert not torch.allclose(one.roles["weight.hidden"].mean, odd.roles["weight.hidden"].mean)

    def test_an_architecture_without_training_networks_has_those_of_its_roles(self, tmp_path: Path) -> None:
        split = np.array(["test" if name == "wide" else "train" for name in ORDER], dtype=object)
        zoo = make(tmp_path / "other", split=split)
        found = zoo.statistics.orbits[2]["W1"]
        torch.testing.assert_close(found.mean, zoo.statistics.roles["weight.first"].mean)


def test_whole_numbers_are_kept_and_normalised_as_floats(tmp_path: Path) -> None:
    base = GRAPHS["shallow"]
    counter = Parameter("steps", (), "buffer", "steps")
    graph = NetworkGraph(base.spaces, (*base.parameters, counter))
    tensors = dict(Weights.unflatten(base, torch.randn(10, base.numel)).items())
    weights = Weights(graph, {**tensors, "steps": torch.arange(10)})
    zoo = make(tmp_path / "zoo", {"only": weights}, architecture=None)
    found = zoo.weights()
    assert found["steps"].dtype == torch.int64
    assert torch.equal(found["steps"], torch.arange(10))
    normal = zoo.statistics.normalise(found)
    assert normal["steps"].dtype == torch.float32
    change = augmentation(noise=1.0, dropout=0.5, group=True, statistics=zoo.statistics)
    changed = change(found, torch.Generator().manual_seed(0))
    assert torch.equal(changed["steps"], found["steps"])
    assert not torch.equal(changed["W1"], found["W1"])


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"view": np.full(10, "a", dtype=object)}, "the column 'view' must hold whole numbers"),
        ({"label": np.arange(9)}, "the column 'label' has 9 entries, 'architecture' has 10"),
        ({"split": np.full(10, "training", dtype=object)}, "unknown split 'training'; there are"),
        ({ARCHITECTURE: None}, "the table needs a column 'architecture': there are 3 of them"),
        ({ARCHITECTURE: np.array(["deep"] * 10, dtype=object)}, "'shallow' has a graph, but no row of the table"),
        ({ARCHITECTURE: np.array([*ORDER[:9], "odd"], dtype=object)}, "architecture 'odd' is named in the table, but"),
    ],
)
def test_what_could_not_be_opened_is_not_written(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ZooError, match=text):
        make(tmp_path / "zoo", **changes)
    assert not (tmp_path / "zoo").exists()
    assert [file.name for file in partial_folder(tmp_path / "zoo").iterdir()] == []


def reseal(zoo: Zoo, **changes: np.ndarray | None) -> None:
    """Another table, vouched for."""
    table = {name: column for name, column in {**zoo.table, **changes}.items() if column is not None}
    size, digest = write_table(zoo.path / "table.parquet", table)
    path = zoo.path / "zoo.json"
    data = json.loads(path.read_text())
    data["table"].update(bytes=size, sha256=digest)
    path.write_text(json.dumps(data))


def test_hostile_tables(zoo: Zoo) -> None:
    for column, text in (
        (None, "no column 'architecture', and there are 3 architectures"),
        (["deep"] * 10, "does not name 4 networks of architecture 'shallow'"),
        ([*ORDER[:-1], "odd"], "does not name 4 networks of architecture 'shallow'"),
    ):
        reseal(zoo, architecture=None if column is None else np.array(column, dtype=object))
        with pytest.raises(ZooError, match=text):
            Zoo.open(zoo.path)


def test_a_zoo_of_version_1_opens(tmp_path: Path) -> None:
    """As graphws wrote it when a zoo had one graph."""
    folder, graph = tmp_path / "old", GRAPHS["shallow"]
    folder.mkdir()
    weights = networks()["shallow"]
    (folder / "graph.json").write_text(graph.to_json())
    statistics = orbit_statistics(graph, [weights])
    moments = {
        f"{kind}.{name}": getattr(each, kind) for kind in ("mean", "std") for name, each in statistics.orbits[0].items()
    }
    numbers = np.arange(4)
    write_table(folder / "table.parquet", {"sample": numbers, "view": 0 * numbers, "split": np.full(4, "train")})
    write_shard(folder / "statistics.safetensors", moments)
    write_shard(folder / "weights-00000.safetensors", weights.tensors)

    def entry(name: str, count: int = 0) -> dict[str, Any]:
        data = (folder / name).read_bytes()
        return {"name": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "count": count}

    manifest = {
        "format": "graphws-zoo",
        "version": 1,
        "count": 4,
        "graph": entry("graph.json"),
        "table": entry("table.parquet"),
        "statistics": entry("statistics.safetensors"),
        "shards": [entry("weights-00000.safetensors", 4)],
        "provenance": {"kind": "by hand"},
    }
    (folder / "zoo.json").write_text(json.dumps(manifest))
    zoo = Zoo.open(folder, verify=True)
    assert torch.equal(zoo.weights().flatten(), weights.flatten())
    assert zoo.graph == graph
    torch.testing.assert_close(zoo.statistics.normalise(weights).flatten(), statistics.normalise(weights).flatten())
    shutil.rmtree(folder)


def test_too_large_graphs_are_refused_before_they_are_read(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphws.zoo.store.MAX_ALL_GRAPHS", 100)
    with pytest.raises(ZooError, match="its graphs have more than 100 bytes together"):
        Zoo.open(zoo.path)


def test_the_same_structure_twice_is_two_architectures(tmp_path: Path) -> None:
    slow, fast = (mlp_graph([2, 4, 1], "sine", omega=omega) for omega in (5.0, 30.0))
    weights = {
        "slow": Weights.unflatten(slow, torch.zeros(5, slow.numel)),
        "fast": Weights.unflatten(fast, torch.ones(5, fast.numel)),
    }
    zoo = make(tmp_path / "zoo", weights, architecture=np.array(["slow", "fast"] * 5, dtype=object))
    assert float(zoo.statistics.orbits[0]["W1"].mean[0]) == 0
    assert float(zoo.statistics.orbits[1]["W1"].mean[0]) == 1
    assert replace(zoo).graphs == (slow, fast)
