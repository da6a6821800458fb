"""Labels of unpacked zoos: what is packed again has the table and the splits of the zoo that it comes from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from graphws.errors import ZooError
from graphws.zoo import Architecture, FitOptions, Zoo, fit_zoo, load_digits, load_sine, pack, unpack
from graphws.zoo.export import export
from graphws.zoo.labels import LABELS


def waves(path: Path) -> Zoo:
    samples = load_sine(count=9, amplitude=(0.5, 2.0), points=20)
    zoo = fit_zoo(path, samples, Architecture((1, 4, 4, 1)), FitOptions(steps=3, views=2))
    assert zoo is not None
    return zoo


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_the_table_comes_back(tmp_path: Path, suffix: str) -> None:
    zoo = waves(tmp_path / "zoo")
    files = unpack(zoo, tmp_path / "out", suffix=suffix)
    assert (tmp_path / "out" / LABELS) not in files
    back = pack(tmp_path / "out", tmp_path / "back", activation="sine", omega=30.0)
    assert set(back.table) == {*zoo.table, "file"}
    assert back.table["file"].tolist() == [file.name for file in files]
    for name, column in zoo.table.items():
        assert back.table[name].dtype == column.dtype, name
        assert back.table[name].tolist() == column.tolist(), name
    assert set(zoo.table["view"].tolist()) == {0, 1}
    assert set(zoo.table["split"]) == {"train", "validation", "test"}
    assert torch.equal(back.weights().flatten(), zoo.weights().flatten())
    again = unpack(back, tmp_path / "again", suffix=suffix)
    assert [file.name for file in again] == [file.name for file in files]
    assert (tmp_path / "again" / LABELS).read_bytes().splitlines()[1:] == (
        (tmp_path / "out" / LABELS).read_bytes().splitlines()[1:]
    )


def test_exported_state_dicts_have_the_same_labels(tmp_path: Path) -> None:
    zoo = waves(tmp_path / "zoo")
    export(zoo, tmp_path / "out", "state-dicts")
    back = pack(tmp_path / "out", tmp_path / "back", activation="sine", omega=30.0)
    assert all(back.table[name].tolist() == column.tolist() for name, column in zoo.table.items())


def test_labels_are_of_the_networks_that_lie_there(tmp_path: Path) -> None:
    zoo, out = waves(tmp_path / "zoo"), tmp_path / "out"
    for chosen, there in (([4, 1], [1, 4]), ([0], [0, 1, 4]), ([1], [0, 1, 4])):
        unpack(zoo, out, chosen)
        rows = (out / LABELS).read_text().splitlines()[1:]
        assert [row.partition(",")[0] for row in rows] == [f"network-{k:06d}.safetensors" for k in there]
    back = pack(out, tmp_path / "back", activation="sine", omega=30.0)
    assert back.table["frequency"].tolist() == zoo.table["frequency"][[0, 1, 4]].tolist()


def test_labels_that_are_others_are_not_replaced(tmp_path: Path) -> None:
    zoo, out = waves(tmp_path / "zoo"), tmp_path / "out"
    out.mkdir()
    for other in (b"file,label\nmine.pt,3\n", b"\xff\xfe", b'"'):
        (out / LABELS).write_bytes(other)
        with pytest.raises(ZooError) as caught:
            unpack(zoo, out)
        assert str(caught.value) == f"{out / LABELS}: exists already, and is another; unpack into an empty folder"
        assert [file.name for file in out.iterdir()] == [LABELS]
        assert (out / LABELS).read_bytes() == other


def test_names_that_several_networks_have_are_numbered(tmp_path: Path) -> None:
    zoo = fit_zoo(tmp_path / "zoo", load_digits(limit=6), Architecture((2, 3, 1)), FitOptions(steps=1))
    assert zoo is not None
    files = np.array(["a/1.png", "b/1.png", "c/2.png", "C/2x.png", "network-000001", "é.png"], dtype=object)
    named = [file.stem for file in unpack(replace(zoo, table={**zoo.table, "file": files}), tmp_path / "out")]
    assert named == ["network-000000", "network-000001", "2", "2x", "network-000004", "network-000005"]
    assert len({*map(str.lower, named)}) == 6
