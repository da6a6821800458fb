from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

onnx = pytest.importorskip("onnx")

from graphws.errors import DataError, UsageError  # noqa: E402
from graphws_converters.onnx import OnnxModule, read_model  # noqa: E402
from tests.converters.onnx import build  # noqa: E402


def _runtime(model: Any, inputs: list[Tensor]) -> list[np.ndarray[Any, Any]]:
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    held = {tensor.name for tensor in model.graph.initializer}
    names = [value.name for value in model.graph.input if value.name not in held]
    return list(session.run(None, {name: x.numpy() for name, x in zip(names, inputs, strict=True)}))


def _error(model: Any, inputs: list[Tensor]) -> float:
    """Largest difference from onnxruntime, relative to the largest number."""
    outputs = OnnxModule(model)(*inputs)
    ours = outputs if isinstance(outputs, tuple) else (outputs,)
    theirs = _runtime(model, inputs)
    assert len(ours) == len(theirs)
    return max(
        float(np.abs(a.detach().numpy() - b).max() / max(np.abs(b).max(), 1e-12))
        for a, b in zip(ours, theirs, strict=True)
    )


REAL: dict[str, tuple[tuple[tuple[int, ...], ...], float]] = {
    "rfb320": (((1, 3, 240, 320),), 2e-6),
    "silero_vad_16k_op15": (((2, 576), (2, 2, 128), ()), 1e-5),
    "light_densenet121": (((1, 3, 224, 224),), 2e-6),
    "basic_pitch_nmp": (((1, 43844, 1),), 1e-4),  # logarithms of small numbers: single precision itself
}


@pytest.mark.parametrize("name", REAL)
def test_published_models_compute_what_onnxruntime_computes(shared: Path, name: str) -> None:
    shapes, bound = REAL[name]
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(shape, generator=generator) if shape else torch.tensor(16000) for shape in shapes]
    assert _error(read_model(shared / "checkpoints" / "public" / f"{name}.onnx"), inputs) < bound


@pytest.mark.parametrize(("kind", "before"), [("LSTM", 0), ("GRU", 0), ("GRU", 1), ("RNN", 0)])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_recurrent_layers(kind: str, direction: str, before: int) -> None:
    generator = torch.Generator().manual_seed(0)
    gates, d = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind], 2 if direction == "bidirectional" else 1
    shapes = {"W": (d, gates * 5, 3), "R": (d, gates * 5, 5), "B": (d, 2 * gates * 5)}
    weights = {name: torch.randn(shape, generator=generator).numpy() for name, shape in shapes.items()}
    extra = {"linear_before_reset": before} if kind == "GRU" else {}
    node = onnx.helper.make_node(kind, ["x", "W", "R", "B"], ["y", "h"], hidden_size=5, direction=direction, **extra)
    model = build.model([node], {"x": (7, 2, 3)}, ["y", "h"], weights)
    assert _error(model, [torch.randn(7, 2, 3, generator=generator)]) < 1e-6


def test_loops_and_branches() -> None:
    helper, boolean, number = onnx.helper, onnx.TensorProto.BOOL, onnx.TensorProto.FLOAT
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", "W"], ["product"]),
            helper.make_node("Tanh", ["product"], ["next"]),
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Identity", ["next"], ["seen"]),
        ],
        "body",
        [build.value("turn", [], onnx.TensorProto.INT64), build.value("go", [], boolean), build.value("state", None)],
        [build.value("go_on", [], boolean), build.value("next", None), build.value("seen", None)],
    )
    branches = {
        name: helper.make_graph([helper.make_node(kind, ["last"], [name])], name, [], [build.value(name, None, number)])
        for name, kind in (("positive", "Relu"), ("negative", "Neg"))
    }
    nodes = [
        helper.make_node("Loop", ["turns", "", "x"], ["last", "all"], body=body),
        helper.make_node("ReduceSum", ["last"], ["total"], keepdims=0),
        helper.make_node("Greater", ["total", "zero"], ["up"]),
        helper.make_node("If", ["up"], ["y"], then_branch=branches["positive"], else_branch=branches["negative"]),
    ]
    generator = torch.Generator().manual_seed(0)
    constants = {"W": torch.randn(4, 4, generator=generator).numpy(), "turns": np.int64(3), "zero": np.float32(0)}
    model = build.model(nodes, {"x": (2, 4)}, ["y", "all"], constants)
    x = torch.randn(2, 4, generator=generator)
    assert _error(model, [x]) < 1e-6
    assert _error(model, [-x]) < 1e-6


