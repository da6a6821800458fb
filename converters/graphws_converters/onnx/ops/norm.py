"""Normalisations."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from graphws_converters.onnx.rules import Call, Rules, Value

rules = Rules()


@rules("BatchNormalization")
def batch_norm(call: Call, x: Value, scale: Value, shift: Value, mean: Value, variance: Value) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon), channel by channel, with stored statistics.

    Before opset 9 `spatial` = 0 has them for each entry of a sample.  What says that it trains is an attribute, from
    opset 7 to 13 the number of outputs.
    """
    several = len([name for name in call.node.outputs if name]) > 1
    if call.get("training_mode") or (not call.get("is_test") if call.opset < 7 else several):
        raise call.refuse("batch normalisation while training")
    value, m, v, s, b = call.tensors(x, mean, variance, scale, shift)
    if call.opset < 9 and not call.get("spatial", 1) and value.ndim > 2:
        epsilon: float = call.get("epsilon", 1e-5)
        return (value - m) * (v + epsilon).rsqrt() * s + b
    return F.batch_norm(value, m, v, s, b, False, 0.0, call.get("epsilon", 1e-5))


@rules("InstanceNormalization")
def instance_norm(call: Call, x: Value, scale: Value, shift: Value) -> Tensor:
    """Each channel of each sample by its own mean and variance."""
    value, s, b = call.tensors(x, scale, shift)
    return F.instance_norm(value, None, None, s, b, True, 0.0, call.get("epsilon", 1e-5))


@rules("LayerNormalization")
def layer_norm(call: Call, x: Value, scale: Value, shift: Value = None) -> list[Tensor]:
    """By mean and variance over the last axes, from `axis` on."""
    value, epsilon = call.tensor(x), call.get("epsilon", 1e-5)
    axis = call.axis(call.get("axis", -1), value.ndim)
    shape, weight = value.shape[axis:], call.tensor(scale)
    bias = None if shift is None else call.tensor(shift)
    if weight.shape == shape and (bias is None or bias.shape == shape):
        result = F.layer_norm(value, shape, weight, bias, epsilon)
    else:
        result = F.layer_norm(value, shape, None, None, epsilon) * weight
        result = result if bias is None else result + bias
    if len(call.node.outputs) == 1:
        return [result]
    axes = list(range(axis, value.ndim))
    mean, spread = value.mean(axes, keepdim=True), value.var(axes, correction=0, keepdim=True)
    return [result, mean, (spread + epsilon).rsqrt()]


@rules("RMSNormalization")
def rms_norm(call: Call, x: Value, scale: Value) -> Tensor:
    """By the root of the mean square over the last axes, from `axis` on."""
    value = call.tensor(x)
    axis = call.axis(call.get("axis", -1), value.ndim)
    mean = value.square().mean(list(range(axis, value.ndim)), keepdim=True)
    epsilon: float = call.get("epsilon", 1e-5)
    return value * (mean + epsilon).rsqrt() * call.tensor(scale)


@rules("GroupNormalization")
def group_norm(call: Call, x: Value, scale: Value, shift: Value) -> Tensor:
    """By mean and variance of groups of channels; before opset 21 with one scale a group."""
    value, s, b = call.tensors(x, scale, shift)
    groups = call.get("num_groups")
    if s.numel() != value.shape[1]:
        s, b = (t.repeat_interleave(value.shape[1] // groups) for t in (s, b))
    return F.group_norm(value, groups, s, b, call.get("epsilon", 1e-5))


@rules("LRN")
def local_response(call: Call, x: Value) -> Tensor:
    """By the squares of neighbouring channels."""
    size = call.get("size")
    value = call.tensor(x)
    squares = F.pad(value.square().flatten(2).unsqueeze(1), (0, 0, (size - 1) // 2, size // 2))
    sums = F.avg_pool2d(squares, (size, 1), 1).reshape(value.shape)
    alpha, beta, bias = float(call.get("alpha", 1e-4)), float(call.get("beta", 0.75)), float(call.get("bias", 1.0))
    return value / (bias + alpha * sums) ** beta


@rules("MeanVarianceNormalization")
def mean_variance(call: Call, x: Value) -> Tensor:
    """By mean and standard deviation over some axes."""
    value = call.tensor(x)
    axes = call.ints(None, "axes") or [0, 2, 3]
    centred = value - value.mean(axes, keepdim=True)
    return centred / (centred.square().mean(axes, keepdim=True).sqrt() + 1e-9)


@rules("LpNormalization")
def lp_norm(call: Call, x: Value) -> Tensor:
    """By the p-norm along an axis; where that is 0, the result is 0."""
    value, axis = call.tensor(x), call.get("axis", -1)
    norm = torch.linalg.vector_norm(value, call.get("p", 2), axis, keepdim=True)
    return torch.where(norm == 0, torch.zeros_like(value), value / norm)
