"""Calls of ATen's library by the names of their schemas, on random arguments, with which rows are compared."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

Call = tuple[str, dict[str, Any]]


def _x(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _positive(*shape: int, seed: int = 0) -> Tensor:
    return _x(*shape, seed=seed).abs() + 0.1


def _indices(*values: int) -> Tensor:
    return torch.tensor(values)


X, Y, ROW = _x(3, 4), _x(3, 4, seed=1), _x(4, seed=2)
MAPS, TOKENS = _x(2, 4, 6, 6), _x(2, 3, 5, 4)
MASK = X > 0

ONE = [
    *(
        "relu",
        "sigmoid",
        "tanh",
        "abs",
        "neg",
        "exp",
        "exp2",
        "expm1",
        "sin",
        "cos",
        "tan",
        "sinh",
        "cosh",
        "atan",
        "asinh",
    ),
    *("erf", "sign", "ceil", "floor", "trunc", "round", "square", "reciprocal", "selu", "silu", "mish", "hardswish"),
    *("hardsigmoid", "relu6", "log_sigmoid", "sinc", "isnan", "isinf", "isfinite", "deg2rad", "signbit", "frac", "i0"),
    *(
        "alias",
        "clone",
        "detach",
        "contiguous",
        "positive",
        "negative",
        "arctan",
        "special_erf",
        "special_expit",
        "digamma",
    ),
]
OF_POSITIVE = ["log", "log2", "log10", "log1p", "sqrt", "rsqrt", "lgamma", "acosh"]

POINTWISE: list[Call] = [
    *((name, {"self": X}) for name in ONE),
    *((name, {"self": _positive(3, 4) + (1 if name == "acosh" else 0)}) for name in OF_POSITIVE),
    ("leaky_relu", {"self": X, "negative_slope": 0.2}),
    ("elu", {"self": X, "alpha": 2.0, "scale": 1.5, "input_scale": 0.5}),
    ("celu", {"self": X, "alpha": 0.7}),
    ("gelu", {"self": X}),
    ("gelu", {"self": X, "approximate": "tanh"}),
    ("softplus", {"self": X, "beta": 2.0, "threshold": 3.0}),
    ("hardtanh", {"self": X, "min_val": -0.5, "max_val": 2.0}),
    ("hardshrink", {"self": X, "lambd": 0.3}),
    ("softshrink", {"self": X, "lambd": 0.3}),
    ("threshold", {"self": X, "threshold": 0.1, "value": -3.0}),
    ("logit", {"self": X.sigmoid(), "eps": 1e-3}),
    ("nan_to_num", {"self": X / MASK, "nan": 0.5, "posinf": 2.0, "neginf": -2.0}),
    ("rrelu", {"self": X, "lower": 0.1, "upper": 0.3, "training": False}),
    ("dropout", {"input": X, "p": 0.5, "train": False}),
    ("native_dropout", {"input": X, "p": 0.5, "train": False}),
    ("to", {"self": X, "dtype": torch.float32, "non_blocking": False, "copy": False}),
    ("_to_copy", {"self": X, "dtype": torch.float32}),
]

ENTRYWISE: list[Call] = [
    *((name, {"self": X, "other": Y}) for name in ("add", "sub", "mul", "div", "maximum", "minimum", "fmod", "atan2")),
    *((name, {"self": X, "other": ROW}) for name in ("eq", "lt", "ge", "multiply", "subtract", "divide", "hypot")),
    *((name, {"self": X, "other": 0.7}) for name in ("add", "sub", "mul", "div", "rsub", "remainder", "gt", "ne")),
    ("add", {"self": X, "other": Y, "alpha": 2.0}),
    ("sub", {"self": X, "other": Y, "alpha": -0.5}),
    ("rsub", {"self": X, "other": Y, "alpha": 2.0}),
    ("div", {"self": X, "other": Y, "rounding_mode": "floor"}),
    ("pow", {"self": _positive(3, 4), "exponent": 2.5}),
    ("pow", {"self": _positive(3, 4), "exponent": Y}),
    ("pow", {"self": 2.0, "exponent": X}),
    ("clamp", {"self": X, "min": -0.5}),
    ("clamp", {"self": X, "min": -0.5, "max": 0.5}),
    ("clamp", {"self": X, "max": ROW}),
    ("clip", {"self": X, "min": -0.5, "max": 0.5}),
    ("clamp_min", {"self": X, "min": 0.1}),
    ("where", {"condition": MASK, "self": X, "other": Y}),
    ("where", {"condition": MASK, "self": X, "other": 0.5}),
    ("lerp", {"self": X, "end": Y, "weight": 0.3}),
    ("lerp", {"self": X, "end": Y, "weight": ROW}),
    ("addcmul", {"self": X, "tensor1": Y, "tensor2": ROW, "value": 0.5}),
    ("addcdiv", {"self": X, "tensor1": Y, "tensor2": _positive(4), "value": 0.5}),
    ("masked_fill", {"self": X, "mask": MASK, "value": -1.5}),
    ("logical_and", {"self": MASK, "other": Y > 0}),
    ("prelu", {"self": MAPS, "weight": ROW}),
    ("xlogy", {"self": X, "other": _positive(3, 4)}),
    ("logaddexp", {"self": X, "other": Y}),
]

POOLED: list[Call] = [
    *((name, {"self": X}) for name in ("sum", "mean", "prod", "max", "min", "std", "var", "norm")),
    *(
        (name, {"self": X, "dim": [1], "keepdim": True})
        for name in ("sum", "mean", "amax", "amin", "logsumexp", "nansum")
    ),
    ("sum", {"self": MAPS, "dim": [2, 3]}),
    ("special_logsumexp", {"self": X, "dim": [0]}),
    ("max", {"self": X, "dim": 1}),
    ("min", {"self": X, "other": Y}),
    ("argmax", {"self": X, "dim": 1}),
    ("all", {"self": MASK, "dim": 1}),
    ("var", {"self": X, "dim": [1], "unbiased": False}),
    ("var", {"self": X, "dim": [1], "correction": 0, "keepdim": True}),
    ("std", {"self": X, "dim": [0], "correction": 1}),
    ("var_mean", {"self": X, "dim": [1], "correction": 1}),
    ("linalg_vector_norm", {"self": X, "ord": 3.0, "dim": [1]}),
    ("linalg_vector_norm", {"self": X, "ord": float("inf"), "dim": [1]}),
    (
        "avg_pool2d",
        {"self": MAPS, "kernel_size": [3, 3], "stride": [2, 2], "padding": [1, 1], "count_include_pad": False},
    ),
    ("max_pool2d", {"self": MAPS, "kernel_size": [3, 3], "stride": [2, 2], "padding": [1, 1]}),
    ("max_pool2d_with_indices", {"self": MAPS, "kernel_size": [2, 2], "stride": [2, 2], "dilation": [2, 2]}),
    ("adaptive_avg_pool2d", {"self": MAPS, "output_size": [2, 3]}),
]

MIXED: list[Call] = [
    ("softmax", {"self": X, "dim": 0}),
    ("_softmax", {"self": X, "dim": 1, "half_to_float": False}),
    ("log_softmax", {"self": X, "dim": 1}),
    ("_log_softmax", {"self": X, "dim": 1, "half_to_float": False}),
    ("cumsum", {"self": X, "dim": 1}),
    ("sort", {"self": X, "dim": 0, "descending": True}),
    ("topk", {"self": X, "k": 2, "dim": 1}),
    ("linear", {"input": X, "weight": _x(5, 4), "bias": _x(5)}),
    ("linear", {"input": TOKENS, "weight": _x(5, 4)}),
    ("matmul", {"self": TOKENS, "other": _x(4, 6)}),
    ("mm", {"self": X, "mat2": _x(4, 5)}),
    ("bmm", {"self": _x(2, 3, 4), "mat2": _x(2, 4, 5)}),
    ("mv", {"self": X, "vec": ROW}),
    ("addmm", {"self": _x(5), "mat1": X, "mat2": _x(4, 5), "beta": 0.5, "alpha": 2.0}),
    ("baddbmm", {"self": _x(2, 3, 5), "batch1": _x(2, 3, 4), "batch2": _x(2, 4, 5), "alpha": 0.5}),
    ("einsum", {"equation": "bi,ij->bj", "tensors": [X, _x(4, 5)]}),
    ("bilinear", {"input1": X, "input2": Y, "weight": _x(2, 4, 4), "bias": _x(2)}),
    ("layer_norm", {"input": X, "normalized_shape": [4], "weight": ROW, "bias": _x(4, seed=5), "eps": 1e-3}),
    ("native_layer_norm", {"input": X, "normalized_shape": [4], "weight": ROW, "bias": None, "eps": 1e-3}),
    ("group_norm", {"input": MAPS, "num_groups": 2, "weight": ROW, "bias": ROW, "eps": 1e-3}),
    ("native_group_norm", {"input": MAPS, "weight": ROW, "bias": ROW, "N": 2, "C": 4, "HxW": 36,
                           "group": 2, "eps": 1e-3}),
    ("rms_norm", {"input": X, "normalized_shape": [4], "weight": ROW, "eps": 1e-3}),
    ("batch_norm", {"input": MAPS, "weight": ROW, "bias": ROW, "running_mean": _x(4), "running_var": _positive(4),
                    "training": False, "momentum": 0.1, "eps": 1e-3, "cudnn_enabled": False}),
    ("native_batch_norm", {"input": X, "weight": None, "bias": None, "running_mean": _x(4), "running_var": _positive(4),
                           "training": False, "momentum": 0.1, "eps": 1e-3}),
    ("_native_batch_norm_legit_no_training", {"input": MAPS, "weight": ROW, "bias": ROW, "running_mean": _x(4),
                                              "running_var": _positive(4), "momentum": 0.1, "eps": 1e-3}),
    ("instance_norm", {"input": MAPS, "weight": ROW, "bias": ROW, "running_mean": None, "running_var": None,
                       "use_input_stats": True, "momentum": 0.1, "eps": 1e-3, "cudnn_enabled": False}),
    ("conv2d", {"input": MAPS, "weight": _x(6, 2, 3, 3), "bias": _x(6), "stride": [2, 1], "padding": [1, 0],
                "groups": 2}),
    ("conv2d", {"input": MAPS, "weight": _x(6, 4, 3, 3), "padding": "same"}),
    ("conv1d", {"input": _x(2, 4, 7), "weight": _x(6, 4, 3), "dilation": [2]}),
    ("convolution", {"input": MAPS, "weight": _x(6, 4, 3, 3), "bias": None, "stride": [1, 2], "padding": [1, 1],
                     "dilation": [1, 1], "transposed": False, "output_padding": [0, 0], "groups": 1}),
    ("convolution", {"input": MAPS, "weight": _x(4, 3, 3, 3), "bias": _x(6), "stride": [2, 2], "padding": [1, 1],
                     "dilation": [1, 1], "transposed": True, "output_padding": [1, 1], "groups": 2}),
    ("scaled_dot_product_attention", {"query": TOKENS, "key": TOKENS, "value": TOKENS, "attn_mask": None,
                                      "dropout_p": 0.0, "is_causal": True, "scale": 0.3}),
    ("_scaled_dot_product_flash_attention_for_cpu", {"query": TOKENS, "key": TOKENS, "value": TOKENS, "scale": 0.4}),
    ("upsample_nearest2d", {"input": MAPS, "output_size": None, "scale_factors": [2.0, 2.0]}),
    ("upsample_bilinear2d", {"self": MAPS, "output_size": [9, 8], "align_corners": True}),
    ("grid_sampler", {"input": MAPS, "grid": _x(2, 3, 3, 2), "interpolation_mode": 0, "padding_mode": 0,
                      "align_corners": True}),
    ("_weight_norm", {"v": X, "g": _positive(3, 1), "dim": 0}),
    ("lstm", {"input": _x(5, 2, 3), "hx": [_x(1, 2, 4), _x(1, 2, 4, seed=1)],
              "params": [_x(16, 3), _x(16, 4), _x(16), _x(16, seed=1)], "has_biases": True, "num_layers": 1,
              "dropout": 0.0, "train": False, "bidirectional": False, "batch_first": False}),
    ("gru", {"input": _x(2, 5, 3), "hx": _x(1, 2, 4), "params": [_x(12, 3), _x(12, 4)], "has_biases": False,
             "num_layers": 1, "dropout": 0.0, "train": False, "bidirectional": False, "batch_first": True}),
    ("rnn_tanh", {"input": _x(2, 5, 3), "hx": _x(2, 2, 4), "params": [_x(4, 3), _x(4, 4), _x(4, 3), _x(4, 4)],
                  "has_biases": False, "num_layers": 1, "dropout": 0.0, "train": False, "bidirectional": True,
                  "batch_first": True}),
]  # fmt: skip

MOVED: list[Call] = [
    ("view", {"self": X, "size": [2, 6]}),
    ("_unsafe_view", {"self": X, "size": [6, 2]}),
    ("reshape", {"self": X, "shape": [-1]}),
    ("permute", {"self": MAPS, "dims": [0, 2, 3, 1]}),
    ("transpose", {"self": X, "dim0": 0, "dim1": 1}),
    ("t", {"self": X}),
    ("squeeze", {"self": _x(3, 1, 4), "dim": 1}),
    ("squeeze", {"self": _x(1, 3, 1), "dim": [0, 2]}),
    ("squeeze", {"self": _x(1, 3, 1)}),
    ("unsqueeze", {"self": X, "dim": -1}),
    ("expand", {"self": ROW, "size": [3, 4]}),
    ("flatten", {"self": MAPS, "start_dim": 1}),
    ("unflatten", {"self": X, "dim": 1, "sizes": [2, 2]}),
    ("cat", {"tensors": [X, Y], "dim": 1}),
    ("concat", {"tensors": [X, Y], "dim": 0}),
    ("stack", {"tensors": [X, Y], "dim": 1}),
    ("split", {"self": X, "split_size": 2, "dim": 1}),
    ("split", {"self": X, "split_size": 3, "dim": 1}),
    ("split_with_sizes", {"self": X, "split_sizes": [1, 3], "dim": 1}),
    ("chunk", {"self": X, "chunks": 2, "dim": 1}),
    ("unbind", {"self": X, "dim": 1}),
    ("slice", {"self": X, "dim": 1, "start": 1, "end": 9223372036854775807, "step": 2}),
    ("select", {"self": X, "dim": 0, "index": -1}),
    ("narrow", {"self": X, "dim": 1, "start": 1, "length": 2}),
    ("index", {"self": X, "indices": [None, _indices(2, 0)]}),
    ("index", {"self": X, "indices": [_indices(2, 0), _indices(1, 1)]}),
    ("index_select", {"self": X, "dim": 1, "index": _indices(3, 3, 0)}),
    ("gather", {"self": X, "dim": 1, "index": torch.tensor([[0], [3], [1]])}),
    ("embedding", {"weight": X, "indices": _indices(2, 0, 2)}),
    ("flip", {"self": X, "dims": [0, 1]}),
    ("roll", {"self": X, "shifts": [1], "dims": [1]}),
    ("repeat", {"self": X, "repeats": [2, 1]}),
    ("repeat_interleave", {"self": X, "repeats": 2, "dim": 1}),
    ("diagonal", {"self": X}),
    ("tril", {"self": X, "diagonal": -1}),
    ("pad", {"self": X, "pad": [1, 2], "mode": "constant", "value": 0.5}),
    ("constant_pad_nd", {"self": X, "pad": [1, 0, 0, 2], "value": -1.0}),
    ("reflection_pad2d", {"self": MAPS, "padding": [1, 2, 1, 0]}),
    ("pixel_shuffle", {"self": MAPS, "upscale_factor": 2}),
    ("scatter", {"self": X, "dim": 1, "index": torch.tensor([[0], [3], [1]]), "value": 2.0}),
    ("scatter", {"self": X, "dim": 1, "index": torch.tensor([[0], [3], [1]]), "src": _x(3, 1)}),
    ("scatter_add", {"self": X, "dim": 1, "index": torch.tensor([[0], [3], [1]]), "src": _x(3, 1)}),
    ("index_add", {"self": X, "dim": 0, "index": _indices(2, 0), "source": Y[:2], "alpha": 0.5}),
    ("index_put", {"self": X, "indices": [_indices(0, 2)], "values": ROW, "accumulate": True}),
    ("slice_scatter", {"self": X, "src": Y[:, :2], "dim": 1, "start": 1, "end": 3}),
    ("select_scatter", {"self": X, "src": ROW, "dim": 0, "index": 1}),
    ("glu", {"self": X, "dim": 1}),
    ("unfold", {"self": X, "dimension": 1, "size": 2, "step": 1}),
    ("im2col", {"self": MAPS, "kernel_size": [2, 2], "dilation": [1, 1], "padding": [0, 0], "stride": [2, 2]}),
]

MADE: list[Call] = [
    ("zeros", {"size": [2, 3], "dtype": torch.float64}),
    ("empty", {"size": [0, 3], "dtype": torch.float64}),
    ("full", {"size": [2], "fill_value": 1.5, "dtype": torch.float64}),
    ("arange", {"start": 1, "end": 9, "step": 3, "dtype": torch.int64}),
    ("arange", {"end": 5}),
    ("linspace", {"start": 0.0, "end": 1.0, "steps": 5, "dtype": torch.float64}),
    ("eye", {"n": 3, "dtype": torch.float64}),
    ("ones_like", {"self": X}),
    ("full_like", {"self": X, "fill_value": -2.0}),
    ("new_ones", {"self": X, "size": [2]}),
    ("scalar_tensor", {"s": 2.5, "dtype": torch.float64}),
]

CALLS = [*POINTWISE, *ENTRYWISE, *POOLED, *MIXED, *MOVED, *MADE]
