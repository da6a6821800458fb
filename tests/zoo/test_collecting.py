"""Collecting: like networks, labels, what is bad, the check, several processes, and going on after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

import graphws
from graphws.errors import UsageError, ZooError
from graphws.zoo import SplitOptions, pack
from graphws.zoo.collecting import architectures, check, parts
from graphws.zoo.collecting.signature import Signature


def cnn(seed: int, width: int = 4) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(width, 2),
    ).eval()  # fmt: skip


def write(folder: Path, count: int = 6, *widths: int) -> list[nn.Sequential]:
    folder.mkdir(parents=True, exist_ok=True)
    nets = [cnn(k, (widths or (4,))[k % max(1, len(widths))]) for k in range(count)]
    for k, net in enumerate(nets):
        net[1].num_batches_tracked.fill_(k)
        torch.save(net.state_dict(), folder / f"n{k}.pt")
    return nets


PICTURE = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_like_networks(tmp_path: Path) -> None:
    """Buffers come along, counters with them, bit for bit; widths are told apart by shapes."""
    nets = write(tmp_path / "in", 6, 4, 7)
    like = [(cnn(99), PICTURE), graphws.convert(cnn(98, 7), PICTURE)]
    zoo = pack(tmp_path / "in", tmp_path / "zoo", like=like)
    assert zoo.names == ("Sequential", "like-2")
    assert zoo.architecture.tolist() == [0, 1] * 3
    for k, net in enumerate(nets):
        back = zoo[k][0].to_state_dict()
        assert all(back[key].dtype == x.dtype and torch.equal(back[key], x) for key, x in net.state_dict().items())
    assert [each["verified"] for each in zoo.provenance["check"].values()] == [1, 1]


def test_no_like_network(tmp_path: Path) -> None:
    write(tmp_path / "in", 1)
    file = tmp_path / "in" / "n0.pt"
    with pytest.raises(ZooError) as caught:
        pack(tmp_path / "in", tmp_path / "zoo")
    assert str(caught.value) == (
        f"{file}: not an MLP of linear layers: '0.weight' has shape 4x1x3x3; say what these networks are with "
        "--like NETWORK (a converted file, an .onnx file, a Hugging Face folder)"
    )
    with pytest.raises(ZooError) as caught:
        pack(tmp_path / "in", tmp_path / "zoo", like=[(cnn(0, 5), PICTURE)])
    assert str(caught.value) == (
        f"{file}: unlike 'Sequential': '0.weight' has shape 4x1x3x3, not 5x1x3x3; add --like NETWORK for such networks"
    )
    with pytest.raises(ZooError, match=r"none\.onnx: no such file or folder"):
        pack(tmp_path / "in", tmp_path / "zoo", like=[tmp_path / "none.onnx"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_bad_files_are_named_all_at_once_or_left_out(tmp_path: Path) -> None:
    write(tmp_path / "in", 6)
    for k in (1, 4):
        (tmp_path / "in" / f"n{k}.pt").write_bytes(b"PK")
    (tmp_path / "in" / "labels.csv").write_text("file,label\n" + "".join(f"n{k}.pt,{k}\n" for k in range(6)))
    like = [(cnn(0), PICTURE)]
    with pytest.raises(ZooError, match=r"2 of 6 networks cannot be packed \(--skip-bad leaves them out\): ") as caught:
        pack(tmp_path / "in", tmp_path / "zoo", like=like)
    assert "n1.pt" in str(caught.value)
    assert "n4.pt" in str(caught.value)
    zoo = pack(tmp_path / "in", tmp_path / "zoo", like=like, skip_bad=True)
    assert zoo.table["label"].tolist() == [0, 2, 3, 5]
    assert [each["file"] for each in zoo.provenance["skipped"]] == ["n1.pt", "n4.pt"]
    assert not any(str(tmp_path) in each["reason"] for each in zoo.provenance["skipped"])
    for k in range(6):
        (tmp_path / "in" / f"n{k}.pt").write_bytes(b"PK")
    with pytest.raises(ZooError, match="6 of 6 networks cannot be packed: "):
        pack(tmp_path / "in", tmp_path / "again", like=like, skip_bad=True)


def test_labels_in_parquet_with_columns_of_other_names(tmp_path: Path) -> None:
    write(tmp_path / "in", 4)
    table = {
        "model": ["n3", "n1", "n0", "n2"],
        "score": [0.3, 0.1, 0.0, 0.2],
        "fold": ["test", "val", "train", "train"],
    }
    pq.write_table(pa.table(table), tmp_path / "marks.parquet")
    options: dict[str, Any] = {"like": [(cnn(0), PICTURE)], "labels": tmp_path / "marks.parquet"}
    zoo = pack(tmp_path / "in", tmp_path / "zoo", file_column="model", split_column="fold", **options)
    assert zoo.table["score"].tolist() == [0.0, 0.1, 0.2, 0.3]
    assert zoo.table["split"].tolist() == ["train", "validation", "train", "test"]
    with pytest.raises(UsageError, match="no column 'flod' says the split; did you mean 'fold'"):
        pack(tmp_path / "in", tmp_path / "again", file_column="model", split_column="flod", **options)
    with pytest.raises(ZooError, match=r"marks.parquet: it needs a column 'file'"):
        pack(tmp_path / "in", tmp_path / "again", **options)


def test_nested_folders_and_samples(tmp_path: Path) -> None:
    for trial in range(4):
        write(tmp_path / "in" / f"trial{trial}", 3)
    rows = "".join(f"trial{t}/n{k}.pt,{t}\n" for t in range(4) for k in range(3))
    (tmp_path / "in" / "labels.csv").write_text("file,sample\n" + rows)
    zoo = pack(tmp_path / "in", tmp_path / "zoo", like=[(cnn(0), PICTURE)], split=SplitOptions(0.25, 0.25))
    assert zoo.table["file"][0] == "trial0/n0.pt"
    for trial in range(4):
        assert len(set(zoo.table["split"][zoo.table["sample"] == trial])) == 1


def test_what_stands_beside_the_tensors_of_all_becomes_a_column(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for k in range(3):
        content = {"state_dict": cnn(k).state_dict(), "epoch": k, **({"note": "x"} if k else {})}
        torch.save(content, tmp_path / "in" / f"n{k}.pt")
    zoo = pack(tmp_path / "in", tmp_path / "zoo", like=[(cnn(0), PICTURE)])
    assert zoo.table["epoch"].tolist() == [0, 1, 2]
    assert "note" not in zoo.table


def test_the_check_names_the_file_whose_group_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph that claims too much for the networks filed under it."""
    write(tmp_path / "in", 3)
    broken = graphws.mlp_graph([3, 4, 2], "relu")

    def resolve(*given: Any, **options: Any) -> architectures.Like:
        from dataclasses import replace

        honest = graphws.mlp_graph([3, 4, 2], "tanh", keys=["a", "b"])
        loud = [replace(s, action=broken.space(s.name).action) if s.moves else s for s in honest.spaces]
        return architectures.Like("broken", replace(honest, spaces=tuple(loud)))

    (tmp_path / "mlps").mkdir()
    torch.manual_seed(0)
    state = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).state_dict()
    torch.save({key.replace("0.", "a.").replace("2.", "b."): x for key, x in state.items()}, tmp_path / "mlps" / "n.pt")
    monkeypatch.setattr("graphws.zoo.collecting.collection.resolve", resolve)
    with pytest.raises(ZooError, match=r"n\.pt: filed under 'broken', but .*its group changes the outputs"):
        pack(tmp_path / "mlps", tmp_path / "zoo")
    zoo = pack(tmp_path / "mlps", tmp_path / "zoo", check=0.0)
    assert zoo.provenance["check"]["broken"]["tried"] == 0


