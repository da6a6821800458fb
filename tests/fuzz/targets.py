"""What is fuzzed: for each reader good contents, how they go wrong, and the public door that must bear them."""

from __future__ import annotations

import io
import json
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import safetensors.torch
import torch

from graphws.actions.groups.naming import named_symmetry
from graphws.actions.groups.symmetry_file import read_symmetry
from graphws.checkpoints.example_inputs import example_inputs
from graphws.checkpoints.network_file import load_network, save_network
from graphws.checkpoints.state_dict import read_checkpoint
from graphws.converting import convert, load_graph_file
from graphws.graph.network import NetworkGraph
from graphws.graph.summary import summary_table
from graphws.operations import mlp_graph
from graphws.reporter import Reporter
from graphws.runtime.folder import FORMAT as RUN_FORMAT
from graphws.runtime.folder import RunFolder
from graphws.runtime.job import _finished
from graphws.runtime.model_file import read_model, save_model
from graphws.spec import load_spec
from graphws.zoo import Zoo
from graphws.zoo.labels import read_labels
from graphws.zoo.sources.cifar10 import read_batch
from graphws.zoo.sources.idx import read_idx
from graphws.zoo.sources.pictures import load_pictures
from graphws.zoo.table import read_table
from tests.fuzz import contents
from tests.fuzz.edits import (
    archive_like,
    bytes_like,
    end_like,
    header_like,
    json_like,
    message_like,
    pick,
    pickle_like,
    safetensors_of,
    text_like,
)
from tests.graph import samples
from tests.runtime import standin

