"""Linear maps: matrix products, einsum, convolutions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from graphws_converters.onnx.ops.window import Window, pad_with
from graphws_converters.onnx.rules import Call, Rules, Value

rules = Rules()


@rules("MatMul")
def matmul(call: Call, x: Value, y: Value) -> Tensor:
    """x y."""
    first, second = call.tensors(x, y)
    if first.ndim > 1 and second.ndim > 1:
        batch = torch.broadcast_shapes(first.shape[:-2], second.shape[:-2])
        call.allow(*batch, first.shape[-2], second.shape[-1])
    return torch.matmul(first, second)


@rules("Gemm")
def gemm(call: Call, x: Value, y: Value, bias: Value = None) -> Tensor:
    """alpha x y + beta bias, x and y transposed where asked; a linear layer where it is one."""
    first, second = call.tensors(x, y)
    first = first.t() if call.get("transA") else first
    alpha, beta = call.get("alpha", 1.0), call.get("beta", 1.0)
    call.allow(first.shape[0], second.shape[0 if call.get("transB") else 1])
    added = None if bias is None else call.tensor(bias)
    if alpha == beta == 1.0 and call.get("transB") and (added is None or added.ndim == 1):
        return F.linear(first, second, added)
    product = first @ (second.t() if call.get("transB") else second)
    product = product if alpha == 1.0 else alpha * product
    return product if added is None else product + (added if beta == 1.0 else beta * added)


@rules("Einsum")
def einsum(call: Call, *values: Value) -> Tensor:
    """Sums of products over named axes."""
    equation, tensors = call.get("equation").replace(" ", ""), call.tensors(*values)
    inputs, _, output = equation.partition("->")
    lengths = {
        letter: length
        for term, tensor in zip(inputs.split(","), tensors, strict=True)
        if "." not in term
        for letter, length in zip(term, tensor.shape, strict=True)
    }
    call.allow(*(lengths.get(letter, 1) for letter in output))
    return torch.einsum(equation, *tensors)


_CONVOLUTIONS = (F.conv1d, F.conv2d, F.conv3d)
_TRANSPOSED = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)


@rules("Conv")
def conv(call: Call, x: Value, weight: Value, bias: Value = None) -> Tensor:
    """A convolution over one, two or three axes."""
    value, kernel = call.tensors(x, weight)
    window = Window.of(call, value, kernel.shape[2:])
    out = window.lengths(value.shape[2:])
    call.allow(value.shape[0], kernel.shape[0], *out)
    added = None if bias is None else call.tensor(bias)
    if window.rank > 3:
        raise call.refuse(f"a convolution over {window.rank} axes")
    symmetric = window.before == window.after
    if not symmetric:
        value = pad_with(value, window)
    padding = window.before if symmetric else [0] * window.rank
    function = _CONVOLUTIONS[window.rank - 1]
    return function(value, kernel, added, window.strides, padding, window.dilations, call.get("group", 1))


@rules("ConvTranspose")
def conv_transpose(call: Call, x: Value, weight: Value, bias: Value = None) -> Tensor:
    """The transpose of a convolution, cut at its ends by the padding."""
    value, kernel = call.tensors(x, weight)
    rank, groups = kernel.ndim - 2, call.get("group", 1)
    if not 1 <= rank <= 3:
        raise call.refuse(f"a convolution over {rank} axes")
    strides = call.ints(None, "strides") or [1] * rank
    dilations = call.ints(None, "dilations") or [1] * rank
    extra = call.ints(None, "output_padding") or [0] * rank
    whole = [
        stride * (n - 1) + e + (k - 1) * d + 1
        for stride, n, e, k, d in zip(strides, value.shape[2:], extra, kernel.shape[2:], dilations, strict=True)
    ]
    call.allow(value.shape[0], kernel.shape[1] * groups, *(max(n, 0) for n in whole))
    asked = call.ints(None, "output_shape")
    if asked is not None:
        longer = [max(w - n, 0) for n, w in zip(whole, asked[-rank:], strict=True)]
        whole, extra = ([a + b for a, b in zip(numbers, longer, strict=True)] for numbers in (whole, extra))
    before, after = _cut(call, whole, strides, value)
    added = None if bias is None else call.tensor(bias)
    function = _TRANSPOSED[rank - 1]
    if before == after and all(e < max(s, d) for e, s, d in zip(extra, strides, dilations, strict=True)):
        return function(value, kernel, added, strides, before, extra, groups, dilations)
    result = function(value, kernel, added, strides, 0, 0, groups, dilations)
    for k, (low, high, more) in enumerate(zip(before, after, extra, strict=True)):
        if more > high:
            raise call.refuse("an output padding larger than the padding")
        length = result.shape[2 + k]
        result = result.narrow(2 + k, low, length - low - high + more)
    return result


def _cut(call: Call, whole: list[int], strides: list[int], value: Tensor) -> tuple[list[int], list[int]]:
    """How much is cut at both ends of each axis."""
    rank, auto = len(whole), call.get("auto_pad", "NOTSET")
    wanted = call.ints(None, "output_shape")
    if wanted is None and auto.startswith("SAME"):
        wanted = [n * s for n, s in zip(value.shape[2:], strides, strict=True)]
    if wanted is None:
        pads = call.ints(None, "pads") or [0] * (2 * rank)
        return pads[:rank], pads[rank:]
    total = [max(n - w, 0) for n, w in zip(whole, wanted[-rank:], strict=True)]
    small = [n // 2 for n in total]
    large = [n - n // 2 for n in total]
    if call.opset < 11 and auto == "NOTSET" and small != large:  # its text says one end, runtimes take the other
        raise call.refuse("an output shape with padding that cannot be halved, before opset 11,")
    return (small, large) if auto == "SAME_UPPER" else (large, small)
