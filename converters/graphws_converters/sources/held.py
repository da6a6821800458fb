"""Sizes that come in as tensors: how many rows and columns of patches each picture has.

A model counts by them, cuts by them and makes positions of them in Python, as others do with the shape of a tensor.  So
they are no data: the model holds them, and what is said of it is said of pictures of these sizes.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

GRIDS = {"spatial_shapes", "image_grid_thw", "grid_thw", "video_grid_thw"}
"""Inputs that are sizes of others, in patches; beside them, pictures are lists of patches."""
SIZES = GRIDS | {"image_sizes", "image_merge_sizes"}
"""All inputs that are sizes of others."""
NOTE = "{} says how large the pictures are: the model is that of {}"


def hold_sizes(model: nn.Module, inputs: Any) -> tuple[Any, tuple[str, ...]]:
    """Lets a model hold the sizes among its inputs; the others are returned, and a note.

    Args:
        model: Its class becomes one of the same name whose forward adds what is held.
        inputs: By name; others are returned as they are.
    """
    if not isinstance(inputs, Mapping) or not (names := SIZES & set(inputs)):
        return inputs, ()
    held = {name: inputs[name] for name in sorted(names) if isinstance(inputs[name], Tensor)}
    kind = type(model)

    @functools.wraps(kind.forward)
    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return kind.forward(self, *args, **{name: value.clone() for name, value in held.items()} | kwargs)

    model.__class__ = type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})
    notes = tuple(NOTE.format(name, value.tolist()) for name, value in held.items() if not value.is_meta)
    return {name: value for name, value in inputs.items() if name not in held}, notes
