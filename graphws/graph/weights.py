"""Weights: the numbers of a batch of networks that share a graph.

`Weights` holds, for each parameter, one tensor of shape (batch, *axes).  It knows its graph, so a group element can act
on it, an equivariant layer can read it, and it goes back to a state dict bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.errors import WeightsError, nearest
from graphws.graph.named_tensors import NamedTensors
from graphws.graph.network import NetworkGraph
from graphws.graph.parameter import Storage
from graphws.shown import Shown


@dataclass(frozen=True, eq=False, repr=False)
class Weights(Shown, NamedTensors[str]):
    """A batch of networks with one graph: a mapping of the parameters' names, in the graph's order, to tensors.

    ``len`` counts the networks.

    Args:
        graph: Their graph.
        tensors: For each parameter of the graph a tensor of shape (batch, *graph.shape(name)).

    Raises:
        WeightsError: On a missing or unknown parameter, a wrong shape, or batches of different size.
    """

    graph: NetworkGraph
    tensors: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        names = {parameter.name: None for parameter in self.graph.parameters}  # in order
        for name in self.tensors:
            if name not in names:
                raise WeightsError(f"no parameter {name!r} in the graph" + nearest(name, names))
        batches = []  # no set: while a program is exported, lengths are symbols, which have no hash
        for name in names:
            if name not in self.tensors:
                raise WeightsError(f"no tensor for parameter {name!r}")
            shape, wanted = tuple(self.tensors[name].shape), self.graph.shape(name)
            if shape[1:] != wanted or not shape:
                raise WeightsError(f"parameter {name!r}: got shape {shape}, the graph needs (batch, *{wanted})")
            batches.append(shape[0])
        if any(batch != batches[0] for batch in batches):
            raise WeightsError(f"tensors of different batch sizes: {sorted(set(batches))}")
        object.__setattr__(self, "tensors", {name: self.tensors[name] for name in names})

    @property
    def batch(self) -> int:
        """How many networks."""
        return next(iter(self.tensors.values())).shape[0] if self.tensors else 0

    @property
    def dtype(self) -> torch.dtype:
        """Type of the first tensor."""
        return next(iter(self.tensors.values())).dtype

    @property
    def floating(self) -> torch.dtype:
        """Type of the first floating tensor; that of the first tensor where none is."""
        return next((x.dtype for x in self.tensors.values() if x.is_floating_point()), self.dtype)

    @property
    def device(self) -> torch.device:
        """Device of the first tensor."""
        return next(iter(self.tensors.values())).device

    def __getitem__(self, name: str) -> Tensor:
        self.graph.parameter(name)
        return self.tensors[name]

    def __len__(self) -> int:
        return self.batch

    def _given(self) -> Mapping[str, Tensor]:
        return self.tensors

    def map(self, function: Callable[[Tensor], Tensor]) -> Weights:
        """The same graph, with `function` applied to every tensor."""
        return Weights(self.graph, {name: function(tensor) for name, tensor in self.items()})

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Weights:
        """Moved, and floating tensors cast; complex ones to the complex type of that size."""
        wide = dtype.to_complex() if dtype is not None and dtype.is_floating_point else None
        return self.map(
            lambda x: x.to(device=device, dtype=dtype if x.is_floating_point() else wide if x.is_complex() else None)
        )

    def select(self, index: Tensor | slice | Sequence[int]) -> Weights:
        """The networks at `index` (a slice, a list or a tensor of indices); the batch axis stays."""
        return self.map(lambda x: x[index])

    def flatten(self) -> Tensor:
        """All numbers of each network in a row, shape (batch, graph.numel)."""
        return torch.cat([x.reshape(self.batch, math.prod(x.shape[1:])) for x in self.tensors.values()], dim=1)

    @staticmethod
    def unflatten(graph: NetworkGraph, flat: Tensor) -> Weights:
        """The inverse of `flatten`."""
        if flat.ndim != 2 or flat.shape[1] != graph.numel:
            raise WeightsError(f"got shape {tuple(flat.shape)}, the graph needs (batch, {graph.numel})")
        shapes = {p.name: graph.shape(p.name) for p in graph.parameters}
        parts = flat.split([math.prod(shape) for shape in shapes.values()], dim=1)
        tensors = {
            name: part.reshape(part.shape[0], *shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)
        }
        return Weights(graph, tensors)

    @staticmethod
    def cat(batches: Sequence[Weights]) -> Weights:
        """One batch from several of the same graph."""
        if not batches:
            raise WeightsError("nothing to join: got an empty list of weights")
        graph = batches[0].graph
        if any(other.graph != graph for other in batches):
            raise WeightsError("weights of different graphs cannot be joined into one batch")
        return Weights(graph, {name: torch.cat([other[name] for other in batches]) for name in batches[0].tensors})

    def check_finite(self, numbers: Tensor | None = None) -> None:
        """Raises `WeightsError` naming the first parameter that holds NaN or infinity.

        Args:
            numbers: What each network is called; by its place in the batch where None.
        """
        for name, tensor in self.items():
            bad = ~torch.isfinite(tensor)
            if bad.any():
                network = int(bad.reshape(len(bad), -1).any(dim=1).nonzero()[0])
                called = network if numbers is None else int(numbers[network])
                raise WeightsError(f"parameter {name!r} of network {called} holds {int(bad[network].sum())} NaN or inf")

    @staticmethod
    def from_state_dict(graph: NetworkGraph, state: Mapping[str, Tensor], *, copy: bool = True) -> Weights:
        """A batch of one from a state dict whose keys and shapes are those of the graph's storage.

        Args:
            graph: The graph.
            state: The tensors.
            copy: False lets the weights share the state dict's memory, as far as possible.

        Raises:
            WeightsError: On a missing, left-over or wrongly shaped tensor, and on tied tensors that differ.
        """
        return Weights.from_stacked(graph, {key: x.unsqueeze(0) for key, x in state.items()}, copy=copy)

    @staticmethod
    def from_stacked(graph: NetworkGraph, states: Mapping[str, Tensor], *, copy: bool = True) -> Weights:
        """A batch from the state dicts of several networks, stacked.

        Args:
            graph: The graph.
            states: For each key of the state dicts the tensors of all networks, (batch, *shape).
            copy: As for `from_state_dict`.

        Raises:
            WeightsError: As `from_state_dict` does.
        """
        left = set(states)
        tensors = {}
        for parameter in graph.parameters:
            storage = parameter.storage
            key = storage.key if storage else parameter.name
            shape = storage.shape if storage else graph.shape(parameter.name)
            if key not in states:
                raise WeightsError(f"state dict has no {key!r} (shape {shape})" + nearest(key, states))
            held = states[key]
            if tuple(held.shape[1:]) != shape:
                raise WeightsError(f"{key!r} has shape {tuple(held.shape[1:])}, the graph needs {shape}")
            for alias in storage.aliases if storage else ():
                if alias in states and not _same(states[alias], held):
                    raise WeightsError(f"{alias!r} and {key!r} should be one tensor (tied weights), but differ")
            left -= {key, *(storage.aliases if storage else ())}
            block = storage.ordered(held) if storage else held
            if storage and storage.block:
                block = block.reshape(held.shape[0], *storage.seen)[(slice(None), *storage.index)]
            block = block.detach().clone() if copy else block.detach()
            tensors[parameter.name] = block.reshape(held.shape[0], *graph.shape(parameter.name))
        if left:
            raise WeightsError(f"state dict holds {sorted(left)[0]!r}, which the graph does not know")
        return Weights(graph, tensors)

    def to_state_dict(self, network: int = 0, *, detach: bool = True, copy: bool = True) -> dict[str, Tensor]:
        """The state dict of one network of the batch: the inverse of `from_state_dict`, bit for bit.

        Args:
            network: Which network of the batch.
            detach: False keeps the tensors differentiable in these weights.
            copy: False lets the state dict share the memory of the weights, as far as possible.
        """
        state: dict[str, Tensor] = {}
        moved: dict[str, Storage] = {}
        for parameter in self.graph.parameters:
            tensor, storage = self[parameter.name][network], parameter.storage
            tensor = tensor.detach() if detach else tensor
            if storage is None:
                state[parameter.name] = tensor.clone() if copy else tensor
                continue
            if storage.block is None:
                whole = tensor.reshape(storage.shape)
                state[storage.key] = whole.clone() if copy else whole
            else:
                if storage.key not in state:
                    state[storage.key] = tensor.new_empty(storage.shape)  # its blocks leave no number out
                state[storage.key].view(storage.seen)[storage.index] = tensor.reshape(storage.block_shape)
            if storage.orders:
                moved[storage.key] = storage
            for alias in storage.aliases:
                state[alias] = state[storage.key]
        for key, storage in moved.items():
            whole = storage.restored(state[key].unsqueeze(0)).squeeze(0)
            state |= dict.fromkeys((key, *storage.aliases), whole)
        return state

    def __str__(self) -> str:
        return f"Weights({self.batch} networks of {self.graph.numel} numbers, {self.dtype}, {self.device})"


def _same(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors hold the same bits (so that NaN equals itself)."""
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    bits = [tensor.detach().reshape(-1).view(torch.uint8) for tensor in (first, second)]
    return torch.equal(*bits)
