"""Layers with kernels can be differentiated in every way, and give what plain operations give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from graphws.graph import NetworkGraph, Weights
from graphws.layers.derivatives import alias, replayed, transformed
from graphws.layers.fused import chunks, edges
from graphws.layers.fused.products import Rows, send, stack
from graphws.models import DWSNet
from graphws.operations import mlp_graph
from graphws.pooling import POOLINGS, fixed_pooling
from graphws.tasks.mask_gradients import EqualGradients, StraightThrough
from tests.layers.cases import convolution, cube, residual
from tests.layers.dense import perturb

func = torch.func
Answer = Callable[..., Tensor]
MLP = mlp_graph([2, 4, 3, 1])
FIXED = [name for name in POOLINGS if fixed_pooling(name)]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of a few networks, so that a small batch has several."""
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 1500 // torch.get_num_threads())


class Asked:
    """A network on weights as a function of numbers, one tensor (batch, numbers) a graph."""

    def __init__(self, graphs: Sequence[NetworkGraph], fused: bool, **options: Any) -> None:
        self.graphs = list(graphs)
        torch.manual_seed(1)
        given = self.graphs[0] if len(self.graphs) == 1 else self.graphs
        model = DWSNet(given, 2, layers=3, channels=3, **options).double()  # type: ignore[arg-type]
        perturb(model, torch.Generator().manual_seed(2))
        self.model: nn.Module = model.eval()
        for module in self.model.modules():
            if hasattr(module, "fused"):
                module.fused = fused  # type: ignore[assignment]
        self.parameters = dict(self.model.named_parameters())
        self.numbers = [normal(3, graph.numel, seed=k) for k, graph in enumerate(self.graphs)]
        self.other = [normal(3, graph.numel, seed=9 + k) for k, graph in enumerate(self.graphs)]

    def __call__(self, *numbers: Tensor, parameters: dict[str, Tensor] | None = None) -> Tensor:
        batches = [Weights.unflatten(graph, x) for graph, x in zip(self.graphs, numbers, strict=True)]
        asked = batches if len(batches) > 1 else batches[0]
        found: Tensor = func.functional_call(self.model, parameters or {}, (asked,))
        return found

    def leaves(self) -> list[Tensor]:
        return [x.clone().requires_grad_() for x in self.numbers]


def single(ask: Asked, *numbers: Tensor) -> Tensor:
    return ask(*(x.unsqueeze(0) for x in numbers))[0]


def penalty(ask: Asked, order: int = 2) -> Any:
    """A derivative of derivatives, by inputs and by parameters."""
    leaves = ask.leaves()
    value = ask(*leaves).square().sum()
    for _ in range(order - 1):
        value = sum(x.square().sum() for x in torch.autograd.grad(value, leaves, create_graph=True))  # type: ignore[assignment]
    wanted = [*leaves, *ask.parameters.values()]
    return torch.autograd.grad(value, wanted, allow_unused=True, materialize_grads=True)


def dual(ask: Asked) -> Any:
    with forward_ad.dual_level():
        pairs = zip(ask.numbers, ask.other, strict=True)
        return forward_ad.unpack_dual(ask(*(forward_ad.make_dual(x, y) for x, y in pairs))).tangent


def many(ask: Asked, mapped: bool) -> Any:
    leaves = ask.leaves()
    output = ask(*leaves)
    units = torch.eye(output.numel(), dtype=output.dtype).view(-1, *output.shape)
    if mapped:
        return func.vmap(lambda unit: torch.autograd.grad(output, leaves, unit, retain_graph=True))(units)
    return torch.autograd.grad(output, leaves, units, is_grads_batched=True)


def ensemble(ask: Asked) -> Any:
    two = {name: torch.stack([x.detach(), x.detach() + 0.1]) for name, x in ask.parameters.items()}
    return func.vmap(lambda parameters: ask(*ask.numbers, parameters=parameters))(two)


