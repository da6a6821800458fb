"""``graphws reduce`` on files."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from graphws import convert
from graphws.checkpoints.conversion import Conversion
from graphws.checkpoints.network_file import save_network
from graphws.converting import load_graph_file
from graphws.graph import Weights
from graphws.operations import forward
from graphws.operations.builders.attention import AttentionLayer, attention_graph
from tests.actions.redundancy import plant, random_mlp
from tests.cli.runs import run


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    generator = torch.Generator().manual_seed(0)
    weights = plant(random_mlp([3, 6, 2], "tanh", generator), 1, "tanh", generator)
    path = tmp_path / "large.safetensors"
    save_file(weights.to_state_dict(), path)
    return path


def test_reduce_writes_a_smaller_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.safetensors"
    result = run("reduce", checkpoint, "--activation", "tanh", "-o", out)
    assert result.exit_code == 0, result.output
    assert "hidden1" in result.stdout
    assert "1 unread" in result.stdout
    assert "1 constant" in result.stdout
    assert "2 duplicate" in result.stdout
    assert "small.safetensors, VERIFIED (error " in " ".join(result.stdout.split())
    assert "62 -> 38 numbers; tolerance: inactive 1.0e-09 (dtype)" in result.stdout
    assert {name: tuple(x.shape) for name, x in load_file(out).items()} == {
        "0.weight": (6, 3),
        "0.bias": (6,),
        "2.weight": (2, 6),
        "2.bias": (2,),
    }
    large, small = load_file(checkpoint), load_file(out)
    x = torch.randn(20, 3, dtype=torch.float64)
    outputs = [torch.tanh(x @ s["0.weight"].T + s["0.bias"]) @ s["2.weight"].T + s["2.bias"] for s in (large, small)]
    assert torch.allclose(*outputs, atol=1e-12)


def test_the_smaller_checkpoint_needs_no_hints(checkpoint: Path, tmp_path: Path) -> None:
    """It holds its graph: it loads verified, computes the same, and reducing it again changes nothing."""
    out, again = tmp_path / "small.safetensors", tmp_path / "again.safetensors"
    assert run("reduce", checkpoint, "--activation", "tanh", "-o", out).exit_code == 0
    found = load_graph_file(out, effort=math.inf)
    assert found.verified
    assert found.weights is not None
    large = load_graph_file(checkpoint, activation="tanh")
    assert large.weights is not None
    x = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    before, after = forward(large.graph, large.weights, x), forward(found.graph, found.weights, x)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-12)
    result = run("reduce", out, "-o", again)
    assert result.exit_code == 0, result.output
    assert "38 -> 38 numbers" in result.stdout
    assert all(torch.equal(x, load_file(again)[name]) for name, x in load_file(out).items())


def test_reduce_heads_of_a_converted_network(tmp_path: Path) -> None:
    """An attention network in a network file: no shape has to be given, any number of tokens will do."""
    graph = attention_graph(6, [AttentionLayer(4, 3), AttentionLayer(2, 3, width=5)], output=4)
    generator = torch.Generator().manual_seed(0)
    weights = Weights.unflatten(graph, torch.randn(1, graph.numel, generator=generator, dtype=torch.float64))
    weights["V1"][0, 6:9] = 2 * weights["V1"][0, 0:3]
    weights["A1"][0, 2] = weights["A1"][0, 0]
    source, out = tmp_path / "large.safetensors", tmp_path / "small.safetensors"
    save_network(Conversion(graph, weights, reason="made by a test"), source)
    result = run("reduce", source, "-o", out)
    assert result.exit_code == 0, result.output
    assert "1 head" in result.stdout
    small = load_graph_file(out)
    assert small.weights is not None
    assert small.graph.space("head1").size == 3
    x = torch.randn(5, 9, 6, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(forward(small.graph, small.weights, x), forward(graph, weights, x))


def test_reduce_channels_of_a_converted_network(tmp_path: Path) -> None:
    """A converted convolutional network in a file shows the shape of its inputs; another one can be given."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    module = module.double()
    with torch.no_grad():
        module[2].weight[:, 5] = 0.0
        module[2].weight[2], module[2].bias[2] = 3 * module[2].weight[1], 3 * module[2].bias[1]
    x = torch.randn(4, 1, 8, 8, dtype=torch.float64)
    source, out = tmp_path / "large.safetensors", tmp_path / "small.safetensors"
    save_network(convert(module, x), source)
    result = run("reduce", source, "-o", out)
    assert (result.exit_code, result.stderr) == (0, "")
    result = run("reduce", source, "-o", out, "--input-shape", "1,8,8", "--overwrite")
    assert result.exit_code == 0, result.output
    small = nn.Sequential(nn.Conv2d(1, 5, 3), nn.ReLU(), nn.Conv2d(5, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3))
    small.double().load_state_dict(load_file(out))
    torch.testing.assert_close(small(x), module(x))
    assert load_graph_file(out, effort=math.inf).verified


