"""Lie derivatives: against finite differences, on exactly equivariant networks, and on some that are not."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor, nn

from graphws.actions.lie import channel_mixing, lie_derivative, matrix_generator, named_generator
from graphws.converting import convert
from graphws.errors import UsageError
from graphws.graph import Weights
from graphws.operations import forward, mlp_graph
from graphws.operations.builders.attention import AttentionLayer, attention_graph
from tests.actions.planting import rng


def draw(graph: object, seed: int = 0) -> Weights:
    numbers = torch.randn(1, graph.numel, generator=rng(seed), dtype=torch.float64)  # type: ignore[attr-defined]
    return Weights.unflatten(graph, numbers).map(lambda x: x / x.shape[-1] ** 0.5)  # type: ignore[arg-type]


def points(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


@pytest.mark.parametrize("axis", ["x", "y"])
def test_a_translation_flows_into_a_shift_by_one_pixel(axis: str) -> None:
    x = points(3, 2, 5, 7)
    flow = torch.linalg.matrix_exp(named_generator(f"translation-{axis}", (2, 5, 7)).matrix((2, 5, 7)))
    moved = (x.flatten(1) @ flow.mT).reshape(x.shape)
    torch.testing.assert_close(moved, x.roll(1, -1 if axis == "x" else -2))


def test_turning_and_growing_flow_into_turned_and_grown_pictures() -> None:
    """A blob, turned by a quarter in one go, lies where a quarter turn of the pixels puts it; grown, it is wider."""
    n = 21
    row = torch.arange(n).double().unsqueeze(1) - n // 2
    column = torch.arange(n).double() - n // 2
    blob = torch.exp(-((column - 4) ** 2 + row**2 / 2) / 8)
    turn = torch.linalg.matrix_exp(torch.pi / 2 * named_generator("rotation", (n, n)).matrix((n, n)))
    turned = (turn @ blob.flatten()).reshape(n, n)
    quarter = blob.rot90(1, (-2, -1))
    assert float((turned - quarter).norm() / quarter.norm()) < 0.2
    assert float((turned - blob.rot90(3, (-2, -1))).norm() / quarter.norm()) > 1
    round_blob = torch.exp(-(column**2 + row**2) / 8)
    grow = torch.linalg.matrix_exp(0.3 * named_generator("scaling", (n, n)).matrix((n, n)))
    grown = (grow @ round_blob.flatten()).reshape(n, n)
    wanted = torch.exp(-(column**2 + row**2) / 8 * torch.exp(torch.tensor(-0.6)))
    assert float((grown - wanted).norm() / wanted.norm()) < 0.05


@pytest.mark.parametrize("name", ["rotation", "translation-x", "scaling", "channels"])
@pytest.mark.parametrize("output", ["invariant", "same"])
def test_it_is_the_limit_of_finite_differences(name: str, output: str) -> None:
    shape = (2, 5, 5)
    weights = draw(mlp_graph([50, 12, 50 if output == "same" else 3], "tanh"))
    mixing = channel_mixing(points(2, 2))
    generator = mixing if name == "channels" else named_generator(name, shape)
    x, step = points(20, *shape), 1e-4
    matrix = generator.matrix(shape)

    def moved(t: float) -> Tensor:
        flow = torch.linalg.matrix_exp(t * matrix)
        y = forward(weights.graph, weights, x.flatten(1) @ flow.mT)[0]
        return y @ torch.linalg.matrix_exp(-t * matrix).mT if output == "same" else y

    slope = (moved(step) - moved(-step)) / (2 * step)
    y = moved(0.0)
    wanted = float(slope.norm() / (y - y.mean(0)).norm())
    found = lie_derivative(weights, generator, shape, output, data=x, decoys=0)  # type: ignore[arg-type]
    assert found.end_to_end == pytest.approx(wanted, rel=1e-5)
    assert found.end_to_end > 0.1  # it is not equivariant
    free = lie_derivative(
        lambda z: forward(weights.graph, weights, z.flatten(1))[0], generator, shape, output, data=x, decoys=0  # type: ignore[arg-type]
    )  # fmt: skip
    assert free.end_to_end == pytest.approx(found.end_to_end)
    assert free.layers == ()


def test_a_connected_group_leaves_neurons_alone() -> None:
    """Neurons that read only what the group fixes: ḣ = 0; others move, and nothing in K explains them."""
    spin = torch.zeros(6, 6).double()
    spin[0, 1], spin[1, 0] = -1, 1
    generator, x = matrix_generator(spin, "spin"), points(200, 6)
    weights = draw(mlp_graph([6, 8, 8, 2], "tanh"))
    blind = weights.map(torch.clone)
    blind["W1"][..., :2] = 0
    good = lie_derivative(blind, generator, (6,), "invariant", data=x)
    assert good.end_to_end < 1e-14
    assert max(layer.moved for layer in good.layers) < 1e-14
    assert min(good.decoys) > 0.05
    assert good.text == "Equivariant under spin: the Lie derivative is 0 of the outputs' spread per unit."
    bad = lie_derivative(weights, generator, (6,), "invariant", data=x)
    assert bad.end_to_end > 0.05
    assert all(layer.moved > 0.05 for layer in bad.layers)
    assert all(layer.k_error == layer.moved for layer in bad.layers)
    assert "not equivariant" in bad.text or "partly equivariant" in bad.text


def test_a_layer_without_an_activation_moves_by_a_matrix() -> None:
    """An equivariant linear network: ḣ = A h exactly, by its intertwiners and by a fitted matrix alike."""
    spin = torch.block_diag(*(torch.tensor([[0.0, -k], [k, 0.0]]) for k in (1.0, 2.0, 3.0))).double()
    mixed = torch.linalg.qr(points(6, 6, seed=4))[0]
    weights = draw(mlp_graph([6, 6, 6], "identity", bias=False))
    exact = Weights(weights.graph, {"W1": mixed.unsqueeze(0), "W2": mixed.mT.unsqueeze(0).contiguous()})
    found = lie_derivative(exact, matrix_generator(spin), (6,), "same", data=points(60, 6))
    assert found.end_to_end < 1e-12
    assert found.layers[0].moved > 0.5
    assert found.layers[0].k_error < 1e-6
    assert found.layers[0].layer_error < 1e-6
    assert lie_derivative(weights, matrix_generator(spin), (6,), "same", data=points(60, 6)).end_to_end > 0.1


def test_feature_maps_move_with_the_picture() -> None:
    """Convolutions around the edge and a mean follow shifts on every layer; a padded, flattened network does not."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1, padding_mode="circular"), nn.Tanh(),
        nn.Conv2d(6, 4, 3, padding=1, padding_mode="circular"), nn.Tanh(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    ).double()  # fmt: skip
    smooth = points(20, 2, 9, 9)
    smooth = nn.functional.avg_pool2d(nn.functional.pad(smooth, (2, 2, 2, 2), "circular"), 5, 1)
    found = lie_derivative(convert(module, smooth[:2]), "translation-x", (2, 9, 9), "invariant", data=smooth)
    assert all(layer.moved < 0.05 for layer in found.layers)  # what tanh adds beyond the grid is all that is left
    assert found.end_to_end < 0.05 * min(found.decoys)
    assert "nearly equivariant" in found.text
    padded = convert(nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(486, 3)).double(),
                     smooth[:2])  # fmt: skip
    assert lie_derivative(padded, "translation-x", (2, 9, 9), "invariant", data=smooth).end_to_end > 0.2


