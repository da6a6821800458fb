"""What `finish` writes, `Zoo.open` accepts: everything else is refused first, by name."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from graphws.errors import WeightsError, ZooError
from graphws.graph import NetworkGraph, Parameter, Space, Weights
from graphws.operations import mlp_graph
from graphws.zoo import Zoo
from graphws.zoo.requirements import check_graphs, check_provenance, complete_table
from graphws.zoo.shards import write_shard
from graphws.zoo.store import rows_of
from graphws.zoo.writer import finish, partial_folder

GRAPH, OTHER = mlp_graph([2, 3, 1]), mlp_graph([2, 4, 1])
COUNT = 6


def networks(graph: NetworkGraph = GRAPH, count: int = COUNT) -> Weights:
    return Weights.unflatten(graph, torch.randn(count, graph.numel, generator=torch.Generator().manual_seed(0)))


def texts(*values: object) -> np.ndarray:
    return np.array(values, dtype=object)


def write(path: Path, table: dict[str, Any], give: Callable[[int, int], Weights] | None = None, **options: Any) -> Zoo:
    weights = networks()
    partial_folder(path).mkdir(exist_ok=True)
    finish(
        path,
        options.pop("graphs", {"only": GRAPH}),
        lambda name, low, high: give(low, high) if give else weights.select(slice(low, high)),
        table,
        options.pop("provenance", {}),
        shard_bytes=4 * GRAPH.numel * 2,
        **options,
    )
    return Zoo.open(path, verify=True)


@pytest.mark.parametrize(
    "table",
    [
        {"label": np.arange(COUNT)},
        {"split": texts(*["train"] * COUNT)},
        {"split": np.array(["test"] * COUNT)},
        {"sample": np.arange(COUNT, dtype=np.uint8), "view": np.ones(COUNT, dtype=np.int16)},
        {"text": texts("a", None, "", "é", "\n", "a"), "half": np.ones(COUNT, dtype=np.float16)},
        {"flag": np.ones(COUNT, dtype=bool), "nan": np.full(COUNT, np.nan)},
    ],
)
def test_columns_that_are_missing_are_filled(tmp_path: Path, table: dict[str, np.ndarray]) -> None:
    zoo = write(tmp_path / "zoo", table)
    assert set(zoo.table) == {"architecture", "sample", "view", "split"} | set(table)
    for name, column in table.items():
        np.testing.assert_array_equal(zoo.table[name], column)
    if "sample" not in table:
        assert zoo.table["sample"].tolist() == list(range(COUNT))
        assert not zoo.table["view"].any()
    assert set(zoo.table["architecture"]) == {"only"}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "a zoo needs networks; there are none"),
    ({"label": np.arange(0)}, "a zoo needs networks; there are none"),
    ({"a": np.arange(6), "b": np.arange(5)}, "the column 'b' has 5 entries, 'a' has 6"),
    ({"a": np.ones((6, 2))}, "the column 'a' has 2 axes, a column has one"),
    ({"sample": np.ones(6)}, "the column 'sample' must hold whole numbers"),
    ({"view": texts(*"abcdef")}, "the column 'view' must hold whole numbers"),
    ({"split": texts(*["val"] * 6)}, "unknown split 'val'; there are train, validation, test"),
    ({"split": np.arange(6)}, "unknown split '0'; there are train, validation, test"),
    ({"a": np.ones(6, dtype=complex)}, "the column 'a' is of type complex128; numbers and text are allowed"),
    ({"a": np.array([b"a"] * 6)}, "the column 'a' is of type |S1; numbers and text are allowed"),
    ({"a": texts("a", 1, 2, 3, 4, 5)}, "the column 'a' mixes text with int; numbers or text are allowed"),
    ({1: np.arange(6)}, "a column of the table is called 1; names are text"),  # type: ignore[dict-item]
    (
        {"architecture": texts(*["one"] * 6)},
        "architecture 'one' is named in the table, but has no graph",
    ),
    ({f"c{k}": np.arange(6) for k in range(1021)}, "the table has 1025 columns, at most 1024 are allowed"),
]


@pytest.mark.parametrize(("table", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_tables_that_could_not_be_read_are_refused(tmp_path: Path, table: dict[str, Any], message: str) -> None:
    with pytest.raises(ZooError) as caught:
        write(tmp_path / "zoo", table)
    assert str(caught.value) == message
    assert list(partial_folder(tmp_path / "zoo").iterdir()) == []


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (texts(*["\ud800"] * COUNT), "the column 'a' cannot be written: "),
        (np.ones(COUNT, dtype=np.longdouble), "the column 'a' cannot be written: "),
    ],
)
def test_what_parquet_cannot_hold_is_refused_before_networks_are_written(
    tmp_path: Path, column: np.ndarray, text: str
) -> None:
    with pytest.raises(ZooError, match=text):
        write(tmp_path / "zoo", {"a": column}, lambda low, high: pytest.fail("read"))
    assert list(partial_folder(tmp_path / "zoo").iterdir()) == []


def test_a_table_that_is_too_large_is_refused_before_networks_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphws.zoo.table.MAX_BYTES", 10_000)
    with pytest.raises(ZooError, match="too much for a zoo's table"):
        write(
            tmp_path / "zoo",
            {"a": texts(*["x" * 9_000 + str(k) for k in range(COUNT)])},
            lambda low, high: pytest.fail("read"),
        )
    assert list(partial_folder(tmp_path / "zoo").iterdir()) == []


def test_networks_that_are_not_what_they_should_be(tmp_path: Path) -> None:
    weights = networks()
    mixed = Weights.cat([weights.select([k]) for k in range(2)])
    bent = Weights(GRAPH, {**weights.tensors, "b1": weights["b1"] / torch.zeros(3)})
    other = networks(OTHER)

    def types(low: int, high: int) -> Weights:
        part = weights.select(slice(low, high))
        return part if low < 2 else part.to(dtype=torch.float64)

    cases: list[tuple[Callable[[int, int], Weights], str]] = [
        (lambda low, high: other.select(slice(low, high)), "'only': its networks from 0 to 2 are of another graph"),
        (lambda low, high: mixed.select([0]), "architecture 'only': got 1 networks where 2 were asked for"),
        (types, "'W1' is of torch.float64 in its networks from 2 to 4; a zoo holds one type, here torch.float32"),
        (
            lambda low, high: weights.select(slice(low, high)).map(lambda x: x.to(torch.complex64)),
            "'W1' is of torch.complex64 in its networks from 0 to 2; a zoo holds torch.float64, torch.float32, ",
        ),
        (lambda low, high: bent.select(slice(low, high)), "parameter 'b1' of network 0 holds 3 NaN or inf"),
    ]
    for give, message in cases:
        with pytest.raises((ZooError, WeightsError)) as caught:
            write(tmp_path / "zoo", {"label": np.arange(COUNT)}, give)
        assert message in str(caught.value)
        assert not (tmp_path / "zoo").exists()
    assert len(write(tmp_path / "zoo", {"label": np.arange(COUNT)})) == COUNT, "what they left does not matter"


def test_graphs_that_could_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    axes = " ".join(["h"] * 30)
    many = NetworkGraph((Space("h", 30),), (Parameter("T", axes),))  # type: ignore[arg-type]
    for graphs, message in (
        ({"a\nb": GRAPH}, "architecture 'a\\nb': a name is printable and has at most 200 characters"),
        ({"a" * 201: GRAPH}, "a name is printable and has at most 200 characters"),
        ({"none": NetworkGraph(GRAPH.spaces, ())}, "architecture 'none' has no parameters"),
        ({"many": many}, "architecture 'many': parameter 'T': its orbits are too many to be counted"),
    ):
        with pytest.raises(ZooError) as caught:
            check_graphs(graphs)
        assert message in str(caught.value).replace("\\\\", "\\")
    assert check_graphs({"a": GRAPH, "b": OTHER})["b"] == OTHER.to_json().encode()
    for name, value, message in (
        ("MAX_GRAPH_BYTES", 100, "architecture 'a': its graph takes "),
        ("MAX_ALL_GRAPHS", 1000, "the graphs of 2 architectures take more than 1000 bytes together"),
        ("MAX_ARCHITECTURES", 1, "2 architectures, at most 1 are allowed in a zoo"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(f"graphws.zoo.requirements.{name}", value)
            with pytest.raises(ZooError, match=message):
                check_graphs({"a": GRAPH, "b": OTHER})


def test_provenance_that_could_not_be_read() -> None:
    check_provenance({"kind": "packed", "summary": {"median_psnr": 3.5}})
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for provenance in (
        {"a": np.float32(1)},
        {"summary": {"loss": float("nan")}},
        {"signal": {"shape": [-1], "peak": 1.0, "classes": []}},
        {"a": "x" * (9 << 20)},
        {"a": deep},
        {1: "a", "b": 2},
        [],
    ):
        with pytest.raises(ZooError, match=r"^the provenance is not what zoo\.json can hold: "):
            check_provenance(provenance)


def test_rows_of_architectures() -> None:
    assert [rows.tolist() for rows in rows_of(np.array([2, 0, 2, 0, 0]), 4)] == [[1, 3, 4], [], [0, 2], []]
    assert complete_table({"a": np.arange(2)}, ["x"])["architecture"].tolist() == ["x", "x"]


def test_a_finish_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped while networks are written, it begins anew; stopped before the folder is renamed, it is only renamed."""
    path, label = tmp_path / "zoo", {"label": np.arange(COUNT)}

    def stops(low: int, high: int) -> Weights:
        if low >= 2:
            raise KeyboardInterrupt
        return networks().select(slice(low, high))

    with pytest.raises(KeyboardInterrupt):
        write(path, label, stops)
    assert not path.exists()
    with pytest.raises(ZooError, match="not finished"):
        Zoo.open(path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", lambda *names: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            write(path, label)
    assert not path.exists()
    zoo = write(path, label, lambda low, high: pytest.fail("read again"))
    assert torch.equal(zoo.weights().flatten(), networks().flatten())
    assert {file.name for file in path.iterdir()} == {"zoo.json", *(entry.name for entry in zoo.manifest.files)}


def test_a_damaged_partial_folder_is_not_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, label = tmp_path / "zoo", {"label": np.arange(COUNT)}
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", lambda *names: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            write(path, label)
    shard = partial_folder(path) / "weights-00001.safetensors"
    os.truncate(shard, 40)
    with pytest.raises(ZooError, match="it was cut off or altered"):
        write(path, label)
    assert not path.exists()


def vouch(zoo: Zoo, name: str, tensors: dict[str, torch.Tensor]) -> None:
    """Other tensors in a file, with a manifest that says so."""
    write_shard(zoo.path / name, tensors)
    data = (zoo.path / name).read_bytes()
    manifest = json.loads((zoo.path / "zoo.json").read_text())
    for entry in (manifest["statistics"], *manifest["architectures"][0]["shards"]):
        if entry["name"] == name:
            entry.update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    (zoo.path / "zoo.json").write_text(json.dumps(manifest))


def test_shards_of_different_types_are_refused(tmp_path: Path) -> None:
    zoo = write(tmp_path / "zoo", {"label": np.arange(COUNT)})
    other = {name: tensor.double() for name, tensor in zoo.weights(slice(2, 4)).items()}
    vouch(zoo, "weights-00001.safetensors", other)
    with pytest.raises(ZooError) as caught:
        Zoo.open(zoo.path)
    assert str(caught.value) == (
        f"{zoo.path / 'weights-00001.safetensors'}: tensor 'W1' is of float64, that of weights-00000.safetensors of "
        "float32"
    )


def test_statistics_of_whole_numbers_are_refused(tmp_path: Path) -> None:
    zoo = write(tmp_path / "zoo", {"label": np.arange(COUNT)})
    vouch(zoo, "statistics.safetensors", {name: tensor > 0 for name, tensor in zoo.statistics.tensors().items()})
    with pytest.raises(ZooError, match=r"tensor 'mean.0' is of type 'BOOL'; it may hold F64$"):
        Zoo.open(zoo.path)
