"""Bounded reading of state dicts: a file is data, never code, and never grows beyond its size.

A checkpoint comes from anywhere, so nothing in it is believed:

* ``.pt``, ``.pth`` and ``.th`` are zip archives, which must be stored, not compressed (250 KB deflated can hold
  256 MB).  The pickle inside is first scanned (`graphws.checkpoints.scan`): whatever it claims is compared with what is
  there, and what is no tensor and no plain data is refused.  Only then torch's ``weights_only`` unpickler, which runs
  no code but allocates what it is told to, may read it; the file is mapped, so that a tensor cannot reach outside it.
* The format before it, pickles and bytes in one stream, is read by `graphws.checkpoints.legacy`, without torch's
  reader.
* ``.npy``, ``.npz`` and GGUF are headers with plain numbers behind them; each has a reader of its own.
* ``.safetensors`` cannot overlap or overflow, but may claim a dimension of 2^62 in an empty tensor: dimensions are
  capped.
* A ``.safetensors.index.json`` or ``.bin.index.json`` names the shards of a large one, all in its own folder.

What a file is, its first bytes say (`graphws.checkpoints.formats`), whatever it is called; formats that are not read
are refused by name.  What a training script saved around the state dict is left out, and `Checkpoint.story` says what
was picked.

The sum of all tensors stays below a limit that the caller may set.
"""

from __future__ import annotations

import json
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from graphws.checkpoints.formats import GGUF, LEGACY, NPY, NPZ, SAFETENSORS, Format, format_of
from graphws.checkpoints.gguf import read_gguf
from graphws.checkpoints.legacy import read_legacy
from graphws.checkpoints.numpy_arrays import read_npy, read_npz
from graphws.checkpoints.scan import scan
from graphws.checkpoints.zip_members import zip_members
from graphws.errors import DataError, nearest
from graphws.shown import Shown

LARGEST_FILE = 4 << 30
"""Bytes that a checkpoint, and the tensors in it, may have."""
LARGEST_PICKLE = 64 << 20
"""Bytes that the pickle inside a checkpoint may have."""
LARGEST_DIMENSION = 2**40
"""Longest axis that is believed."""
MOST_TENSORS = 100_000
LARGEST_INDEX = 32 << 20
"""Bytes that the index of a sharded checkpoint may have."""
MOST_SHARDS = 1000
INDEXES = (".safetensors.index.json", ".bin.index.json")
"""How the index of a sharded checkpoint ends, by the kind of its shards."""
SUFFIXES = (".pt", ".pth", ".th", ".bin", ".ckpt", ".safetensors")
LIGHTNING = "pytorch-lightning_version"
"""The entry by which a checkpoint of Lightning is known."""
PREFIXES = ("module.", "_orig_mod.", "model.module.")
"""What wrappers (DataParallel, compile) put before every name."""
NESTED = ("state_dict", "model_state_dict", "model", "module", "net", "state")
"""Keys under which training scripts store the state dict among other things."""
PLAIN = (bool, int, float, str)
"""What is kept of that which stands beside a state dict."""


@dataclass(frozen=True, eq=False, repr=False)
class Checkpoint(Shown):
    """The state dict in a file.

    Attributes:
        state: Its tensors, in stored order; tied tensors stay tied.
        story: What was picked and left out, where the file held more; nothing where it was the state dict itself.
        beside: The numbers and texts that stood beside the state dict, or among its tensors where those were asked for.
    """

    state: dict[str, Tensor]
    story: str = ""
    beside: Mapping[str, bool | int | float | str] = field(default_factory=dict)


def read_state_dict(path: str | Path, limit: int = LARGEST_FILE) -> dict[str, Tensor]:
    """The tensors of a checkpoint under their stored names; see `read_checkpoint`."""
    return _read(Path(path), limit).state


