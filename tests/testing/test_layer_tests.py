"""Each test of the base test case passes for a sound layer, and fails for one that has the mistake it is about."""

from __future__ import annotations

import subprocess
import sys
import unittest
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from graphws.errors import VerificationError
from graphws.graph import Weights
from graphws.layers import EquivariantLinear, Features, expand_blocks
from graphws.operations import mlp_graph
from graphws.testing import LayerTests, LinearLayerTests
from graphws.testing.reference import ReferenceLinear

SQUARE = mlp_graph([3, 3, 3, 3])
SMALL = mlp_graph([1, 2, 1])


class TestSound(LinearLayerTests):
    """As an extender writes it."""

    graph = SMALL
    channels = 2

    def make_layer(self) -> nn.Module:
        return EquivariantLinear(self.graph, 2, 1, expand_blocks(pool="mean"))

    def make_reference(self, layer: nn.Module) -> nn.Module:
        assert isinstance(layer, EquivariantLinear)
        return ReferenceLinear(layer)


class TestOnWeights(LayerTests):
    graph = SQUARE

    def make_layer(self) -> nn.Module:
        return OnWeights(lambda weights: weights.map(torch.tanh))


class OnWeights(nn.Module):
    """A function as a layer, with one parameter to scale its inputs."""

    def __init__(self, function: Callable[[Weights], Any]) -> None:
        super().__init__()
        self.function = function
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, weights: Weights) -> Any:
        return self.function(weights.map(lambda x: x * self.factor))


def case(layer: Callable[[], nn.Module], base: type[LayerTests] = LayerTests, **attributes: Any) -> Any:
    """An instance of a subclass with that layer."""
    made = {"graph": SQUARE, "make_layer": lambda self: layer(), **attributes}
    return type("Case", (base,), made)()


def of(function: Callable[[Weights], Any], **attributes: Any) -> Any:
    return case(lambda: OnWeights(function), **attributes)


def test_a_layer_that_reads_positions_is_not_equivariant() -> None:
    with pytest.raises(VerificationError, match="not equivariant: a random group element leaves 'W1' off by"):
        of(lambda w: w.map(lambda x: x.cumsum(1))).test_it_is_equivariant()
    with pytest.raises(VerificationError, match="not invariant"):
        of(lambda w: w["W2"][:, 0, 0]).test_it_is_equivariant()


def test_a_layer_that_positions_cannot_reach_proves_nothing() -> None:
    """Signs stay when entries are weighed by position."""
    signs = of(lambda w: w.map(torch.sign))
    signs.test_it_is_equivariant()
    with pytest.raises(VerificationError) as caught:
        signs.test_the_check_of_equivariance_notices()
    assert (
        str(caught.value)
        == "the check proves nothing: it passes where the layer reads entries weighed by their position"
    )
    constant = of(lambda w: w.map(torch.zeros_like))
    with pytest.raises(VerificationError, match="other inputs change the outputs by"):
        constant.test_the_check_of_equivariance_notices()


def test_a_layer_without_some_maps_is_not_complete() -> None:
    def lacking() -> nn.Module:
        return EquivariantLinear(SMALL, 1, 1, expand_blocks({"bias_to_bias": "none"}, "mean"))

    incomplete = case(lacking, LinearLayerTests, graph=SMALL, channels=1)
    incomplete.test_it_is_equivariant()
    with pytest.raises(VerificationError) as caught:
        incomplete.test_it_is_complete()
    assert str(caught.value) == "not complete: the layer reaches 20 independent maps, and 25 are equivariant"


def test_a_layer_with_maps_that_are_not_equivariant_is_not_what_was_counted() -> None:
    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.map = nn.Linear(SMALL.numel, SMALL.numel)

        def forward(self, weights: Weights) -> Weights:
            return Weights.unflatten(SMALL, self.map(weights.flatten()))

    with pytest.raises(VerificationError, match="not complete: the layer reaches 27 independent maps, and 25 are"):
        case(Dense, LinearLayerTests, graph=SMALL).test_it_is_complete()


def test_the_expected_dimension_may_be_given() -> None:
    with pytest.raises(VerificationError, match="reaches 6 independent maps, and 4 are equivariant"):
        case(
            TestSound().make_layer, LinearLayerTests, graph=SMALL, channels=2, dimension=lambda self: 2
        ).test_it_is_complete()


