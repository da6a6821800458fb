"""Files go by their first bytes: what is read under any name, and what is refused by the name of its format."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import graphws
from graphws.checkpoints.formats import FOLDERS, format_of
from graphws.checkpoints.state_dict import read_checkpoint
from graphws.errors import DataError, UsageError

STATE = {"a.weight": torch.arange(12.0).reshape(4, 3), "a.bias": torch.arange(4.0)}


def gguf(
    tensors: dict[str, Tensor],
    version: int = 3,
    settings: bytes = b"",
    count: int = 0,
    kinds: dict[torch.dtype, int] | None = None,
) -> bytes:
    """A GGUF file as its description has it."""
    numbers = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 30, torch.int8: 24} | (kinds or {})
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), count) + settings
    body = b""
    for name, tensor in tensors.items():
        axes = tuple(tensor.shape)[::-1]
        head += struct.pack("<Q", len(name)) + name.encode() + struct.pack(f"<I{len(axes)}Q", len(axes), *axes)
        head += struct.pack("<IQ", numbers[tensor.dtype], len(body))
        raw = tensor.contiguous().view(torch.uint8).numpy().tobytes()
        body += raw + bytes(-len(raw) % 32)
    return head + bytes(-len(head) % 32) + body


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


SETTINGS = (
    text("general.name") + struct.pack("<I", 8) + text("net")
    + text("tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("bc")
    + text("sizes") + struct.pack("<IIQ3i", 9, 5, 3, 1, 2, 3)
)  # fmt: skip


def _npz(folder: Path, compressed: bool = False) -> Path:
    write = np.savez_compressed if compressed else np.savez
    write(folder / "net.npz", **{key: tensor.numpy() for key, tensor in STATE.items()})
    return folder / "net.npz"


def _lightning(folder: Path) -> Path:
    net = {f"net.{key}": tensor for key, tensor in STATE.items()}
    content = {
        "epoch": 1, "pytorch-lightning_version": "2.5.0", "state_dict": net, "loops": {}, "callbacks": {},
        "optimizer_states": [{"state": {0: {"step": torch.ones(())}}}], "hyper_parameters": {"width": 8},
    }  # fmt: skip
    torch.save(content, folder / "epoch1.ckpt")
    return folder / "epoch1.ckpt"


def _written(name: str, data: Callable[[], bytes]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(data())
        return folder / name

    return write


def _saved(folder: Path) -> Path:
    torch.save(STATE, folder / "model_best.pth.tar")
    return folder / "model_best.pth.tar"


def _legacy(folder: Path) -> Path:
    torch.save(STATE, folder / "net.weights", _use_new_zipfile_serialization=False)
    return folder / "net.weights"


def _safetensors(folder: Path) -> Path:
    save_file(STATE, folder / "net.bin")
    return folder / "net.bin"


READ: dict[str, Callable[[Path], Path]] = {
    "lightning": _lightning,
    "a name of tar": _saved,
    "no known name": _legacy,
    "safetensors called bin": _safetensors,
    "npz": _npz,
    "npz, compressed": lambda folder: _npz(folder, compressed=True),
    "gguf": _written("m.gguf", lambda: gguf(STATE, settings=SETTINGS, count=3)),
    "gguf of version 2 called pt": _written("m.pt", lambda: gguf(STATE, 2)),
}


@pytest.mark.parametrize("make", READ.values(), ids=READ)
def test_what_is_read_whatever_it_is_called(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path)
    found = read_checkpoint(path).state
    assert set(found) == set(STATE)
    assert all(torch.equal(found[key], tensor) for key, tensor in STATE.items())
    assert graphws.convert(path).weights is not None


def test_the_attribute_of_a_lightning_module_is_a_prefix(tmp_path: Path) -> None:
    assert "the prefix 'net.' before every name is dropped" in read_checkpoint(_lightning(tmp_path)).story
    content = torch.load(tmp_path / "epoch1.ckpt", weights_only=True)
    torch.save(content | {"state_dict": content["state_dict"] | {"loss.weight": torch.ones(2)}}, tmp_path / "two.ckpt")
    assert "net.a.weight" in read_checkpoint(tmp_path / "two.ckpt").state
    torch.save(content["state_dict"], tmp_path / "plain.pt")
    assert "net.a.weight" in read_checkpoint(tmp_path / "plain.pt").state


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int8])
def test_types_of_gguf(tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = {"x": torch.arange(10).reshape(5, 2).to(dtype)}
    (tmp_path / "m.gguf").write_bytes(gguf(tensors))
    read = read_checkpoint(tmp_path / "m.gguf").state["x"]
    assert read.dtype == dtype
    assert torch.equal(read, tensors["x"])


def test_arrays_of_other_orders(tmp_path: Path) -> None:
    x = np.arange(6.0).reshape(2, 3)
    for array in (np.asfortranarray(x), x.astype(">f4"), x.astype(np.float32)):
        np.save(tmp_path / "w.npy", array)
        (read,) = read_checkpoint(tmp_path / "w.npy").state.values()
        assert read.tolist() == x.tolist()


def _zip(*members: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for member in members:
            archive.writestr(member, b"x")
    return stream.getvalue()


FOREIGN: dict[str, tuple[bytes, str]] = {
    "m.h5": (b"\x89HDF\r\n\x1a\n" + bytes(40), "an HDF5 file, as Keras writes (.h5)"),
    "m.keras": (_zip("metadata.json", "config.json", "model.weights.h5"), "a Keras model (.keras)"),
    "m.msgpack": (b"\x81\xa6params\x80", "a msgpack file, as flax writes"),
    "m.tflite": (b"\x1c\0\0\0TFL3" + bytes(40), "a TensorFlow Lite model"),
    "m.pkl": (pickle.dumps({"a": 1}), "a pickle (as of pickle, joblib or scikit-learn)"),
    "m.joblib": (pickle.dumps([1.0], protocol=5), "a pickle (as of pickle, joblib or scikit-learn)"),
    "m.gz": (b"\x1f\x8b\x08" + bytes(20), "a file compressed by gzip"),
    "m.tar": (bytes(257) + b"ustar\0" + bytes(300), "a tar archive"),
    "m.pb": (b"\x08\x01\x12\x04" + bytes(20), "a checkpoint or graph of TensorFlow"),
    "m.mlmodel": (b"\x08\x04\x12\x02" + bytes(20), "a Core ML model"),
    "m.pt2": (_zip("m/archive_format", "m/models/model.json"), "a program of torch.export (.pt2)"),
    "m.zip": (_zip("readme.txt"), "a zip archive"),
    "m.ggml": (b"tjgg" + bytes(20), "a GGML file, the forerunner of GGUF"),
    "m.mat": (b"MATLAB 5.0 MAT-file" + bytes(120), "a MATLAB file"),
    "pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "a pointer of Git LFS, not the file itself",
    ),
    "page": (b"\n<!DOCTYPE html><html>", "a web page, not the file itself"),
}


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("ending", ["", ".pt", ".safetensors"])
def test_what_is_not_read_is_named_whatever_it_is_called(tmp_path: Path, name: str, ending: str) -> None:
    data, words = FOREIGN[name]
    if ending and name in ("m.pb", "m.mlmodel"):
        return  # known by their names only
    path = tmp_path / (name + ending)
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        graphws.convert(path)
    assert str(caught.value).startswith(f"{path}: {words}, which is not read: ")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(("words", "names"), [(found.name, names) for found, names in FOLDERS])
def test_folders_are_named_too(tmp_path: Path, words: str, names: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError) as caught:
        graphws.convert(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}: {words}, which is not read: ")


def test_what_has_no_format(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    assert format_of(tmp_path / "notes.txt") is None
    assert format_of(tmp_path / "missing") is None
    with pytest.raises(UsageError, match=r"^'notes\.txt' is no network: it is a text; "):
        graphws.convert(tmp_path / "notes.txt")
    with pytest.raises(UsageError, match=r"it holds \"notes\.txt\"; "):
        graphws.convert(tmp_path)


def test_a_program_is_one_under_any_name(tmp_path: Path) -> None:
    program = torch.jit.trace(nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2)).eval(), torch.zeros(2, 3))
    program.save(str(tmp_path / "net.model"))
    with pytest.raises(UsageError, match=r"^net\.model is a TorchScript program, not a state dict"):
        graphws.convert(tmp_path / "net.model")
    found = graphws.convert(tmp_path / "net.model", torch.randn(2, 3), allow_code=True)
    assert found.verified


def _entry(shape: tuple[int, ...], kind: int = 0, start: int = 0, count: int = 1) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", 3, count, 0)
    entry = text("x") + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, start)
    return head + entry * count + bytes(64)


_LISTS = struct.pack("<IQ", 9, 1 << 40)
HOSTILE: dict[str, tuple[bytes, str]] = {
    "cut": (gguf(STATE)[:30], "it is cut off"),
    "empty": (b"GGUF" + struct.pack("<IQQ", 3, 0, 0), "it holds no tensors"),
    "version": (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1 is not read"),
    "byte order": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "its numbers are of another byte order"),
    "tensors": (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0), f"it claims {1 << 60} tensors"),
    "huge": (_entry((1 << 40, 1 << 40)), "claims bytes that the file does not have"),
    "outside": (_entry((2,), start=1 << 50), "claims bytes that the file does not have"),
    "no numbers": (_entry((0, 3)), "'x' has no numbers"),
    "twice": (_entry((2,), count=2), "two of its tensors have one name"),
    "axes": (_entry((1, 1, 1, 1, 1)), "'x' has 5 axes, at most 4 are read"),
    "quantised": (_entry((32,), kind=12), "its tensors are quantised (Q4_K), and only plain numbers are read"),
    "unknown type": (_entry((32,), kind=99), "its tensors are quantised (type 99)"),
    "name": (b"GGUF" + struct.pack("<IQQQ", 3, 1, 0, 1 << 62), f"a name of {1 << 62} bytes"),
    "setting": (gguf(STATE, settings=text("a") + struct.pack("<I", 77), count=1), "a setting of type 77"),
    "lists": (gguf(STATE, settings=text("a") + struct.pack("<I", 9) + _LISTS * 6, count=1), "a setting of type 9"),
    "long list": (gguf(STATE, settings=text("a") + struct.pack("<IIQ", 9, 5, 1 << 60), count=1), "it is cut off"),
    "alignment": (
        gguf(STATE, settings=text("general.alignment") + struct.pack("<II", 4, 0), count=1), "an alignment of 0 bytes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers_of_gguf(tmp_path: Path, name: str) -> None:
    data, words = HOSTILE[name]
    (tmp_path / "m.gguf").write_bytes(data)
    with pytest.raises(DataError) as caught:
        read_checkpoint(tmp_path / "m.gguf")
    assert str(caught.value).startswith(f"{tmp_path / 'm.gguf'}: a GGUF file that cannot be read: ")
    assert words in str(caught.value)


def _header(shape: str, kind: str = "<f4", data: bytes = bytes(16)) -> bytes:
    text_ = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text_)) + text_ + data


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (_header("(4,)", "|O"), "an array of objects is a pickle, a program, and never run"),
        (_header("(4,)", "<U1"), "an array of type <U1 holds no numbers that are read"),
        (_header("(5,)"), "an array of shape (5,) has 20 bytes, the file 16"),
        (_header("(-4,)"), "an impossible shape"),
        (_header("(1099511627777, 0)", data=b""), "an impossible shape"),
        (_header("(4,"), "its header cannot be read"),
        (_header("__import__('os')"), "its header cannot be read"),
        (b"\x93NUMPY\x07\x00", "a header of another version"),
    ],
)
def test_hostile_arrays(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "w.npy").write_bytes(data)
    with pytest.raises(DataError, match="a NumPy array that cannot be read: ") as caught:
        read_checkpoint(tmp_path / "w.npy")
    assert words in str(caught.value)
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        archive.writestr("w.npy", data)
    with pytest.raises(DataError, match="an archive of NumPy arrays that cannot be read: "):
        read_checkpoint(tmp_path / "w.npz")


def test_an_archive_that_unfolds_without_end_is_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "zeros.npz", w=np.zeros(1 << 20))
    with pytest.raises(DataError, match=r"its arrays unfold to \d+ bytes, more than 20 times the file$"):
        read_checkpoint(tmp_path / "zeros.npz")
