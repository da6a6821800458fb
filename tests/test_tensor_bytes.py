from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load

from graphws.tensor_bytes import tensor_bytes

METADATA = {f"key {k}": "ß" * k for k in range(8)}
CHILD = (
    "import sys, torch; from graphws.tensor_bytes import tensor_bytes; "
    "sys.stdout.buffer.write(tensor_bytes({'a': torch.ones(3), 'b': torch.zeros(2, 2)}, "
    "{f'key {k}': 'ß' * k for k in range(8)}))"
)


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    made = tensor_bytes({"a": torch.ones(3), "b": torch.zeros(2, 2)}, METADATA)
    child = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, check=True, cwd=Path.cwd())
    assert child.stdout == made
    (tmp_path / "x.safetensors").write_bytes(made)
    with safe_open(str(tmp_path / "x.safetensors"), framework="pt") as file:
        assert file.metadata() == METADATA
    assert {name: x.tolist() for name, x in load(made).items()} == {"a": [1.0] * 3, "b": [[0.0] * 2] * 2}
    assert load(tensor_bytes({}, {})) == {}
