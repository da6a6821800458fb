from __future__ import annotations

import gzip
import math
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import graphws.zoo.sources.cifar10 as cifar10_source
import graphws.zoo.sources.pictures as pictures_source
from graphws.errors import DataError
from graphws.zoo.sources import (
    Limit,
    Samples,
    load_cifar10,
    load_digits,
    load_idx,
    load_pictures,
    load_sine,
    picture_grid,
    read_idx,
)


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def test_digits_are_the_bundled_ones() -> None:
    samples = load_digits()
    assert samples.values.shape == (1797, 64, 1)
    assert samples.shape == (8, 8)
    assert float(samples.values.min()) == 0
    assert float(samples.values.max()) == 1
    assert np.bincount(samples.table["label"]).min() > 170


def test_the_grid_keeps_the_aspect() -> None:
    grid = picture_grid(3, 5)
    assert grid.shape == (15, 2)
    assert grid[:, 1].abs().max() == 1
    assert grid[:, 0].abs().max() == 0.5
    assert torch.allclose(grid[1] - grid[0], torch.tensor([0, 0.5], dtype=torch.float64))


def test_sine_waves() -> None:
    samples = load_sine(count=7, amplitude=(2.0, 3.0), frequency=(1.0, 4.0), points=50, seed=3)
    a, b = samples.table["amplitude"][4], samples.table["frequency"][4]
    x = math.pi * samples.coordinates[:, 0]
    assert torch.allclose(samples.values[4, :, 0], (a * torch.sin(b * x)).float(), atol=1e-6)
    assert samples.peak == 6
    assert samples.digest() != load_sine(count=7, points=50, seed=4).digest()
    radians = load_sine(count=7, amplitude=(2.0, 3.0), frequency=(1.0, 4.0), points=50, seed=3, inputs="radians")
    assert torch.equal(radians.values, samples.values)
    assert torch.allclose(radians.coordinates, torch.pi * samples.coordinates)
    slow = load_sine(count=200, amplitude=(0, 10), frequency=(0, 10), points=50)
    assert slow.table["frequency"].min() < 0.2
    assert slow.peak == 20


@pytest.mark.parametrize("packed", [False, True])
def test_idx(tmp_path: Path, packed: bool) -> None:
    images = np.arange(5 * 3 * 4, dtype=np.uint8).reshape(5, 3, 4)
    labels = np.array([3, 1, 2, 0, 1], dtype=np.uint8)
    wrap = gzip.compress if packed else bytes
    for name, array in (("i", images), ("l", labels), ("ti", images[:2]), ("tl", labels[:2])):
        (tmp_path / name).write_bytes(wrap(idx_bytes(array)))
    names = {"train_images": "i", "train_labels": "l", "test_images": "ti", "test_labels": "tl"}
    samples = load_idx(**{option: tmp_path / name for option, name in names.items()})
    assert samples.values.shape == (7, 12, 1)
    assert samples.test is not None
    assert samples.test.tolist() == [False] * 5 + [True] * 2
    assert samples.targets([1])[0, 2, 0] == pytest.approx(14 / 255)
    assert samples.table["label"].tolist() == [3, 1, 2, 0, 1, 3, 1]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"PK\x03\x04", "{path}: not an IDX file (it starts with 50 4b 03 04)"),
        (b"", "{path}: not an IDX file (it starts with nothing)"),
        (struct.pack(">BBBBI", 0, 0, 13, 1, 4), "{path}: IDX of type 0x0d; only unsigned bytes (0x08) are read"),
        (struct.pack(">BBBBI", 0, 0, 8, 1, 4), "{path}: an array of 1 axes, needed 3"),
        (struct.pack(">BBBBII", 0, 0, 8, 3, 1, 1), "{path}: cut off inside its header"),
        (
            struct.pack(">BBBBIII", 0, 0, 8, 3, 1 << 31, 1 << 31, 1 << 31),
            "{path}: claims 9903520314283042199192993792 bytes (2147483648x2147483648x2147483648), "
            "at most 2147483648 are read",
        ),
        (
            struct.pack(">BBBBIII", 0, 0, 8, 3, 2, 2, 2) + b"1234567",
            "{path}: its header promises 8 bytes (2x2x2), it holds only 7",
        ),
        (
            struct.pack(">BBBBIII", 0, 0, 8, 3, 2, 2, 2) + b"123456789",
            "{path}: its header promises 8 bytes (2x2x2), it holds more",
        ),
        (gzip.compress(idx_bytes(np.zeros((2, 2, 2), np.uint8)), mtime=0)[:-9], "{path}: cannot be read: "),
    ],
)
def test_broken_idx(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        read_idx(path, axes=3)
    assert str(caught.value).startswith(message.format(path=path))


def test_idx_of_different_numbers(tmp_path: Path) -> None:
    (tmp_path / "i").write_bytes(idx_bytes(np.zeros((3, 2, 2), np.uint8)))
    (tmp_path / "l").write_bytes(idx_bytes(np.zeros(2, np.uint8)))
    with pytest.raises(DataError) as caught:
        load_idx(train_images=tmp_path / "i", train_labels=tmp_path / "l")
    assert str(caught.value) == f"{tmp_path / 'i'} holds 3 pictures, {tmp_path / 'l'} 2 labels"


def test_mnist(shared: Path) -> None:
    folder = shared / "data" / "mnist"
    samples = load_idx(
        train_images=folder / "train-images-idx3-ubyte.gz",
        train_labels=folder / "train-labels-idx1-ubyte.gz",
        test_images=folder / "t10k-images-idx3-ubyte.gz",
        test_labels=folder / "t10k-labels-idx1-ubyte.gz",
        limit=Limit(700, 100),
    )
    assert samples.shape == (28, 28)
    assert samples.test is not None
    assert (len(samples), int(samples.test.sum())) == (800, 100)
    assert np.bincount(samples.table["label"]).min() > 40


def cifar_folder(folder: Path, protocol: int = 2) -> np.ndarray:
    rng = np.random.default_rng(0)
    whole = []
    for name in [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]:
        data = rng.integers(0, 256, (4, 3072), dtype=np.uint8)
        batch = {b"batch_label": b"b", b"labels": [0, 9, 3, 4], b"data": data, b"filenames": [b"a.png"] * 4}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=protocol))
        (folder / f"{name}.bin").write_bytes(
            b"".join(bytes([label]) + row.tobytes() for label, row in zip([0, 9, 3, 4], data, strict=True))
        )
        whole.append(data)
    return np.concatenate(whole)


