"""Which file in a Hugging Face folder holds the weights, and what is said where none is read."""

from __future__ import annotations

import re
from pathlib import Path

from graphws.checkpoints.formats import refuse_unread
from graphws.errors import DataError

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
"""What transformers looks for, in its order."""
_ENDINGS = (
    ".safetensors", ".bin", ".pt", ".pth", ".th", ".index.json", ".ckpt", ".h5", ".keras", ".msgpack", ".ot", ".gguf",
    ".ggml", ".npz", ".onnx", ".tflite", ".mlmodel",
)  # fmt: skip
"""How files of weights end; what such a file is, its first bytes say."""
_BESIDE = re.compile(r"training_args|optimizer|scheduler|scaler|rng_state|random_states|trainer_state")
"""What a training leaves beside the weights."""


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
            refuse_unread(file)
            return file
    for file in sorted(folder.iterdir()):
        weights = file.name.lower().endswith(_ENDINGS) and not _BESIDE.search(file.name)
        if weights and (file.is_file() or file.is_symlink()):
            if file.is_file():
                refuse_unread(file)
            raise DataError(f"{file}: not read: the weights of a folder are {', '.join(WEIGHTS)}; rename or convert it")
    return None
