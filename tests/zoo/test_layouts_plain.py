"""Folders of files that are a network each, and say what it computes: ONNX, Hugging Face, converted, adapters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import graphws
from graphws.checkpoints import save_network
from graphws.errors import ZooError
from graphws.zoo import Architecture, FitOptions, fit_zoo, load_digits, pack
from graphws.zoo.export import export
from graphws.zoo.reconstruction import reconstruct


def net(seed: int, width: int = 5, activation: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, width), activation(), nn.Linear(width, 1))


def write_onnx(path: Path, source: nn.Sequential, kind: str = "Tanh") -> None:
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    nodes = [
        helper.make_node("Gemm", ["x", "0.weight", "0.bias"], ["h"], transB=1),
        helper.make_node(kind, ["h"], ["t"]),
        helper.make_node("Gemm", ["t", "2.weight", "2.bias"], ["y"], transB=1),
    ]
    ends = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["batch", k]) for n, k in (("x", 3), ("y", 1))]
    tensors = [onnx.numpy_helper.from_array(x.numpy(), name) for name, x in source.state_dict().items()]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def test_onnx(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for k in range(4):
        write_onnx(folder / f"n{k}.onnx", net(k))
    write_onnx(folder / "n4.onnx", net(4), "Relu")
    write_onnx(folder / "n5.onnx", net(5, 7))
    zoo = pack(folder, tmp_path / "zoo")
    assert zoo.provenance["layout"] == "onnx"
    assert zoo.names == ("n0.onnx", "n4.onnx", "n5.onnx")  # an activation makes an architecture, other numbers none
    assert zoo.architecture.tolist() == [0, 0, 0, 0, 1, 2]
    assert [each["verified"] for each in zoo.provenance["check"].values()] == [1, 1, 1]
    for k in range(4):
        back = zoo[k][0].to_state_dict()
        assert all(torch.equal(back[key], x) for key, x in net(k).state_dict().items())
    (folder / "n2.onnx").write_bytes((folder / "n2.onnx").read_bytes()[:50])
    with pytest.raises(ZooError, match=r"n2\.onnx: "):
        pack(folder, tmp_path / "again")
    left = pack(folder, tmp_path / "again", skip_bad=True)
    assert [each["file"] for each in left.provenance["skipped"]] == ["n2.onnx"]
    assert len(left) == 5
    export(left, tmp_path / "out", "state-dicts")
    assert (tmp_path / "out" / "n3.onnx.pth").is_file()


class WithOffset(nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + 0.5


def test_a_fitted_zoo_with_an_offset_comes_back_by_a_like_network(tmp_path: Path) -> None:
    samples, options = load_digits(limit=6), FitOptions(steps=5, lr=0.02)
    fitted = fit_zoo(tmp_path / "fitted", samples, Architecture((2, 4, 1), "tanh", offset=0.5), options)
    assert fitted is not None
    export(fitted, tmp_path / "out", "state-dicts")
    like = WithOffset(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
    back = pack(tmp_path / "out", tmp_path / "back", like=[(like, torch.randn(3, 2))])
    bare = pack(tmp_path / "out", tmp_path / "bare", activation="tanh")
    pictures = reconstruct(fitted.weights(), (8, 8))
    order = [back.table["file"].tolist().index(f"network-{k:07d}.pth") for k in range(6)]
    assert torch.allclose(reconstruct(back.weights(order), (8, 8)), pictures, atol=1e-6)
    assert torch.allclose(reconstruct(bare.weights(order), (8, 8)) + 0.5, pictures, atol=1e-6)


def test_converted(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for k in range(4):
        save_network(graphws.convert(net(k, activation=(nn.Tanh, nn.ReLU)[k % 2])), folder / f"n{k}.safetensors")
    zoo = pack(folder, tmp_path / "zoo", check=1.0)
    assert zoo.provenance["layout"] == "converted"
    assert zoo.architecture.tolist() == [0, 1, 0, 1]
    assert [each["verified"] for each in zoo.provenance["check"].values()] == [2, 2]
    assert torch.equal(zoo[3][0].to_state_dict()["0.weight"], net(3).state_dict()["0.weight"])


@pytest.mark.slow
def test_hugging_face(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    folder = tmp_path / "in"
    sizes = {"a": 8, "b": 8, "c": 16}
    for seed, (name, width) in enumerate(sizes.items()):
        torch.manual_seed(seed)
        config = transformers.GPT2Config(n_layer=1, n_embd=width, n_head=2, vocab_size=11, n_positions=8)
        transformers.GPT2LMHeadModel(config).save_pretrained(folder / name)
    (folder / "labels.csv").write_text("file,label\na,1\nb,2\nc,3\n")
    zoo = pack(folder, tmp_path / "zoo")
    assert zoo.provenance["layout"] == "huggingface"
    assert zoo.names == ("a", "c")
    assert zoo.table["label"].tolist() == [1, 2, 3]
    torch.manual_seed(1)
    config = transformers.GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=11, n_positions=8)
    model = transformers.GPT2LMHeadModel(config)
    model.load_state_dict(zoo[1][0].to_state_dict())


def write_adapter(folder: Path, seed: int, rank: int = 2) -> dict[str, torch.Tensor]:
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 4, "target_modules": ["q"], "task_type": None}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for layer in range(2):
        site = f"base_model.model.h.{layer}.q"
        state[f"{site}.lora_A.weight"] = torch.randn(rank, 6, generator=generator)
        state[f"{site}.lora_B.weight"] = torch.randn(5, rank, generator=generator)
    save_file(state, folder / "adapter_model.safetensors")
    return state


def test_adapters(tmp_path: Path) -> None:
    pytest.importorskip("graphws_converters.sources.peft")
    folder = tmp_path / "in"
    states = {name: write_adapter(folder / name, k, 2 + k // 2) for k, name in enumerate("abcd")}
    zoo = pack(folder, tmp_path / "zoo")
    assert zoo.provenance["layout"] == "peft"
    assert zoo.architecture.tolist() == [0, 0, 1, 1]
    for number, name in enumerate("abcd"):
        back = zoo[number][0].to_state_dict()
        assert all(torch.equal(back[key], x) for key, x in states[name].items())
