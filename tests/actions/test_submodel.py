from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from graphws.actions.intertwiners.group import Intertwiners
from graphws.actions.submodels.mlp import Affine, mlp_model, mlp_submodel
from graphws.actions.submodels.submodel import Submodel, SubmodelCheck, check_submodel
from graphws.errors import GraphError, UsageError
from graphws.graph import Monomial

DOUBLE = torch.float64


def matrix(rows: list[list[float]]) -> Tensor:
    return torch.tensor(rows, dtype=DOUBLE)


def drawn(widths: Sequence[int], seed: int = 0) -> list[Affine]:
    rng = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(b, a, generator=rng, dtype=DOUBLE), torch.randn(b, generator=rng, dtype=DOUBLE))
        for a, b in pairwise(widths)
    ]


def checked(
    submodel: Submodel, small: Sequence[int], large: Sequence[int], symmetries: Sequence[Sequence[Monomial]] = ()
) -> SubmodelCheck:
    rng = torch.Generator().manual_seed(5)
    points = [torch.randn(30, n, generator=rng, dtype=DOUBLE) for n in large]
    points_sub = [torch.randn(30, n, generator=rng, dtype=DOUBLE) for n in small]
    return check_submodel(submodel, drawn(small), points, points_sub, symmetries)


TWICE = matrix([[0, 1], [1, 0], [0, 0], [0, 1], [1, 0]])
SIGNED = matrix([[0, 1], [-1, 0], [0, 0], [0, -1], [1, 0]])
SCALED = matrix([[0, 2.0], [3.0, 0], [0, 0], [0, 4.0], [6.0, 0]])


@pytest.mark.parametrize(
    ("activation", "embedding"),
    [("gelu", TWICE), ("tanh", SIGNED), ("relu", SCALED), ("power", SCALED * SIGNED.sign()), ("identity", SCALED)],
)
def test_the_construction_of_section_5_is_a_submodel(activation: str, embedding: Tensor) -> None:
    submodel = mlp_submodel(activation, [embedding, TWICE], exponent=3)
    rng = torch.Generator().manual_seed(1)
    name = "gelu" if activation in ("relu", "identity", "power") else activation
    symmetries = [Intertwiners.of(name, 2).sample(rng) for _ in range(4)]
    plain = [Monomial(torch.tensor([1, 0])), Monomial(torch.tensor([0, 1]))]
    small, large = [3, 2, 2, 4], [3, 5, 5, 4]
    found = checked(submodel, small, large, [[], symmetries, plain, []])  # type: ignore[list-item]
    assert found.holds(1e-12), found
    theta, x = drawn(small), torch.randn(9, 3, dtype=DOUBLE)
    torch.testing.assert_close(submodel.model(x, submodel.lifted(theta)), submodel.sub(x, theta))


def test_each_condition_can_fail() -> None:
    good = mlp_submodel("gelu", [TWICE])
    small, large, swap = [3, 2, 4], [3, 5, 4], [[], [Monomial(torch.tensor([1, 0]))], []]
    assert checked(good, small, large, swap).holds(1e-12)

    def scaled(x: Tensor) -> Tensor:
        return 2 * x

    bad_star = dataclasses.replace(good, alpha_star=(good.alpha_star[0], lambda x: x[:, 2:4], good.alpha_star[2]))
    assert checked(bad_star, small, large).retraction > 0.1
    bad_end = dataclasses.replace(good, alpha=(scaled, *good.alpha[1:]))
    assert checked(bad_end, small, large).ends > 0.1
    bad_beta = dataclasses.replace(good, beta=(lambda theta: good.beta[0]((2 * theta[0], theta[1])), good.beta[1]))
    assert checked(bad_beta, small, large).diagram > 0.1
    bad_gamma = dataclasses.replace(good, gamma=(None, lambda k: Monomial(torch.arange(5)), None))
    assert (checked(bad_gamma, small, large, swap).equivariance or 0) > 0.1
    shifting = dataclasses.replace(good, compose=lambda k, other: k)
    found = checked(shifting, small, large, [[], [swap[1][0], Monomial(torch.arange(2))], []])
    assert (found.equivariance or 0) < 1e-12
    assert (found.homomorphism or 0) > 0.1
    wrong_shape = dataclasses.replace(good, alpha_star=(*good.alpha_star[:2], lambda x: x[:, :1]))
    assert checked(wrong_shape, small, large).largest == float("inf")
    empty = dataclasses.replace(good, alpha=(good.alpha[0], lambda x: good.alpha[1](x) * float("nan"), good.alpha[2]))
    assert checked(empty, small, large).retraction == checked(empty, small, large).diagram == float("inf")
    assert not checked(empty, small, large).holds()