Files = Mapping[str, bytes]
"""The files of an input by their names in its folder."""
EFFORT = 1e6
"""Numbers that the gate of a network file may make."""


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        name: What it reads.
        share: How many of a million inputs it gets.
        quick: How many it gets in the quick tests.
        seeds: Makes good contents, in an empty folder.
        edit: Makes an input of one of them.
        door: Reads it, as users do.
    """

    name: str
    share: int
    quick: int
    seeds: Callable[[Path], Sequence[Files]]
    edit: Callable[[Random, Files], Files]
    door: Callable[[Path], object]

    def made(self, number: int, seeds: Sequence[Files]) -> Files:
        """The input of that number."""
        rng = Random(f"{self.name} {number}")
        return self.edit(rng, pick(rng, seeds))


def one(change: Callable[[Random, bytes], bytes]) -> Callable[[Random, Files], Files]:
    """Edits one file of several."""

    def edit(rng: Random, files: Files) -> Files:
        name = pick(rng, list(files))
        return {**files, name: change(rng, files[name])}

    return edit


def by_suffix(changes: Mapping[str, Callable[[Random, bytes], bytes]]) -> Callable[[Random, Files], Files]:
    """Edits one file of several, each kind in its own way; a file whose suffix is not named stays."""

    def edit(rng: Random, files: Files) -> Files:
        name = pick(rng, [name for name in files if Path(name).suffix in changes])
        return {**files, name: changes[Path(name).suffix](rng, files[name])}

    return edit


def _json(rng: Random, content: bytes) -> bytes:
    if rng.random() < 0.15:
        return bytes_like(rng, content)
    return json_like(rng, content.decode()).encode("utf-8", "surrogatepass")


def _text(rng: Random, content: bytes) -> bytes:
    return text_like(rng, content.decode())


def _state() -> dict[str, torch.Tensor]:
    return dict(contents.network().state_dict())


def _safetensors(folder: Path) -> list[Files]:
    odd = {"a.weight": torch.zeros(2, 0), "b": torch.ones(1), "c.bias": torch.zeros(3, dtype=torch.bfloat16)}
    states: list[dict[str, torch.Tensor]] = [_state(), odd]
    return [{"net.safetensors": safetensors.torch.save(state, {"format": "pt"})} for state in states]


def _training() -> dict[str, Any]:
    state = contents.network().state_dict()
    return {"epoch": 3, "best": [0.5, None, "x"], "state_dict": state, "tied": (state["0.weight"], state["0.weight"])}


def _saved(content: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def _archives(folder: Path) -> list[Files]:
    states = (_training(), _state(), contents.network().half().state_dict())
    return [{"net.pt": _saved(content)} for content in states]


@lru_cache(maxsize=16)
def _members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _archive(rng: Random, content: bytes) -> bytes:
    if rng.random() < 0.1:
        return bytes_like(rng, content)

    def member(rng: Random, name: str, data: bytes) -> bytes:
        return pickle_like(rng, data) if name.endswith(".pkl") else bytes_like(rng, data)

    members = dict(_members(content))
    if rng.random() < 0.7:
        name = next(name for name in members if name.endswith(".pkl"))
        members[name] = pickle_like(rng, members[name])
        return archive_like(rng, members, lambda rng, name, data: data)
    return archive_like(rng, members, member)


def _legacies(folder: Path) -> list[Files]:
    return [{"net.pt": _saved(content, _use_new_zipfile_serialization=False)} for content in (_training(), _state())]


def _legacy(rng: Random, content: bytes) -> bytes:
    if rng.random() < 0.3:
        return bytes_like(rng, content)
    stream, parts = io.BytesIO(content), []
    start = 0
    for _ in range(5):
        for _ in pickletools.genops(stream):
            pass
        parts.append(content[start : stream.tell()])
        start = stream.tell()
    place = rng.choice((3, 3, 3, 0, 1, 2, 4))
    parts[place] = pickle_like(rng, parts[place])
    return b"".join(parts) + content[start:]


def _graphs(folder: Path) -> list[Files]:
    graphs = [mlp_graph([3, 5, 2], "tanh"), mlp_graph([2, 4, 4, 1], "relu"), samples.computing(), samples.heads()]
    return [{"graph.json": graph.to_json().encode()} for graph in graphs]


def _read_graph(folder: Path) -> object:
    graph = load_graph_file(folder / "graph.json").graph
    summary_table(graph)
    return NetworkGraph.from_json(graph.to_json()), str(graph)


def _networks(folder: Path) -> list[Files]:
    found = convert(contents.network(), generator=torch.Generator().manual_seed(0))
    save_network(found, folder / "net.safetensors")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        norm = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    save_network(convert(norm, torch.randn(5, 3)), folder / "norm.safetensors")
    return [{"net.safetensors": (folder / name).read_bytes()} for name in ("net.safetensors", "norm.safetensors")]


def _network(rng: Random, content: bytes) -> bytes:
    if rng.random() < 0.2:
        return header_like(rng, content)
    length = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    metadata = header["__metadata__"]
    part = pick(rng, [name for name in metadata if name not in ("reason", "graphws_network")] + ["graph"] * 4)
    written = json_like(rng, metadata[part])
    text = json.dumps({**header, "__metadata__": {**metadata, part: written}})
    return safetensors_of(text.encode("utf-8", "surrogatepass"), data)


def _indices(folder: Path) -> list[Files]:
    state = _state()
    names = {key: f"model-0000{k % 2}.safetensors" for k, key in enumerate(state)}
    shards = {
        name: safetensors.torch.save({key: state[key] for key in state if names[key] == name})
        for name in dict.fromkeys(names.values())
    }
    index = {"metadata": {"total_size": 100}, "weight_map": names}
    return [{"model.safetensors.index.json": json.dumps(index).encode(), **shards}]


def _onnx(folder: Path) -> list[Files]:
    return [{"net.onnx": model.SerializeToString()} for model in contents.onnx_models().values()]


def _onnx_edited(rng: Random, content: bytes) -> bytes:
    import onnx

    if rng.random() < 0.3:
        return bytes_like(rng, content)
    return bytes(message_like(rng, onnx.ModelProto.FromString(content)).SerializePartialToString())


def _read_onnx(folder: Path) -> object:
    from graphws_converters.onnx import OnnxModule, read_model

    return OnnxModule(read_model(folder / "net.onnx"))


def _configs(folder: Path) -> list[Files]:
    return [{"config.json": json.dumps(config).encode()} for config in contents.configs().values()]


def _read_config(folder: Path) -> object:
    from graphws_converters.sources.config import read_config

    return read_config(folder / "config.json")


def _zoos(folder: Path) -> list[Files]:
    from tests.zoo import test_several_graphs, test_store

    test_store.make(folder / "one"), test_several_graphs.make(folder / "several")
    return [
        {f"zoo/{file.name}": file.read_bytes() for file in sorted((folder / name).iterdir())}
        for name in ("one", "several")
    ]


def _zoo_edited(rng: Random, files: Files) -> Files:
    changed = _ZOO(rng, files)
    if rng.random() < 0.7 and "zoo/zoo.json" in changed and changed["zoo/zoo.json"] == files["zoo/zoo.json"]:
        manifest = json.loads(files["zoo/zoo.json"])
        shelves = manifest["architectures"]
        files = [entry for shelf in shelves for entry in (shelf["graph"], *shelf["shards"])]
        for entry in (manifest["table"], manifest["statistics"], *files):
            entry["bytes"] = len(changed["zoo/" + entry["name"]])
        changed = {**changed, "zoo/zoo.json": json.dumps(manifest).encode()}
    return changed


def _table(rng: Random, content: bytes) -> bytes:
    if rng.random() < 0.5:
        return end_like(rng, content, int.from_bytes(content[-8:-4], "little") + 8)
    return bytes_like(rng, content)


_ZOO = by_suffix({".json": _json, ".safetensors": header_like, ".parquet": _table})


def _open_zoo(folder: Path) -> object:
    zoo = Zoo.open(folder / "zoo")
    for weights in zoo.batches(7) if len(zoo) else ():
        weights.check_finite(), zoo.statistics.normalise(weights)
    return repr(zoo), zoo.split("test")


def _tables(folder: Path) -> list[Files]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "sample": pa.array(range(6)), "view": pa.array([0] * 6), "split": pa.array(["train"] * 4 + ["test"] * 2),
        "name": pa.array(["a", "é", "c" * 40, "", "b", "a"]), "psnr": pa.array([0.5, float("nan"), 1, 2, 3, 4]),
    }  # fmt: skip
    made = []
    for options in (
        {"compression": "zstd"}, {"compression": "none", "use_dictionary": False},
        {"compression": "gzip", "data_page_version": "2.0"}, {"compression": "snappy", "row_group_size": 2},
        {"compression": "none", "write_statistics": False},
    ):  # fmt: skip
        pq.write_table(pa.table(columns), folder / "table.parquet", **options)
        made.append({"table.parquet": (folder / "table.parquet").read_bytes()})
    return made


SPECS = [
    "graphws: 1\nextends: parent.yaml\nname: a\ninput: {kind: mlp, widths: [2, 4, 1], activation: relu}\n"
    "model:\n  kind: dwsnet\n  layers: 2\n  channels: 4\n  messages:\n    - from: weight\n      via: edge\n"
    "      to: weight\n  pooling: max\nhead: {kind: invariant, outputs: 3}\n",
    "graphws: 1\nextends: base/dwsnet.yaml\nmodel: {layers: 3, reduce: {input: 2}, norm: layer}\n"
    "input: {kind: mlp, widths: [2, 3, 1]}\nhead: {kind: invariant, outputs: 3}\n"
    "task: {kind: classification, target: label}\n",
    "graphws: 1\nzoo:\n  source: {kind: sine, count: 10, amplitude: [1, 1], frequency: [0.5, 10], points: 20}\n"
    "  network: {hidden: [3], activation: sine, omega: 5.0}\n  fit: {steps: 3, lr: 5e-3}\n",
]  # fmt: skip
PARENT = "graphws: 1\ntrain: {optimizer: {kind: adamw, lr: 1e-3, weight_decay: 5e-4}, epochs: 2, seeds: [0, 1]}\n"


def _specs(folder: Path) -> list[Files]:
    return [{"spec.yaml": text.encode(), "parent.yaml": PARENT.encode()} for text in SPECS]


SYMMETRIES = [
    "kind: rotations\norder: 4\n",
    "kind: translations\nstep: [0, 1]\n",
    "kind: generated\ngenerators:\n  m: [1, 0, 2, 3]\n  s: {places: [0, 1, 2, 3], signs: [1, -1, 1, 1]}\n"
    "relations: [m^2, s^2]\n",
    "kind: generated\ngenerators:\n  a: [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]\n",
    "kind: tokens\ngrid: [2, 1]\nmove: flip\n",
]


def _symmetries(folder: Path) -> list[Files]:
    return [{"group.yaml": text.encode()} for text in SYMMETRIES]


def _read_symmetry(folder: Path) -> object:
    return str(named_symmetry(read_symmetry(str(folder / "group.yaml")), (2, 2), "same", outputs=4))


def _labels(folder: Path) -> list[Files]:
    return [
        {"labels.csv": b"file,label,split,sample\na.pt,1,train,0\nb.pt,2,test,1\n"},
        {"labels.csv": b'\xef\xbb\xbffile,score,"odd ""name"""\r\nb.pt,1.5,x\r\na.pt,-2e3,"y, z"\r\n'},
    ]


