"""Good contents that several readers are tried with: a network, ONNX models, configs of transformers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn


def network() -> nn.Module:
    """A network that all files hold."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).eval()


def onnx_models() -> dict[str, Any]:
    """Small models with the operators that are hardest to bear."""
    import onnx

    from tests.converters.onnx import build

    node, rng = onnx.helper.make_node, np.random.default_rng(0)

    def floats(*shape: int) -> Any:
        return rng.standard_normal(shape).astype(np.float32)

    conv = [
        node("Conv", ["x", "K", "b"], ["a"], pads=[1, 1, 1, 1], strides=[1, 1]),
        node("BatchNormalization", ["a", "s", "b", "m", "v"], ["n"]),
        node("Relu", ["n"], ["r"]),
        node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Resize", ["p", "", "scales"], ["u"], mode="nearest"),
        node("Pad", ["u", "pads"], ["e"], mode="constant"),
        node("Shape", ["e"], ["size"]),
        node("Gather", ["size", "zero"], ["batch"], axis=0),
        node("Concat", ["batch", "rest"], ["to"], axis=0),
        node("Reshape", ["e", "to"], ["f"]),
        node("Gemm", ["f", "W", "c"], ["y"], transB=1, alpha=0.5),
    ]
    constants = {
        "K": floats(4, 2, 3, 3), "b": floats(4), "s": floats(4), "m": floats(4), "v": np.ones(4, np.float32),
        "scales": np.array([1, 1, 2, 2], np.float32), "pads": np.array([0, 0, 0, 0, 0, 0, 0, 1]), "zero": np.array([0]),
        "rest": np.array([-1]), "W": floats(3, 4 * 4 * 5), "c": floats(3),
    }  # fmt: skip
    recurrent = [
        node("LSTM", ["x", "W", "R", "B"], ["h", "last", ""], hidden_size=3, direction="forward"),
        node("Squeeze", ["h", "one"], ["q"]),
        node("Softmax", ["q"], ["y"], axis=-1),
        node("TopK", ["y", "k"], ["best", "which"], axis=-1),
    ]
    lstm = {"W": floats(1, 12, 2), "R": floats(1, 12, 3), "B": floats(1, 24), "one": np.array([1]), "k": np.array([2])}
    number, boolean = onnx.TensorProto.INT64, onnx.TensorProto.BOOL
    body = onnx.helper.make_graph(
        [node("MatMul", ["h", "W"], ["g"]), node("Tanh", ["g"], ["n"]), node("Identity", ["go"], ["on"])],
        "body",
        [build.value("turn", [], number), build.value("go", [], boolean), build.value("h", None)],
        [build.value("on", [], boolean), build.value("n", None)],
    )
    loop = [
        node("Loop", ["turns", "", "x"], ["last"], body=body),
        node("ConstantOfShape", ["shape"], ["zeros"]),
        node("Expand", ["last", "shape"], ["wide"]),
        node("Tile", ["wide", "times"], ["tiled"]),
        node("Slice", ["tiled", "begin", "end", "axis"], ["part"]),
        node("Add", ["part", "zeros"], ["z"]),
        node("Cast", ["z"], ["c"], to=1),
        node("ReduceMean", ["c", "axis"], ["y"], keepdims=1),
    ]
    turns = {"W": floats(3, 3), "turns": np.int64(2), "shape": np.array([2, 3]), "times": np.array([1, 2])}
    turns |= {"begin": np.array([0]), "end": np.array([3]), "axis": np.array([1])}
    return {
        "conv": build.model(conv, {"x": (2, 2, 4, 4)}, ["y"], constants),
        "lstm": build.model(recurrent, {"x": (4, 2, 2)}, ["y", "best"], lstm),
        "loop": build.model(loop, {"x": (2, 3)}, ["y"], turns),
    }


def configs() -> dict[str, dict[str, Any]]:
    """Configs of small models of transformers."""
    import transformers as t

    tiny = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12}
    made = [
        (t.BertConfig(**tiny, vocab_size=20), "BertModel"),
        (t.LlamaConfig(**tiny, vocab_size=20, num_key_value_heads=1), "LlamaForCausalLM"),
        (t.ViTConfig(**tiny, image_size=8, patch_size=4), "ViTModel"),
        (t.GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=20, n_positions=16), "GPT2LMHeadModel"),
        (t.T5Config(d_model=8, d_kv=4, d_ff=12, num_layers=1, num_heads=2, vocab_size=20), "T5Model"),
        (t.MixtralConfig(**tiny, vocab_size=20, num_local_experts=3, num_key_value_heads=1), "MixtralForCausalLM"),
        (t.Wav2Vec2Config(**tiny, conv_dim=(6, 6), conv_stride=(2, 2), conv_kernel=(3, 3), num_feat_extract_layers=2,
                          num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2), "Wav2Vec2Model"),
    ]  # fmt: skip
    return {name: {**config.to_diff_dict(), "architectures": [name]} for config, name in made}
