"""Small ONNX models made in a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def value(name: str, shape: Sequence[int] | None, kind: int = 1) -> Any:
    """A declared value; a float where no kind is given."""
    import onnx

    return onnx.helper.make_tensor_value_info(name, kind, shape)


def model(
    nodes: Sequence[Any],
    inputs: Mapping[str, Sequence[int]],
    outputs: Sequence[str],
    constants: Mapping[str, Any],
    opset: int = 18,
) -> Any:
    """A model of nodes and constants."""
    import onnx

    tensors = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = onnx.helper.make_graph(
        list(nodes), "test", [value(n, s) for n, s in inputs.items()], [value(n, None) for n in outputs], tensors
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=10)