def _run_files(folder: Path) -> list[Files]:
    validation = {"val_loss": 0.5, "val_accuracy": 0.5}
    save_model(folder / "best.safetensors", _state(), {"model": "reader", "epoch": 2, "validation": validation})
    model, best = (folder / "best.safetensors").read_bytes(), standin.trial(folder)._best()
    trial = {
        "name": "reader", "lr": 1e-2, "seed": 0, "parameters": 10, "epochs": 2, "best_epoch": 2,
        "validation": validation, "seconds": 1.5, "diverged": None, "folder": "a",
    }  # fmt: skip
    score = {
        "name": "dwsnet", "parameters": 10, "lr": 1e-3, "seeds": [0, 1], "validation": [{"val_loss": 1.0}] * 2,
        "test": [{"loss": 1.0, "accuracy": 0.5}] * 2, "seconds": 1.0, "chosen": 0,
    }  # fmt: skip
    metric = {"name": "accuracy", "higher_is_better": True}
    return [
        {
            "run/run.json": json.dumps({"format": RUN_FORMAT, "status": "complete", "spec_sha256": "0"}).encode(),
            "run/spec.yaml": SPECS[1].encode(),
            "run/versions.json": b'{"python": "3.11", "torch": "2.13"}',
            "run/results.json": json.dumps({"metric": metric, "scores": [score], "networks": {"test": 5}}).encode(),
            "run/models/dwsnet.safetensors": model,
            "run/trials/a/trial.json": json.dumps(trial).encode(),
            "run/trials/a/best.safetensors": model,
            "run/trials/a/metrics.csv": b"epoch,train_loss\n1,0.5\n2,0.25\n",
            "run/trials/a/last.ckpt": _saved(
                {"epoch": 1, "state_dict": _state(), "callbacks": {best.state_key: {"training": best.training}}}
            ),
        }
    ]


