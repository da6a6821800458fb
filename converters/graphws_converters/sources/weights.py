"""Which file in a Hugging Face folder holds the weights, and what is said where none is read."""

from __future__ import annotations

import re
from pathlib import Path

from graphws.errors import DataError

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
"""What transformers looks for, in its order."""
_OTHERS = {
    ".safetensors": "", ".bin": "", ".pt": "", ".pth": "", ".th": "", ".index.json": "",
    ".ckpt": "a checkpoint of Lightning, or of TensorFlow 1", ".h5": "weights of TensorFlow",
    ".keras": "weights of Keras", ".msgpack": "weights of Flax", ".ot": "weights of rust-bert",
    ".gguf": "weights of llama.cpp", ".ggml": "weights of llama.cpp", ".npz": "arrays of NumPy",
    ".onnx": "a network by itself, to be converted by its own name", ".tflite": "a network of TensorFlow Lite",
    ".mlmodel": "a network of Core ML",
}  # fmt: skip
"""Suffixes under which weights lie; those without a word are read where they have one of the names above."""
_BESIDE = re.compile(r"training_args|optimizer|scheduler|scaler|rng_state|random_states|trainer_state")
"""What a training leaves beside the weights."""
_POINTER = b"version https://git-lfs"


def weights_in(folder: Path) -> Path | None:
    """The file with the weights, or the index of its shards; None where the folder holds a config alone.

    Raises:
        DataError: Where weights lie there in another format or under another name, where a link leads nowhere, or
            where only the pointer of Git LFS is there.
    """
    for name in WEIGHTS:
        file = folder / name
        if file.is_symlink() and not file.exists():
            raise DataError(f"{file}: a link that leads nowhere: the weights are gone, download them again")
        if file.is_file():
            with file.open("rb") as stream:
                if stream.read(len(_POINTER)) == _POINTER:
                    raise DataError(f"{file}: a pointer of Git LFS, not the weights: run 'git lfs pull' in the folder")
            return file
    for file in sorted(folder.iterdir()):
        ending = next((ending for ending in _OTHERS if file.name.lower().endswith(ending)), None)
        if ending is None or _BESIDE.search(file.name) or not (file.is_file() or file.is_symlink()):
            continue
        if not _OTHERS[ending]:
            raise DataError(f"{file}: not read: the weights of a folder are {', '.join(WEIGHTS)}; rename it")
        raise DataError(
            f"{file}: {_OTHERS[ending]}, which is not read: load it with the library that wrote it, and save "
            f"{WEIGHTS[0]} beside the config"
        )
    return None
