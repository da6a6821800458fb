"""Published layouts: each test writes a small folder of the form, packs it, and writes it back where that can be."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import graphws
from graphws.errors import GraphwsError, UsageError, ZooError
from graphws.zoo import SplitOptions, Zoo, pack
from graphws.zoo.export import export


def chain(seed: int, widths: tuple[int, ...], keys: tuple[str, ...]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, (below, above) in zip(keys, pairwise(widths), strict=True):
        state[f"{key}.weight"] = torch.randn(above, below, generator=generator)
        state[f"{key}.bias"] = torch.randn(above, generator=generator)
    return state


def inr(seed: int) -> dict[str, Tensor]:
    return chain(seed, (2, 6, 6, 1), ("seq.0", "seq.1", "seq.2"))


def assert_same(zoo: Zoo, states: dict[str, dict[str, Tensor]]) -> None:
    assert sorted(zoo.table["file"]) == sorted(states)
    for number, name in enumerate(zoo.table["file"]):
        back = zoo[number][0].to_state_dict()
        assert back.keys() == states[name].keys()
        for key, tensor in states[name].items():
            assert back[key].dtype == tensor.dtype
            assert torch.equal(back[key], tensor)


def assert_equal(first: Zoo, second: Zoo, *but: str) -> None:
    """The same networks in the same order, and the same columns."""
    assert len(first) == len(second)
    for name in set(first.table) - {"architecture", "file", "view", *but}:
        assert first.table[name].tolist() == second.table[name].tolist(), name
    for number in range(len(first)):
        ours, theirs = (zoo[number][0].to_state_dict() for zoo in (first, second))
        assert all(torch.equal(tensor, theirs[key]) for key, tensor in ours.items())


SINE = {"activation": "sine", "omega": 30.0}


def write_dwsnets(folder: Path) -> dict[str, dict[str, Tensor]]:
    states, splits = {}, {"train": (0, 4), "val": (4, 5), "test": (5, 6)}
    document: dict[str, Any] = {split: {"path": [], "label": []} for split in splits}
    for split, (low, high) in splits.items():
        for k in range(low, high):
            name = f"mnist-inrs/mnist_png_training_{k % 3}_{k}/checkpoints/model_final.pth"
            (folder / name).parent.mkdir(parents=True)
            states[name] = inr(k)
            torch.save(states[name], folder / name)
            document[split]["path"].append(f"experiments/mnist/dataset/{name}")
            document[split]["label"].append(str(k % 3))
            document[split].setdefault("score", []).append(k / 4)
    (folder / "mnist_splits.json").write_text(json.dumps(document))
    return states


def test_dwsnets(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    states = write_dwsnets(folder)
    zoo = pack(folder, tmp_path / "zoo", **SINE)
    assert zoo.provenance["layout"] == "dwsnets"
    assert zoo.table["label"].tolist() == [0, 1, 2, 0, 1, 2]
    assert zoo.table["score"].tolist() == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25]
    assert zoo.table["split"].tolist() == ["train"] * 4 + ["validation", "test"]
    assert zoo.provenance["check"] == {
        "2-6-6-1": {**zoo.provenance["check"]["2-6-6-1"], "networks": 6, "tried": 1, "verified": 1}
    }
    assert_same(zoo, states)
    for layout in ("dwsnets", "neural-graphs", "state-dicts"):
        export(zoo, tmp_path / layout, layout)
        again = pack(tmp_path / layout, tmp_path / f"{layout}-zoo", **SINE)
        assert again.provenance["layout"] == layout
        assert_same(again, states)
        order = np.argsort(again.table["file"].astype(str), kind="stable")
        first = np.argsort(zoo.table["file"].astype(str), kind="stable")
        for name in ("label", "score", "split", "sample"):
            assert again.table[name][order].tolist() == zoo.table[name][first].tolist()


def test_the_frequency_is_asked_for(tmp_path: Path) -> None:
    write_dwsnets(tmp_path / "in")
    with pytest.raises(UsageError) as caught:
        pack(tmp_path / "in", tmp_path / "zoo")
    assert str(caught.value).endswith(
        "model_final.pth: nothing says what runs between the layers: give --activation (activation=); "
        "the published ones are --activation sine --omega 30"
    )
    with pytest.raises(UsageError) as caught:
        pack(tmp_path / "in", tmp_path / "zoo", activation="sine")
    assert str(caught.value) == "a state dict does not hold the frequency of its sines: give --omega (omega=)"
    zoo = pack(tmp_path / "in", tmp_path / "zoo", activation="sine", omega=[30.0, 5.0])
    found = [dict(step.attributes)["omega"] for step in zoo.graph.operations if step.kind == "sine"]
    assert found == [30.0, 5.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["train"]["path"].append("../../etc/passwd"), "'label' of split 'train' is no list of 5 values"),
        (lambda d: d["train"]["path"].__setitem__(0, "x/../../y.pth"), "names 'x/../../y.pth', which is not in"),
        (lambda d: d["train"]["path"].__setitem__(0, 3), "a path must be text, got '3'"),
        (lambda d: d["train"]["path"].__setitem__(0, d["train"]["path"][1]), "twice"),
        (lambda d: d.__setitem__("trian", d.pop("train")), "split 'trian'; there are train, validation, test"),
        (lambda d: d["val"].pop("label"), "split 'val' has no list 'label', others have"),
    ],
)
def test_broken_splits(tmp_path: Path, change: Any, message: str) -> None:
    write_dwsnets(tmp_path / "in")
    file = tmp_path / "in" / "mnist_splits.json"
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))
    with pytest.raises(GraphwsError, match=r"mnist_splits\.json: ") as caught:
        pack(tmp_path / "in", tmp_path / "zoo", **SINE)
    assert message in str(caught.value)


def test_neural_graphs(tmp_path: Path) -> None:
    folder, states = tmp_path / "in", {}
    (folder / "nets").mkdir(parents=True)
    lines = ["path,split,score"]
    for k, split in enumerate(["train", "train", "val", "test"]):
        states[f"nets/{k}.pt"] = inr(k)
        torch.save(states[f"nets/{k}.pt"], folder / "nets" / f"{k}.pt")
        lines.append(f"data/nets/{k}.pt,{split},{k / 4}")
    (folder / "splits.csv").write_text("\n".join(lines) + "\n")
    zoo = pack(folder, tmp_path / "zoo", **SINE)
    assert zoo.provenance["layout"] == "neural-graphs"
    assert zoo.table["score"].tolist() == [0.0, 0.25, 0.5, 0.75]
    assert zoo.table["split"].tolist() == ["train", "train", "validation", "test"]
    assert_same(zoo, states)
    export(zoo, tmp_path / "out", "neural-graphs")
    assert_equal(pack(tmp_path / "out", tmp_path / "again", **SINE), zoo)


def test_nfn(tmp_path: Path) -> None:
    folder, states = tmp_path / "in", {}
    for prefix in ("randinit_a", "randinit_b"):
        for k in range(6):
            name = f"{prefix}_{k % 3}s/net{k}.pth"
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            states[name] = chain(k, (2, 5, 5, 1), ("net.0.linear", "net.1.linear", "net.2"))
            torch.save(states[name], folder / name)
    zoo = pack(folder, tmp_path / "zoo", split_at=(4, 5), **SINE)
    assert zoo.provenance["layout"] == "nfn"
    assert zoo.table["sample"].tolist() == [0, 1, 2, 3, 4, 5] * 2
    assert zoo.table["view"].tolist() == [0] * 6 + [1] * 6
    assert zoo.table["label"].tolist() == [0, 1, 2] * 4
    assert zoo.table["split"].tolist() == (["train"] * 4 + ["validation", "test"]) * 2
    assert_same(zoo, states)
    export(zoo, tmp_path / "out", "nfn")
    assert_equal(pack(tmp_path / "out", tmp_path / "again", split_at=(4, 5), **SINE), zoo)
    shares = pack(folder, tmp_path / "shares", split=SplitOptions(0.2, 0.2), **SINE).table
    for sample in range(6):
        assert len(set(shares["split"][shares["sample"] == sample])) == 1


VARIABLES = [
    ("sequential/conv2d/kernel:0", (3, 3, 1, 4)),
    ("sequential/conv2d/bias:0", (4,)),
    ("sequential/conv2d_1/kernel:0", (3, 3, 4, 4)),
    ("sequential/conv2d_1/bias:0", (4,)),
    ("sequential/dense/kernel:0", (4, 10)),
    ("sequential/dense/bias:0", (10,)),
]


def write_small_cnn_zoo(folder: Path, count: int = 8) -> np.ndarray:
    folder.mkdir()
    lines, start = [["varname", "shape", "start_idx", "end_idx"]], 0
    for name, shape in VARIABLES:
        lines.append([name, str(shape), str(start), str(start + int(np.prod(shape)))])
        start += int(np.prod(shape))
    with (folder / "layout.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(lines)
    weights = np.random.default_rng(0).normal(size=(count, start)).astype(np.float32)
    np.save(folder / "weights.npy", weights)
    with gzip.open(folder / "metrics.csv.gz", "wt", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["", "modeldir", "step", "test_accuracy", "config.activation"])
        for k in range(count):
            writer.writerow([k, f"run/{k // 2}", 86 * (k % 2), k / 10, ("relu", "tanh")[k // 2 % 2]])
    return weights


def test_small_cnn_zoo(tmp_path: Path) -> None:
    weights = write_small_cnn_zoo(tmp_path / "in")
    zoo = pack(tmp_path / "in", tmp_path / "zoo", split=SplitOptions(0.25, 0.25))
    assert zoo.names == ("small-cnn-zoo-relu", "small-cnn-zoo-tanh")
    assert zoo.table["architecture"].tolist() == ["small-cnn-zoo-relu"] * 2 + ["small-cnn-zoo-tanh"] * 2 + [
        "small-cnn-zoo-relu"] * 2 + ["small-cnn-zoo-tanh"] * 2  # fmt: skip
    assert zoo.table["test_accuracy"].tolist() == [k / 10 for k in range(8)]
    assert zoo.table["sample"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert zoo.table["split"][0::2].tolist() == zoo.table["split"][1::2].tolist()
    assert [each["verified"] for each in zoo.provenance["check"].values()] == [1, 1]
    kernel = zoo[3][0].to_state_dict()["conv2d_1.weight"]
    assert np.array_equal(kernel.numpy().transpose(2, 3, 1, 0).ravel(), weights[3, 40:184])
    assert zoo[3][0].to_state_dict()["dense.weight"].shape == (10, 4)
    export(zoo, tmp_path / "out", "small-cnn-zoo")
    assert np.array_equal(np.load(tmp_path / "out" / "weights.npy"), weights)
    assert_equal(pack(tmp_path / "out", tmp_path / "again", split=SplitOptions(0.25, 0.25)), zoo)
    final = pack(tmp_path / "in", tmp_path / "final", where=[("step", "86"), ("config.activation", "tanh")])
    assert final.table["file"].tolist() == ["row-0000003", "row-0000007"]


def test_arrays_and_tables_of_strangers(tmp_path: Path) -> None:
    write_small_cnn_zoo(tmp_path / "in")
    folder = tmp_path / "in"
    weights, layout = (folder / "weights.npy").read_bytes(), (folder / "layout.csv").read_text()
    np.save(folder / "weights.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ZooError, match=r"weights.npy: not a plain array of NumPy"):
        pack(folder, tmp_path / "zoo")
    (folder / "weights.npy").write_bytes(weights)
    for old, new, message in (
        ("0,36", "5,36", "are not those of its shape, in order"),
        ("(3, 3, 1, 4)", "__import__('os')", "has shape \"__import__('os')\""),
        ("(3, 3, 1, 4)", "(99999999, 99999999)", "are not those of its shape, in order"),
        ("varname", "name", "no column 'varname'"),
    ):
        assert old in layout
        (folder / "layout.csv").write_text(layout.replace(old, new))
        with pytest.raises(ZooError) as caught:
            pack(folder, tmp_path / "zoo")
        assert message in str(caught.value)
    (folder / "layout.csv").write_text(layout)
    (folder / "metrics.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n"))
    with pytest.raises(ZooError, match="1 rows in 'a' for 8 networks"):
        pack(folder, tmp_path / "zoo")


def cnn(activation: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), activation(), nn.Conv2d(3, 4, 3), activation(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 2),
    )  # fmt: skip


def test_model_zoos(tmp_path: Path) -> None:
    folder, states = tmp_path / "in", {}
    for trial in range(3):
        place = folder / f"NN_tune_trainable_{trial:05d}_seed={trial}"
        place.mkdir(parents=True)
        (place / "params.json").write_text(json.dumps({"model::nlin": "tanh", "optim::lr": 0.01 * trial, "x": [1]}))
        results = [{"training_iteration": k, "test_acc": k / 100, "node_ip": "x"} for k in range(0, 51)]
        (place / "result.json").write_text("".join(json.dumps(line) + "\n" for line in results))
        for epoch in (25, 50):
            torch.manual_seed(trial * 100 + epoch)
            name = f"{place.name}/checkpoint_{epoch:06d}/checkpoints"
            states[name] = cnn().state_dict()
            (folder / name).parent.mkdir()
            torch.save(states[name], folder / name)
    with pytest.raises(ZooError, match=r"6 of 6 networks cannot be packed: .*--like NETWORK"):
        pack(folder, tmp_path / "zoo")
    zoo = pack(folder, tmp_path / "zoo", like=[(cnn(), torch.randn(2, 1, 8, 8))], split=SplitOptions(0.3, 0.3))
    assert zoo.provenance["layout"] == "model-zoos"
    assert zoo.table["epoch"].tolist() == [25, 50] * 3
    assert zoo.table["test_acc"].tolist() == [0.25, 0.5] * 3
    assert zoo.table["optim::lr"].tolist() == [0.0, 0.0, 0.01, 0.01, 0.02, 0.02]
    assert zoo.table["split"][0::2].tolist() == zoo.table["split"][1::2].tolist()
    assert len(set(zoo.table["split"])) == 3
    assert_same(zoo, states)
    with pytest.raises(ZooError, match="the folder says that it has 'tanh', which that has not"):
        pack(folder, tmp_path / "relu", like=[(cnn(nn.ReLU), torch.randn(2, 1, 8, 8))])


def test_stable_baselines(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    states = {}
    for k in range(3):
        policy = chain(k, (4, 6, 6), ("mlp_extractor.policy_net.0", "mlp_extractor.policy_net.2"))
        policy |= chain(k + 10, (4, 5), ("mlp_extractor.value_net.0",))
        policy |= chain(k + 20, (6, 2), ("action_net",)) | chain(k + 30, (5, 1), ("value_net",))
        states[f"ppo{k}.zip"] = {"log_std": torch.randn(2), **policy}
        torch.save(states[f"ppo{k}.zip"], tmp_path / "policy.pth")
        with zipfile.ZipFile(folder / f"ppo{k}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("data", '{"policy_class": {":serialized:": "gASV"}}')
            archive.write(tmp_path / "policy.pth", "policy.pth")
            archive.writestr("../../evil", "x")
    with pytest.raises(UsageError, match=r"ppo0\.zip: nothing says its activation: .* --activation tanh; or say"):
        pack(folder, tmp_path / "zoo")
    zoo = pack(folder, tmp_path / "zoo", activation="tanh")
    assert zoo.provenance["layout"] == "sb3"
    assert zoo.names == ("sb3-tanh",)
    assert zoo.provenance["check"]["sb3-tanh"]["verified"] == 1
    assert_same(zoo, states)
    with zipfile.ZipFile(folder / "ppo1.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("policy.pth", b"\0" * (2 << 20))
    with pytest.raises(ZooError, match=r"ppo1.zip: 'policy.pth' in it: not a file that PyTorch wrote"):
        pack(folder, tmp_path / "again", activation="tanh")


def test_estool(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    numbers = {}
    for k in range(3):
        numbers[k] = np.random.default_rng(k).normal(size=4 * 5 + 5 + 5 * 2 + 2).round(4)
        (folder / f"walker{k}.best.json").write_text(json.dumps([numbers[k].tolist(), 12.5]))
    with pytest.raises(ZooError, match="a list of 37 numbers, which no file describes; say what these networks are"):
        pack(folder, tmp_path / "zoo")
    like = graphws.convert(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)))
    zoo = pack(folder, tmp_path / "zoo", like=[like])
    assert zoo.provenance["layout"] == "estool"
    state = zoo[1][0].to_state_dict()
    assert np.array_equal(state["0.weight"].numpy(), numbers[1][:20].reshape(4, 5).T)
    assert np.array_equal(state["2.bias"].numpy(), numbers[1][-2:])
    (folder / "walker1.best.json").write_text("[[" * 100_000)
    with pytest.raises(ZooError, match=r"walker1.best.json: not a JSON file"):
        pack(folder, tmp_path / "again", like=[like])


def test_a_layout_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(UsageError, match=r"no layout 'dwsnet'; there are .*; did you mean 'dwsnets'"):
        pack(tmp_path / "in", tmp_path / "zoo", layout="dwsnet")
    write_dwsnets(tmp_path / "nets")
    zoo = pack(tmp_path / "nets", tmp_path / "zoo", **SINE)
    with pytest.raises(UsageError, match=r"no layout 'nfm' to write; .*; did you mean 'nfn'"):
        export(zoo, tmp_path / "out", "nfm")
    with pytest.raises(ZooError, match="holds something already; export into an empty folder"):
        export(zoo, tmp_path / "nets", "nfn")
    shutil.rmtree(tmp_path / "nets")