_RUN = by_suffix({".json": _json, ".yaml": _text, ".csv": _text, ".safetensors": header_like, ".ckpt": _archive})


def _read_run(folder: Path) -> object:
    run = RunFolder(folder / "run")
    run.startable(), run.complete(), run.edited("graphws: 1\n"), run.status()
    load_spec(run.spec)
    trial = standin.trial(run.trial("a"))
    trial._unusable(run.trial("a") / "last.ckpt")
    read_model(run.model("dwsnet"))
    trial.finished()
    results = _finished(run, Reporter())
    return results and (results.table(), results.sentence())


def _inputs(folder: Path) -> list[Files]:
    arrays = {"x": np.zeros((2, 3), np.float32), "ids": np.ones((2, 2), np.int64)}
    np.savez(folder / "in.npz", **arrays)
    np.save(folder / "in.npy", arrays["x"])
    whole = (folder / "in.npz").read_bytes()
    return [{"in.npz": whole}, {"in.npy": (folder / "in.npy").read_bytes()}]


def _inputs_edited(rng: Random, content: bytes) -> bytes:
    if content[:2] == b"PK" and rng.random() < 0.8:
        return archive_like(rng, _members(content), lambda rng, name, data: bytes_like(rng, data))
    return bytes_like(rng, content)