def test_reduce_runs_an_onnx_file_from_its_graph(tmp_path: Path) -> None:
    """On example inputs of its own, or of the shape given."""
    onnx = pytest.importorskip("onnx")
    helper, generator = onnx.helper, torch.Generator().manual_seed(0)
    shapes = {"a.weight": (5, 2, 3, 3), "a.bias": (5,), "b.weight": (3, 5, 3, 3), "b.bias": (3,)}
    state = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    state["b.weight"][:, 4] = 0.0
    nodes = [
        helper.make_node("Conv", ["x", "a.weight", "a.bias"], ["h"], kernel_shape=[3, 3]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Conv", ["r", "b.weight", "b.bias"], ["z"], kernel_shape=[3, 3]),
        helper.make_node("Ceil", ["z"], ["y"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("x", [4, 2, 8, 8]), ("y", [4, 3, 4, 4]))
    ]
    numbers = [onnx.numpy_helper.from_array(x.numpy(), name) for name, x in state.items()]
    source, out = tmp_path / "net.onnx", tmp_path / "small.safetensors"
    onnx.save(helper.make_model(helper.make_graph(nodes, "net", ends[:1], ends[1:], numbers)), source)
    result = run("reduce", source, "-o", out)
    assert result.exit_code == 0, result.output
    assert "1 unread" in result.stdout
    small = load_file(out)
    assert {name: tuple(x.shape) for name, x in small.items()} == {
        "a.weight": (4, 2, 3, 3), "a.bias": (4,), "b.weight": (3, 4, 3, 3), "b.bias": (3,),
    }  # fmt: skip
    assert torch.equal(small["a.weight"], state["a.weight"][:4])
    result = run("reduce", source, "-o", out, "--input-shape", "2,8,8", "--overwrite")
    assert (result.exit_code, result.stderr) == (0, "")


def test_reduce_says_why_channels_stay(tmp_path: Path) -> None:
    """A channel that a batch norm silences goes; one that it makes constant stays before padding, with a reason."""
    torch.manual_seed(0)
    middle = nn.Conv2d(6, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    module = nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), *middle).double().eval()
    with torch.no_grad():
        module[1].weight[1:3] = 0.0
        module[1].bias[1:3] = torch.tensor([-0.2, 0.3])
    x = torch.randn(4, 1, 8, 8, dtype=torch.float64)
    source, out = tmp_path / "large.safetensors", tmp_path / "small.safetensors"
    save_network(convert(module, x), source)
    result = run("reduce", source, "-o", out)
    assert result.exit_code == 0, result.output
    said = " ".join(result.stdout.split())
    assert "1 silent" in said
    assert "at the border" in said
    small = load_graph_file(out)
    assert small.weights is not None
    torch.testing.assert_close(forward(small.graph, small.weights, x)[0], module(x))


def test_reduce_heads_of_an_encoder_layer(tmp_path: Path) -> None:
    """The class cannot hold three heads; the file can."""
    torch.manual_seed(0)
    module = nn.TransformerEncoderLayer(8, 4, 12, 0.0, batch_first=True).double().eval()
    with torch.no_grad():
        module.self_attn.out_proj.weight[:, 2:4] = 0.0
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    source, out = tmp_path / "large.safetensors", tmp_path / "small.safetensors"
    save_network(convert(module, x), source)
    result = run("reduce", source, "-o", out)
    assert result.exit_code == 0, result.output
    small = load_graph_file(out, effort=math.inf)
    assert small.verified
    assert small.weights is not None
    torch.testing.assert_close(forward(small.graph, small.weights, x)[0], module(x))


def test_reduce_says_what_is_wrong(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.safetensors"
    result = run("reduce", checkpoint, "--activation", "tanh", "-o", tmp_path / "small.pt")
    assert (result.exit_code, result.stderr) == (
        2,
        "error: small.pt: the smaller checkpoint must end in .safetensors\n",
    )
    result = run("reduce", checkpoint, "--activation", "tanh", "-o", out, "--tolerance", "gab")
    assert result.stderr == "error: --tolerance must be dtype, gap or a number; got 'gab'; did you mean 'gap'?\n"
    assert result.exit_code == 2
    result = run("reduce", checkpoint, "--activation", "tanh", "-o", out, "--input-shape", "3,x")
    assert result.stderr == "error: --input-shape is like 3,14,14: positive numbers with commas; got '3,x'\n"
    unknown = tmp_path / "unknown.safetensors"
    save_file({"a.weight": torch.randn(4, 2, 3, 3), "b.weight": torch.randn(5, 4, 3, 3)}, unknown)
    result = run("reduce", unknown, "-o", out)
    assert result.stderr == (
        "error: unknown.safetensors: nothing in this checkpoint shows what it computes; in Python, graphws.save("
        "graphws.convert(module, example_inputs), 'net.safetensors') writes a file that does: give that\n"
    )
    result = run("reduce", tmp_path / "none.safetensors", "-o", out)
    assert result.exit_code == 1
    assert not out.exists()