def test_the_share_that_is_checked() -> None:
    architecture = architectures.Architecture("x", graphws.mlp_graph([2, 3, 1]), {}, {})
    picked = check.chosen(architecture, 1000, 0.02)
    assert len(picked) == 20
    assert picked == check.chosen(architecture, 1000, 0.02)
    assert len(check.chosen(architecture, 3, 0.02)) == 1
    assert check.chosen(architecture, 3, 0) == []
    with pytest.raises(UsageError, match="check is a share from 0 to 1, got 2"):
        check.chosen(architecture, 3, 2)


def test_the_order_of_keys_makes_no_other_architecture() -> None:
    state = {"a": torch.zeros(2), "b": torch.zeros(3)}
    turned = dict(reversed(state.items()))
    assert Signature.of(state, "", ()).digest == Signature.of(turned, "", ()).digest
    assert Signature.of(state, "", ()).digest != Signature.of({**state, "b": torch.zeros(4)}, "", ()).digest
    assert Signature.of(state, "", ()).digest != Signature.of({**state, "b": torch.zeros(3).half()}, "", ()).digest


def test_parts_that_are_there_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART", 2)
    write(tmp_path / "in", 6)
    read: list[int] = []
    honest = parts.read_part

    def counting(entries: Any, folder: Path, number: int, digest: str) -> int:
        if len(read) == 2:
            raise KeyboardInterrupt
        read.append(number)
        return honest(entries, folder, number, digest)

    monkeypatch.setattr(parts, "read_part", counting)
    like = [(cnn(0), PICTURE)]
    with pytest.raises(KeyboardInterrupt):
        pack(tmp_path / "in", tmp_path / "zoo", like=like)
    read.clear()
    os.utime(tmp_path / "in" / "n3.pt", (1, 1))  # another file, as far as can be seen
    seen: list[tuple[str, int, int]] = []
    zoo = pack(tmp_path / "in", tmp_path / "zoo", like=like, progress=lambda *state: seen.append(state))
    assert read == [1, 2]
    assert seen[0] == ("reading", 2, 6)
    assert ("reading", 6, 6) in seen
    monkeypatch.undo()
    other = pack(tmp_path / "in", tmp_path / "other", like=like)
    assert {f.name: f.read_bytes() for f in zoo.path.iterdir()} == {
        f.name: f.read_bytes() for f in other.path.iterdir()
    }


