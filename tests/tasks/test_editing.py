"""Networks that draw edited pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from graphws.errors import UsageError
from graphws.graph import Weights
from graphws.models import DWSNet, FlatMLP
from graphws.operations import forward, mlp_graph
from graphws.operations.query_points import regular_grid
from graphws.operations.sampling import random_weights
from graphws.tasks import Editing
from graphws.tasks.editing import contrasted, dilated, eroded, smoothed

GRAPH = mlp_graph([2, 6, 5, 3], activation="tanh")
SIDE = 7


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def task(networks: int = 1) -> Editing:
    return Editing(
        torch.full((GRAPH.numel,), 0.5), GRAPH, lambda weights: weights, networks, lambda x: dilated(x, 3), SIDE
    )


def weights(count: int = 4) -> Weights:
    return random_weights(GRAPH, count, rng(), torch.float64)


def pictures() -> torch.Tensor:
    return torch.randn(3, 2, 6, 9, generator=rng(), dtype=torch.float64)


@pytest.mark.parametrize("size", [3, 5])
def test_edits_are_those_of_mathematical_morphology(size: int) -> None:
    """Against scipy, which goes on with the last pixel behind the border."""
    x, window = pictures(), (1, 1, size, size)
    np.testing.assert_array_equal(dilated(x, size), ndimage.grey_dilation(x.numpy(), window, mode="nearest"))
    np.testing.assert_array_equal(eroded(x, size), ndimage.grey_erosion(x.numpy(), window, mode="nearest"))
    inside = slice(size // 2, -(size // 2))
    mean = ndimage.uniform_filter(x.numpy(), window)
    np.testing.assert_allclose(smoothed(x, size)[:, :, inside, inside], mean[:, :, inside, inside])
    np.testing.assert_allclose(smoothed(torch.ones_like(x), size), 1)
    assert not np.array_equal(dilated(x, size), ndimage.grey_dilation(x.numpy(), (1, 1, 1, size), mode="nearest"))


def test_contrast_keeps_the_mean_of_each_picture() -> None:
    x = pictures()
    found = contrasted(x, 3.0)
    torch.testing.assert_close(found.mean((1, 2, 3)), x.mean((1, 2, 3)))
    torch.testing.assert_close(found.flatten(1).std(1), 3 * x.flatten(1).std(1))
    torch.testing.assert_close(contrasted(x, 1.0), x)


def test_what_is_drawn_is_the_grid_row_by_row_with_channels_first() -> None:
    own = weights()
    drawn = task().drawn(own)
    values = forward(GRAPH, own, regular_grid(SIDE * SIDE).double())
    assert isinstance(values, torch.Tensor)
    for row, column in ((0, 0), (2, 5), (6, 6)):
        torch.testing.assert_close(drawn[:, :, row, column], values[:, row * SIDE + column])


def test_the_loss_is_the_error_against_the_edited_picture() -> None:
    found, own = task(), weights()
    seen, targets = found.prepare(own, torch.zeros(4, 0), rng())
    change = 0.1 * torch.randn(4, GRAPH.numel, generator=rng(1), dtype=torch.float64)
    outputs = found.apply(lambda _: Weights.unflatten(GRAPH, change), seen)
    torch.testing.assert_close(outputs, own.flatten() - 0.5 * change)  # v - Δv, in units of the deviation
    wanted = dilated(found.drawn(own), 3)
    error = (found.drawn(Weights.unflatten(GRAPH, outputs)) - wanted).square().mean((1, 2, 3))
    torch.testing.assert_close(found.losses(outputs, targets), error)
    metrics = found.metrics()
    found.update(metrics, outputs, targets)
    assert float(metrics.compute()["mse"]) == pytest.approx(float(error.mean()))
    torch.testing.assert_close(found.judge(found.metrics(), outputs, targets), error.float(), check_dtype=False)
    perfect = Editing(found.deviation, GRAPH, found.restore, 1, lambda x: x, SIDE)
    assert not perfect.losses(own.flatten(), targets).any()


@pytest.mark.parametrize("several", [1, 3])
def test_the_loss_of_an_equivariant_model_does_not_feel_relabellings(several: int) -> None:
    found, own = task(several), weights()
    torch.manual_seed(0)
    follows = DWSNet(GRAPH, None, 2, 4, networks=several).double().eval()
    does_not = FlatMLP(GRAPH, None, 2, 8, networks=several).double().eval()
    for seed in range(3):
        element = GRAPH.group().random(rng(seed), batch=4, dtype=torch.float64)
        errors = {}
        for name, model in (("dwsnet", follows), ("mlp", does_not)):
            losses = []
            for given in (own, element.act(own)):
                seen, targets = found.prepare(given, torch.zeros(4, 0), rng())
                losses.append(found.losses(found.apply(model, seen), targets).detach())
            errors[name] = float((losses[0] - losses[1]).abs().max())
        assert errors["dwsnet"] < 1e-10 < 1e-5 < errors["mlp"]


def test_several_networks_answer_by_the_mean_of_their_pictures() -> None:
    found, own = task(2), weights()
    flat = own.flatten()
    outputs = torch.cat([flat, flat + 1], dim=1)
    drawn = found.drawn(found.raw(outputs))
    by_hand = (task().drawn(own) + task().drawn(Weights.unflatten(GRAPH, flat + 1))) / 2
    torch.testing.assert_close(drawn, by_hand)


def test_networks_that_draw_nothing_are_refused() -> None:
    graph = mlp_graph([3, 4, 1])
    with pytest.raises(UsageError) as caught:
        Editing(torch.ones(graph.numel), graph, lambda w: w, 1, lambda x: x, 8)
    assert str(caught.value) == "pictures are edited where networks draw them: these do not read points (n, 2)"
