"""ONNX files: read within bounds, run by rules of our own, traced by the recorder and tried."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from graphws.checkpoints.conversion import Contents, Conversion, Hints
from graphws.checkpoints.input_shapes import Sizes, check_inputs
from graphws.checkpoints.scan import MOST_AXES
from graphws.errors import UsageError
from graphws_converters.modules.conversion import convert_module

LARGEST_INPUT = 1 << 22
"""Most numbers that an input made up here may have."""


def convert_onnx(path: Path, hints: Hints) -> Conversion:
    """The graph of an ONNX model; its parameters go by the names that the file gives them.

    Raises:
        UsageError: Where the package onnx is missing, or the inputs' shapes are not fixed and none are given.
        DataError: Where the file cannot be read, or has operators without a rule.
    """
    if find_spec("onnx") is None:
        raise UsageError("reading ONNX files needs the package onnx: pip install 'graphws[onnx]'")
    from graphws_converters.onnx import OnnxModule, read_model

    model = read_model(path)
    module = OnnxModule(model)
    declared = {value.name: value.type.tensor_type for value in model.graph.input}
    inputs = _given(path, {name: _sizes(declared[name]) for name in module.inputs}, hints)
    if inputs is None:
        inputs = tuple(_made_up(path, name, declared[name], hints.random) for name in module.inputs)
    made = convert_module(
        module, inputs, generator=hints.random, front="recorder", hints=hints, names=module.graph.outputs
    )
    return replace(made, notes=(*module.graph.notes, *made.notes))


def read_onnx(path: Path) -> Contents:
    """The parameters of an ONNX model, and a digest of everything else in it.

    Raises:
        UsageError: Where the package onnx is missing.
        DataError: Where the file cannot be read, or has operators without a rule.
    """
    if find_spec("onnx") is None:
        raise UsageError("reading ONNX files needs the package onnx: pip install 'graphws[onnx]'")
    from graphws_converters.onnx import OnnxModule, read_model

    model = read_model(path)
    module = OnnxModule(model)
    declared = [(value.name, str(value.type)) for value in model.graph.input]
    total = hashlib.sha256(repr((module.opset, str(module.native), declared)).encode())
    for part in module.graph.texts():
        total.update(part)
    return Contents(module.state_dict(), total.hexdigest())


def _given(path: Path, takes: Mapping[str, Sizes | None], hints: Hints) -> tuple[Any, ...] | None:
    """The caller's inputs by position; `UsageError` where they are not of the shapes that the file declares."""
    given = hints.example_inputs
    if given is None:
        return None
    check_inputs(given, takes, path.name)
    if isinstance(given, Tensor):
        return (given,)
    if isinstance(given, tuple | list):
        return tuple(given)
    if set(given) != set(takes):
        raise UsageError(f"{path.name} has the inputs {', '.join(takes)}; got {', '.join(given)}")
    return tuple(given[name] for name in takes)


def _sizes(kind: Any) -> Sizes | None:
    """A declared shape; None where the file declares none."""
    if not kind.HasField("shape"):
        return None
    return tuple(axis.dim_value if axis.dim_value >= 1 else axis.dim_param or "?" for axis in kind.shape.dim)


def _made_up(path: Path, name: str, kind: Any, generator: torch.Generator) -> Tensor:
    """Random numbers of the declared shape; a first axis that is open is a batch of 2."""
    shape = []
    for k, axis in enumerate(kind.shape.dim):
        if axis.dim_value < 1 and k:
            raise UsageError(
                f"{path.name}: axis {k} of input {name!r} may have any length: give example inputs (--inputs), "
                f"as in {name}=1x3x224x224"
            )
        shape.append(axis.dim_value if axis.dim_value >= 1 else 2)
    if len(shape) > MOST_AXES:
        raise UsageError(f"{path.name}: input {name!r} has {len(shape)} axes, at most {MOST_AXES} are read")
    numbers = math.prod(shape)
    if numbers > LARGEST_INPUT:
        raise UsageError(f"{path.name}: input {name!r} of {numbers} numbers is large: give example inputs (--inputs)")
    floating = {1: torch.float32, 10: torch.float16, 11: torch.float64, 16: torch.bfloat16}
    if kind.elem_type not in floating:
        raise UsageError(f"{path.name}: input {name!r} is of whole numbers: give example inputs (--inputs)")
    return torch.randn(shape, generator=generator).to(floating[kind.elem_type])
