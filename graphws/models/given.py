"""What models are called with: `Weights`, or a list of them, one for each graph; everything else is named and refused.

>>> import torch
>>> given_networks(torch.nn.Identity(), torch.zeros(8, 17))
Traceback (most recent call last):
    ...
graphws.errors.UsageError: Identity takes Weights, got a Tensor (8, 17): make them with Weights.unflatten(graph, tensor)
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from graphws.checkpoints import Conversion
from graphws.errors import UsageError
from graphws.graph import NetworkGraph, Weights


def given_networks(model: nn.Module, given: object) -> list[Weights]:
    """The networks graph by graph.

    Args:
        model: That was called, for the error.
        given: What it was called with.

    Raises:
        UsageError: On anything else, with what makes `Weights` of it.
    """
    if isinstance(given, Weights):
        return [given]
    found: list[Weights] = []
    for part in given if isinstance(given, list | tuple) else [given]:
        if not isinstance(part, Weights):
            raise UsageError(f"{type(model).__name__} takes Weights, got {_cure(part)}")
        found.append(part)
    if not found:
        raise UsageError(f"{type(model).__name__} takes Weights, got an empty {type(given).__name__}")
    return found


def given_network(model: nn.Module, given: object) -> Weights:
    """The networks of one graph, for models that read no others.

    Raises:
        UsageError: As `given_networks`, and on networks of several graphs.
    """
    parts = given_networks(model, given)
    if len(parts) > 1:
        raise UsageError(f"{type(model).__name__} takes Weights of one graph, got a list of {len(parts)}")
    return parts[0]


def _cure(given: object) -> str:
    """What it is, and how to make weights of it."""
    if isinstance(given, Tensor):
        return f"a Tensor {tuple(given.shape)}: make them with Weights.unflatten(graph, tensor)"
    if isinstance(given, Conversion):
        return "a Conversion: give conversion.weights"
    if isinstance(given, NetworkGraph):
        return "a NetworkGraph, which holds no numbers: make them with Weights.from_state_dict(graph, state)"
    if isinstance(given, nn.Module):
        return f"a module {type(given).__name__}: give graphws.convert(module).weights"
    if isinstance(given, Mapping):
        return "a mapping: of a state dict make them with Weights.from_state_dict(graph, state)"
    article = "an" if type(given).__name__[:1].lower() in "aeiou" else "a"
    return f"{article} {type(given).__name__}"
