"""One base test case for layers on weights: say what the layer is, and inherit the tests.

    class TestMyLayer(LayerTests):                      # LinearLayerTests, if it is every equivariant linear map
        graph = mlp_graph([2, 4, 3, 2])
        channels = 2                                    # takes features of two channels; None: takes weights

        def make_layer(self) -> nn.Module:
            return MyLayer(self.graph, 2, 3)

pytest collects such a class as it stands; `unittest` can, too, if it also derives from `unittest.TestCase`.  What does
not apply to a layer is skipped.  To run over several cases, set the attributes in a fixture with parameters.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import SkipTest

import torch
from torch import Tensor, nn

from graphws.errors import VerificationError
from graphws.graph import NetworkGraph, Weights
from graphws.graph.group import Richness
from graphws.layers import Features
from graphws.layers.graded.state import State
from graphws.testing.commutant import commutant
from graphws.testing.equivariance import check_equivariance, random_features, random_weights
from graphws.testing.states import random_state

Inputs = Weights | Features | State


class LayerTests:
    """Tests of a layer: the group, gradients, dtypes, paths, and a reference if there is one.

    Attributes:
        graph: Graph of the layer's inputs; its group must move something.
        channels: The layer takes `Features` of so many channels; None: it takes `Weights`.
        actions: ``rich``: the layer is to follow signs, scales and matrices as well as permutations; see
            `GradedLayerTests`.
        batch: Networks at once.
        seed: Of all that is drawn.
        tolerance: Largest relative error in float64 that counts as none.
        single: The same between float32 and float64.
    """

    graph: NetworkGraph
    channels: int | None = None
    actions: Richness = "permutation"
    batch: int = 3
    seed: int = 0
    tolerance: float = 1e-9
    single: float = 1e-3

    def make_layer(self) -> nn.Module:
        """A new layer; the tests set its dtype and add noise to its parameters, so that no zero or one hides a mistake.

        It may answer with features, weights or a tensor, which is then taken for an invariant.
        """
        raise NotImplementedError

    def make_reference(self, layer: nn.Module) -> Callable[..., Any] | None:
        """A slow way to compute the same with the parameters of `layer`; None where there is none."""
        return None

    def test_it_is_equivariant(self) -> None:
        """Random group elements, one for each network of the batch, commute with the layer."""
        self._check(self._layer())

    def test_the_check_of_equivariance_notices(self) -> None:
        """The same check fails where the layer reads entries weighed by their position, so that it says something."""
        self._must_notice(_by_position, "the layer reads entries weighed by their position")

    def test_gradients_are_right(self) -> None:
        """Gradients of inputs and parameters agree with finite differences."""
        layer, inputs = self._layer(), self._inputs()
        named = dict(layer.named_parameters())
        leaves = [x.detach() for x in (*_tensors(inputs), *named.values())]
        count, sizes = len(leaves) - len(named), [x.numel() for x in leaves]

        def run(flat: Tensor) -> Tensor:  # finite differences cost a run for each pair of an input and an output
            values = [part.view(x.shape) for part, x in zip(flat.split(sizes), leaves, strict=True)]
            weights = dict(zip(named, values[count:], strict=True))
            return _flat(torch.func.functional_call(layer, weights, (_rebuilt(inputs, values[:count]),)))

        everything = torch.cat([x.flatten() for x in leaves]).requires_grad_()
        torch.autograd.gradcheck(run, everything, eps=1e-6, atol=1e-6, fast_mode=True)

    def test_both_dtypes_agree(self) -> None:
        """The layer keeps the dtype of its inputs, and float32 follows float64."""
        inputs = self._inputs()
        exact = _tensors(self._layer()(inputs))
        values = _tensors(self._layer().float()(_rebuilt(inputs, [x.float() for x in _tensors(inputs)])))
        for value, wanted in zip(values, exact, strict=True):
            if value.dtype != torch.float32:
                raise VerificationError(f"inputs of torch.float32 give outputs of {value.dtype}")
            torch.testing.assert_close(value.double(), wanted, rtol=self.single, atol=self.single)

    def test_both_paths_agree(self) -> None:
        """Values, gradients and buffers are the same with and without fused kernels."""
        paths = list(self._paths())
        if len(paths) < 2:
            raise SkipTest("the layer has no fused kernels")
        fused, plain = (self._measured(layer, layer) for layer in paths)
        self._assert_close(fused, plain)

    def test_it_matches_its_reference(self) -> None:
        """Values and gradients are those of the reference, by either path."""
        for layer in self._paths():
            reference = self.make_reference(layer)
            if reference is None:
                raise SkipTest("the layer has no reference")
            self._assert_close(self._measured(layer, layer), self._measured(reference, layer))

    def _generator(self, offset: int = 0) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed + offset)

    def _layer(self) -> nn.Module:
        """The layer in float64 with noise on its parameters; the same one each time."""
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(self.seed)
            layer = self.make_layer().double()
        draw = self._generator(1)
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=draw, dtype=parameter.dtype), alpha=0.3)
        return layer

    def _inputs(self) -> Inputs:
        weights = random_weights(self.graph, self.batch, self._generator(2))
        if self.channels is None:
            return weights
        if self.actions == "rich":
            return random_state(weights, self.channels, self._generator(2))
        return random_features(self.graph, self.channels, self.batch, self._generator(2))

    def _check(self, module: Callable[..., Any]) -> None:
        check_equivariance(
            module,
            self.graph,
            self._generator(3),
            channels=self.channels,
            actions=self.actions,
            batch=self.batch,
            tolerance=self.tolerance,
        )

    def _must_notice(self, spoil: Callable[[Any], Any], what: str) -> None:
        """The check fails where the layer reads spoilt inputs."""
        layer = self._layer()
        try:
            self._check(lambda inputs: layer(spoil(inputs)))
        except VerificationError as error:
            if str(error).startswith("not "):
                return
            raise
        raise VerificationError(f"the check proves nothing: it passes where {what}")

    def _paths(self) -> Iterator[nn.Module]:
        """The layer with fused kernels and without; once where it has none."""
        layer = self._layer()
        having = [module for module in layer.modules() if hasattr(module, "fused")]
        for fused in (True, False) if having else (False,):
            for module in having:
                module.fused = fused  # type: ignore[assignment]
            yield copy.deepcopy(layer)

    def _measured(self, function: Callable[..., Any], layer: nn.Module) -> list[Tensor]:
        """Values, gradients of all parameters of the layer and of the inputs, and the layer's buffers."""
        drawn = self._inputs()
        leaves = [x.detach().clone().requires_grad_() for x in _tensors(drawn)]
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(self.seed)
            values = _tensors(function(_rebuilt(drawn, leaves)))
        draw = self._generator(4)
        loss = sum((x * torch.randn(x.shape, generator=draw, dtype=x.dtype)).sum() for x in values)
        wanted = [*(p for p in layer.parameters() if p.requires_grad), *leaves]
        gradients = torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)  # type: ignore[arg-type]
        return [*values, *gradients, *layer.buffers()]

    def _assert_close(self, found: Sequence[Tensor], wanted: Sequence[Tensor]) -> None:
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=self.tolerance, atol=self.tolerance)