def read_checkpoint(
    path: str | Path,
    limit: int = LARGEST_FILE,
    *,
    prefixes: bool = False,
    mixed: bool = False,
    suffix: str | None = None,
) -> Checkpoint:
    """The state dict in a checkpoint, on the CPU, without the prefixes that wrappers put before every name.

    Args:
        path: A file that PyTorch or Lightning wrote (``.pt``, ``.pth``, ``.th``, ``.bin``, ``.ckpt``), a
            ``.safetensors`` file or an index of shards, NumPy's ``.npy`` or ``.npz``, or a
            GGUF file of plain numbers.  The first may hold the state dict itself or a mapping with the state dict under
            ``state_dict``, ``model_state_dict``, ``model``, ``module``, ``net`` or ``state``, beside plain data and the
            tensors of an optimiser.  The attribute under which a Lightning module holds its network is such a prefix.
        limit: Most bytes that the file, and the sum of its tensors, may have.
        prefixes: Whether the names keep them.
        mixed: Whether numbers and texts may stand among the tensors; they are given beside them.
        suffix: What the file is read as, where its name does not say so.

    Raises:
        DataError: Where the file is missing, damaged, too large, of another kind, or not what it claims to be.
    """
    found = _read(Path(path), limit, mixed, suffix)
    state, story = found.state, [found.story] if found.story else []
    again = not prefixes
    common = {key.partition(".")[0] + "." for key in state} if LIGHTNING in found.beside else set()
    known = (*PREFIXES, *(common if len(common) == 1 else ()))
    while again:
        again = False
        for prefix in known:
            if state and all(key.startswith(prefix) and key != prefix for key in state):
                state = {key.removeprefix(prefix): tensor for key, tensor in state.items()}
                story.append(f"the prefix {prefix!r} before every name is dropped")
                again = True
    return Checkpoint(state, "; ".join(story), found.beside)


def _read(file: Path, limit: int, mixed: bool = False, suffix: str | None = None) -> Checkpoint:
    is_index = file.name.endswith(INDEXES)
    kind = None if is_index else format_of(file)
    suffix = suffix or file.suffix
    if suffix not in SUFFIXES and not is_index and kind is None:
        raise DataError(
            f"{file.name}: a checkpoint ends in {', '.join(SUFFIXES)}; got {file.suffix or 'no suffix'!r}"
            + nearest(file.suffix, SUFFIXES)
        )
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    if (size := file.stat().st_size) > limit:
        raise DataError(f"{file}: {size} bytes, at most {limit} are read")
    if is_index:
        return Checkpoint(_read_shards(file, limit))
    if kind is not None and kind.advice:
        raise kind.refusal(file)
    if kind in (GGUF, NPY, NPZ):
        return Checkpoint(_read_plain(file, kind, limit))
    if kind == SAFETENSORS or (kind is None and suffix == ".safetensors"):
        return Checkpoint(_read_safetensors(file, limit))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about old protocols and odd escapes, which are allowed or refused here
        return _read_legacy(file, limit, mixed) if kind == LEGACY else _read_torch(file, limit, mixed)


def _read_shards(file: Path, limit: int) -> dict[str, Tensor]:
    """The tensors of all shards that an index names, in its order."""
    if file.stat().st_size > LARGEST_INDEX:
        raise DataError(f"{file}: {file.stat().st_size} bytes, too large for an index")
    try:
        document = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: not a JSON file: {_one_line(error)}") from None
    places = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()) or not places:
        raise DataError(f"{file}: no index of shards: it has no 'weight_map' from names to files")
    _check_count(file, len(places))
    kind = next(ending for ending in INDEXES if file.name.endswith(ending)).removesuffix(".index.json")
    shards: dict[str, dict[str, Tensor]] = {}
    left = limit
    for name in dict.fromkeys(places.values()):
        if Path(name).name != name or not name.endswith(kind) or len(shards) >= MOST_SHARDS:
            raise DataError(f"{file}: shard {name[:80]!r} is no {kind} file beside the index")
        place = file.with_name(name)
        if not place.is_file():
            raise DataError(f"{file}: shard {name!r} is not there")
        if place.resolve().parent != file.resolve().parent:
            raise DataError(f"{file}: shard {name[:80]!r} is a link that leads out of the folder")
        if place.stat().st_size > left:
            raise DataError(f"{file}: its shards have more than {limit} bytes")
        left -= place.stat().st_size
        shards[name] = _read(place, limit).state
    state = {}
    for key, name in places.items():
        if key not in shards[name]:
            raise DataError(f"{file}: {key[:80]!r} is not in {name!r}, where the index says it is")
        state[key] = shards[name][key]
    return state


