from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import pytest
import torch

from graphws import convert
from graphws.checkpoints.example_inputs import example_inputs
from graphws.checkpoints.inert import MOST_OPCODES, OPCODES_OF_A_TENSOR
from graphws.checkpoints.state_dict import read_state_dict
from graphws.checkpoints.zip_members import is_zip_of, zip_members
from graphws.errors import DataError, GraphwsError


def _two_disks(data: bytes) -> bytes:
    """The archive with a zip64 end record and a locator that counts two disks."""
    end = data.rindex(b"PK\x05\x06")
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, 1, 1)
    return data[:end] + record + struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 2) + data[end:]


def _checkpoint() -> bytes:
    stream = io.BytesIO()
    torch.save({"0.weight": torch.ones(3, 2)}, stream)
    return stream.getvalue()


@pytest.fixture
def disks(tmp_path: Path) -> Path:
    (tmp_path / "weights.pt").write_bytes(_two_disks(_checkpoint()))
    return tmp_path / "weights.pt"


def test_archives_of_several_disks(disks: Path) -> None:
    message = "not a zip archive that can be read, or cut off: zipfiles that span multiple disks are not supported"
    for act in (zip_members, read_state_dict, convert):
        with pytest.raises(DataError) as caught:
            act(disks)
        assert str(caught.value) == f"{disks}: {message}"
    assert not is_zip_of(disks, "/code/")
    arrays = disks.with_suffix(".npz")
    disks.rename(arrays)
    with pytest.raises(DataError, match=r"weights\.npz: not a file of arrays: zipfiles that span multiple disks"):
        example_inputs(str(arrays), torch.Generator())


def test_every_cut_and_every_changed_byte_of_the_directory_is_an_error_of_ours(tmp_path: Path) -> None:
    data, path = _checkpoint(), tmp_path / "x.pt"
    start = data.rindex(b"PK\x05\x06")
    for place in range(start - 120, len(data)):
        for changed in (data[:place], data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]):
            path.write_bytes(changed)
            is_zip_of(path, "/code/")
            try:
                zip_members(path)
                read_state_dict(path)
            except GraphwsError:
                pass


def test_the_steps_of_a_pickle_are_counted(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(_checkpoint())) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in members if name.endswith("data.pkl"))
    members[name] = b"\x80\x02)" + b"q\x00h\x00\x86" * 200_000 + b"."
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        for key, content in members.items():
            archive.writestr(key, content)
    with pytest.raises(DataError) as caught:
        read_state_dict(tmp_path / "x.pt")
    assert str(caught.value) == (
        f"{tmp_path / 'x.pt'}: not a plain state dict, and nothing in it was run: it takes more than "
        f"{MOST_OPCODES + OPCODES_OF_A_TENSOR} steps, far more than its tensors need; save model.state_dict() alone"
    )
