"""Running a convolutional network from its picture graph: steps on feature maps with their channels last.

Values are (batch, points, rows, columns, channels), so that features are the last axis as everywhere else, and only
the steps that look at rows and columns turn them.  A flattened feature map keeps that shape; the dense layer that
reads it reads channels and pixels by name.  Only one network is run at a time: the batch is 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from graphws.actions.pictures.view import convolves
from graphws.graph import NetworkGraph, Operation, Weights
from graphws.operations.forward import ACTIVATIONS, OPERATIONS, run_steps

Step = Callable[..., Tensor]


def _pair(operation: Operation, name: str, default: str) -> tuple[int, int]:
    """Two whole numbers written as ``3,3``, or one for both."""
    parts = [int(part) for part in str(operation.attribute(name, default)).split(",")]
    return (parts[0], parts[-1])


def _on_pictures(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Applies a function of (pictures, channels, rows, columns) to feature maps."""
    result = function(x.flatten(0, 1).permute(0, 3, 1, 2))
    turned: Tensor = result.permute(0, 2, 3, 1).unflatten(0, x.shape[:2])
    return turned


def _conv2d(operation: Operation, x: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
    height, width = _pair(operation, "taps", "1")
    padding = operation.attribute("padding", "0")
    by: str | tuple[int, int] = str(padding) if padding in ("same", "valid") else _pair(operation, "padding", "0")
    return _on_pictures(
        lambda y: functional.conv2d(
            y,
            kernel[0].reshape(kernel.shape[1], -1, height, width),
            None if bias is None else bias[0].reshape(-1),
            _pair(operation, "stride", "1"),
            by,
            _pair(operation, "dilation", "1"),
            int(operation.attribute("groups", 1)),
        ),
        x,
    )


def _batch_norm(operation: Operation, x: Tensor, *numbers: Tensor) -> Tensor:
    *affine, mean, variance = (number[0] for number in numbers)
    scale, shift = affine if len(affine) == 2 else (torch.ones_like(mean), torch.zeros_like(mean))
    factor = scale * torch.rsqrt(variance + float(operation.attribute("eps", 1e-5)))
    return x * factor + (shift - mean * factor)


def _pad(operation: Operation, x: Tensor) -> Tensor:
    sizes = [int(n) for n in str(operation.attribute("pad", "0")).split(",")]
    return _on_pictures(lambda y: functional.pad(y, sizes, str(operation.attribute("mode", "constant"))), x)


def _max_pool2d(operation: Operation, x: Tensor) -> Tensor:
    size = _pair(operation, "kernel_size", "2")
    stride = _pair(operation, "stride", ",".join(map(str, size)))
    padding, dilation = _pair(operation, "padding", "0"), _pair(operation, "dilation", "1")
    ceil = bool(operation.attribute("ceil_mode", False))
    return _on_pictures(lambda y: functional.max_pool2d(y, size, stride, padding, dilation, ceil), x)


def _avg_pool2d(operation: Operation, x: Tensor) -> Tensor:
    size = _pair(operation, "kernel_size", "2")
    stride, padding = _pair(operation, "stride", ",".join(map(str, size))), _pair(operation, "padding", "0")
    ceil, inside = bool(operation.attribute("ceil_mode", False)), bool(operation.attribute("count_include_pad", True))
    return _on_pictures(lambda y: functional.avg_pool2d(y, size, stride, padding, ceil, inside), x)


def _adaptive_avg_pool2d(operation: Operation, x: Tensor) -> Tensor:
    return _on_pictures(lambda y: functional.adaptive_avg_pool2d(y, _pair(operation, "output_size", "1")), x)


def _linear(operation: Operation, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A dense layer: on features, on a map of one pixel, or on all pixels of a map, (out, channels, pixels)."""
    if x.ndim == 5 and weight.ndim == 4:
        y = torch.einsum("nprc,ocr->npo", x.flatten(2, 3), weight[0])
    else:
        y = (x[:, :, 0, 0] if x.ndim == 5 and x.shape[2:4] == (1, 1) else x) @ weight[0].mT
    return y if bias is None else y + bias[0]


def _add(operation: Operation, first: Tensor, second: Tensor) -> Tensor:
    return first + float(operation.attribute("alpha", 1)) * second


def _same(operation: Operation, x: Tensor) -> Tensor:
    return x


def _mean(operation: Operation, x: Tensor) -> Tensor:
    return x.mean((2, 3), keepdim=bool(operation.attribute("keepdim", False)))


PICTURE_STEPS: dict[str, Step] = {
    **{name: OPERATIONS[name] for name in ACTIVATIONS},
    "conv2d": _conv2d,
    "batch_norm": _batch_norm,
    "pad": _pad,
    "max_pool2d": _max_pool2d,
    "avg_pool2d": _avg_pool2d,
    "adaptive_avg_pool2d": _adaptive_avg_pool2d,
    "linear": _linear,
    "add": _add,
    "flatten": _same,
    "view": _same,
    "reshape": _same,
    "mean": _mean,
    "dropout": _same,
}
"""Steps of convolutional networks: (operation, *inputs) -> output."""


def steps_of(graph: NetworkGraph) -> Mapping[str, Step]:
    """The table that the graph's operations are run by."""
    return PICTURE_STEPS if convolves(graph) else OPERATIONS


def missing(graph: NetworkGraph) -> str | None:
    """Why a graph cannot be run, or None where it can."""
    if not graph.operations or len(graph.inputs) != 1 or len(graph.outputs) != 1:
        return "its graph is no computation with one input and one output"
    table = steps_of(graph)
    unknown = sorted({o.kind for o in needed(graph) if o.kind not in table or not _supported(o)})
    return f"its graph holds steps that are not run from the graph: {', '.join(unknown)}" if unknown else None


def _supported(operation: Operation) -> bool:
    """Whether a step is of the one form that its kind is known in: all features flattened, or averaged over pixels."""
    if operation.kind == "flatten" and len(operation.attributes):
        return operation.attribute("start_dim", 0) == 1 and operation.attribute("end_dim", -1) in (-1, 3)
    if operation.kind in ("view", "reshape"):
        return len(str(next((v for _, v in operation.attributes), "")).split(",")) == 2
    if operation.kind == "mean":
        return sorted(int(n) % 4 for n in str(operation.attribute("dim", "0")).split(",")) == [2, 3]
    return True


def needed(graph: NetworkGraph) -> list[Operation]:
    """The operations that the outputs depend on, in order."""
    wanted, found = set(graph.outputs), []
    for operation in reversed(graph.operations):
        if wanted & set(operation.outputs):
            found.append(operation)
            wanted |= set(operation.inputs)
    return found[::-1]


def run_network(graph: NetworkGraph, weights: Weights, inputs: Tensor) -> dict[str, Tensor]:
    """Every value of the computation by its name; pictures come in as (points, channels, rows, columns).

    Feature maps are (1, points, rows, columns, channels); everything else is as in
    `graphws.operations.run_steps`.
    """
    if not convolves(graph):
        return run_steps(graph, weights, inputs)
    values = {graph.inputs[0]: inputs.permute(0, 2, 3, 1).unsqueeze(0)}
    for operation in needed(graph):
        read = (values[name] if name in values else weights[name] for name in operation.inputs)
        values[operation.outputs[0]] = PICTURE_STEPS[operation.kind](operation, *read)
    return values