def _read_safetensors(file: Path, limit: int) -> dict[str, Tensor]:
    try:
        with safe_open(str(file), framework="pt") as archive:
            names = list(archive.keys())
            _check_count(file, len(names))
            for name in names:
                _check_dimensions(file, name, archive.get_slice(name).get_shape())
            state = {name: archive.get_tensor(name) for name in names}
    except (SafetensorError, OSError, RuntimeError, ValueError, OverflowError) as error:
        raise DataError(f"{file}: not a safetensors file, or cut off: {_one_line(error)}") from None
    return _checked(file, state, limit)


def _read_plain(file: Path, kind: Format | None, limit: int) -> dict[str, Tensor]:
    try:
        state = read_gguf(file) if kind == GGUF else read_npy(file) if kind == NPY else read_npz(file)
    except (ValueError, OSError, OverflowError, MemoryError) as error:
        assert kind is not None
        raise DataError(f"{file}: {kind.name} that cannot be read: {_one_line(error)}") from None
    return _checked(file, state, limit)


def _read_legacy(file: Path, limit: int, mixed: bool) -> Checkpoint:
    try:
        content = read_legacy(file, min(LARGEST_PICKLE, limit))
    except (ValueError, RuntimeError, OverflowError, MemoryError, RecursionError) as error:
        raise _not_plain(file, _one_line(error)) from None
    found = _state_dict(file, content, mixed)
    return replace(found, state=_checked(file, found.state, limit))


def _read_torch(file: Path, limit: int, mixed: bool) -> Checkpoint:
    try:
        storages = _check_archive(file)
        _scan(file, storages)
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError:  # its text advises to run what is inside
        raise _not_plain(file, "PyTorch's reader of weights refuses it") from None
    except (zipfile.BadZipFile, OSError, RuntimeError, ValueError, EOFError, KeyError, TypeError, AttributeError,
            IndexError, AssertionError, OverflowError, MemoryError, UnicodeDecodeError) as error:  # fmt: skip
        raise DataError(f"{file}: not a checkpoint of PyTorch: {_one_line(error)}") from None
    found = _state_dict(file, content, mixed)
    return replace(found, state=_checked(file, found.state, limit))


