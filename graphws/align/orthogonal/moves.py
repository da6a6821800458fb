"""Differentiable moves of a network: one free number, or several, for every direction of its group.

A `Moves` holds what is learned, space by space, as small modules: the skew matrix of an orthogonal map (its exponential
is one), a matrix inside every head, the logarithm of a scale, and a square of scores for a permutation.  At zero all of
them stay.  A permutation is the best assignment of its scores; its derivative is taken as if the scores themselves had
been applied (straight-through; Bengio et al. 2013, for permutations Ainsworth et al. 2023, section 3.3), so what is
run is an element of the group at every step.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from graphws.graph import Action, GroupElement, LinearMap, Monomial, NetworkGraph, Space, Weights
from graphws.graph.element import SpaceElement
from graphws.matching.assignment import best_permutation


class Move(nn.Module):
    """The learned map of one space."""

    def factors(self) -> tuple[Tensor, Tensor]:
        """The matrices (n, n) for axes of power 1 and of power -1."""
        raise NotImplementedError

    def element(self) -> SpaceElement:
        """The map, in float64."""
        return LinearMap(copy.deepcopy(self).double().factors()[0].detach())


class Rotation(Move):
    """An orthogonal map near the identity; one that keeps the vector of ones where `centred`."""

    def __init__(self, n: int, centred: bool) -> None:
        super().__init__()
        self.centred = centred
        self.free = nn.Parameter(torch.zeros(n, n))

    def factors(self) -> tuple[Tensor, Tensor]:
        """The exponential of a skew matrix, twice."""
        skew = self.free - self.free.mT
        if self.centred:
            skew = skew - skew.mean(0, keepdim=True)
            skew = skew - skew.mean(1, keepdim=True)
        found = torch.matrix_exp(skew)
        return found, found


class Bases(Move):
    """An invertible matrix inside each of some parents, of positive determinant."""

    def __init__(self, parents: int, size: int) -> None:
        super().__init__()
        self.free = nn.Parameter(torch.zeros(parents, size, size))

    def factors(self) -> tuple[Tensor, Tensor]:
        """Exponentials, block by block, and their inverse transposes."""
        there, back = torch.matrix_exp(self.free), torch.matrix_exp(-self.free).mT
        return torch.block_diag(*there), torch.block_diag(*back)


class Scales(Move):
    """A positive factor for each element."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.free = nn.Parameter(torch.zeros(n))

    def factors(self) -> tuple[Tensor, Tensor]:
        """Diagonal matrices."""
        return torch.diag(torch.exp(self.free)), torch.diag(torch.exp(-self.free))

    def element(self) -> SpaceElement:
        """The scales."""
        scale = torch.exp(self.free.detach().double())
        return Monomial(torch.arange(len(scale), device=scale.device), scale)


class Order(Move):
    """A permutation, by scores that begin at the identity."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.free = nn.Parameter(torch.eye(n))

    def factors(self) -> tuple[Tensor, Tensor]:
        """The permutation, with the derivative of its scores."""
        hard = nn.functional.one_hot(self._best(), len(self.free)).to(self.free)
        found = hard + self.free - self.free.detach()
        return found, found

    def element(self) -> SpaceElement:
        """The permutation."""
        return Monomial(self._best())

    def _best(self) -> Tensor:
        return best_permutation(self.free).to(self.free.device)


class Moves(nn.Module):
    """The learned maps of a graph's spaces.

    Args:
        graph: In RMS form.
        streams: Spaces that any orthogonal map may move.
        centred: Those whose maps keep the vector of ones.

    Spaces that a tensor holds inside their parents, on an axis of their own, and the order of parents stay.
    """

    def __init__(self, graph: NetworkGraph, streams: tuple[str, ...], centred: tuple[str, ...]) -> None:
        super().__init__()
        self.graph = graph
        inner = {axis.space for p in graph.parameters for axis in p.axes if axis.inner}
        powers = {axis.space: set[int]() for p in graph.parameters for axis in p.axes}
        for parameter in graph.parameters:
            for axis in parameter.axes:
                powers[axis.space].add(axis.power)
        self.names: list[str] = []
        self.moves = nn.ModuleList()
        for space in graph.spaces:
            if space.name in inner or not space.moves or space.name not in powers:
                continue
            for move in self._of(space, streams, centred, powers[space.name]):
                self.names.append(space.name)
                self.moves.append(move)

    def _of(self, space: Space, streams: tuple[str, ...], centred: tuple[str, ...], powers: set[int]) -> list[Move]:
        n = self.graph.extent(space.name)
        if space.name in streams:
            return [Rotation(n, space.name in centred)]
        if space.action is Action.LINEAR:
            return [Bases(n // space.size, space.size)] if powers <= {1, -1} else []
        parent = any(other.parent == space.name for other in self.graph.spaces)
        found: list[Move] = []
        if space.parent is None and not parent:
            found.append(Order(n))
        if space.action in (Action.SCALING, Action.MONOMIAL) and powers <= {0, 1, -1}:
            found.append(Scales(n))
        return found

    def act(self, weights: Weights) -> Weights:
        """The moved weights, differentiable in all that is learned."""
        factors = [(name, move.factors()) for name, move in zip(self.names, self.moves, strict=True)]  # type: ignore[operator]
        tensors = {}
        for parameter in self.graph.parameters:
            tensor = weights[parameter.name]
            for k, axis in enumerate(parameter.axes):
                for name, move, (there, back) in zip(self.names, self.moves, (f for _, f in factors), strict=True):
                    if name != axis.space or (isinstance(move, Scales) and axis.power == 0):
                        continue
                    matrix = back if axis.power == -1 else there
                    tensor = torch.movedim(torch.tensordot(tensor, matrix, dims=([k + 1], [1])), -1, k + 1)
            tensors[parameter.name] = tensor
        return Weights(self.graph, tensors)

    def element(self) -> GroupElement:
        """The same as an element, in float64."""
        found = GroupElement(self.graph)
        for name, move in zip(self.names, self.moves, strict=True):
            assert isinstance(move, Move)
            maps: Mapping[str, SpaceElement] = {name: move.element()}
            found = GroupElement(self.graph, maps) @ found
        return found