@pytest.mark.parametrize("binary", [False, True])
def test_cifar10(tmp_path: Path, binary: bool) -> None:
    data = cifar_folder(tmp_path)
    if not binary:
        for file in tmp_path.glob("*.bin"):
            file.unlink()
    samples = load_cifar10(path=tmp_path)
    assert samples.values.shape == (24, 1024, 3)
    assert samples.values[5, 7].tolist() == [data[5, 7], data[5, 1024 + 7], data[5, 2048 + 7]]
    assert samples.test is not None
    assert samples.test.sum() == 4
    assert samples.table["label"][:4].tolist() == [0, 9, 3, 4]


class _Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pathlib_touch, ("trap",))


def pathlib_touch(name: str) -> None:
    Path(name).touch()


def test_a_hostile_batch_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for payload in (
        b"cos\nsystem\n(S'touch trap'\ntR.",
        b'cbuiltins\neval\n(S\'open("trap","w")\'\ntR.',
        pickle.dumps({"data": _Trap()}),
        b"\x80\x02r\xff\xff\xff\xff.",
        b"\x80\x04\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",
    ):
        (tmp_path / "batch").write_bytes(payload)
        with pytest.raises(DataError, match="not a CIFAR-10 batch, and nothing in it was run: "):
            cifar10_source.read_batch(tmp_path / "batch")
    assert not (tmp_path / "trap").exists()


def test_broken_cifar10(tmp_path: Path) -> None:
    path = tmp_path / "batch"
    path.write_bytes(b"cos\nsystem\n(S'ls'\ntR.")
    with pytest.raises(DataError) as caught:
        cifar10_source.read_batch(path)
    assert str(caught.value) == f"{path}: not a CIFAR-10 batch, and nothing in it was run: it asks for os.system"
    path.write_bytes(pickle.dumps({b"data": np.zeros((2, 5), np.uint8), b"labels": [0, 1]}, protocol=2))
    with pytest.raises(DataError) as caught:
        cifar10_source.read_batch(path)
    assert str(caught.value) == f"{path}: pictures (2, 5) and labels (2,), needed (n, 3072) and (n,)"
    path.write_bytes(pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [11]}, protocol=2))
    with pytest.raises(DataError) as caught:
        cifar10_source.read_batch(path)
    assert str(caught.value) == f"{path}: labels from 11 to 11, CIFAR-10 has 0 to 9"
    path.write_bytes(b"123")
    with pytest.raises(DataError) as caught:
        cifar10_source.read_binary(path)
    assert str(caught.value) == f"{path}: 3 bytes are not whole records of 3073"
    with pytest.raises(DataError) as caught:
        load_cifar10(path=tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: no data_batch_1; this source reads CIFAR-10's original batches, "
        "a zip or folder of pictures by class is read by the source 'pictures'"
    )


def picture_folder(folder: Path, size: int = 4) -> None:
    for place, grey in (("train/cat", 10), ("train/dog", 200), ("test/dog", 90)):
        (folder / place).mkdir(parents=True)
        Image.new("L", (size, size), grey).save(folder / place / "1.png")
    Image.new("RGB", (size, size), (1, 2, 3)).save(folder / "train/cat" / "2.png")


def zipped(folder: Path, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, file.relative_to(folder).as_posix())
    return path