def _check_archive(file: Path) -> dict[str, int]:
    """A zip archive of one pickle and stored members that fit into the file; the bytes of each storage in it."""
    with file.open("rb") as stream:
        if stream.read(2) != b"PK":
            raise DataError(
                f"{file}: not a file that PyTorch wrote, or cut off (neither a zip archive nor the format before 1.6)"
            )
    members = zip_members(file)
    _check_count(file, len(members))
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
            raise DataError(f"{file}: {member.filename!r} is compressed; PyTorch stores, so this is not its file")
        if member.filename.lower().endswith(".pkl") and member.file_size > LARGEST_PICKLE:
            raise DataError(f"{file}: {member.filename!r} has {member.file_size} bytes, at most {LARGEST_PICKLE}")
    if sum(member.file_size for member in members) > file.stat().st_size:
        raise DataError(f"{file}: its members overlap: together they are larger than the file")
    pickles = [member.filename for member in members if member.filename.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise DataError(f"{file}: a zip archive, but not of a PyTorch checkpoint")
    folder = pickles[0].removesuffix("data.pkl") + "data/"
    return {
        member.filename.removeprefix(folder): member.file_size
        for member in members
        if member.filename.startswith(folder)
    }


def _scan(file: Path, storages: Mapping[str, int]) -> None:
    """Scans the very pickle that `torch.load` will find: readers of zip archives differ on crooked ones."""
    pickled = torch._C.PyTorchFileReader(str(file)).get_record("data.pkl")
    try:
        scan(pickled, storages)
    except ValueError as error:
        raise _not_plain(file, _one_line(error)) from None


def _not_plain(file: Path, reason: str) -> DataError:
    return DataError(
        f"{file}: not a plain state dict, and nothing in it was run: {reason}; save model.state_dict() alone"
    )


def _state_dict(file: Path, content: object, mixed: bool) -> Checkpoint:
    """The mapping of names to tensors in what was loaded, where it was, and what stood beside it."""
    places: dict[str, object] = {"": content}
    if isinstance(content, Mapping):
        places |= {key: content.get(key) for key in NESTED}
    found = {key: place for key, place in places.items() if isinstance(place, Mapping) and place}
    for key, place in found.items():
        among = mixed and any(isinstance(value, Tensor) for value in place.values())
        if all(isinstance(value, Tensor) or (among and isinstance(value, PLAIN)) for value in place.values()):
            for name in place:
                if not isinstance(name, str):
                    raise DataError(f"{file}: names must be text, got {name!r}")
            state = {name: value for name, value in place.items() if isinstance(value, Tensor)}
            return Checkpoint(state, _story(key, content), _beside(content) | (_beside(place) if among else {}))
    for place in found.values():
        if any(isinstance(value, Tensor) for value in place.values()):
            name = next(name for name, value in place.items() if not isinstance(value, Tensor))
            raise DataError(f"{file}: entry {str(name)[:80]!r} of its state dict is no tensor")
    raise DataError(f"{file}: holds no state dict, neither itself nor under {', '.join(NESTED)}")


def _beside(content: object) -> dict[str, bool | int | float | str]:
    """The numbers and texts of a mapping, by their names."""
    if not isinstance(content, Mapping):
        return {}
    return {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, PLAIN)}


def _story(key: str, content: object) -> str:
    """What was left out."""
    if not key or not isinstance(content, Mapping):
        return ""
    others = [str(other)[:40] for other in content if other != key]
    beside = f", beside {', '.join(others[:5])}{'…' if len(others) > 5 else ''}" if others else ""
    return f"the state dict is the entry {key!r}{beside}"


def _checked(file: Path, state: Mapping[str, Tensor], limit: int) -> dict[str, Tensor]:
    """Plain tensors in memory of their own, none larger than what the file holds."""
    _check_count(file, len(state))
    copies: dict[tuple[int, int, torch.dtype, tuple[int, ...], tuple[int, ...]], Tensor] = {}
    checked, total = {}, 0
    for name, tensor in state.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise DataError(f"{file}: {name!r} is not a plain tensor (sparse, quantised or without numbers)")
        _check_dimensions(file, name, tensor.shape)
        storage = tensor.untyped_storage()
        numbers = tensor.numel() * tensor.element_size()
        if numbers > storage.nbytes():
            raise DataError(f"{file}: {name!r} claims {numbers} bytes in a storage of {storage.nbytes()}")
        place = (storage.data_ptr(), int(tensor.storage_offset()), tensor.dtype, tuple(tensor.shape), tensor.stride())
        if numbers == 0 or place not in copies:
            total += numbers
            if total > limit:
                raise DataError(f"{file}: its tensors have more than {limit} bytes")
            copies[place] = tensor.detach().clone(memory_format=torch.contiguous_format)
        checked[name] = copies[place]
    return checked


def _check_count(file: Path, count: int) -> None:
    if count > MOST_TENSORS:
        raise DataError(f"{file}: {count} entries, at most {MOST_TENSORS} are read")


def _check_dimensions(file: Path, name: str, shape: object) -> None:
    sizes = [int(size) for size in shape]  # type: ignore[attr-defined]
    if any(size > LARGEST_DIMENSION for size in sizes):
        raise DataError(f"{file}: {name!r} claims the shape {sizes}; an axis is believed up to 2^40")


def _one_line(error: BaseException) -> str:
    """The first line of a message, shortened."""
    text = next(iter(str(error).splitlines()), "") or type(error).__name__
    return text if len(text) <= 200 else text[:197] + "..."
