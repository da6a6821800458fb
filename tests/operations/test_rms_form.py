"""Streams in RMS form: the function is kept and does not feel orthogonal maps; what is no stream stays."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from graphws.converting import convert
from graphws.errors import GraphError
from graphws.graph import GroupElement, LinearMap, Weights
from graphws.operations import outputs_of
from graphws.operations.rms_form import rms_form
from graphws.operations.sampling import random_inputs, random_weights
from tests.align.transformers import Encoder, Rotary, ViT


class Net(nn.Module):
    """One block on a stream, and what a reader of the stream looks like in `tail`."""

    def __init__(self, tail: str = "norm", bias: bool = True, norm: type[nn.Module] = nn.LayerNorm) -> None:
        super().__init__()
        self.tail = tail
        self.embed, self.norm, self.last = nn.Linear(3, 8), norm(8), norm(8)
        self.up, self.down, self.head = nn.Linear(8, 12, bias=bias), nn.Linear(12, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        x = x + self.down(torch.tanh(self.up(self.norm(x))))
        x = {"norm": self.last, "plain": lambda y: y, "entries": torch.relu, "skip": lambda y: self.last(y) + y}[
            self.tail
        ](x)
        out: Tensor = self.head(x)
        return out


def weights_of(net: nn.Module, example: Tensor, batch: int = 2) -> tuple[Weights, dict[str, Tensor]]:
    """Random networks of a module's graph, scales and shifts of norms far from 1 and 0, and inputs."""
    graph, rng = convert(net.eval(), example).graph, torch.Generator().manual_seed(3)
    weights = random_weights(graph, batch, rng)
    noisy = weights.map(lambda x: x + 0.3 * torch.randn(x.shape, generator=rng, dtype=x.dtype))
    return noisy, random_inputs(graph, 3, rng)


def change(first: Weights, second: Weights, inputs: dict[str, Tensor]) -> float:
    before, after = (outputs_of(w.graph, w, inputs) for w in (first, second))
    return float((before - after).abs().max() / before.abs().max())


def orthogonal(size: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(size, size, generator=rng, dtype=torch.float64))[0]


STREAMS = {
    "vision transformer": (lambda: ViT(), (4, 1, 8, 8)),
    "class token": (lambda: ViT(cls=True), (4, 1, 8, 8)),
    "encoder layers": (lambda: Encoder(), (4, 5, 4)),
    "no bias to shift": (lambda: Net(bias=False), (4, 3)),
    "rms norms": (lambda: Net("plain", norm=nn.RMSNorm), (4, 3)),
    "rotary": (lambda: Rotary(), (4, 5, 3)),
}


@pytest.mark.parametrize("name", STREAMS)
def test_the_function_is_kept_and_does_not_feel_orthogonal_maps(name: str) -> None:
    make, shape = STREAMS[name]
    weights, inputs = weights_of(make(), torch.randn(shape))
    form = rms_form(weights)
    assert len(form.streams) == 1
    assert change(weights, form.weights, inputs) < 1e-12
    size = weights.graph.extent(form.streams[0])
    for seed in range(3):
        element = GroupElement(form.weights.graph, {form.streams[0]: LinearMap(orthogonal(size, seed))})
        assert change(weights, element.act(form.weights), inputs) < 1e-12
    shear = torch.eye(size, dtype=torch.float64)
    shear[0, 1] = 1.0  # invertible, not orthogonal
    element = GroupElement(form.weights.graph, {form.streams[0]: LinearMap(shear)})
    assert change(weights, element.act(form.weights), inputs) > 1e-3


def test_the_map_alone_does_change_a_network_whose_norms_are_not_rewritten() -> None:
    weights, inputs = weights_of(ViT(), torch.randn(4, 1, 8, 8))
    (name,) = rms_form(weights).streams
    turn = orthogonal(weights.graph.extent(name))
    tensors = dict(weights.tensors)
    for parameter in weights.graph.parameters:
        for k, axis in enumerate(parameter.axes):
            if axis.space == name and len(parameter.axes) > 1:
                tensors[parameter.name] = LinearMap(turn).apply(tensors[parameter.name], k + 1, 1)
    assert change(weights, Weights(weights.graph, tensors), inputs) > 1e-2


REFUSED = {
    "plain": "something reads the stream past its layer norms",
    "entries": "relu acts on the stream's entries one by one",
    "skip": "adds something else to the stream",
}


@pytest.mark.parametrize("tail", REFUSED)
def test_a_stream_that_something_else_reads_stays_with_the_reason(tail: str) -> None:
    weights, inputs = weights_of(Net(tail), torch.randn(4, 3))
    form = rms_form(weights)
    assert form.streams == ()
    assert REFUSED[tail] in next(iter(form.kept.values()))
    assert change(weights, form.weights, inputs) == 0.0


def test_post_norm_layers_stay() -> None:
    weights, _ = weights_of(Encoder(norm_first=False), torch.randn(4, 5, 4))
    assert rms_form(weights).streams == ()


def test_maps_that_keep_ones_give_layer_norms_back() -> None:
    weights, inputs = weights_of(ViT(), torch.randn(4, 1, 8, 8))
    form = rms_form(weights)
    (name,) = form.centred
    size = weights.graph.extent(name)
    turn = orthogonal(size)
    basis = torch.linalg.qr(torch.cat([torch.ones(size, 1, dtype=torch.float64), turn[:, 1:]], 1))[0]
    block = torch.block_diag(torch.ones(1, 1, dtype=torch.float64), orthogonal(size - 1))
    moved = GroupElement(form.weights.graph, {name: LinearMap(basis @ block @ basis.T)}).act(form.weights)
    assert change(weights, form.restored(moved), inputs) < 1e-12
    bent = GroupElement(form.weights.graph, {name: LinearMap(orthogonal(size, 1))}).act(form.weights)
    with pytest.raises(GraphError, match="writes a mean into a stream whose norms took it off"):
        form.restored(bent)


def test_a_form_with_biases_of_its_own_has_no_way_back() -> None:
    form = rms_form(weights_of(Net(bias=False), torch.randn(4, 3))[0])
    with pytest.raises(GraphError, match=r"the network has no place for 'up.weight~shift'"):
        form.restored(form.weights)


class Scaled(Net):
    """A block whose output has a scale of its own (LayerScale)."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.rand(8))

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        out: Tensor = self.head(self.last(x + self.gamma * self.down(torch.tanh(self.up(self.norm(x))))))
        return out


class OnePlus(nn.Module):
    """A root mean square norm whose scale is 1 + w."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(size))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * (1.0 + self.weight)


@pytest.mark.parametrize(
    ("net", "reason"),
    [(Scaled, "adds something else to the stream"), (lambda: Net(norm=OnePlus), "a number, which is not folded")],
)
def test_scales_that_are_not_folded_stay_with_the_reason(net: Callable[[], nn.Module], reason: str) -> None:
    weights, inputs = weights_of(net(), torch.randn(4, 3))
    form = rms_form(weights)
    assert form.streams == ()
    assert reason in form.kept["embed"]
    assert change(weights, form.weights, inputs) == 0.0