def test_what_was_not_tried_is_not_claimed() -> None:
    good = mlp_submodel("gelu", [TWICE])
    found = checked(good, [3, 2, 4], [3, 5, 4])
    assert (found.equivariance, found.homomorphism) == (None, None)
    with pytest.raises(UsageError) as error:
        checked(dataclasses.replace(good, gamma=()), [3, 2, 4], [3, 5, 4], [[], [Monomial(torch.arange(2))], []])
    assert str(error.value) == "latent space 1 has no map gamma, so its symmetries cannot be tried"
    with pytest.raises(UsageError) as error:
        checked(good, [3, 2], [3, 5, 4])
    assert str(error.value) == "a model of depth 2 needs 2 parameters theta, got 1"
    with pytest.raises(UsageError) as error:
        checked(good, [3, 2, 4], [3, 5])
    assert str(error.value) == "a model of depth 2 needs 3 batches of points, got 2"


def layer_is_equivariant(theta: Affine, inside: Monomial, outside: Monomial) -> bool:
    x = torch.randn(20, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(3))
    layer = mlp_model("gelu", 2).layers[0]
    left, right = layer(inside.apply(x, 1, 1), theta), outside.apply(layer(x, theta), 1, 1)
    return bool(torch.allclose(left, right))


def test_appendix_b() -> None:
    """The example of appendix B: the function is symmetric, θ_0's first layer is not, θ'_0's is."""
    swap, stay = Monomial(torch.tensor([1, 0])), Monomial(torch.tensor([0, 1]))
    zero = torch.zeros(2, dtype=DOUBLE)
    theta_0 = [(matrix([[1, 1], [2, 3]]), zero), (matrix([[-2, 0]]), zero[:1])]
    submodel = mlp_submodel("gelu", [matrix([[1], [0]])])
    tilde = [(matrix([[1, 1]]), zero[:1]), (matrix([[-2]]), zero[:1])]
    theta_1 = submodel.lifted(tilde)
    assert torch.equal(theta_1[0][0], matrix([[1, 1], [0, 0]]))
    assert torch.equal(theta_1[1][0], matrix([[-2, 0]]))
    x = torch.randn(20, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    model = submodel.model
    torch.testing.assert_close(model(x, theta_0), model(x, theta_1))
    torch.testing.assert_close(model(swap.apply(x, 1, 1), theta_0), model(x, theta_0))
    assert not any(layer_is_equivariant(theta_0[0], swap, outside) for outside in (swap, stay))
    assert layer_is_equivariant(theta_1[0], swap, stay)
    assert checked(submodel, [2, 1, 1], [2, 2, 1], [[], [Monomial(torch.tensor([0]))], []]).holds(1e-12)


def test_only_rectangular_intertwiners_embed() -> None:
    with pytest.raises(GraphError) as error:
        mlp_submodel("gelu", [SIGNED])
    assert str(error.value) == "embedding 1: gelu allows permutation entries only, got [-1.0, 1.0]"
    with pytest.raises(GraphError) as error:
        mlp_submodel("tanh", [TWICE, SCALED])
    assert str(error.value) == "embedding 2: tanh allows signed entries only, got [2.0, 3.0, 4.0, 6.0]"
    with pytest.raises(GraphError) as error:
        mlp_submodel("tanh", [torch.ones(3, 2, dtype=DOUBLE)])
    assert str(error.value) == (
        "embedding 1: an embedding has at most one non-zero entry in a row and at least one in a column"
    )
    with pytest.raises(GraphError) as error:
        mlp_submodel("sigmoid", [TWICE])
    assert str(error.value) == "embedding 1: a row of zeros needs an activation with value 0 at 0, sigmoid has not"
    with pytest.raises(UsageError) as error:
        mlp_submodel("gellu", [TWICE.abs()])
    assert str(error.value) == "unknown activation 'gellu'; did you mean 'gelu'?"


def test_unequal_copies_are_not_exchanged() -> None:
    swap = Monomial(torch.tensor([1, 0]))
    uneven = mlp_submodel("gelu", [matrix([[1, 0], [1, 0], [0, 1]])]).gamma[1]
    assert uneven is not None
    with pytest.raises(GraphError) as error:
        uneven(swap)
    assert str(error.value) == "neurons 0 and 1 have 2 and 1 copies: no symmetry of the model exchanges them"
    crooked = mlp_submodel("relu", [matrix([[1, 0], [1, 0], [0, 1], [0, 2]])]).gamma[1]
    assert crooked is not None
    with pytest.raises(GraphError) as error:
        crooked(swap)
    assert str(error.value) == "the copies of neurons 0 and 1 are scaled in different ratios"


def test_counts_must_fit() -> None:
    good = mlp_submodel("gelu", [TWICE])
    with pytest.raises(UsageError) as error:
        dataclasses.replace(good, alpha=good.alpha[:2])
    assert str(error.value) == "a model of depth 2 needs 3 maps alpha, got 2"
    with pytest.raises(UsageError) as error:
        dataclasses.replace(good, act=None)
    assert str(error.value) == "maps gamma need act, act_sub and compose: how symmetries act on the latent spaces"
    with pytest.raises(UsageError) as error:
        type(good.model)(())
    assert str(error.value) == "a model needs at least one layer"
