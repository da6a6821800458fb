"""Hostile files: each refused with its own words, none run, in little memory and little time."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from graphws.checkpoints.example_inputs import example_inputs
from graphws.checkpoints.network_file import load_network, save_network
from graphws.converting import convert
from graphws.errors import DataError, GraphwsError, UsageError
from tests.converters.hostile import CANARY, HOSTILE, expected

pytest.importorskip("onnx")
pytest.importorskip("transformers")

MEGABYTES = 400
"""How far one file may raise the peak of the process: reading it, and what libraries load on their first use."""
CALLS = 50_000_000
"""Calls, of Python and of C, until one is refused."""
SLOW = ("loop that doubles", "sixteen thousand layers")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in HOSTILE])
def test_each_is_refused_with_its_own_words(tmp_path: Path, name: str) -> None:
    path = HOSTILE[name][0](tmp_path)
    with pytest.raises(GraphwsError) as caught:
        convert(path)
    assert re.fullmatch(expected(name, path), str(caught.value)), str(caught.value)
    assert not list(tmp_path.rglob(CANARY)), "nothing in the file was run"


def test_the_canary_would_sing(tmp_path: Path) -> None:
    """The test of the test: a reader that trusts the file does run its code."""
    path = HOSTILE["pickle with code"][0](tmp_path)
    torch.load(path, weights_only=False)
    assert (tmp_path / CANARY).is_dir()


_CHILD = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
import torch
from graphws.converting import convert
from graphws.errors import GraphwsError
calls = 0
def count(frame, event, argument):
    global calls
    calls += 1
for path in json.loads(sys.argv[1]):
    before, calls, text = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0, ""
    sys.setprofile(count)
    try:
        convert(path)
        text = "accepted"
    except GraphwsError as error:
        pass
    finally:
        sys.setprofile(None)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps([text, (after - before) // 1024, calls]), flush=True)
"""


@pytest.mark.slow
def test_each_is_refused_in_bounded_memory_and_work(tmp_path: Path) -> None:
    paths = []
    for k, (build, _) in enumerate(HOSTILE.values()):
        folder = tmp_path / str(k)
        folder.mkdir()
        paths.append(str(build(folder)))
    child = subprocess.run(
        [sys.executable, "-c", _CHILD, json.dumps(paths)], capture_output=True, text=True, check=True
    )
    seen = [json.loads(line) for line in child.stdout.splitlines()]
    assert len(seen) == len(HOSTILE)
    for name, (text, megabytes, calls) in zip(HOSTILE, seen, strict=True):
        allowed = 1 << 13 if name == "loop that doubles" else MEGABYTES  # that one may make 2^29 numbers, of 8 bytes
        assert text == "", f"{name} was accepted"
        assert megabytes < allowed, name
        assert calls < CALLS, f"{name}: {calls}"
    assert not list(tmp_path.rglob(CANARY))


def test_names_that_are_paths_are_names(tmp_path: Path) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    names = ["../../up", "/etc/passwd", "a\nb", "..\\x"]
    save_file({name: torch.ones(2, 3) for name in names}, folder / "net.safetensors")
    found = convert(folder / "net.safetensors")
    save_network(found, folder / "out.safetensors")
    back = load_network(folder / "out.safetensors")
    assert sorted(p.storage.key for p in back.graph.parameters if p.storage) == sorted(names)
    assert all(p.name.isprintable() for p in back.graph.parameters)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["inside", "net.safetensors", "out.safetensors"]


def test_numbers_that_are_none_are_never_verified() -> None:
    module = nn.Sequential(nn.Linear(2, 4), nn.Conv1d(1, 1, 1), nn.Linear(4, 1)).eval()
    for parameter in module.parameters():
        nn.init.constant_(parameter, float("nan"))
    found = convert(module, torch.ones(3, 1, 2))
    assert found.verdict == "UNVERIFIED (the outputs are not finite numbers on these inputs)"


def test_inputs_that_lie_are_refused(tmp_path: Path) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }"
    header += b" " * (118 - len(header) - 1) + b"\n"
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(DataError, match=r"x\.npy: not a file of arrays: "):
        example_inputs(str(tmp_path / "x.npy"), torch.Generator())
    with pytest.raises(UsageError, match=r"^inputs: 1000000x1000000 has more than 2\^30 numbers$"):
        example_inputs("1000000x1000000", torch.Generator())
