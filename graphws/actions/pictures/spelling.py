"""Steps of convolutional networks under one name, however a converter met them.

A module is recorded by the functions that it calls (``conv2d``, ``batch_norm``, ``max_pool2d``), an ONNX file or an
exported program by what they come down to (``convolution``, ``native_batch_norm``, ``max_pool2d_with_indices``).  Both
mean the same where no training and no transposition is asked for; anything else keeps its name.

>>> from graphws.graph import Operation
>>> print(spelled(Operation("max_pool2d_with_indices", ("x",), ("y", "places"), (("kernel_size", "2,2"),)), {"y"}))
y = max_pool2d(x, kernel_size=2,2)
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from graphws.graph import Operation

_KEPT = {
    "convolution": ("conv2d", ("dilation", "groups", "padding", "stride")),
    "native_batch_norm": ("batch_norm", ("eps",)),
    "_native_batch_norm_legit_no_training": ("batch_norm", ("eps",)),
    "max_pool2d_with_indices": ("max_pool2d", ("ceil_mode", "dilation", "kernel_size", "padding", "stride")),
}
"""For each name the other one, and the attributes that both have."""


def spelled(operation: Operation, read: Collection[str]) -> Operation:
    """The step under the name that `graphws.actions.pictures.steps` knows; as it is where there is none.

    Args:
        operation: The step.
        read: The values that are read later; outputs that nobody reads, such as the places of maxima, are dropped.
    """
    if operation.kind not in _KEPT or not _plain(operation):
        return operation
    if any(name in read for name in operation.outputs[1:]):
        return operation
    kind, kept = _KEPT[operation.kind]
    attributes = tuple((name, value) for name, value in operation.attributes if name in kept)
    return replace(operation, kind=kind, outputs=operation.outputs[:1], attributes=attributes)


def _plain(operation: Operation) -> bool:
    """No training, no transposition, two dimensions."""
    if operation.attribute("training", False) or operation.attribute("transposed", False):
        return False
    sides = str(operation.attribute("stride", "1,1")).split(",")
    return operation.kind != "convolution" or len(sides) == 2
