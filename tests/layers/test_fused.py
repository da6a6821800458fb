from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from graphws.graph import Weights
from graphws.layers import ACTIVATIONS, EquivariantLinear, Message, expand_blocks
from graphws.layers.fused import chunks, edges
from graphws.layers.schedule import EdgeReading
from graphws.models import DWSNet
from graphws.operations import mlp_graph
from graphws.pooling import POOLINGS, fixed_pooling
from graphws.testing import random_weights
from tests.layers.cases import convolution, heads, residual

WIDTHS = [2, 5, 4, 3, 1]
FIXED = [name for name in POOLINGS if fixed_pooling(name)]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of a few networks, so that a small batch has several and the last is shorter."""
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 1500 // torch.get_num_threads())


def operands(
    channels: int, affine: bool = True, ties: bool = False, size: tuple[int, int, int] = (7, 5, 4)
) -> list[Tensor | None]:
    """z, scale, shift, matrix, left, right."""
    b, n, m = size
    shapes = [(*size, channels), (channels,), (channels,), (channels, 6), (b, n, 6), (b, m, 6)]
    draw = generator()
    made: list[Tensor | None] = [torch.randn(shape, generator=draw, dtype=torch.float64) for shape in shapes]
    if ties:
        made[0] = made[0].round()  # type: ignore[union-attr]
    return made if affine else [made[0], None, None, *made[3:]]


def by_kernels(pool: str, activation: str, x: list[Tensor | None]) -> list[Tensor]:
    z, scale, shift, matrix, left, right = x
    handle, *summaries = edges.read(z, scale, shift, activation, pool, (True, True, True))  # type: ignore[arg-type]
    out, moments = edges.write(handle, matrix, left, right, moments=True)  # type: ignore[arg-type]
    assert moments is not None
    assert moments.count == z[..., 0].numel()  # type: ignore[index]
    return [*summaries, out, moments.mean, moments.variance]


def by_plain_operations(pool: str, activation: str, x: list[Tensor | None]) -> list[Tensor]:
    z, scale, shift, matrix, left, right = x
    a = ACTIVATIONS[activation](z if scale is None else scale * z + shift)  # type: ignore[operator, arg-type]
    summary = fixed_pooling(pool).pool  # type: ignore[union-attr]
    out = left.unsqueeze(2) + right.unsqueeze(1) + a @ matrix  # type: ignore[union-attr, operator]
    mean = out.mean((0, 1, 2))
    return [summary(a, (2,)), summary(a, (1,)), summary(a, (1, 2)), out, mean, (out - mean).square().mean((0, 1, 2))]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("pool", FIXED)
def test_values_and_gradients_are_those_of_plain_operations(pool: str, activation: str) -> None:
    exact = activation in ("relu", "leaky_relu", "identity")  # others round vectors and left-overs differently
    for channels, affine, ties in ((1, False, exact), (3, True, False), (3, False, False), (33, True, exact)):
        results = []
        for run in by_kernels, by_plain_operations:
            x = [None if v is None else v.requires_grad_() for v in operands(channels, affine, ties)]
            values = run(pool, activation, x)
            draw = torch.Generator().manual_seed(1)
            loss = sum((v * torch.randn(v.shape, generator=draw, dtype=v.dtype)).sum() for v in values)
            results.append([*values, *torch.autograd.grad(loss, [v for v in x if v is not None])])  # type: ignore[arg-type]
        for got, wanted in zip(*results, strict=True):
            torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("pool", FIXED)
@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_gradcheck(pool: str, activation: str) -> None:
    x = [v.requires_grad_() for v in operands(2, size=(3, 3, 2)) if v is not None]
    assert torch.autograd.gradcheck(lambda *x: tuple(by_kernels(pool, activation, list(x))), x)


def test_ties_under_max_share_the_gradient() -> None:
    z = torch.tensor([[2.0, 2.0, 1.0], [0.0, -1.0, 0.0]]).view(1, 2, 3, 1).requires_grad_()
    _, left, _, _ = edges.read(z, None, None, "identity", "max", (True, False, False))
    assert left is not None
    left.sum().backward()
    assert z.grad is not None
    assert z.grad.flatten().tolist() == [0.5, 0.5, 0, 0.5, 0, 0.5]


def test_same_contribution_for_all_networks() -> None:
    x = operands(3)
    x[4] = x[4][:1]  # type: ignore[index]
    leaves = [v.requires_grad_() for v in x if v is not None]
    results = []
    for run in by_kernels, by_plain_operations:
        values = run("mean", "relu", list(leaves))
        loss = sum(v.square().sum() for v in values)
        results.append([*values, *torch.autograd.grad(loss, leaves)])  # type: ignore[arg-type]
    for got, wanted in zip(*results, strict=True):
        torch.testing.assert_close(got, wanted)


def test_moments_keep_their_digits_far_from_zero() -> None:
    z = torch.randn(64, 5, 4, 2, generator=generator()) + 1e4
    handle, *_ = edges.read(z, None, None, "identity", None, (False, False, False))
    _, moments = edges.write(handle, torch.eye(2), None, None, moments=True)
    assert moments is not None
    torch.testing.assert_close(moments.variance, z.var((0, 1, 2), correction=0), rtol=1e-3, atol=0)


def test_inputs_stay_as_they_are() -> None:
    x = operands(3)
    before = [v.clone() for v in x if v is not None]
    leaves = [v.requires_grad_() for v in x if v is not None]
    values = by_kernels("max", "relu", list(leaves))
    kept = [v.detach().clone() for v in values]
    loss = sum(v.square().sum() for v in values)
    first = torch.autograd.grad(loss, leaves, retain_graph=True)  # type: ignore[arg-type]
    second = torch.autograd.grad(loss, leaves)  # type: ignore[arg-type]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(before, leaves, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(kept, values, strict=True))


def set_fused(model: torch.nn.Module, fused: bool) -> None:
    for module in model.modules():
        if hasattr(module, "fused"):
            module.fused = fused


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pooling": "mean"},
        {"pooling": "sum", "activation": "gelu", "norm": "none"},
        {"pooling": "attention", "heads": 2},
        {"norm": "layer", "activation": "tanh"},
        {"norm": "none", "activation": "silu"},
        {"residual": True},
        {"share": "role"},
        {"blocks": {"weight_to_weight": "diagonal", "bias_to_weight": "none"}},
        {"reduce": {"input": 1}, "bias": False},
        {"outputs": None},
    ],
    ids=str,
)
def test_models_are_the_same_without_kernels(options: dict[str, object]) -> None:
    graph = mlp_graph(WIDTHS)
    weights = random_weights(graph, 50, generator())
    model = DWSNet(graph, **{"outputs": 3, "layers": 3, "channels": 4, **options}).double()  # type: ignore[arg-type]
    results = []
    for fused in (True, False):
        copied = copy.deepcopy(model)
        set_fused(copied, fused)
        output = copied(weights)
        output = output.flatten() if isinstance(output, Weights) else output
        output.square().sum().backward()
        copied.eval()
        with torch.no_grad():
            later = copied(weights)
        later = later.flatten() if isinstance(later, Weights) else later
        results.append([output, later, *(p.grad for p in copied.parameters()), *copied.buffers()])
    for got, wanted in zip(*results, strict=True):
        torch.testing.assert_close(got, wanted)


def test_dropout_is_the_same_without_kernels() -> None:
    graph = mlp_graph(WIDTHS)
    weights = random_weights(graph, 8, generator())
    model = DWSNet(graph, 3, layers=3, channels=4, dropout=0.3, norm="none").double()
    results = []
    for fused in (True, False):
        set_fused(model, fused)
        torch.manual_seed(0)
        results.append(model(weights))
    torch.testing.assert_close(*results)


def test_kernels_key_on_the_pattern() -> None:
    def readings(layer: EquivariantLinear) -> dict[str, EdgeReading]:
        (graph,) = layer._plans
        return dict(layer.schedule(graph).readings)

    both = EdgeReading("max", (True, True, False))
    assert readings(EquivariantLinear(mlp_graph(WIDTHS), 1, 1)) == {"W2": both, "W3": both}
    assert readings(EquivariantLinear(convolution(), 1, 1)) == {"K2": both}
    # Entries of E, by head and d, also go to Q, which has them summed over a head's dimensions.
    assert "Q" not in readings(EquivariantLinear(heads(), 1, 1))
    assert readings(EquivariantLinear(residual(), 1, 1)) == {}
    assert readings(EquivariantLinear(mlp_graph(WIDTHS), 4, 4, expand_blocks(pool="attention"), heads=2)) == {}


def test_kernels_read_all_entries_at_once_where_a_pooling_does_not_nest() -> None:
    graph = mlp_graph([2, 5, 4, 1])
    for pool in FIXED:
        nests = fixed_pooling(pool).nests  # type: ignore[union-attr]
        layer = EquivariantLinear(graph, 1, 1, expand_blocks(pool=pool))
        assert layer.schedule(graph).readings == {"W2": EdgeReading(pool, (True, True, not nests))}
        last = EquivariantLinear(graph, 1, 1, [Message(via="network", pool=pool)])
        assert last.schedule(graph).readings == {"W2": EdgeReading(pool, (nests, False, not nests))}


def test_kernels_are_left_out_where_they_cannot_run() -> None:
    x = torch.zeros(1)
    assert edges.supported(x)
    assert not edges.supported(x.half())
    assert not edges.supported(x[:0])
    assert not edges.supported(x.to("meta"))
    with torch.autocast("cpu"):
        assert not edges.supported(x)
