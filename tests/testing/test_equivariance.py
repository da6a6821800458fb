"""The checker of equivariance fails where it must."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

from graphws.errors import VerificationError
from graphws.graph import NetworkGraph, Weights
from graphws.layers import EquivariantLinear, Features, OrbitNorm, expand_blocks
from graphws.operations import mlp_graph
from graphws.testing import act, check_equivariance, random_features, random_weights

SQUARE = mlp_graph([3, 3, 3, 3])
"""All widths equal, so that mistaken axes still fit."""


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear(pool: str = "mean") -> EquivariantLinear:
    return EquivariantLinear(SQUARE, 2, 2, expand_blocks(pool=pool)).double()  # type: ignore[arg-type]


class Changed(nn.Module):
    """A layer, and a change to one of its output tensors."""

    def __init__(self, parameter: str) -> None:
        super().__init__()
        self.layer, self.parameter = linear(), parameter

    def change(self, inputs: Features, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, features: Features) -> Features:
        out = self.layer(features)
        return out.replace({**out.tensors, self.parameter: self.change(features, out[self.parameter])})


class WrongAxis(Changed):
    """b1 belongs to W2's columns; here it is broadcast along its rows."""

    def change(self, inputs: Features, x: Tensor) -> Tensor:
        return x + inputs["b1"].unsqueeze(2)


class RightAxis(Changed):
    """The same where it belongs."""

    def change(self, inputs: Features, x: Tensor) -> Tensor:
        return x + inputs["b1"].unsqueeze(1)


class WrongSlot(Changed):
    """What b1 should receive goes to b2."""

    def change(self, inputs: Features, x: Tensor) -> Tensor:
        return x + inputs["b1"]


class Transposed(Changed):
    """A transpose where rows and columns are different spaces."""

    def change(self, inputs: Features, x: Tensor) -> Tensor:
        return x + inputs["W2"].transpose(1, 2)


class OneEntry(Changed):
    """A bias on one entry."""

    def change(self, inputs: Features, x: Tensor) -> Tensor:
        return x + torch.eye(3, dtype=x.dtype).reshape(1, 3, 3, 1)


class Sorted(Changed):
    """A nonlinearity that looks at positions."""

    def change(self, inputs: Features, x: Tensor) -> Tensor:
        return x.sort(dim=1).values


@pytest.mark.parametrize(
    "broken",
    [WrongAxis("W2"), WrongSlot("b2"), Transposed("W2"), OneEntry("W2"), Sorted("b1")],
    ids=["wrong axis", "wrong slot", "transposed", "one entry", "sorted"],
)
def test_broken_layers_are_caught_and_named(broken: Changed) -> None:
    with pytest.raises(VerificationError) as caught:
        check_equivariance(broken, SQUARE, rng(), channels=2)
    pattern = (
        rf"not equivariant: a random group element leaves '{broken.parameter}' off by \d\.\de[+-]\d\d "
        r"\(allowed 1e-10\)"
    )
    assert re.fullmatch(pattern, str(caught.value))


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_sound_layers_pass(pool: str) -> None:
    found = check_equivariance(linear(pool), SQUARE, rng(), channels=2)
    assert re.fullmatch(r"EQUIVARIANT \(error \d\.\de[+-]\d\d, response \d\.\de\+00, 3 draws\)", str(found))
    check_equivariance(RightAxis("W2"), SQUARE, rng(), channels=2)


class EntryNorm(nn.Module):
    """Batch norm with statistics for each entry, as in public code: not equivariant."""

    def forward(self, states: list[Features]) -> list[Features]:
        return [
            s.replace({name: (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt() for name, x in s.tensors.items()})
            for s in states
        ]


def test_statistics_per_entry_are_caught_because_every_network_moves_on_its_own() -> None:
    check_equivariance(OrbitNorm([SQUARE], 2).double(), [SQUARE], rng(), channels=2)
    with pytest.raises(VerificationError, match="not equivariant: a random group element leaves 'W1' off by"):
        check_equivariance(EntryNorm(), [SQUARE], rng(), channels=2)
    features = random_features(SQUARE, 2, 4, rng())
    alike = SQUARE.group().random(rng(1))
    for name, x in act(alike, EntryNorm()([features])[0]).tensors.items():
        torch.testing.assert_close(EntryNorm()([act(alike, features)])[0][name], x)


class Scaled(nn.Module):
    """A broken layer whose outputs are tiny, or hidden under a large offset."""

    def __init__(self, factor: float, offset: float) -> None:
        super().__init__()
        self.broken, self.factor, self.offset = WrongAxis("W2"), factor, offset

    def forward(self, features: Features) -> Features:
        out = self.broken(features)
        return out.replace({name: self.factor * x + self.offset for name, x in out.tensors.items()})


@pytest.mark.parametrize(("factor", "offset"), [(1e-12, 0.0), (1.0, 1e5)])
def test_neither_small_outputs_nor_a_large_offset_hide_an_error(factor: float, offset: float) -> None:
    with pytest.raises(VerificationError, match="not equivariant: a random group element leaves 'W2' off by"):
        check_equivariance(Scaled(factor, offset), SQUARE, rng(), channels=2)


def test_an_invariant_that_reads_one_entry_is_caught() -> None:
    check_equivariance(lambda weights: weights["W2"].sum((1, 2)), SQUARE, rng())
    with pytest.raises(VerificationError) as caught:
        check_equivariance(lambda weights: weights["W2"][:, 0, 0], SQUARE, rng())
    pattern = r"not invariant: a random group element leaves the output off by \d\.\de[+-]\d\d \(allowed 1e-10\)"
    assert re.fullmatch(pattern, str(caught.value))


def test_outputs_that_ignore_their_inputs_prove_nothing() -> None:
    constant = random_weights(SQUARE, 4, rng())
    with pytest.raises(VerificationError) as caught:
        check_equivariance(lambda weights: constant, SQUARE, rng())
    assert str(caught.value) == (
        "the check proves nothing: other inputs change the outputs by 0.0e+00 only (at least 1e-06 wanted)"
    )


def test_a_group_of_one_element_proves_nothing() -> None:
    for graph in (mlp_graph([2, 3]), mlp_graph([2, 1, 3])):
        with pytest.raises(VerificationError) as caught:
            check_equivariance(lambda weights: weights, graph, rng())
        assert str(caught.value) == "the check proves nothing: the group of this graph has one element"


def test_outputs_of_another_kind_are_refused() -> None:
    with pytest.raises(VerificationError) as caught:
        check_equivariance(lambda weights: {"W2": weights["W2"]}, SQUARE, rng())
    assert str(caught.value) == "cannot judge an output of type dict: neither a tensor, nor weights, nor features"


def test_several_graphs_at_once_and_the_one_at_fault_is_named() -> None:
    graphs: list[NetworkGraph] = [SQUARE, mlp_graph([3, 3, 3])]
    check_equivariance(lambda batches: batches, graphs, rng())

    def rolled(batches: list[Weights]) -> list[Weights]:
        return [batches[0], Weights(graphs[1], {n: x.roll(1, 1) for n, x in batches[1].items()})]

    with pytest.raises(VerificationError, match="leaves 'W1' of graph 1 off by"):
        check_equivariance(rolled, graphs, rng())