@pytest.mark.parametrize("archive", [False, True])
def test_pictures(tmp_path: Path, archive: bool) -> None:
    picture_folder(tmp_path / "data")
    path = zipped(tmp_path / "data", tmp_path / "data.zip") if archive else tmp_path / "data"
    samples = load_pictures(path=path)
    assert samples.table["file"].tolist() == ["test/dog/1.png", "train/cat/1.png", "train/cat/2.png", "train/dog/1.png"]
    assert samples.table["label"].tolist() == [1, 0, 0, 1]
    assert samples.classes == ("cat", "dog")
    assert samples.test is not None
    assert samples.test.tolist() == [True, False, False, False]
    assert samples.values.shape == (4, 16, 3)
    assert samples.values[2, 0].tolist() == [1, 2, 3]
    assert samples.values[3, 5].tolist() == [200, 200, 200]
    assert load_pictures(path=path, size=8).shape == (8, 8)


def test_cifar10_pictures(shared: Path) -> None:
    folder = shared / "data" / "cifar10"
    samples = load_pictures(path=folder / "cifar10-train.zip", test_path=folder / "cifar10-test.zip", limit=60)
    assert samples.values.shape == (120, 1024, 3)
    assert samples.test is not None
    assert np.bincount(samples.table["label"][samples.test]).tolist() == [6] * 10


def test_hostile_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "evil.zip"
    picture_folder(tmp_path / "data")
    png = (tmp_path / "data/train/cat/1.png").read_bytes()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../cat/1.png", png)
    with pytest.raises(DataError) as caught:
        load_pictures(path=path)
    assert str(caught.value) == f"{path}: member '../cat/1.png' climbs out of the archive"

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("1.png", png)
    with pytest.raises(DataError) as caught:
        load_pictures(path=path)
    assert str(caught.value) == f"{path}: 1.png is in no class folder"

    monkeypatch.setattr(pictures_source, "MAX_PIXELS", 15)
    with pytest.raises(DataError) as caught:
        load_pictures(path=tmp_path / "data")
    assert str(caught.value) == f"{tmp_path / 'data'}: test/dog/1.png: 4x4 pixels, at most 15 are read"
    monkeypatch.undo()

    monkeypatch.setattr(pictures_source, "MAX_FILE_BYTES", 1000)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cat/1.png", png + bytes(10**6))
    with pytest.raises(DataError) as caught:
        load_pictures(path=path)
    assert str(caught.value) == f"{path}: member 'cat/1.png': more than 1000 bytes"
    monkeypatch.undo()

    link = tmp_path / "data/train/cat/3.png"
    (tmp_path / "outside.png").write_bytes(png)
    link.symlink_to(tmp_path / "outside.png")
    with pytest.raises(DataError) as caught:
        load_pictures(path=tmp_path / "data")
    assert str(caught.value) == f"{link}: a link that leaves {tmp_path / 'data'}"
    link.unlink()

    (tmp_path / "data/train/cat/3.png").write_bytes(b"no picture")
    with pytest.raises(DataError) as caught:
        load_pictures(path=tmp_path / "data")
    assert str(caught.value) == (
        f"{tmp_path / 'data'}: train/cat/3.png: not a picture that can be read (PNG, JPEG, BMP, PPM, GIF, WEBP)"
    )
    Image.new("L", (5, 4)).save(tmp_path / "data/train/cat/3.png")
    with pytest.raises(DataError) as caught:
        load_pictures(path=tmp_path / "data")
    assert str(caught.value) == (
        f"{tmp_path / 'data'}: train/cat/3.png has 5x4 pixels, the first picture 4x4; give a size to resize to"
    )


def test_impossible_options() -> None:
    with pytest.raises(DataError) as caught:
        load_sine(frequency=(3, 1))
    assert str(caught.value) == "source 'sine': frequency must be [low, high], got [3, 1]"
    for name, flat in (("an amplitude", {"amplitude": (0, 0)}), ("a frequency", {"frequency": (0.0, 0.0)})):
        with pytest.raises(DataError) as caught:
            load_sine(**flat)
        assert str(caught.value) == f"source 'sine': {name} of 0 leaves nothing to fit"
    with pytest.raises(DataError) as caught:
        load_digits(limit=0)
    assert str(caught.value) == "source 'digits': limit must be at least 1, got 0"


def test_samples_check_themselves() -> None:
    grid = picture_grid(2, 2)
    with pytest.raises(DataError) as caught:
        Samples("mine", grid, torch.zeros(3, 5, 1))
    assert str(caught.value) == "source 'mine': 4 coordinates for signals of 5 points"
    with pytest.raises(DataError) as caught:
        Samples("mine", grid, torch.zeros(3, 4, 1), table={"label": np.zeros(2)})
    assert str(caught.value) == "source 'mine': 2 entries of 'label' for 3 samples"
    values = torch.zeros(3, 4, 1)
    values[1, 2] = math.nan
    with pytest.raises(DataError) as caught:
        Samples("mine", grid, values)
    assert str(caught.value) == "source 'mine': sample 1 holds NaN or inf"
    with pytest.raises(DataError) as caught:
        Samples("mine", grid, torch.zeros(0, 4, 1))
    assert str(caught.value) == "source 'mine' gives no samples"
