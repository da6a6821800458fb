"""The zoo on disk: what goes in comes out; whatever is cut off, altered or hostile is noticed."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from graphws.errors import WeightsError, ZooError
from graphws.graph import Weights
from graphws.operations import mlp_graph
from graphws.zoo import Zoo, orbit_statistics
from graphws.zoo.parquet_pages import ENCODINGS, pages
from graphws.zoo.shards import MAX_HEADER, read_shard, write_shard
from graphws.zoo.writer import finish, partial_folder

GRAPH = mlp_graph([2, 4, 1], activation="tanh")
COUNT = 23


def networks(dtype: torch.dtype = torch.float32) -> Weights:
    rng = torch.Generator().manual_seed(0)
    return Weights.unflatten(GRAPH, torch.randn(COUNT, GRAPH.numel, generator=rng).to(dtype) * 3 + 1)


def make(path: Path, weights: Weights | None = None, shard_bytes: int = 4 * GRAPH.numel * 10) -> Zoo:
    weights = weights or networks()
    split = np.array((["train"] * 3 + ["validation", "test"]) * 5, dtype=object)[:COUNT]
    table = {
        "sample": np.arange(COUNT),
        "view": np.zeros(COUNT, dtype=np.int64),
        "split": split,
        "label": np.arange(COUNT) % 3,
        "name": np.array([f"n{k}" for k in range(COUNT)], dtype=object),
    }
    partial_folder(path).mkdir()
    finish(
        path,
        {"2-4-1": GRAPH},
        lambda name, low, high: weights.select(slice(low, high)),
        table,
        {"made": "by hand"},
        shard_bytes=shard_bytes,
    )
    return Zoo.open(path)


@pytest.fixture
def zoo(tmp_path: Path) -> Zoo:
    return make(tmp_path / "zoo")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shard_bytes", [1, 4 * GRAPH.numel * 10, 1 << 30])
def test_round_trip(tmp_path: Path, dtype: torch.dtype, shard_bytes: int) -> None:
    weights = networks(dtype)
    zoo = make(tmp_path / "zoo", weights, shard_bytes)
    assert zoo.graph == GRAPH
    assert torch.equal(zoo.weights().flatten(), weights.flatten())
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(1))
    batch, rows = zoo.batch(order[:9])
    assert torch.equal(batch.flatten(), weights.flatten()[order[:9]])
    assert rows["label"].tolist() == (order[:9] % 3).tolist()
    assert rows["name"].tolist() == [f"n{k}" for k in order[:9].tolist()]
    one, row = zoo[-1]
    assert torch.equal(one.flatten()[0], weights.flatten()[-1])
    assert row["name"] == "n22"
    assert torch.equal(Weights.cat(list(zoo.batches(5))).flatten(), weights.flatten())
    zoo.verify()


def test_splits(zoo: Zoo) -> None:
    assert zoo.split("test").tolist() == [4, 9, 14, 19]
    assert len(zoo.split("train")) == 15
    assert repr(zoo) == f"Zoo({str(zoo.path)!r}: 23 networks of 17 numbers; 15 train, 4 validation, 4 test)"
    with pytest.raises(ZooError) as caught:
        zoo.split("valid")
    assert str(caught.value) == "unknown split 'valid'; there are train, validation, test"


def test_statistics_are_those_of_the_training_split(zoo: Zoo) -> None:
    train = zoo.weights(zoo.split("train"))
    for name in ("W2", "b1"):  # one orbit each
        mean, std = zoo.statistics.spread(GRAPH, name, train[name].double())
        values = train[name].double()
        assert torch.allclose(mean, values.mean().expand(mean.shape), atol=1e-12)
        assert torch.allclose(std, values.std(unbiased=False).expand(std.shape), atol=1e-12)
    mean, _ = zoo.statistics.spread(GRAPH, "W1", train["W1"].double())  # an orbit for each input
    assert torch.allclose(mean, train["W1"].double().mean(dim=(0, 1)).expand(4, 2), atol=1e-12)
    normal = zoo.statistics.normalise(train)
    assert torch.allclose(normal["W1"].mean(dim=(0, 1)), torch.zeros(2), atol=1e-5)
    assert torch.allclose(normal["W2"].std(unbiased=False), torch.tensor(1.0), atol=1e-5)
    assert torch.allclose(zoo.statistics.restore(normal).flatten(), train.flatten(), atol=1e-5)


def test_statistics_do_not_depend_on_batches_and_commute_with_the_group() -> None:
    weights = networks(torch.float64)
    whole = orbit_statistics(GRAPH, [weights])
    parts = orbit_statistics(GRAPH, [weights.select(slice(0, 3)), weights.select(slice(3, COUNT))])
    moved = GRAPH.group().random(torch.Generator().manual_seed(0), COUNT)
    other = orbit_statistics(GRAPH, [moved.act(weights)])
    for name in ("W1", "b1", "W2", "b2"):
        for statistics in (parts, other):
            assert torch.allclose(whole.orbits[0][name].mean, statistics.orbits[0][name].mean, atol=1e-12)
            assert torch.allclose(whole.orbits[0][name].std, statistics.orbits[0][name].std, atol=1e-12)
    left = moved.act(whole.normalise(weights)).flatten()
    assert torch.allclose(left, whole.normalise(moved.act(weights)).flatten(), atol=1e-12)
    constant = orbit_statistics(GRAPH, [weights.map(torch.ones_like)])
    assert not constant.normalise(weights.map(torch.ones_like)).flatten().any()
    with pytest.raises(ZooError) as caught:
        orbit_statistics(GRAPH, [])
    assert str(caught.value) == "statistics of no networks: the training split is empty"


def test_stored_data_cannot_be_changed_by_accident(zoo: Zoo) -> None:
    before = zoo.weights().flatten()
    zoo.weights([0, 1])["W1"].zero_()
    zoo.rows([0])["label"][:] = 9
    assert torch.equal(Zoo.open(zoo.path).weights().flatten(), before)
    assert torch.equal(zoo.weights().flatten(), before)
    assert zoo.table["label"][0] == 0


def test_an_index_outside(zoo: Zoo) -> None:
    for index, bad in (([0, 23], 23), ([3, -1], -1)):
        with pytest.raises(ZooError) as caught:
            zoo.weights(index)
        assert str(caught.value) == f"{zoo.path}: no network {bad}; there are 23, counted from 0"


def edit(zoo: Zoo, change: Callable[[dict[str, Any]], object]) -> Path:
    """Alters zoo.json."""
    path = zoo.path / "zoo.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    return path


def reseal(zoo: Zoo, name: str, data: bytes) -> Path:
    """Puts other bytes into a file and has zoo.json vouch for them, as an attacker would."""
    file = zoo.path / name
    file.write_bytes(data)

    def change(manifest: dict[str, Any]) -> None:
        shelf = manifest["architectures"][0]
        for entry in (shelf["graph"], manifest["table"], manifest["statistics"], *shelf["shards"]):
            if entry["name"] == name:
                entry.update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())

    edit(zoo, change)
    return file


@pytest.mark.parametrize("name", ["weights-00001.safetensors", "table.parquet", "statistics.safetensors", "graph.json"])
def test_a_truncated_file_is_noticed_at_once(zoo: Zoo, name: str) -> None:
    file = zoo.path / name
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(ZooError) as caught:
        Zoo.open(zoo.path)
    assert str(caught.value) == f"{file}: {size - 4} bytes where zoo.json says {size}: it was cut off or altered"
    file.unlink()
    with pytest.raises(ZooError) as caught:
        Zoo.open(zoo.path)
    assert str(caught.value) == f"{file}: missing; the zoo is not whole"


@pytest.mark.parametrize("name", ["weights-00001.safetensors", "table.parquet", "statistics.safetensors", "graph.json"])
def test_one_flipped_bit_is_noticed_by_the_checksum(zoo: Zoo, name: str) -> None:
    file = zoo.path / name
    data = bytearray(file.read_bytes())
    data[-2] ^= 1
    file.write_bytes(data)
    for check in (zoo.verify, lambda: Zoo.open(zoo.path, verify=True)):
        with pytest.raises(ZooError) as caught:
            check()
        assert str(caught.value) == f"{file}: its checksum is not that of zoo.json: the file was altered"


def test_a_shard_of_another_size_is_noticed_even_if_vouched_for(zoo: Zoo) -> None:
    name = "weights-00001.safetensors"
    file = reseal(zoo, name, (zoo.path / name).read_bytes()[:-4])
    with pytest.raises(ZooError) as caught:
        Zoo.open(zoo.path)
    assert str(caught.value) == f"{file}: holds 676 bytes of data where 680 belong: it was cut off or altered"


def shard_bytes(header: dict[str, Any], size: int) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(size)


def test_hostile_shards(tmp_path: Path) -> None:
    path, shapes = tmp_path / "x.safetensors", {"a": (2, 3)}
    write_shard(path, {"a": torch.zeros(2, 3)})
    assert read_shard(path, shapes)["a"].shape == (2, 3)
    entry = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
    for data, message in (
        (struct.pack("<Q", MAX_HEADER + 1), "not a safetensors file, or one with an absurd header"),
        (struct.pack("<Q", 1 << 63), "not a safetensors file, or one with an absurd header"),
        (b"abc", "not a safetensors file, or one with an absurd header"),
        (struct.pack("<Q", 5) + b"{", "its header is damaged"),
        (struct.pack("<Q", 2) + b"[]", "its header is damaged"),
        (struct.pack("<Q", 100000) + b"[" * 100000, "its header is damaged"),
        (shard_bytes({"a": {**entry, "shape": [3, 2]}}, 24), "tensor 'a' has shape 3x2, not 2x3"),
        (
            shard_bytes({"a": {**entry, "dtype": "U64"}}, 48),
            "tensor 'a' is of type 'U64'; it may hold F64, F32, F16, BF16, I64, I32, I16, I8, U8, BOOL",
        ),
        (shard_bytes({"a": {**entry, "data_offsets": [4, 28]}}, 28), "tensor 'a' is not where it must be"),
        (shard_bytes({"a": {**entry, "data_offsets": "no"}}, 24), "its header is damaged"),
        (shard_bytes({"a": 3}, 24), "its header is damaged"),
        (shard_bytes({"b": entry}, 24), "tensor 'a' is missing"),
        (shard_bytes({"a": entry, "b": entry}, 24), "tensor 'b' is unexpected"),
        (shard_bytes({"a": entry}, 20), "holds 20 bytes of data where 24 belong: it was cut off or altered"),
    ):
        path.write_bytes(data)
        with pytest.raises(ZooError) as caught:
            read_shard(path, shapes)
        assert str(caught.value) == f"{path}: {message}"


def test_hostile_manifests(zoo: Zoo) -> None:
    path = zoo.path / "zoo.json"
    good = path.read_text()

    def name(value: object) -> Callable[[dict[str, Any]], object]:
        return lambda data: data["architectures"][0]["shards"][0].update(name=value)

    for change, message in (
        (lambda data: data.update(version=3), "format version 3; this graphws reads versions 1 and 2"),
        (lambda data: data.update(format="zip"), "not the manifest of a zoo"),
        (lambda data: data.update(count=22), "damaged: its shards do not add up to 22 networks"),
        (lambda data: data.update(count=-1), "damaged: -1 is no count"),
        (lambda data: data.update(count=True), "damaged: True is no count"),
        (lambda data: data["architectures"][0].update(shards=[]), "damaged: its list of shards is empty or absurd"),
        (lambda data: data["architectures"][0].update(shards=[3]), "damaged: an entry is not an object"),
        (lambda data: data.update(architectures=[]), "damaged: its list of architectures is empty or absurd"),
        (lambda data: data.update(architectures=[3]), "damaged: an architecture is not an object"),
        (
            lambda data: data["architectures"][0].update(name="a\nb"),
            "damaged: the name of an architecture is no text of one line",
        ),
        (
            lambda data: data["architectures"].append(data["architectures"][0]),
            "damaged: its shards do not add up to 23 networks",
        ),
        (lambda data: data.pop("table"), "damaged: no 'table'"),
        (
            lambda data: data["architectures"][0]["graph"].update(sha256="ff"),
            "damaged: the checksum of graph.json is none",
        ),
        (name("../../etc/passwd"), "damaged: '../../etc/passwd' is no file name inside the zoo"),
        (name("/etc/passwd"), "damaged: '/etc/passwd' is no file name inside the zoo"),
        (name("weights-00001.safetensors"), "damaged: it lists a file twice"),
        (name(7), "damaged: '7' is no file name inside the zoo"),
    ):
        edit(zoo, change)
        with pytest.raises(ZooError) as caught:
            Zoo.open(zoo.path)
        assert str(caught.value) == f"{path}: {message}"
        path.write_text(good)
    path.write_text("[" * 100000)
    with pytest.raises(ZooError) as caught:
        Zoo.open(zoo.path)
    assert str(caught.value) == f"{path}: damaged: it is not JSON"
    with path.open("wb") as file:
        file.truncate(17 << 20)
    with pytest.raises(ZooError) as caught:
        Zoo.open(zoo.path)
    assert str(caught.value) == f"{path}: more than 16777216 bytes, which no such file has"


def test_a_link_is_no_part_of_a_zoo(zoo: Zoo, tmp_path: Path) -> None:
    file = zoo.path / "graph.json"
    file.rename(tmp_path / "graph.json")
    file.symlink_to(tmp_path / "graph.json")
    with pytest.raises(ZooError) as caught:
        Zoo.open(zoo.path)
    assert str(caught.value) == f"{file}: missing; the zoo is not whole"


def parquet(**columns: object) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def test_hostile_tables(zoo: Zoo) -> None:
    numbers, split = list(range(COUNT)), ["train"] * COUNT
    for data, message in (
        (parquet(sample=numbers[1:], view=numbers[1:], split=split[1:]), "22 rows for 23 networks"),
        (parquet(sample=numbers, view=numbers), "no column 'split'"),
        (
            parquet(sample=numbers, view=numbers, split=["training"] * COUNT),
            "unknown split 'training'; there are train, validation, test",
        ),
        (
            parquet(sample=numbers, view=numbers, split=split, x=[[1]] * COUNT),
            "column 'x' is of type list<item: int64>; numbers and text are allowed",
        ),
    ):
        file = reseal(zoo, "table.parquet", data)
        with pytest.raises(ZooError) as caught:
            Zoo.open(zoo.path)
        assert str(caught.value).replace("list<element", "list<item") == f"{file}: {message}"
    file = reseal(zoo, "table.parquet", b"PAR1 nonsense PAR1")
    with pytest.raises(ZooError) as caught:
        Zoo.open(zoo.path)
    assert str(caught.value).startswith(f"{file}: not a readable Parquet file: ")


def _table(**columns: object) -> pa.Table:
    numbers = list(range(COUNT))
    return pa.table({"sample": numbers, "view": numbers, "split": ["train"] * COUNT, **columns})


def _written(table: pa.Table, **options: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def test_a_text_of_a_dictionary_stays_one_object(zoo: Zoo) -> None:
    reseal(zoo, "table.parquet", _written(_table(b=["A" * 150_000] * (COUNT - 1) + [None]), compression="zstd"))
    column = Zoo.open(zoo.path).table["b"]
    assert len({id(text) for text in column[:-1]}) == 1
    assert (len(column[0]), column[-1]) == (150_000, None)


@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_texts_built_from_one_another_are_refused(zoo: Zoo, encoding: str) -> None:
    data = _written(_table(b=["A" * 150_000] * COUNT), use_dictionary=False, column_encoding={"b": encoding})
    file = reseal(zoo, "table.parquet", data)
    with pytest.raises(ZooError) as caught:
        Zoo.open(zoo.path)
    assert str(caught.value) == f"{file}: column 4 builds texts from one another; write plain"


def test_what_unfolds_beyond_the_bound_is_refused_before_it_is_unfolded(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = _written(_table(b=[f"{k}" + "A" * 9_000 for k in range(COUNT)]), compression="zstd")
    assert len(data) < 20_000
    file = reseal(zoo, "table.parquet", data)
    monkeypatch.setattr("graphws.zoo.table.MAX_BYTES", 100_000)
    monkeypatch.setattr(pq.ParquetFile, "read", lambda *given, **options: pytest.fail("unfolded"))
    with pytest.raises(ZooError) as caught:
        Zoo.open(zoo.path)
    size = str(caught.value).split("4 columns, ")[1].split(" ")[0]
    assert str(caught.value) == f"{file}: claims 4 columns, {size} bytes: too much for a zoo's table"
    assert int(size) > 9_000 * COUNT


def test_text_that_is_no_text(zoo: Zoo) -> None:
    bad = pa.array([b"\xff"] * COUNT, type=pa.binary()).view(pa.string())
    file = reseal(zoo, "table.parquet", _written(_table(b=bad)))
    with pytest.raises(ZooError, match=f"^{file}: not a readable Parquet file: 'utf-?8' codec can't decode byte 0xff"):
        Zoo.open(zoo.path)


def test_pages_are_counted_from_their_headers() -> None:
    data = _written(_table(b=["B" * 1000] * COUNT), compression="zstd", data_page_version="2.0")
    about = pq.read_metadata(io.BytesIO(data)).row_group(0).column(3)
    found = list(pages(data, about.dictionary_page_offset, about.total_compressed_size))
    assert found[0].unpacked == 1004, "the length of the text and the text"
    assert {page.encoding for page in found} <= ENCODINGS
    for start, length, message in (
        (len(data), 1, "its columns lie outside of the file"),
        (about.dictionary_page_offset, about.total_compressed_size - 1, "a page reaches beyond its column"),
        (0, 3, "a page's header is damaged"),
        (about.dictionary_page_offset, 2, "a page's header is cut off"),
    ):
        with pytest.raises(ValueError, match=f"^{message}$"):
            list(pages(data, start, length))
    with pytest.raises(ValueError, match="nested too deep"):
        list(pages(b"\x1c" * 100, 0, 100))
    with pytest.raises(ValueError, match=r"^a page says no size$"):
        list(pages(b"\0" * 100, 0, 100))


def test_a_shard_that_is_cut_while_the_zoo_is_open(zoo: Zoo) -> None:
    shard = zoo.path / zoo.manifest.shards[0].name
    size = shard.stat().st_size
    os.truncate(shard, 100)
    with pytest.raises(ZooError) as caught:
        zoo.weights([0])
    assert str(caught.value) == (f"{shard}: 100 bytes where zoo.json says {size}: it was cut off while it was open")
    assert zoo.weights([COUNT - 1]).batch == 1, "another shard is whole"
    shard.unlink()
    with pytest.raises(ZooError) as caught:
        zoo.weights([0])
    assert str(caught.value) == f"{shard}: missing; it was removed while the zoo was open"


def test_statistics_are_no_map(zoo: Zoo) -> None:
    os.truncate(zoo.path / "statistics.safetensors", 0)
    assert all(bool(x.isfinite().all()) for x in zoo.statistics.tensors().values())


def test_a_graph_that_does_not_fit_the_shards(zoo: Zoo) -> None:
    file = reseal(zoo, "graph.json", mlp_graph([2, 5, 1], activation="tanh").to_json().encode())
    with pytest.raises(ZooError) as caught:
        Zoo.open(zoo.path)
    shard = zoo.path / "weights-00000.safetensors"
    assert str(caught.value) == f"{shard}: tensor 'W1' has shape 10x4x2, not 10x5x2"
    reseal(zoo, "graph.json", b"{}")
    with pytest.raises(ZooError) as caught:
        Zoo.open(zoo.path)
    assert str(caught.value).startswith(f"{file}: damaged: ")


def test_no_zoo(tmp_path: Path) -> None:
    with pytest.raises(ZooError) as caught:
        Zoo.open(tmp_path / "none")
    assert str(caught.value) == (f"{tmp_path / 'none'}: no such zoo; `graphws zoo fit` or `graphws zoo pack` makes one")
    with pytest.raises(ZooError) as caught:
        Zoo.open(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: no zoo.json in it, so it is no finished zoo; `graphws zoo fit` or `pack` makes one"
    )


def test_nan_weights_are_not_stored(tmp_path: Path) -> None:
    weights = networks()
    weights["W2"][15] = torch.nan
    with pytest.raises(WeightsError) as caught:
        make(tmp_path / "zoo", weights)
    assert str(caught.value) == "parameter 'W2' of network 5 holds 4 NaN or inf"
    assert not (tmp_path / "zoo").exists()


def test_complex_numbers_are_no_weights(tmp_path: Path) -> None:
    with pytest.raises(ZooError) as caught:
        write_shard(tmp_path / "x.safetensors", {"a": torch.zeros(3, dtype=torch.complex64)})
    assert str(caught.value).startswith("tensor 'a' is of torch.complex64; a zoo holds torch.float64, torch.float32, ")


def test_a_zoo_is_iterated_and_taken_by_number(zoo: Zoo) -> None:
    found = list(zoo)
    assert len(found) == len(zoo) == COUNT
    assert [row["name"] for _, row in found] == [f"n{k}" for k in range(COUNT)]
    assert torch.equal(Weights.cat([weights for weights, _ in found]).flatten(), zoo.weights().flatten())
    assert zoo[-1][1]["name"] == f"n{COUNT - 1}"
    assert zoo[np.int64(2)][1]["name"] == "n2"
    with pytest.raises(
        ZooError, match=f"^{re.escape(str(zoo.path))}: no network {COUNT}; there are {COUNT}, counted from 0$"
    ):
        zoo[COUNT]
    with pytest.raises(ZooError) as refused:
        zoo[2:5]  # type: ignore[index]
    wanted = "one network is taken by its number, got a slice; Zoo.weights and Zoo.rows take several"
    assert str(refused.value) == f"{zoo.path}: {wanted}"
    with pytest.raises(TypeError, match="is not a container"):
        _ = "n2" in zoo  # type: ignore[operator]