def _read_inputs(folder: Path) -> object:
    return example_inputs(str(next(folder.iterdir())), torch.Generator())


def _pictures(folder: Path) -> list[Files]:
    from PIL import Image

    files: dict[str, bytes] = {}
    for k, kind in enumerate(("png", "bmp", "gif", "ppm", "jpeg")):
        buffer = io.BytesIO()
        Image.fromarray((np.arange(48).reshape(4, 4, 3) * 5 + k).astype(np.uint8)).save(buffer, kind)
        files[f"{'ab'[k % 2]}/{k}.{'jpg' if kind == 'jpeg' else kind}"] = buffer.getvalue()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return [{"pictures.zip": packed.getvalue()}]


def _zipped_picture(rng: Random, content: bytes) -> bytes:
    return archive_like(rng, _members(content), lambda rng, name, data: bytes_like(rng, data))


def _data_sets(folder: Path) -> list[Files]:
    import gzip

    plain = struct.pack(">BBBB3I", 0, 0, 8, 3, 2, 3, 3) + bytes(range(18))
    return [{"data.idx": plain}, {"data.idx": gzip.compress(plain)}]


def _batches(folder: Path) -> list[Files]:
    batch = {b"data": np.zeros((2, 3072), np.uint8), b"labels": [1, 2], b"batch_label": b"x"}
    return [{"data_batch_1": pickle.dumps(batch, protocol=2)}]


TARGETS = (
    Target("safetensors", 190_000, 600, _safetensors, one(header_like),
           lambda f: read_checkpoint(f / "net.safetensors")),
    Target("checkpoint", 150_000, 600, _archives, one(_archive), lambda f: read_checkpoint(f / "net.pt")),
    Target("checkpoint before 1.6", 100_000, 600, _legacies, one(_legacy), lambda f: read_checkpoint(f / "net.pt")),
    Target("index of shards", 30_000, 200, _indices, by_suffix({".json": _json}),
           lambda f: read_checkpoint(f / "model.safetensors.index.json")),
    Target("state dict, converted", 3_000, 20, lambda folder: _safetensors(folder)[:1], one(header_like),
           lambda f: load_graph_file(f / "net.safetensors", torch.zeros(2, 3), activation="tanh")),
    Target("graph", 110_000, 500, _graphs, one(_json), _read_graph),
    Target("network file", 30_000, 150, _networks, one(_network),
           lambda f: str(load_network(f / "net.safetensors", effort=EFFORT))),
    Target("ONNX", 60_000, 250, _onnx, one(_onnx_edited), _read_onnx),
    Target("ONNX, converted", 3_000, 20, _onnx, one(_onnx_edited), lambda f: convert(f / "net.onnx")),
    Target("config.json", 60_000, 300, _configs, one(_json), _read_config),
    Target("config.json, converted", 300, 4, _configs, one(_json), lambda f: convert(f)),
    Target("zoo", 30_000, 150, _zoos, _zoo_edited, _open_zoo),
    Target("table of a zoo", 50_000, 300, _tables, one(_table), lambda f: read_table(f / "table.parquet", 6)),
    Target("labels", 70_000, 400, _labels, one(_text), lambda f: read_labels(f / "labels.csv", ["a.pt", "b.pt"])),
    Target("spec", 20_000, 100, _specs, by_suffix({".yaml": _text}), lambda f: load_spec(f / "spec.yaml")),
    Target("symmetry", 30_000, 200, _symmetries, one(_text), _read_symmetry),
    Target("run folder", 10_000, 100, _run_files, _RUN, _read_run),
    Target("example inputs", 30_000, 200, _inputs, one(_inputs_edited), _read_inputs),
    Target("IDX", 13_700, 100, _data_sets, one(bytes_like), lambda f: read_idx(f / "data.idx")),
    Target("CIFAR-10", 5_000, 50, _batches, one(pickle_like), lambda f: read_batch(f / "data_batch_1")),
    Target("pictures", 5_000, 50, _pictures, one(_zipped_picture), lambda f: load_pictures(path=f / "pictures.zip")),
)  # fmt: skip
"""Every reader of files; the shares sum to a million."""