CHILD = """
import sys
from pathlib import Path
if __name__ == "__main__":
    from graphws.zoo import pack
    pack(sys.argv[1], sys.argv[2], workers=2)
"""


@pytest.mark.slow
def test_a_killed_pack_goes_on_and_processes_change_no_byte(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    torch.manual_seed(0)
    for k in range(1500):
        state = {"0.weight": torch.randn(4, 2), "0.bias": torch.randn(4), "2.weight": torch.randn(1, 4)}
        torch.save({**state, "2.bias": torch.randn(1)}, tmp_path / "in" / f"{k:04d}.pt")
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    command = [sys.executable, str(script), str(tmp_path / "in"), str(tmp_path / "zoo")]
    child = subprocess.Popen(command, start_new_session=True)
    made = tmp_path / "zoo.partial" / "parts"
    while child.poll() is None and not list(made.glob("*.json")):
        time.sleep(0.01)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert list(made.glob("*.json")), "killed too late or too early to show anything"
    subprocess.run(command, check=True)
    pack(tmp_path / "in", tmp_path / "one")
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "zoo" / file.name).read_bytes()
    assert not (tmp_path / "zoo.partial").exists()


def test_omega_one_a_layer_and_what_does_not_fit(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    torch.save(nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).state_dict(), tmp_path / "in" / "a.pt")
    for options, message in (
        ({"activation": "sine", "omega": [30.0, 1.0]}, "1 hidden layers need one omega or 1, got 2"),
        ({"omega": 30.0}, "omega belongs to the activation 'sine', but the activation given is nothing"),
        ({"activation": "leaky_relu"}, "a state dict does not hold the slope of its leaky ReLUs: give --slope"),
        ({"activation": "sien", "omega": 1.0}, "unknown activation 'sien'; did you mean 'sine'"),
        ({"workers": 0}, "workers is a number of processes, got 0"),
    ):
        with pytest.raises(UsageError, match=message):
            pack(tmp_path / "in", tmp_path / "zoo", **options)
    zoo = pack(tmp_path / "in", tmp_path / "zoo", activation="leaky_relu", slope=0.3)
    (step,) = [step for step in zoo.graph.operations if step.kind == "leaky_relu"]
    assert dict(step.attributes)["negative_slope"] == pytest.approx(0.3)
    assert np.isfinite(zoo.provenance["check"]["2-3-1"]["control"])
