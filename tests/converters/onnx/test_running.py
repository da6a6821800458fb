"""Networks in ONNX files run from the graph that is written for them, as the file's own rules run them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

onnx = pytest.importorskip("onnx")

from graphws.checkpoints import Conversion  # noqa: E402
from graphws.converting import convert  # noqa: E402
from tests.converters.onnx import build  # noqa: E402
from tests.fuzz import contents  # noqa: E402


def _converted(tmp_path: Path, model: Any, inputs: torch.Tensor | None = None) -> Conversion:
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    return convert(tmp_path / "net.onnx", inputs, generator=torch.Generator().manual_seed(0))


def _runs(found: Conversion, batch: str = "any") -> None:
    assert found.runs is not None
    assert found.runs.error is not None, found.runs.reason
    assert found.runs.error < 1e-12
    assert found.runs.batch == batch


@pytest.mark.parametrize("name", contents.onnx_models())
def test_models_of_the_tests(tmp_path: Path, name: str) -> None:
    batches = {"loop": "2"}  # how often it turns is read from the inputs' shape
    _runs(_converted(tmp_path, contents.onnx_models()[name]), batches.get(name, "any"))


@pytest.mark.parametrize(("kind", "before"), [("LSTM", 0), ("GRU", 0), ("GRU", 1), ("RNN", 0)])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_recurrent_layers(tmp_path: Path, kind: str, direction: str, before: int) -> None:
    generator = torch.Generator().manual_seed(0)
    gates, d = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind], 2 if direction == "bidirectional" else 1
    shapes = {"W": (d, gates * 5, 3), "R": (d, gates * 5, 5), "B": (d, 2 * gates * 5)}
    weights = {name: torch.randn(shape, generator=generator).numpy() for name, shape in shapes.items()}
    extra = {"linear_before_reset": before} if kind == "GRU" else {}
    node = onnx.helper.make_node(kind, ["x", "W", "R", "B"], ["y", "h"], hidden_size=5, direction=direction, **extra)
    model = build.model([node], {"x": (7, 2, 3)}, ["y", "h"], weights)
    unrolled = kind == "GRU" and not before  # the first axis, here of steps, says how many operations there are
    _runs(_converted(tmp_path, model, torch.randn(7, 2, 3, generator=generator)), "7" if unrolled else "any")


def test_an_exported_module(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.SiLU(), nn.MaxPool2d(2), nn.Flatten(),
                            nn.Linear(8 * 16, 10), nn.LayerNorm(10), nn.Softmax(-1)).eval()  # fmt: skip
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.onnx.export(net, (x,), str(tmp_path / "net.onnx"), verbose=False)
    found = convert(tmp_path / "net.onnx", x, generator=torch.Generator().manual_seed(0))
    assert found.runs is not None
    assert found.runs.error is not None, found.runs.reason