class WrongBackward(torch.autograd.Function):
    """x², with the gradient of x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


def test_a_wrong_gradient_is_noticed() -> None:
    of(lambda w: w.map(lambda x: x * x)).test_gradients_are_right()
    wrong = of(lambda w: w.map(WrongBackward.apply))
    wrong.test_it_is_equivariant()
    with pytest.raises(RuntimeError, match="Jacobian"):
        wrong.test_gradients_are_right()
    cut = of(lambda w: w.map(lambda x: x + (w["b3"].detach() ** 2).sum()))
    with pytest.raises(RuntimeError, match="Jacobian"):
        cut.test_gradients_are_right()


def test_a_dtype_that_is_not_kept_and_digits_that_are_lost_are_noticed() -> None:
    with pytest.raises(VerificationError) as caught:
        of(lambda w: w["W2"].double().sum((1, 2))).test_both_dtypes_agree()
    assert str(caught.value) == "inputs of torch.float32 give outputs of torch.float64"
    with pytest.raises(AssertionError, match="not close"):
        of(lambda w: w.map(lambda x: (x + 1e6) - 1e6)).test_both_dtypes_agree()


class TwoPaths(nn.Module):
    """One function where it is fused and another where it is not."""

    def __init__(self, fused: Callable[[Weights], Weights], plain: Callable[[Weights], Weights]) -> None:
        super().__init__()
        self.fused, self.functions = True, {True: fused, False: plain}

    def forward(self, weights: Weights) -> Weights:
        return self.functions[self.fused](weights)


@pytest.mark.parametrize(
    "other", [lambda w: w.map(lambda x: x * (1 + 1e-6)), lambda w: w.map(Tensor.detach)], ids=["value", "gradient"]
)
def test_paths_that_differ_are_noticed(other: Callable[[Weights], Weights]) -> None:
    def same(w: Weights) -> Weights:
        return w.map(lambda x: x * 1.0)

    case(lambda: TwoPaths(same, same)).test_both_paths_agree()
    mixed: Callable[[Weights], Weights] = lambda w: Weights(w.graph, {**dict(other(w).items()), "b3": w["b3"]})  # noqa: E731
    for pair in ((same, mixed), (mixed, same)):
        with pytest.raises(AssertionError, match="not close"):
            case(lambda pair=pair: TwoPaths(*pair)).test_both_paths_agree()


@pytest.mark.parametrize("path", [True, False], ids=["fused", "plain"])
def test_a_wrong_reference_is_noticed_by_either_path(path: bool) -> None:
    def reference(self: object, layer: TwoPaths) -> Callable[[Weights], Weights]:
        return layer.functions[path]

    def off(w: Weights) -> Weights:
        return w.map(lambda x: x + 1e-6)

    with pytest.raises(AssertionError, match="not close"):
        case(lambda: TwoPaths(lambda w: w, off), make_reference=reference).test_it_matches_its_reference()


def test_a_reference_with_other_gradients_is_noticed() -> None:
    class Cut(ReferenceLinear):
        def forward(self, features: Features, moments: bool = False) -> Features:
            out = super().forward(features)
            return out.replace({name: x.detach() if name == "b2" else x for name, x in out.tensors.items()})

    wrong = case(TestSound().make_layer, graph=SMALL, channels=2, make_reference=lambda self, layer: Cut(layer))
    with pytest.raises(AssertionError, match="not close"):
        wrong.test_it_matches_its_reference()


def test_what_does_not_apply_is_skipped() -> None:
    plain = of(lambda w: w)
    with pytest.raises(unittest.SkipTest, match="the layer has no fused kernels"):
        plain.test_both_paths_agree()
    with pytest.raises(unittest.SkipTest, match="the layer has no reference"):
        plain.test_it_matches_its_reference()


def test_a_layer_has_to_be_named() -> None:
    with pytest.raises(NotImplementedError):
        LayerTests().make_layer()


def test_layers_are_the_same_each_time_and_leave_the_ambient_seed_alone() -> None:
    torch.manual_seed(3)
    wanted = torch.rand(1)
    torch.manual_seed(3)
    first, second = TestSound()._layer(), TestSound()._layer()
    assert torch.equal(torch.rand(1), wanted)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_it_needs_no_pytest() -> None:
    code = "import sys; sys.modules['pytest'] = None; import graphws.testing"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_unittest_runs_it() -> None:
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(type("Case", (TestSound, unittest.TestCase), {}))
    result = unittest.TestResult()
    suite.run(result)
    assert (result.testsRun, result.errors, result.failures) == (7, [], [])
