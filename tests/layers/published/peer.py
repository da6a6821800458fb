"""The authors' own networks (a checkout of github.com/AvivNavon/DWSNets), and ours with their numbers."""

from __future__ import annotations

import importlib
import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from graphws.graph import Weights
from graphws.layers import OrbitNorm
from graphws.layers.published.free_axes import AxisMap, ReducedPairLayer
from graphws.layers.published.layer import PairLayer
from graphws.layers.published.set_layers import DeepSets, SetAttention
from graphws.models import PublishedDWSNet

VARIABLE = "GRAPHWS_DWSNETS"
Inputs = tuple[tuple[Tensor, ...], tuple[Tensor, ...]]


def peer_models() -> Any:
    """The authors' module of models; skips where the environment does not say where it is."""
    folder = os.environ.get(VARIABLE)
    if not folder or not (Path(folder) / "nn/models.py").is_file():
        pytest.skip(f"${VARIABLE} names no checkout of github.com/AvivNavon/DWSNets")
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module("nn.models")


def shapes(widths: Sequence[int]) -> dict[str, Any]:
    """Their description of multilayer perceptrons."""
    weights = tuple(itertools.pairwise(widths))
    return {"weight_shapes": weights, "bias_shapes": tuple((width,) for width in widths[1:])}


def as_peer(weights: Weights) -> Inputs:
    """Networks as they take them: (batch, in, out, 1) and (batch, out, 1)."""
    depth = len(weights.tensors) // 2
    return (
        tuple(weights[f"W{m}"].transpose(1, 2).unsqueeze(-1) for m in range(1, depth + 1)),
        tuple(weights[f"b{m}"].unsqueeze(-1) for m in range(1, depth + 1)),
    )


def from_peer(outputs: Inputs) -> dict[str, Tensor]:
    """Networks that they return."""
    found = {}
    for m, (weight, bias) in enumerate(zip(*outputs, strict=True), start=1):
        found[f"W{m}"], found[f"b{m}"] = weight.squeeze(-1).transpose(1, 2), bias.squeeze(-1)
    return found


@torch.no_grad()
def take_numbers(ours: PublishedDWSNet, theirs: nn.Module) -> None:
    """Gives our network all numbers of theirs."""
    inner = theirs.layers.layers if ours.head is not None else theirs.layers  # type: ignore[union-attr]
    layers = [each for each in inner if hasattr(each, "weight_to_weight")]  # type: ignore[union-attr]
    norms = [each for each in inner if hasattr(each, "weights_bn")]  # type: ignore[union-attr]
    for own, other in zip(ours.layers, layers, strict=True):
        if isinstance(own, ReducedPairLayer):
            _take_axes(own, other)
            own = own.layer
        assert isinstance(own, PairLayer)
        _take_pairs(own, other)
    for norm, other in zip((n for n in ours.norms if isinstance(n, OrbitNorm)), norms, strict=True):
        for letter, modules in (("W", other.weights_bn), ("b", other.biases_bn)):
            for m, each in enumerate(modules, start=1):
                norm.scale[f"{letter}{m}"].copy_(each.weight)
                norm.shift[f"{letter}{m}"].copy_(each.bias)
    if ours.head is not None:
        _take_head(ours, theirs)


def _take_head(ours: PublishedDWSNet, theirs: Any) -> None:
    assert ours.head is not None
    linear = theirs.clf.layer[0]
    names = list(ours.head.invariants.orbits.items())
    depth = len(names) // 2
    order = [*(f"W{m}" for m in range(2, depth)), "W1", f"W{depth}", *(f"b{m}" for m in range(1, depth + 1))]
    sizes = {name.split(":")[0]: width for name, width in names}
    parts = dict(zip(order, linear.weight.split([sizes[name] for name in order], 1), strict=True))
    own = ours.head.readout[0]  # type: ignore[index]
    own.weight.copy_(torch.cat([parts[name] for name in sizes], 1))
    own.bias.copy_(linear.bias)


def _take_axes(own: ReducedPairLayer, other: Any) -> None:
    for maps, module in ((own.down, other.down_sample), (own.up, other.up_sample)):
        (each,) = maps.maps.values()
        assert isinstance(each, AxisMap)
        layer = module.set_layer
        each.own.load_state_dict(layer.Gamma[0].state_dict())
        each.others.load_state_dict(layer.Lambda[0].state_dict())
        each.query.copy_(layer.attn.query)
    (skip,) = own.skip.values()
    skip.load_state_dict(other.skip[0].state_dict())


def _linears(own: PairLayer, other: Any) -> Iterator[tuple[tuple[str, str], list[nn.Linear]]]:
    """Of every pair their linear maps, in the order in which they made them."""
    for family, source, target in (
        ("weight_to_weight", "W", "W"),
        ("bias_to_bias", "b", "b"),
        ("bias_to_weight", "b", "W"),
        ("weight_to_bias", "W", "b"),
    ):
        for key, module in getattr(other, family).layers.items():
            i, j = key.split("_")
            linears = [each for each in module.modules() if isinstance(each, nn.Linear)]
            yield (f"{source}{int(i) + 1}", f"{target}{int(j) + 1}"), linears


def _take_pairs(own: PairLayer, other: Any) -> None:
    linears = dict(_linears(own, other))
    assert set(linears) == {(pair.source, pair.target) for pair in own.pairs}
    for target, pairs in own.network_pairs.items():
        maps = [linears[pair.source, pair.target][0] for pair in pairs]
        own.network_maps[target].copy_(torch.cat([each.weight.T for each in maps]))
        own.network_offsets[target].copy_(torch.stack([each.bias for each in maps]))
    for sizes, pairs in own.set_pairs.items():
        layer = own.sets[str(sizes)]
        for k, pair in enumerate(pairs):
            found = linears[pair.source, pair.target]
            if isinstance(layer, SetAttention):
                layer.read[k] = torch.cat([each.weight.T for each in found[:3]], 1)
                layer.read_offset[k] = torch.cat([each.bias for each in found[:3]])
                layer.write[k], layer.write_offset[k] = found[3].weight.T, found[3].bias
            else:
                assert isinstance(layer, DeepSets)
                layer.own[k], layer.offset[k], layer.others[k] = found[0].weight.T, found[0].bias, found[1].weight.T
    for pair in own.entry_pairs:
        whole, columns, rows, both = linears[pair.source, pair.target]  # theirs are (in, out), ours (out, in)
        for name, read in ((own.entry_maps, "weight"), (own.entry_offsets, "bias")):
            stacked = torch.stack([getattr(each, read) for each in (both, columns, rows, whole)])
            stacked = stacked.mT if stacked.ndim == 3 else stacked
            name[f"{pair.source}+{pair.target}"].copy_(stacked)
