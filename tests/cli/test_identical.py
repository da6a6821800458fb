"""The same command gives the same bytes in every process, whatever order Python's hashes have there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

pytestmark = pytest.mark.slow

SPEC = """\
graphws: 1
name: small
zoo:
  source: {kind: digits, limit: 40}
  network: {hidden: [4, 4], activation: sine, omega: 5.0}
  fit: {steps: 3, lr: 2e-2, views: 1, psnr: null}
"""
COMMANDS = (
    "convert net.pt --activation tanh -o pt.safetensors",
    "convert net.onnx -o onnx.safetensors",
    "convert gpt2 -o hf.safetensors",
    "reduce net.pt --activation tanh -o small.safetensors",
    "zoo fit small.yaml",
    "zoo pack checkpoints packed --validation 0 --test 0",
    "zoo unpack packed out --suffix .pt",
)
MADE = ("pt.safetensors", "onnx.safetensors", "hf.safetensors", "small.safetensors", "zoos", "packed", "out")
CHILD = """
import sys
from graphws.cli import app
for command in sys.argv[1:]:
    try:
        app(command.split(), standalone_mode=True)
    except SystemExit as end:
        if end.code:
            raise
print("hash", hash("graphws"))
"""


def _sources(place: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from transformers import GPT2Config, GPT2LMHeadModel

    place.mkdir()
    (place / "small.yaml").write_text(SPEC)
    torch.manual_seed(0)
    state = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2)).state_dict()
    state["2.weight"][:, 0] = 0  # so that there is something to reduce
    torch.save(state, place / "net.pt")
    (place / "checkpoints").mkdir()
    for number in range(3):
        torch.save({name: x + number for name, x in state.items()}, place / "checkpoints" / f"{number}.pt")
    nodes = [
        helper.make_node("Gemm", ["x", "0.weight", "0.bias"], ["h"], transB=1),
        helper.make_node("Tanh", ["h"], ["t"]),
        helper.make_node("Gemm", ["t", "2.weight", "2.bias"], ["y"], transB=1),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", k]) for n, k in (("x", 3), ("y", 2))]
    tensors = [numpy_helper.from_array(x.numpy(), name) for name, x in state.items()]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), place / "net.onnx")
    config = GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=20, n_positions=8)
    GPT2LMHeadModel(config).save_pretrained(place / "gpt2")


def _made(place: Path) -> dict[str, bytes]:
    tops = [place / name for name in MADE]
    files = [path for top in tops for path in ([top] if top.is_file() else top.rglob("*")) if path.is_file()]
    found = {str(path.relative_to(place)): path.read_bytes() for path in files}
    timed = {name for name in found if name.endswith(".seconds.json")}  # beside a zoo: how long its fit took
    assert {Path(name).parent.name for name in timed} == {"zoos"}
    return {name: data for name, data in found.items() if name not in timed}


def test_two_processes_leave_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("transformers")
    found, hashes = [], set()
    for seed in ("1", "2"):
        place = tmp_path / seed
        _sources(place)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": seed}
        ended = subprocess.run(
            [sys.executable, "-c", CHILD, *COMMANDS], cwd=place, env=environment, capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stderr
        hashes.add(ended.stdout.splitlines()[-1])
        found.append(_made(place))
    assert len(hashes) == 2, "hashes differ between the processes"
    assert {name.split("/")[0] for name in found[0]} == set(MADE)
    assert found[0].keys() == found[1].keys()
    assert [name for name, data in found[0].items() if data != found[1][name]] == []