def test_attention_networks_and_json() -> None:
    graph = attention_graph(4, [AttentionLayer(2, 4, 4)], output=4, scores="linear")
    spin = torch.zeros(20, 20).double()
    for t in range(5):
        spin[4 * t, 4 * t + 1], spin[4 * t + 1, 4 * t] = -1, 1
    found = lie_derivative(draw(graph), matrix_generator(spin), (5, 4), "invariant", data=points(40, 5, 4))
    assert [layer.space for layer in found.layers] == ["model1", "value1"]
    assert found.layers[0].k_error < 1e-6  # tokens are embedded linearly
    data = json.loads(json.dumps(found.to_dict()))
    assert set(data) == {"generator", "unit", "end_to_end", "function_moved", "decoys", "verdict", "note", "layers"}


def test_what_is_refused() -> None:
    weights = draw(mlp_graph([9, 4, 2], "tanh"))
    for call, text in (
        (lambda: named_generator("rotate", (3, 3)),
         "unknown generator 'rotate'; there are translation-x, translation-y, rotation, scaling; "
         "did you mean 'rotation'?"),
        (lambda: named_generator("rotation", (9,)),
         "generator 'rotation' moves pictures: it needs a shape (…, height, width), got (9,)"),
        (lambda: lie_derivative(weights, "rotation", (3, 3), data=points(3, 9)),
         "probes are split in two halves: give at least 4, got 3"),
        (lambda: lie_derivative(weights, "rotation", (3, 3), data=points(6, 9)),
         "outputs of 2 numbers cannot move as inputs of 9 do: say output='invariant', or give a generator for them"),
        (lambda: channel_mixing(torch.ones(2, 3)), "channels are mixed by a square matrix, got one of shape (2, 3)"),
        (lambda: matrix_generator(torch.ones(4)), "a generator is a square matrix, got one of shape (4,)"),
    ):  # fmt: skip
        with pytest.raises(UsageError) as error:
            call()
        assert str(error.value) == text