class GradedLayerTests(LayerTests):
    """Tests of a layer whose features have grades: it takes a `State` and gives one, or an invariant tensor.

    With ``channels = None`` it takes `Weights` and gives weights or an invariant.
    """

    channels: int | None = 2
    actions: Richness = "rich"
    tolerance = 1e-10

    def test_the_check_of_grades_notices(self) -> None:
        """The same check fails where features that are not invariant are shifted, so that it knows grades."""
        if self.channels is None:
            raise SkipTest("the layer takes weights, of which every check of equivariance moves signs and scales")
        self._must_notice(_shifted, "graded features are shifted")


class LinearLayerTests(LayerTests):
    """Tests of a layer that is affine in its inputs, and whose parameters reach every such map that is equivariant."""

    def dimension(self) -> int:
        """How many independent equivariant linear maps lead from one channel to one: the orbits of the group on pairs.

        Found by brute force (`graphws.testing.commutant`); override it where the graph is too large for that.
        """
        names = [parameter.name for parameter in self.graph.parameters]
        return sum(len(commutant(self.graph, source, target)) for source in names for target in names)

    @torch.no_grad()
    def test_it_is_complete(self) -> None:
        """The layer reaches as many independent maps as there are equivariant ones."""
        layer = self._layer()
        unit, zero = self._unit_inputs()
        channels = _channels(layer(zero)) * (self.channels or 1)
        wanted = self.dimension() * channels
        draw, maps = self._generator(), []
        for _ in range(wanted + 2):
            for parameter in layer.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=draw, dtype=parameter.dtype))
            maps.append((_flat(layer(unit)) - _flat(layer(zero))).flatten())
        found = int(torch.linalg.matrix_rank(torch.stack(maps), rtol=1e-9))
        if found != wanted:
            raise VerificationError(
                f"not complete: the layer reaches {found} independent maps, and {wanted} are equivariant"
            )

    def _unit_inputs(self) -> tuple[Inputs, Inputs]:
        """Every entry of every channel one and all others zero, as one batch; and zero."""
        channels = self.channels or 1
        unit = torch.eye(channels * self.graph.numel, dtype=torch.float64).unflatten(1, (channels, self.graph.numel))
        made = []
        for flat in (unit, torch.zeros_like(unit[:1])):
            weights = [Weights.unflatten(self.graph, flat[:, k]) for k in range(channels)]
            stacked = {name: torch.stack([one[name] for one in weights], -1) for name, _ in weights[0].items()}
            folded = {name: self.graph.layout(name).fold(x, channels) for name, x in stacked.items()}
            made.append(weights[0] if self.channels is None else Features(self.graph, folded, channels))
        return made[0], made[1]


def _tensors(value: Any) -> list[Tensor]:
    """The tensors of features, weights or a tensor, in a fixed order."""
    if isinstance(value, Features):
        return [value[name] for name in value.tensors]
    if isinstance(value, State):
        return list(value.tensors.values())
    return [tensor for _, tensor in value.items()] if isinstance(value, Weights) else [value]


def _rebuilt(like: Inputs, tensors: Sequence[Tensor]) -> Inputs:
    """Weights or features with other tensors."""
    if isinstance(like, Features):
        return like.replace(dict(zip(like.tensors, tensors, strict=True)))
    if isinstance(like, State):
        weights = like.weights.cast(tensors[0].dtype)
        return State(weights, dict(zip(like.tensors, tensors, strict=True)))
    return Weights(like.graph, {name: x for (name, _), x in zip(like.items(), tensors, strict=True)})


def _channels(output: Any) -> int:
    return output.channels if isinstance(output, Features) else 1


def _flat(output: Any) -> Tensor:
    return torch.cat([x.reshape(len(x), -1) for x in _tensors(output)], 1)


def _by_position(inputs: Inputs) -> Inputs:
    """What breaks the symmetry of any layer that reads it: each entry weighed by where it stands."""
    weighed = (x * torch.linspace(1, 2, x[0].numel(), dtype=x.dtype).view(x.shape[1:]) for x in _tensors(inputs))
    return _rebuilt(inputs, list(weighed))


def _shifted(state: State) -> State:
    """What breaks the grades of any layer that reads it: one is added to every feature that is not invariant."""
    return state.with_({(space, grade): x + 1 for space, grade, x in state.graded})
