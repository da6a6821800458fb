"""Files that mean harm, one builder each, and what must be said of them.

A builder writes into a folder of its own and gives the path to convert.  None of these files is dangerous: what their
code would do, if it ran, is make the folder ``sprung`` beside them.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

CANARY = "sprung"
Builder = Callable[[Path], Path]
HOSTILE: dict[str, tuple[Builder, str]] = {}
"""For each file its builder, and the whole error in which FILE is the path and FOLDER its folder; a regex."""


def _hostile(message: str) -> Callable[[Builder], Builder]:
    def register(build: Builder) -> Builder:
        HOSTILE[build.__name__.strip("_").replace("_", " ")] = (build, message)
        return build

    return register


def expected(name: str, path: Path) -> str:
    """The pattern of the whole error for one file."""
    return HOSTILE[name][1].replace("FILE", re.escape(str(path))).replace("FOLDER", re.escape(str(path.parent)))


class _Trap:
    def __init__(self, folder: Path) -> None:
        self.place = str(folder / CANARY)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.place,)


_PLAIN = r"not a plain state dict, and nothing in it was run: {}; save model\.state_dict\(\) alone"


@_hostile("FILE: " + _PLAIN.format(rf"it asks for {os.mkdir.__module__}\.mkdir"))
def _pickle_with_code(folder: Path) -> Path:
    torch.save({"a": _Trap(folder)}, folder / "net.pt")
    return folder / "net.pt"


@_hostile("FILE: " + _PLAIN.format(rf"it asks for {os.mkdir.__module__}\.mkdir"))
def _old_pickle_with_code(folder: Path) -> Path:
    torch.save({"a": _Trap(folder)}, folder / "net.pt", _use_new_zipfile_serialization=False)
    return folder / "net.pt"


@_hostile(
    r"FILE: a pickle \(as of pickle, joblib or scikit-learn\), which is not read: it is a program and never run; "
    r"load it where it was made and save the tensors with safetensors"
)
def _bare_pickle_with_code(folder: Path) -> Path:
    (folder / "net.pth").write_bytes(pickle.dumps({"a": _Trap(folder)}))
    return folder / "net.pth"


@_hostile(r"FILE: 'net/data\.pkl' is compressed; PyTorch stores, so this is not its file")
def _zip_bomb(folder: Path) -> Path:
    torch.save({"a": torch.zeros(4)}, folder / "plain.pt")
    with zipfile.ZipFile(folder / "plain.pt") as old, zipfile.ZipFile(
        folder / "net.pt", "w", zipfile.ZIP_DEFLATED
    ) as new:  # fmt: skip
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name.replace("plain", "net"), bytes(256 << 20) if name.endswith("data/0") else content)
    assert (folder / "net.pt").stat().st_size < 300_000
    return folder / "net.pt"


@_hostile("FILE: " + _PLAIN.format("a tensor of 1000000000000 numbers claims to lie in a storage of 1"))
def _stride_of_nought(folder: Path) -> Path:
    torch.save({"a": torch.zeros(1).expand(10**6, 10**6)}, folder / "net.pt")
    assert (folder / "net.pt").stat().st_size < 3_000
    return folder / "net.pt"


def _header(folder: Path, entries: Any, data: int = 0) -> Path:
    text = entries.encode() if isinstance(entries, str) else json.dumps(entries).encode()
    (folder / "net.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(data))
    return folder / "net.safetensors"


def _entry(shape: list[int], start: int, stop: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, stop]}


_CUT = "FILE: not a safetensors file, or cut off: Error while deserializing header: {}"


@_hostile(r"FILE: 'a' claims the shape \[0, 4611686018427387904\]; an axis is believed up to 2\^40")
def _empty_tensor_with_an_endless_axis(folder: Path) -> Path:
    return _header(folder, {"a": _entry([0, 2**62], 0, 0)})


@_hostile(_CUT.format(".*"))
def _tensors_that_overlap(folder: Path) -> Path:
    return _header(folder, {"a": _entry([4], 0, 16), "b": _entry([4], 8, 24)}, 24)


@_hostile(_CUT.format(".*"))
def _tensor_beyond_the_file(folder: Path) -> Path:
    return _header(folder, {"a": _entry([2**40], 0, 2**42)}, 16)


@_hostile(_CUT.format(".*"))
def _shape_that_overflows(folder: Path) -> Path:
    return _header(folder, {"a": _entry([2**40, 2**40], 0, 16)}, 16)


@_hostile(_CUT.format(".*"))
def _header_longer_than_the_file(folder: Path) -> Path:
    (folder / "net.safetensors").write_bytes(struct.pack("<Q", 2**60) + b"{}")
    return folder / "net.safetensors"


@_hostile(_CUT.format(".*"))
def _header_nested_without_end(folder: Path) -> Path:
    return _header(folder, "[" * 200_000)


@_hostile(_CUT.format(".*"))
def _name_twice(folder: Path) -> Path:
    one = json.dumps(_entry([4], 0, 16))
    return _header(folder, f'{{"a": {one}, "a": {json.dumps(_entry([8], 0, 32))}}}', 16)


@_hostile(r"FILE: 100001 entries, at most 100000 are read")
def _hundred_thousand_names(folder: Path) -> Path:
    return _header(folder, {f"{k}": _entry([0], 0, 0) for k in range(100_001)})


def _external(folder: Path, location: str, **entries: str) -> Path:
    import onnx

    from tests.converters.onnx import build

    node = onnx.helper.make_node("MatMul", ["x", "W"], ["y"])
    model = build.model([node], {"x": (2, 4)}, ["y"], {"W": np.zeros((4, 4), np.float32)})
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value)
    inside = folder / "model"
    inside.mkdir(exist_ok=True)
    (folder / "secret").write_bytes(bytes(64))
    (inside / "net.onnx").write_bytes(model.SerializeToString())
    return inside / "net.onnx"


@_hostile(r"FILE: constant 'W' lies in '\.\./secret', outside of the model's folder")
def _external_data_further_up(folder: Path) -> Path:
    return _external(folder, "../secret")


@_hostile(r"FILE: constant 'W' lies in '/[^']*', outside of the model's folder")
def _external_data_anywhere(folder: Path) -> Path:
    return _external(folder, str((folder / "secret").resolve())[:80])


@_hostile(r"FILE: constant 'W' lies in 'link', outside of the model's folder")
def _external_data_behind_a_link(folder: Path) -> Path:
    path = _external(folder, "link")
    (path.parent / "link").symlink_to(folder / "secret")
    return path


@_hostile(r"FILE: constant 'W' claims bytes 0 to 4611686018427387904 of a file of 64 bytes")
def _external_data_without_end(folder: Path) -> Path:
    path = _external(folder, "data", length=str(2**62))
    (path.parent / "data").write_bytes(bytes(64))
    return path


@_hostile(r"FILE: constant 'W' claims 64 bytes, its external data have 16")
def _external_data_of_another_size(folder: Path) -> Path:
    path = _external(folder, "data", length="16")
    (path.parent / "data").write_bytes(bytes(64))
    return path


def _filled(folder: Path, *shape: int) -> Path:
    import onnx

    from tests.converters.onnx import build

    nodes = [onnx.helper.make_node("ConstantOfShape", ["n"], ["W"]), onnx.helper.make_node("MatMul", ["x", "W"], ["y"])]
    model = build.model(nodes, {"x": (2, 4)}, ["y"], {"n": np.array(shape, np.int64)})
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    return folder / "net.onnx"


@_hostile(
    r"ONNX node ConstantOfShape 'W': a value of shape 1048576x1048576 is larger than 2\^28 numbers, or impossible"
)
def _constant_without_end(folder: Path) -> Path:
    return _filled(folder, 1 << 20, 1 << 20)


def _loop(folder: Path, body: list[Any]) -> Path:
    import onnx

    from tests.converters.onnx import build

    kind = onnx.TensorProto
    graph = onnx.helper.make_graph(
        body,
        "body",
        [build.value("turn", [], kind.INT64), build.value("go", [], kind.BOOL), build.value("h", None)],
        [build.value("go", [], kind.BOOL), build.value("n", None)],
    )
    node = onnx.helper.make_node("Loop", ["turns", "", "x"], ["y"], body=graph)
    model = build.model([node], {"x": (2, 4)}, ["y"], {"turns": np.int64(2**40), "W": np.ones((4, 4), np.float32)})
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    return folder / "net.onnx"


@_hostile(r"ONNX model: a run makes more than 2\^29 numbers; try smaller example inputs")
def _loop_that_doubles(folder: Path) -> Path:
    import onnx

    return _loop(folder, [onnx.helper.make_node("Concat", ["h", "h"], ["n"], axis=0)])


def _config(folder: Path, text: str | dict[str, Any]) -> Path:
    (folder / "config.json").write_text(text if isinstance(text, str) else json.dumps(text))
    return folder


_BERT = {"model_type": "bert", "architectures": ["BertModel"], "hidden_size": 8, "num_attention_heads": 2}
_CONFIG = r"FILE/config\.json: "


@_hostile(_CONFIG + r"'num_hidden_layers' is 1000000000; at most 4096 is believed")
def _a_billion_layers(folder: Path) -> Path:
    return _config(folder, {**_BERT, "num_hidden_layers": 10**9})


@_hostile(_CONFIG + r"'hidden_size' is 1000000000000; at most 16777216 is believed")
def _a_trillion_neurons(folder: Path) -> Path:
    return _config(folder, {**_BERT, "hidden_size": 10**12})


@_hostile(_CONFIG + r"describes a network of more than 40000 tensors or 4398046511104 numbers")
def _sixteen_thousand_layers(folder: Path) -> Path:
    return _config(folder, {**_BERT, "num_hidden_layers": 1 << 12, "vocab_size": 10, "intermediate_size": 8})


@_hostile(_CONFIG + "not a JSON file: .*")
def _config_nested_without_end(folder: Path) -> Path:
    return _config(folder, "[" * 200_000)


@_hostile(_CONFIG + "more than 500000 entries, or nested more than 16 deep")
def _config_nested_deep(folder: Path) -> Path:
    return _config(folder, '{"a": ' * 40 + "1" + "}" * 40)


@_hostile(_CONFIG + "8388621 bytes, too large for a config")
def _config_without_end(folder: Path) -> Path:
    return _config(folder, '{"a": "' + "x" * ((8 << 20) + 4) + '"}')


@_hostile(_CONFIG + r"'initializer_range' must be a number, got nan")
def _config_with_nan(folder: Path) -> Path:
    return _config(folder, {**_BERT, "initializer_range": float("nan")})


@_hostile(
    _CONFIG + r"model_type 'net' is none that the installed transformers knows, and code of its own \('auto_map'\) "
    r"is never run; did you mean 'fnet'\?"
)
def _config_with_code(folder: Path) -> Path:
    (folder / "code.py").write_text(f"import os\nos.mkdir({str(folder / CANARY)!r})\nclass Net: pass\n")
    return _config(folder, {**_BERT, "model_type": "net", "auto_map": {"AutoModel": "code.Net"}})


@_hostile(_CONFIG + r"architecture 'os\.system' is no model of type 'bert' in transformers")
def _config_that_names_a_function(folder: Path) -> Path:
    return _config(folder, {**_BERT, "architectures": ["os.system"]})


@_hostile(
    r"net\.pt is a TorchScript program, not a state dict: converting it runs its code; if you trust it, say so with "
    r"allow_code=True"
)
def _torchscript(folder: Path) -> Path:
    class Net(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Net()).save(str(folder / "net.pt"))
    return folder / "net.pt"


@_hostile(r"FILE: its members overlap: together they are larger than the file")
def _members_that_overlap(folder: Path) -> Path:
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(1000)}, buffer)
    content = bytearray(buffer.getvalue())
    with zipfile.ZipFile(io.BytesIO(bytes(content))) as archive:
        name = next(member.filename for member in archive.infolist() if member.filename.endswith("data/0"))
    where = content.rfind(name.encode()) - 46
    content[where + 20 : where + 28] = struct.pack("<II", 10**9, 10**9)
    (folder / "net.pt").write_bytes(content)
    return folder / "net.pt"