def test_settings_are_no_parameters_and_weights_keep_their_names() -> None:
    nodes = [
        onnx.helper.make_node("Conv", ["x", "net.0.weight", "forward"], ["c"], pads=[1, 1, 1, 1]),
        onnx.helper.make_node("Resize", ["c", "", "scales"], ["r"], mode="nearest"),
        onnx.helper.make_node("Mul", ["r", "half"], ["y"]),
    ]
    constants = {
        "net.0.weight": np.ones((4, 3, 3, 3), np.float32),
        "forward": np.ones(4, np.float32),
        "scales": np.array([1, 1, 2, 2], np.float32),
        "half": np.float32(0.5),
    }
    module = OnnxModule(build.model(nodes, {"x": (1, 3, 8, 8)}, ["y"], constants))
    assert list(module.state_dict()) == ["w_forward", "net.0.weight"]
    assert _error(build.model(nodes, {"x": (1, 3, 8, 8)}, ["y"], constants), [torch.randn(1, 3, 8, 8)]) < 1e-6


def test_in_float64_everything_is() -> None:
    nodes = [
        onnx.helper.make_node("Cast", ["x"], ["half"], to=onnx.TensorProto.FLOAT16),
        onnx.helper.make_node("Cast", ["half"], ["whole"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("MatMul", ["whole", "W"], ["y"]),
    ]
    model = build.model(nodes, {"x": (2, 3)}, ["y"], {"W": np.eye(3, dtype=np.float32)})
    x = torch.tensor([[1 / 3, 2.0, 3.0]] * 2, dtype=torch.float64)
    assert not torch.equal(OnnxModule(model)(x.float()), x.float()), "half precision is in the file"
    assert torch.equal(OnnxModule(model).double()(x), x)


def test_what_cannot_be_run_is_named() -> None:
    alien = onnx.helper.make_node("Erff", ["x"], ["y"])
    with pytest.raises(DataError, match=r"^ONNX model: no rule for operator Erff; did you mean 'Erf'\?$"):
        OnnxModule(build.model([alien], {"x": (2,)}, ["y"], {}))
    other = onnx.helper.make_node("FusedConv", ["x"], ["z"], domain="com.microsoft")
    with pytest.raises(DataError, match=r"^ONNX model: no rule for operators Erff, com\.microsoft\.FusedConv"):
        OnnxModule(build.model([alien, other], {"x": (2,)}, ["y"], {}))
    relu = OnnxModule(build.model([onnx.helper.make_node("Relu", ["x"], ["y"])], {"x": (2,)}, ["y"], {}))
    with pytest.raises(UsageError, match=r"^the ONNX model takes 1 inputs \(x\), got 2$"):
        relu(torch.zeros(2), torch.zeros(2))
    broken = OnnxModule(build.model([onnx.helper.make_node("Relu", ["z"], ["y"])], {"x": (2,)}, ["y"], {}))
    with pytest.raises(DataError, match=r"^ONNX model: Relu 'y' of it reads 'z', which nothing writes$"):
        broken(torch.zeros(2))
    product = onnx.helper.make_node("MatMul", ["x", "W"], ["y"])
    narrow = OnnxModule(build.model([product], {"x": (2, 3)}, ["y"], {"W": np.ones((4, 4), np.float32)}))
    with pytest.raises(DataError, match=r"^ONNX node MatMul 'y' cannot be run: mat1 and mat2 shapes"):
        narrow(torch.zeros(2, 3))


@pytest.mark.parametrize(
    ("kind", "constant"),
    [("Expand", [1 << 20, 1 << 20]), ("Tile", [1 << 40]), ("ConstantOfShape", [1 << 62, 4])],
)
def test_values_that_grow_without_end_are_refused(kind: str, constant: list[int]) -> None:
    inputs = ["n"] if kind == "ConstantOfShape" else ["x", "n"]
    node = onnx.helper.make_node(kind, inputs, ["y"])
    model = build.model([node], {"x": (1,)}, ["y"], {"n": np.array(constant, np.int64)})
    with pytest.raises(
        DataError, match=rf"^ONNX node {kind} 'y': a value of shape [0-9x]+ is larger than 2\^28 numbers"
    ):
        OnnxModule(model)(torch.zeros(1))


def test_an_outer_sum_that_grows_without_end_is_refused() -> None:
    nodes = [onnx.helper.make_node("Transpose", ["x"], ["t"]), onnx.helper.make_node("Add", ["x", "t"], ["y"])]
    module = OnnxModule(build.model(nodes, {"x": (1, 1 << 17)}, ["y"], {}))
    with pytest.raises(DataError, match=r"^ONNX node Add 'y': a value of shape 131072x131072 is larger than 2\^28"):
        module(torch.zeros(1, 1 << 17))


def test_an_exported_module_computes_the_same(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.SiLU(), nn.MaxPool2d(2), nn.Flatten(),
                        nn.Linear(8 * 16, 10), nn.LayerNorm(10), nn.Softmax(-1)).eval()  # fmt: skip
    x = torch.randn(2, 3, 8, 8)
    torch.onnx.export(net, (x,), str(tmp_path / "net.onnx"), verbose=False)
    module = OnnxModule(read_model(tmp_path / "net.onnx"))
    torch.testing.assert_close(module(x), net(x), rtol=1e-5, atol=1e-6)