def per_sample(ask: Asked) -> Any:
    one = func.grad(lambda p, *x: ask(*(y.unsqueeze(0) for y in x), parameters=p).sum())
    return func.vmap(one, in_dims=(None, *[0] * len(ask.numbers)))(ask.parameters, *ask.numbers)


def first(ask: Asked) -> list[Tensor]:
    return [x[:1] for x in ask.numbers]


WAYS: dict[str, Callable[[Asked], Any]] = {
    "grad": lambda a: func.grad(lambda p: a(*a.numbers, parameters=p).square().mean())(a.parameters),
    "vmap": lambda a: func.vmap(lambda *x: single(a, *x))(*a.numbers),
    "per sample": per_sample,
    "ensemble": ensemble,
    "jacrev": lambda a: func.jacrev(a)(*first(a)),
    "jvp": lambda a: func.jvp(a, tuple(a.numbers), tuple(a.other))[1],
    "hessian": lambda a: func.hessian(lambda *x: a(*x).square().sum())(*first(a)),
    "forward mode": dual,
    "penalty": penalty,
    "third order": lambda a: penalty(a, 3),
    "batched gradients": lambda a: many(a, False),
    "mapped gradients": lambda a: many(a, True),
    "vectorized jacobian": lambda a: torch.autograd.functional.jacobian(a, tuple(first(a)), vectorize=True),
}
ASKED: dict[str, tuple[list[NetworkGraph], dict[str, Any]]] = {
    "mlp": ([MLP], {"activation": "gelu"}),
    "deviations": ([MLP], {"activation": "tanh", "pooling": "std"}),
    "residual": ([residual(3)], {"activation": "silu"}),
    "cube": ([cube(2)], {"activation": "elu", "norm": "layer"}),
    "convolution": ([convolution()], {"activation": "relu", "norm": "none"}),
    "two graphs": ([mlp_graph([2, 3, 1]), mlp_graph([2, 2, 2, 1])], {"activation": "tanh", "share": "role"}),
}


TRIED = [
    (name, way)
    for name in ASKED
    for way in (WAYS if name in ("mlp", "two graphs") else ("ensemble", "penalty", "batched gradients"))
]


def tensors(found: Any) -> list[Tensor]:
    return [x for x in torch.utils._pytree.tree_leaves(found) if isinstance(x, Tensor)]


@pytest.mark.parametrize(("name", "way"), TRIED)
def test_every_derivative_is_that_of_plain_operations(name: str, way: str) -> None:
    graphs, options = ASKED[name]
    got, wanted = (tensors(WAYS[way](Asked(graphs, fused, **options))) for fused in (True, False))
    assert any(float(x.detach().abs().max()) > 1e-6 for x in wanted)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_the_derivatives_of_two_graphs_are_those_of_each_alone() -> None:
    graphs, options = ASKED["two graphs"]
    ask = Asked(graphs, True, **options)
    rows = func.jacrev(ask, argnums=(0, 1))(*first(ask))
    for k, graph in enumerate(graphs):
        alone = func.jacrev(lambda x, g=graph: ask.model(Weights.unflatten(g, x)))(ask.numbers[k][:1])
        torch.testing.assert_close(rows[k][k : k + 1], alone)


def test_a_penalty_in_training_goes_through_batch_norms() -> None:
    found = []
    for fused in (True, False):
        ask = Asked([MLP], fused, activation="gelu")
        ask.model.train()
        found.append(penalty(ask))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("pool", FIXED)
def test_second_derivatives_of_the_kernels_are_those_of_differences(pool: str) -> None:
    z, scale, shift, matrix = normal(3, 4, 2, 3), 1 + normal(3) / 9, normal(3, seed=1), normal(3, 2, seed=2)
    left, right = normal(3, 4, 2, seed=3), normal(1, 2, 2, seed=4)

    def through(*x: Tensor) -> Any:
        handle, *summaries = edges.read(x[0], x[1], x[2], "tanh", pool, (True, True, True))
        out, taken = edges.write(handle, x[3], x[4], x[5], moments=True)
        assert taken is not None
        return (*summaries, out, taken.mean, taken.variance)

    given = [x.requires_grad_() for x in (z, scale, shift, matrix, left, right)]
    torch.autograd.gradgradcheck(through, given, fast_mode=True)
    torch.autograd.gradcheck(through, given, fast_mode=True, check_batched_grad=True)


