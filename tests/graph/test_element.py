from __future__ import annotations

import pytest
import torch

from graphws.errors import GraphError
from graphws.graph import LinearMap, Monomial
from graphws.graph.element import SpaceElement, compose

RNG = torch.Generator().manual_seed(3)
N, BATCH = 4, 3


def _monomial(batched: bool, scaled: bool) -> Monomial:
    shape = (BATCH, N) if batched else (N,)
    perm = torch.rand(shape, generator=RNG).argsort(-1)
    return Monomial(perm, torch.randn(shape, generator=RNG, dtype=torch.float64) if scaled else None)


def _linear(batched: bool) -> LinearMap:
    return LinearMap(torch.randn((BATCH, N, N) if batched else (N, N), generator=RNG, dtype=torch.float64))


ELEMENTS: list[SpaceElement] = [
    *(_monomial(batched, scaled) for batched in (False, True) for scaled in (False, True)),
    *(_linear(batched) for batched in (False, True)),
]


def _dense(element: SpaceElement, tensor: torch.Tensor, axis: int, power: int) -> torch.Tensor:
    """The slow reference: a matrix product along one axis, network by network."""
    matrix = element.matrix()
    networks = []
    for k, network in enumerate(tensor):
        one = matrix[k] if matrix.ndim == 3 else matrix
        if power == -1:
            one = torch.linalg.inv(one).T
        moved = torch.einsum("ij,j...->i...", one, network.movedim(axis - 1, 0))
        networks.append(moved.movedim(0, axis - 1))
    return torch.stack(networks)


@pytest.mark.parametrize("element", ELEMENTS)
@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("power", [1, -1])
def test_acting_is_a_matrix_product(element: SpaceElement, axis: int, power: int) -> None:
    tensor = torch.randn(BATCH, N, N, 2, generator=RNG, dtype=torch.float64)
    torch.testing.assert_close(element.apply(tensor, axis, power), _dense(element, tensor, axis, power))


@pytest.mark.parametrize("first", ELEMENTS)
@pytest.mark.parametrize("second", ELEMENTS)
def test_composition_and_inverse_are_those_of_matrices(first: SpaceElement, second: SpaceElement) -> None:
    both = compose(first, second)
    torch.testing.assert_close(both.matrix(), first.matrix() @ second.matrix())
    eye = torch.eye(N, dtype=torch.float64).expand_as(both.matrix())
    torch.testing.assert_close(compose(both.inverse(), both).matrix(), eye)
    torch.testing.assert_close(compose(both, both.inverse()).matrix(), eye)


def test_powers_scale_but_permute_all_the_same() -> None:
    element = Monomial(torch.tensor([1, 0]), torch.tensor([2.0, -3.0]))
    x = torch.tensor([[5.0, 7.0]])
    assert element.apply(x, 1, 1).tolist() == [[14.0, -15.0]]
    assert element.apply(x, 1, 2).tolist() == [[28.0, 45.0]]
    assert element.apply(x, 1, 0).tolist() == [[7.0, 5.0]]


def test_a_matrix_acts_on_plain_powers_only() -> None:
    element = _linear(batched=False)
    x = torch.randn(1, N, dtype=torch.float64)
    assert torch.equal(element.apply(x, 1, 0), x)
    message = r"^a general linear map cannot act on an axis of power 2: only on 1, 0 and -1$"
    with pytest.raises(GraphError, match=message):
        element.apply(x, 1, 2)


def _nested() -> LinearMap:
    """Two families of 64 elements that change places, each of which mixes among itself."""
    blocks = torch.randn(2, 64, 64, generator=RNG, dtype=torch.float64)
    places = torch.cat([64 + torch.randperm(64, generator=RNG), torch.randperm(64, generator=RNG)])
    return LinearMap(torch.block_diag(*blocks)[:, places])


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("power", [1, -1])
def test_a_matrix_of_families_acts_block_by_block(axis: int, power: int) -> None:
    nested = _nested()
    assert nested._families is not None
    assert nested._families[2].shape == (2, 64, 64)
    tensor = torch.randn(BATCH, 128, 128, 2, generator=RNG, dtype=torch.float64)
    torch.testing.assert_close(nested.apply(tensor, axis, power), _dense(nested, tensor, axis, power))


def test_every_other_matrix_is_taken_as_a_whole() -> None:
    strayed = _nested().weight.clone()
    strayed[0, 0] = 1  # one number outside of its family
    assert strayed.count_nonzero() == 2 * 64 * 64 + 1
    whole = torch.randn(128, 128, generator=RNG, dtype=torch.float64)
    for weight in (strayed, whole, torch.block_diag(whole[:32, :32], whole[:96, :96]), whole.expand(BATCH, 128, 128)):
        assert LinearMap(weight)._families is None


@pytest.mark.parametrize("axis", [1, 2])
def test_large_tensors_move_as_small_ones_do(axis: int) -> None:
    perm = torch.randperm(96, generator=RNG)
    tensor = torch.randn(1, 96, 96, generator=RNG, dtype=torch.float64)
    torch.testing.assert_close(Monomial(perm).apply(tensor, axis, 1), _dense(Monomial(perm), tensor, axis, 1))


def test_an_axis_of_another_length_is_refused() -> None:
    with pytest.raises(GraphError, match="an axis of 6 cannot follow a map of 4 elements"):
        _monomial(False, False).apply(torch.zeros(1, 6), 1, 1)