@pytest.mark.parametrize("pool", FIXED)
def test_second_derivatives_of_rows_are_those_of_differences(pool: str) -> None:
    awaiting, plain, settled = normal(3, 4, 2), normal(3, 4, 1, seed=1), normal(3, 4, 2, seed=5)
    scale, shift, matrix, coarse = 1 + normal(2) / 9, normal(2, seed=2), normal(5, 3, seed=3), normal(3, 3, seed=4)

    def through(*x: Tensor) -> Any:
        groups = [Rows(x[0], True, x[3], x[4]), Rows(x[1], True), Rows(x[2])]
        rows, summary = stack(groups, "tanh", pool)
        out, taken = send(rows, x[5], x[6], moments=True)
        assert taken is not None
        return summary, out, taken.mean, taken.variance

    given = [x.requires_grad_() for x in (awaiting, plain, settled, scale, shift, matrix, coarse)]
    torch.autograd.gradgradcheck(through, given, fast_mode=True)
    torch.autograd.gradcheck(through, given, fast_mode=True, check_batched_grad=True)


class Cubed(torch.autograd.Function):
    """x³ by a backward that autograd does not look into, replayed rightly or wrongly."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, power: float) -> Tensor:
        ctx.power = power
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    @replayed(lambda ctx: ([x := alias(ctx.saved_tensors[0]), None], [x**ctx.power]))
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return gradient * 3 * ctx.saved_tensors[0].detach() ** 2, None


def test_a_wrong_replay_is_noticed() -> None:
    """The comparison of gradients by kernels and by replay, on which the tests above rest, tells right from wrong."""
    x = normal(4).abs().add(1).requires_grad_()
    for power in (3.0, 2.0):
        plain, again = (torch.autograd.grad(Cubed.apply(x, power).sum(), x, create_graph=c)[0] for c in (False, True))
        assert torch.allclose(plain, again) is (power == 3.0)
    assert torch.autograd.gradgradcheck(lambda y: Cubed.apply(y, 3.0), [x])


def test_an_alias_has_a_gradient_in_memory_of_its_own() -> None:
    x = normal(3).requires_grad_()
    value = normal(3, seed=1)
    found = alias(x, value)
    assert torch.equal(found, value)
    given = torch.ones(1, dtype=torch.float64).expand(3)
    (gradient,) = torch.autograd.grad(found, x, given)
    assert torch.equal(gradient, given)
    assert gradient.is_contiguous()
    assert gradient.data_ptr() != given.data_ptr()


def test_what_is_transformed() -> None:
    x = normal(2)
    seen = []
    assert not transformed(x, None)
    func.vmap(lambda y: seen.append(transformed()) or y)(x)
    func.grad(lambda y: seen.append(transformed()) or y.sum())(x)
    with forward_ad.dual_level():
        seen.append(transformed())
    assert seen == [True, True, True]
    assert not transformed()
    assert edges.supported(x)
    func.grad(lambda y: seen.append(edges.supported(y)) or y.sum())(x)
    assert seen[-1] is False


def test_gradients_through_masks_can_be_transformed() -> None:
    soft, hard = normal(5, 3).sigmoid(), (normal(5, 3) > 0).double()
    rows = func.vmap(func.grad(lambda s, h: (StraightThrough.apply(s, h) * s).sum()))(soft, hard)
    torch.testing.assert_close(rows, soft + hard)
    one = func.grad(lambda x: (EqualGradients.apply(x, [1, 2]) ** 2).sum())(soft)
    leaf = soft.clone().requires_grad_()
    (EqualGradients.apply(leaf, [1, 2]) ** 2).sum().backward()
    torch.testing.assert_close(one, leaf.grad)
